"""A simulated vPlus in a process of its own, so that its work is not counted as ours. Pages as a current server does."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.conftest import VPLUS_PASSWORD
from tests.processes import ROOT, free_port

PATIENCE = 180.0


@dataclass(frozen=True)
class SimulatorProcess:
    """Where it is, and what it counted."""

    port: int
    ca_path: Path

    @property
    def url(self) -> str:
        """The base address, for VPLUS_URL."""
        return f"https://localhost:{self.port}/api"

    def calls(self) -> dict[str, int]:
        """Return how often each call was asked since the counts were cleared."""
        found: dict[str, int] = self._control("GET").json()["calls"]
        return found

    def clear_counters(self) -> None:
        """Count from 0 again."""
        self._control("DELETE")

    def _control(self, method: str) -> requests.Response:
        answer = requests.request(
            method, f"https://localhost:{self.port}/control/counters", verify=str(self.ca_path), timeout=10
        )
        answer.raise_for_status()
        return answer


@contextmanager
def simulator_process(folder: Path, *, vms: int, tenants: int) -> Iterator[SimulatorProcess]:
    """Start one with so many virtual machines, and end it afterwards."""
    port = free_port()
    words = [
        "--port",
        str(port),
        "--tls-dir",
        str(folder),
        "--seed",
        "scale",
        "--vms",
        str(vms),
        "--tenants",
        str(tenants),
    ]
    words += ["--richness", "generous", "--set", "schedules_fire=false", "--set", "inventory_sync_seconds=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vplus_simulator", *words],
        cwd=ROOT,
        env={**os.environ, "SIMULATOR_PASSWORD": VPLUS_PASSWORD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        simulator = SimulatorProcess(port, folder / "ca.pem")
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                simulator.clear_counters()
                break
            except (requests.ConnectionError, OSError):
                if process.poll() is not None or time.monotonic() > give_up:
                    raise
                time.sleep(0.2)
        yield simulator
    finally:
        process.terminate()
        process.wait(30)

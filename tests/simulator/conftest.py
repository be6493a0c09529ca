"""A running simulator, time that only moves when told, and a client that verifies its certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions
from vplus_simulator.seed.plan import SeedName, SeedPlan
from vplus_simulator.settings import Settings

PASSWORD = "correct horse"
STEADY = {
    "export_seconds": (30.0, 30.0),
    "store_seconds": (10.0, 10.0),
    "session_idle_seconds": 10.0**9,
    "schedules_fire": False,
}
"""Tests with a stepped clock know to the second when a task ends, and step far without losing the session.

Schedules fire only where a test is about them.
"""


class Vplus:
    """A client of one server, as simple as can be."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server = server
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = str(server.ca_path)

    def sign_in(self, password: str = PASSWORD) -> requests.Response:
        return self.post("/session/login", {"login": "portal", "password": password})

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return self.http.get(self.server.url + path, params=parameters, timeout=10)

    def read(self, path: str, **parameters: Any) -> Any:
        answer = self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/json"
        return answer.json()

    def names(self, path: str, **parameters: Any) -> list[str]:
        return [row["guid"] for row in self.read(path, **parameters)]

    def post(self, path: str, body: Any) -> requests.Response:
        return self.http.post(self.server.url + path, json=body, timeout=10)

    def put(self, path: str, body: Any) -> requests.Response:
        return self.http.put(self.server.url + path, json=body, timeout=10)

    def delete(self, path: str) -> requests.Response:
        return self.http.delete(self.server.url + path, timeout=10)

    def export(self, *vms: str, kind: str = "FULL", **members: Any) -> requests.Response:
        body = {"backupType": {"name": kind}, "protectedEntities": [{"guid": vm} for vm in vms]}
        return self.post("/tasks/export", body | members)

    def tasks(self, **parameters: Any) -> list[tuple[str, str]]:
        """Type and state of each task."""
        return [(row["type"]["name"], row["state"]["name"]) for row in self.read("/tasks", **parameters)]

    def newest_backup(self, vm: str) -> dict[str, Any]:
        backup: dict[str, Any] = self.read("/backups", **{"protected-entity": vm})[-1]
        return backup

    def control(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self.http.request(method, self.server.control_url + path, json=body, timeout=10)


Start = Callable[..., Vplus]


@pytest.fixture(scope="session")
def tls_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One CA for all simulators of a test run."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture
def start(tls_dir: Path) -> Iterator[Start]:
    """Start a simulator with a stepped clock and the small seed, generous unless told otherwise; return a signed-in client."""
    running: list[Vplus] = []

    def begin(*, seed: SeedName = "small", richness: str = "generous", sign_in: bool = True, **options: Any) -> Vplus:
        switches = {name: options.pop(name) for name in list(options) if name in Settings.__struct_fields__}
        chosen: dict[str, Any] = {"stepped": True, "tls_dir": tls_dir, "password": PASSWORD} | options
        plan = SeedPlan(name=seed)
        wanted: dict[str, Any] = {**STEADY, "richness": richness, **switches}
        settings = Settings(**wanted)
        vplus = Vplus(SimulatorServer(ServerOptions(seed=plan, settings=settings, **chosen)).start())
        running.append(vplus)
        if sign_in:
            assert vplus.sign_in().status_code == 200
        return vplus

    yield begin
    for vplus in running:
        vplus.http.close()
        vplus.server.stop()


@pytest.fixture
def vplus(start: Start) -> Vplus:
    """A signed-in client of a generous server."""
    return start()

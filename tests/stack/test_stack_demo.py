"""The demo as a newcomer starts it: up, used by script, stopped, up again with its data, dropped."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_stack.demo_people import PASSWORD, PEOPLE
from local_stack.folder import CLONE, data_folder
from local_stack.probes import free_port
from tests.stack.test_stack_servers import is_alive, wait_until

LINKED = ("portal", "tenants", "vplus_bridge", "vplus_simulator", "deploy", "static", "templates")
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


class Demo:
    """One clone whose demo is started and stopped; its data folder is its own."""

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.port = free_port(0)
        self.said = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local_stack", "demo", "--port", str(self.port)],
            cwd=self.clone,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "Ctrl-C stops everything" in line:
                break
        self.said = "".join(lines)
        assert self.process.poll() is None, self.said

    def stop(self, number: signal.Signals) -> int:
        assert self.process
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=60)
        self.said += rest
        return self.process.returncode

    def children(self) -> list[int]:
        """Return every process that descends from the launcher."""
        assert self.process
        parents: dict[int, list[int]] = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = status.read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(status.parent.name))
        found, waiting = [], [self.process.pid]
        while waiting:
            waiting += (mine := parents.get(waiting.pop(), []))
            found += mine
        return found

    def call(self, *words: str) -> str:
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=self.clone, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def ask(self, path: str, token: str = "") -> Any:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            return json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture
def demo(folder: Path) -> Iterator[Demo]:
    clone = folder / "clone"
    shutil.copytree(CLONE / "local_stack", clone / "local_stack", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CLONE / "manage.py", clone)  # Python looks for packages beside the file that a link leads to
    for name in LINKED:
        (clone / name).symlink_to(CLONE / name)
    demo = Demo(clone)
    yield demo
    if demo.process and demo.process.poll() is None:
        demo.stop(signal.SIGTERM)
    shutil.rmtree(data_folder(clone), ignore_errors=True)


def test_the_demo_starts_keeps_its_data_and_leaves_nothing_behind(demo: Demo) -> None:
    demo.start()
    assert f"http://localhost:{demo.port}" in demo.said
    assert PASSWORD in demo.said
    assert all(person.email in demo.said for person in PEOPLE)
    assert demo.ask("/readyz")["status"] == "ready"
    token = demo.call("manage.py", "create_token", "operator@nordwind.example", "--tenant", "nordwind-logistics")
    machines = demo.ask("/api/v1/virtual-machines/?page_size=100", token)["results"]
    assert len(machines) == 100
    assert sum(machine["restore_point_count"] for machine in machines) > 100
    assert demo.ask("/api/v1/backup-destinations/", token)["results"]

    running = demo.children()
    commands = [Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ") for child in running]
    for word in (b"postgres", b"redis-server", b"vplus_simulator", b"-Q poll", b"-Q send", b" beat ", b"uvicorn"):
        assert any(word in command for command in commands), word
    for child, command in zip(running, commands, strict=True):
        if b"portal" in command and b"celery" in command:
            assert b"DATABASE_OWNER_URL" not in Path(f"/proc/{child}/environ").read_bytes()

    assert demo.stop(signal.SIGTERM) == 0
    assert demo.said.endswith("Stopped.\n")
    assert not any(is_alive(child) for child in running)

    demo.start()
    assert "Demo:" not in demo.said  # filled once only
    assert len(demo.ask("/api/v1/virtual-machines/?page_size=100", token)["results"]) == 100
    running = demo.children()
    assert demo.process
    demo.process.kill()
    demo.process.communicate()
    wait_until(lambda: not any(is_alive(child) for child in running), seconds=40)

    demo.call("-m", "local_stack", "reset")
    assert not (data_folder(demo.clone) / "demo").exists()

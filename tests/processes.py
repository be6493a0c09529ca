"""The portal's own processes, on the test database: the real web server, workers and beat, started and ended by a test.

They take their settings from the environment, as in production; what a test changes, it names. Each xdist worker has a
PostgreSQL database (pytest-django's) and a Redis database of its own.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis
import requests
from django.core.management import call_command
from django.db import connections

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 40.0
SHORT_WAITS = {
    "VPLUS_POLL_ACTIVE_SECONDS": "0.3",
    "VPLUS_POLL_IDLE_SECONDS": "0.6",
    "VPLUS_INVENTORY_SECONDS": "1",
    "VPLUS_INFRASTRUCTURE_SECONDS": "1.5",
    "VPLUS_SEND_SWEEP_SECONDS": "0.5",
    "PROTECTION_EVERY_SECONDS": "1",
    "VPLUS_SEND_BACKOFF_SECONDS": "0.2",
    "VPLUS_CONNECT_SECONDS": "2",
    "VPLUS_READ_SECONDS": "5",
    "VPLUS_SIGN_IN_COOLING_SECONDS": "0.5",
}
_CELERY = (sys.executable, "-m", "celery", "-A", "portal")
_QUIETLY = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")


def eventually(what: str, holds: Callable[[], object], *, patience: float = PATIENCE, pause: float = 0.1) -> object:
    """Return the first truthy answer of ``holds``; fail naming ``what`` where none comes in time."""
    give_up = time.monotonic() + patience
    while not (answer := holds()):
        assert time.monotonic() < give_up, f"never came true in {patience} s: {what}"
        time.sleep(pause)
    return answer


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def redis_url() -> str:
    """Return the address of this xdist worker's own Redis database; number 0 is left to the tests' own process."""
    number = 1 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    base = os.environ["REDIS_URL"]
    if base.startswith("unix://"):
        return f"{base.partition('?')[0]}?db={number}"
    return urlunsplit(urlsplit(base)._replace(path=f"/{number}"))


def collect_static_files() -> None:
    """Collect what pages link to, where ``make test`` has not done so already."""
    from django.conf import settings

    if not (Path(settings.STATIC_ROOT) / "staticfiles.json").is_file():
        call_command("collectstatic", interactive=False, verbosity=0)


class Processes:
    """Processes by name. ``end_all`` ends them by their ids and waits; nothing of it outlives the test run."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.environment = {**_environment(self.url), **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._number = 0

    def start_web(self) -> None:
        """Start uvicorn as in production; return when it answers."""
        command = (sys.executable, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1")
        options = ("--port", str(self.port), "--lifespan", "off", "--timeout-graceful-shutdown", "1", "--no-access-log")
        self._start("web", [*command, *options], kind="web")
        eventually("the web server answers", self._answers)

    def start_worker(self, queue: str, name: str = "", *, threads: int = 4) -> None:
        """Start a worker of one queue; it takes a moment until it is ready."""
        called = name or queue
        options = ("-P", "threads", "-c", str(threads), "-Q", queue, "-n", f"{called}@localhost")
        self._start(called, [*_CELERY, "worker", *options, *_QUIETLY], kind="worker")

    def start_beat(self) -> None:
        """Start the one clock that wakes the workers."""
        schedule = str(self.folder / f"beat-{self._number}")
        self._start("beat", [*_CELERY, "beat", "--schedule", schedule, "--pidfile", ""], kind="worker")

    def wait_ready(self, *workers: str) -> None:
        """Return when these workers have said that they are ready."""
        for name in workers:
            eventually(f"{name} is ready", lambda name=name: " ready." in self.log(name))

    def signal(self, name: str, number: signal.Signals) -> subprocess.Popen[bytes]:
        """Send a signal to one process, as Ctrl-C does, and return it: ``wait`` tells how it ended."""
        process = self._running[name]
        process.send_signal(number)
        return process

    def end(self, name: str) -> None:
        """Ask one process to end, wait, and where it does not obey kill it."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self, name: str) -> None:
        """End one process at once, whatever it is doing: it gets no chance to finish or to tell."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def pause(self, name: str) -> None:
        """Hold one process where it is, as a machine does that swaps or migrates; return when none of its threads runs."""
        process = self._running[name]
        process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{process.pid}/task")
        eventually(
            f"{name} stands still",
            lambda: all(path.read_text().rpartition(")")[2].split()[0] == "T" for path in threads.glob("*/stat")),
        )

    def resume(self, name: str) -> None:
        """Let a paused process go on."""
        self._running[name].send_signal(signal.SIGCONT)

    def runs(self, name: str) -> bool:
        """Tell whether a process of this name was started and not ended."""
        return name in self._running

    def end_all(self) -> None:
        """End everything: all are told first, then waited for."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for name in list(self._running):
            self.end(name)

    def log(self, name: str) -> str:
        """Return what the process of this name that was started last has written."""
        newest = max(self.folder.glob(f"*-{name}.log"), key=lambda path: int(path.name.partition("-")[0]))
        return newest.read_text(encoding="utf-8", errors="replace")

    def logs(self) -> list[tuple[str, str]]:
        """Return what each process has written so far, by name."""
        paths = sorted(self.folder.glob("*.log"), key=lambda path: int(path.name.partition("-")[0]))
        return [(path.stem, path.read_text(encoding="utf-8", errors="replace")) for path in paths]

    def wipe_redis(self) -> None:
        """Lose everything that Redis knows; of our own database only, others run beside this one."""
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as connection:
            connection.flushdb()

    def readiness(self) -> dict[str, object]:
        """Return what /readyz says."""
        answer: dict[str, object] = requests.get(f"{self.url}/readyz", timeout=10).json()
        return answer

    def _start(self, name: str, command: list[str], *, kind: str) -> None:
        self._number += 1
        path = self.folder / f"{self._number}-{name}.log"
        # setpriv: the kernel ends them when the test run is killed.
        with path.open("wb") as log:
            self._running[name] = subprocess.Popen(
                [str(shutil.which("setpriv")), "--pdeathsig", "TERM", "--", *command],
                cwd=ROOT,
                env={**self.environment, "PORTAL_PROCESS": kind},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        assert self._running["web"].poll() is None, self.log("web")
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        except requests.ConnectionError:
            return False


def _environment(url: str) -> dict[str, str]:
    """Return this run's environment, pointed at the test database; no process gets the owner's sign-in."""
    given: Mapping[str, str] = os.environ
    database = urlsplit(given["DATABASE_URL"])._replace(path=f"/{connections['default'].settings_dict['NAME']}")
    changed = {
        **SHORT_WAITS,
        "DATABASE_URL": urlunsplit(database),
        "REDIS_URL": redis_url(),
        "PORTAL_BASE_URL": url,
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "default",
    }
    dropped = {"DATABASE_OWNER_URL", "PROMETHEUS_MULTIPROC_DIR", "DJANGO_ALLOW_ASYNC_UNSAFE"}
    return {name: value for name, value in {**given, **changed}.items() if name not in dropped}

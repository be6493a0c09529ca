"""The demo's own processes on servers of their own, with two workers that send, and all that can be done to them."""

import http.client
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis

from local_stack.environment import for_processes, local_defaults, simulator_connection, without_vplus
from local_stack.folder import CLONE, SHARED, make_data_folder, make_private
from local_stack.postgres_server import PostgresServer
from local_stack.probes import free_port, simulator_answers, wait_for_answer, web_answers
from local_stack.problem import StackProblem
from local_stack.processes import Program, Supervisor, portal_programs, simulator
from local_stack.redis_server import RedisServer
from local_stack.secrets_file import kept_secrets, secret_file
from local_stack.terminal import step

START_SECONDS = 120
SENDERS = ("worker-send-1", "worker-send-2")
SETTLED_AFTER = 10.0
"""Seconds from the mark after which a write that left no trace may be taken for one that never arrived, as set below."""
WAITS = {
    "VPLUS_SEND_CLAIM_SECONDS": "5",
    "VPLUS_SEND_MARK_SECONDS": "2",
    "VPLUS_SEND_TOTAL_SECONDS": "4",
    "VPLUS_SEND_SWEEP_SECONDS": "1",
    "VPLUS_SEND_BACKOFF_SECONDS": "0.5",
    "VPLUS_SETTLE_DIED_SECONDS": "1",
    "VPLUS_SETTLE_ABSENT_SECONDS": "6",
    "VPLUS_SETTLE_READS_APART_SECONDS": "1",
    "VPLUS_POLL_ACTIVE_SECONDS": "1",
    "VPLUS_POLL_IDLE_SECONDS": "2",
    "VPLUS_INVENTORY_SECONDS": "10",
    "VPLUS_TASKS_FULL_SECONDS": "15",
    "VPLUS_CONNECT_SECONDS": "2",
    "VPLUS_READ_SECONDS": "5",
    "VPLUS_LISTING_SECONDS": "10",
    "VPLUS_SIGN_IN_COOLING_SECONDS": "0.5",
}
"""The waits of the protocol, short; what they have to be longer than is short too (see `trouble.faults`)."""
QUICK = {
    "pickup_seconds": 0.3,
    "export_seconds": [1, 3],
    "store_gap_seconds": 0.3,
    "store_seconds": [0.5, 1.5],
    "restore_seconds": [0.5, 1.5],
    "import_seconds": [1, 3],
    "inventory_sync_seconds": 3,
}
_FOREIGN = ("DATABASE_", "REDIS_", "PORTAL_", "PROMETHEUS_", "ALLOWED_", "STATIC_", "VPLUS_", "SECRET_KEY", "PYTEST_")


class Stack:
    """A running portal with a simulated vPlus. Made by `running_stack`, in the main thread."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.port, self._vplus_port = free_port(0), free_port(0)
        self.url = f"http://localhost:{self.port}"
        self.postgres = PostgresServer(folder / "postgres", shelf=folder)
        self._redis = RedisServer(folder / "redis")
        secrets = kept_secrets(folder)
        self._tls = make_private(folder / "tls")
        password = secret_file(folder, "simulator-password", secrets.simulator_password)
        vplus = simulator(self._vplus_port, self._tls, folder / "simulator.state", password)
        switches = [word for name, value in QUICK.items() for word in ("--set", f"{name}={json.dumps(value)}")]
        vplus = vplus._replace(command=[*vplus.command, "--random-seed", str(seed), *switches])
        self._vplus = Supervisor(folder, [vplus], name="simulator-supervisor")
        self._portal = Supervisor(folder, list(_two_senders(portal_programs(self.port, folder))))
        given = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        given = without_vplus(given) | simulator_connection(self._vplus_port, self._tls, secrets) | WAITS
        addresses = {
            "DATABASE_URL": self.postgres.url("portal"),
            "DATABASE_OWNER_URL": self.postgres.url("owner"),
            "REDIS_URL": self._redis.url(),
        }
        defaults = local_defaults(given, folder=folder, port=self.port, secret_key=secrets.secret_key)
        self.environment = {**given, **defaults, **addresses}

    def start(self, stack: ExitStack) -> None:
        """Start everything, in the order of the demo, and fill it; ``stack`` ends it in reverse order."""
        with step("PostgreSQL, Redis and the simulated vPlus"):
            for server in (self.postgres, self._redis):
                stack.callback(server.stop)
                server.start()
            stack.callback(self._vplus.stop)
            self._vplus.start(self.environment)
            answers = partial(simulator_answers, self._vplus_port, self._tls / "ca.pem")
            log = self._vplus.logs / "simulator.log"
            wait_for_answer(answers, self._vplus.check, log=log, patience=START_SECONDS)
        with step("Tables, demo tenants, their virtual machines and backups"):
            for module in ("local_stack.prepare", "local_stack.demo_data"):
                self._module(module)
        with step("Workers, beat and web server"):
            stack.callback(self._portal.stop)
            self._portal.start(for_processes(self.environment))
            log = self._portal.logs / "web.log"
            wait_for_answer(partial(web_answers, self.port), self._portal.check, log=log, patience=START_SECONDS)

    def vplus(self, method: str, path: str, body: Any = None) -> Any:
        """Call the simulator's control API; return its answer."""
        context = ssl.create_default_context(cafile=str(self._tls / "ca.pem"))
        connection = http.client.HTTPSConnection("localhost", self._vplus_port, timeout=30, context=context)
        try:
            connection.request(method, f"/control{path}", None if body is None else json.dumps(body))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise StackProblem(f"The simulator answers {response.status} to {method} {path}: {content.decode()}")
        return json.loads(content) if content else None

    def signal(self, program: str, number: signal.Signals) -> bool:
        """Send a signal to one process by its id; tell whether there was one. Supervisor starts a killed one again."""
        pid = self._pid_of(program)
        if pid is not None:
            os.kill(pid, number)
        return pid is not None

    def wipe_redis(self) -> None:
        """Lose everything that Redis knows."""
        with redis.Redis.from_url(self._redis.url()) as client:
            client.flushall()

    def restart_postgres(self) -> None:
        """Stop PostgreSQL, which ends every connection and transaction, and start it again. For the main thread."""
        self.postgres.stop()
        self.postgres.start()

    def check(self) -> None:
        """Raise StackProblem where something has gone for good."""
        self._vplus.check()
        self._portal.check()

    def logs(self) -> Mapping[str, str]:
        """Return what each process has written, by the name of its file."""
        return {path.name: path.read_text(errors="replace") for path in sorted(self._portal.logs.glob("*.log*"))}

    def _pid_of(self, program: str) -> int | None:
        """Return the process id of a program: supervisord's child that bears its worker's name."""
        name = f"{program.removeprefix('worker-')}@localhost".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self._portal.process_id and name in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just gone
        return None

    def _module(self, name: str) -> None:
        done = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-m", name],
            cwd=CLONE,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise StackProblem(f"{name} did not finish.\n{done.stdout}{done.stderr}")


@contextmanager
def running_stack(seed: int) -> Iterator[Stack]:
    """Run a stack in a folder of its own, and take both away at the end. For the main thread."""
    folder = random.Random().randbytes(4).hex()  # noqa: S311  # a name, no secret; the folder is private
    with tempfile.TemporaryDirectory(prefix=f"vplus-portal-chaos-{folder}-", dir=SHARED) as name, ExitStack() as ends:
        stack = Stack(make_data_folder(Path(name)), seed)
        stack.start(ends)
        yield stack


def _two_senders(programs: list[Program]) -> Iterator[Program]:
    """The demo's programs, with the worker that sends twice: each operation has to reach vPlus once all the same."""
    for program in programs:
        if program.name != "worker-send":
            yield program
            continue
        for name in SENDERS:
            node = f"{name.removeprefix('worker-')}@localhost"
            command = [node if word == "send@localhost" else word for word in program.command]
            yield program._replace(name=name, command=command)

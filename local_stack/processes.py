"""The portal's processes under supervisor: started in order, restarted when they die, stopped in reverse order."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from local_stack.child import last_lines, start_child, stop_child
from local_stack.folder import CLONE
from local_stack.problem import StackProblem

GRACE = 10
"""Seconds that a process has to end what it is doing; what is cut, the operations table finds again."""

_CELERY = (sys.executable, "-m", "celery", "-A", "portal")
_WORKER = (*_CELERY, "worker", "-P", "threads", "--without-gossip", "--without-mingle", "--loglevel", "INFO")


class Program(NamedTuple):
    """One process: lower ``priority`` starts earlier and stops later; ``kind`` is its PORTAL_PROCESS."""

    name: str
    command: Sequence[str]
    priority: int
    kind: str


def simulator(port: int, tls: Path, state: Path, password: Path, *, current: bool = False) -> Program:
    """Return the vPlus simulator; it keeps its world in ``state`` and speaks the guide's dialect or the ``current`` one."""
    command = [sys.executable, "-m", "vplus_simulator", "--port", str(port), "--tls-dir", str(tls)]
    # The demo shows a bar that moves, so its vPlus tells progress; tests run against one that tells nothing.
    command += ["--richness", "generous", "--dialect", "current" if current else "guide"]
    options = ["--seed", "demo", "--state", str(state), "--password-file", str(password)]
    return Program("simulator", [*command, *options], 5, "command")


def portal_programs(port: int, folder: Path) -> list[Program]:
    """Return the portal's own: a worker for each queue, beat and the web server on this machine's loopback address."""
    web = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
    return [
        Program("worker-poll", [*_WORKER, "-Q", "poll", "-c", "4", "-n", "poll@localhost"], 10, "worker"),
        Program("worker-send", [*_WORKER, "-Q", "send", "-c", "8", "-n", "send@localhost"], 10, "worker"),
        Program("beat", [*_CELERY, "beat", "--schedule", str(folder / "beat"), "--pidfile", ""], 11, "worker"),
        Program("web", [*web, "--lifespan", "off", "--timeout-graceful-shutdown", "1", "--no-access-log"], 20, "web"),
    ]


class Supervisor:
    """One supervisord for a list of programs, its configuration and their logs in ``folder``.

    ``name`` tells apart the files of several in one folder.
    """

    def __init__(self, folder: Path, programs: Sequence[Program], *, name: str = "supervisor") -> None:
        if shutil.which("setpriv") is None:
            raise StackProblem("setpriv is missing; install util-linux.")
        self.logs = folder / "logs"
        self._name = name
        self._folder = folder
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start supervisord, which starts the programs; return at once. For the main thread (see start_child)."""
        self.logs.mkdir(mode=0o700, exist_ok=True)
        configuration = self._folder / f"{self._name}.conf"
        configuration.write_text(self.configuration(), encoding="utf-8")
        self._process = start_child(
            [sys.executable, "-m", "supervisor.supervisord", "-c", configuration],
            log=self.logs / f"{self._name}.log",
            environment=environment,
            ends_by=signal.SIGTERM,
        )

    def stop(self) -> None:
        """Stop the programs in reverse order, each with time to end its work. Harmless where it is stopped."""
        if self._process:
            stop_child(self._process, signal.SIGTERM, patience=GRACE * len(self._programs) + 5)
            self._process = None

    def check(self) -> None:
        """Raise StackProblem where supervisord has gone, or has given up on a program."""
        if self._process is None or self._process.poll() is None:
            return
        log = self.logs / f"{self._name}.log"
        raise StackProblem(f"supervisord stopped; {log} ends:\n{last_lines(log)}")

    @property
    def process_id(self) -> int | None:
        """The process id of supervisord, or None where it is stopped."""
        return self._process.pid if self._process else None

    def configuration(self) -> str:
        """Return supervisord's configuration. Secrets are not in it: programs inherit supervisord's environment."""
        head = {
            "nodaemon": "true",
            "logfile": "/dev/null",  # it tells everything on its output too, which goes to a log
            "logfile_maxbytes": "0",
            "pidfile": str(self._folder / f"{self._name}.pid"),
            "directory": str(CLONE),
            **({"user": "root"} if os.geteuid() == 0 else {}),
        }
        sections = [_section("supervisord", head)]
        for program in self._programs:
            # setpriv: the kernel ends the program when supervisord itself is killed.
            command = ["setpriv", "--pdeathsig", "TERM", "--", *program.command]
            options = {
                "command": shlex.join(command),
                "directory": str(CLONE),
                "environment": f'PORTAL_PROCESS="{program.kind}",PYTHONUNBUFFERED="1"',
                "priority": str(program.priority),
                "autorestart": "true",
                "startretries": "20",
                "stopwaitsecs": str(GRACE),
                "redirect_stderr": "true",
                "stdout_logfile": str(self.logs / f"{program.name}.log"),
                "stdout_logfile_maxbytes": "10MB",
                "stdout_logfile_backups": "1",
            }
            sections.append(_section(f"program:{program.name}", options))
        return "\n".join(sections)


def _section(name: str, options: Mapping[str, str]) -> str:
    lines = [f"{option}={value.replace('%', '%%')}" for option, value in options.items()]
    return "\n".join([f"[{name}]", *lines, ""])

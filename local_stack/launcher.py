"""`make demo` and `make run`: everything up in order, watched while it runs, down in reverse order."""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from local_stack.demo_people import sign_ins
from local_stack.environment import for_note, for_processes, local_defaults, simulator_connection, without_vplus
from local_stack.folder import CLONE, data_folder, make_data_folder, make_private
from local_stack.log_watch import LogWatch
from local_stack.probes import free_port, simulator_answers, wait_for_answer, web_answers
from local_stack.problem import StackProblem
from local_stack.processes import Supervisor, portal_programs, simulator
from local_stack.running import forget, note_running, only_one
from local_stack.secrets_file import kept_secrets, secret_file
from local_stack.servers import Servers, is_given, servers
from local_stack.signals import StopAsked, stop_on_signals
from local_stack.terminal import say, step

SIMULATOR_PORT = 8181
_START_SECONDS = 90
_MOST_OPEN_FILES = 65536
_FILLED = "filled"


class _Place(NamedTuple):
    """Where one stack lives: the clone's data folder, the folder of this kind of stack inside it, the web port."""

    root: Path
    folder: Path
    port: int


def demo(port: int) -> None:
    """Run the portal with the simulator and demo tenants on ``port`` until a signal asks to stop."""
    with _place("demo", port) as place, ExitStack() as stack:
        if not (place.folder / _FILLED).exists():
            _drop_half_filled(place.folder)
        secrets = kept_secrets(place.folder)
        vplus_port = free_port(SIMULATOR_PORT)
        tls = make_private(place.folder / "tls")
        password = secret_file(place.folder, "simulator-password", secrets.simulator_password)
        given = without_vplus(os.environ)
        state, current = place.folder / "simulator.state", given.get("VPLUS_DIALECT") == "current"
        program = simulator(vplus_port, tls, state, password, current=current)
        vplus = Supervisor(place.folder, [program], name="simulator-supervisor")
        stack.callback(vplus.stop)
        vplus.start(given)

        running, environment = _ground(place, given | simulator_connection(vplus_port, tls, secrets), stack)
        with step("Simulated vPlus"):  # before anything reads the settings: it makes the authority that they name
            wait_for_answer(
                partial(simulator_answers, vplus_port, tls / "ca.pem"),
                vplus.check,
                log=vplus.logs / "simulator.log",
                patience=_START_SECONDS,
            )
        _bring_up_to_date(environment)
        if not (place.folder / _FILLED).exists():
            _module("local_stack.demo_data", environment, shown=True)
            (place.folder / _FILLED).touch()
        _serve(place, running, environment, stack, words=sign_ins(), beside=[vplus])


def run(port: int) -> None:
    """Run the portal on ``port`` against the vPlus that the environment names, until a signal asks to stop."""
    for name in ("VPLUS_URL", "VPLUS_USERNAME", "VPLUS_PASSWORD"):
        if not is_given(os.environ, name):
            raise StackProblem(f"{name} is not set. .env.example tells what each variable means.")
    with _place("run", port) as place, ExitStack() as stack:
        running, environment = _ground(place, os.environ, stack)
        _bring_up_to_date(environment)
        words = "  The first person: .venv/bin/python manage.py create_user EMAIL --provider operator"
        _serve(place, running, environment, stack, words=words, beside=[])


@contextmanager
def _place(name: str, port: int) -> Iterator[_Place]:
    """Turn signals into StopAsked, hold the clone's lock, refuse a busy port, and give the place of a stack."""
    with stop_on_signals():
        try:
            root = make_data_folder(data_folder())
            with only_one(root):
                if free_port(port) != port:
                    another = f"make {name} PORT={port + 1}"
                    raise StackProblem(f"Port {port} is in use by another program; choose another one: {another}")
                # Not make_private: where root starts it, `nobody` has to pass through to PostgreSQL's own folder.
                yield _Place(root, make_data_folder(root / name), port)
        except StopAsked:
            say("Stopped.")


def _ground(place: _Place, given: Mapping[str, str], stack: ExitStack) -> tuple[Servers, dict[str, str]]:
    """Start the servers that the environment does not give; return them and the whole environment."""
    _raise_open_files()
    say(f"Starting vPlus Portal; its data is in {place.folder}")
    with step("PostgreSQL and Redis"):
        running = stack.enter_context(servers(given, place.folder, place.root))
    secret_key = kept_secrets(place.folder).secret_key
    defaults = local_defaults(given, folder=place.folder, port=place.port, secret_key=secret_key)
    return running, {**given, **defaults, **running.addresses}


def _bring_up_to_date(environment: Mapping[str, str]) -> None:
    with step("Database, static files"):
        _module("local_stack.prepare", environment)


def _serve(
    place: _Place,
    running: Servers,
    environment: Mapping[str, str],
    stack: ExitStack,
    *,
    words: str,
    beside: Sequence[Supervisor],
) -> None:
    """Start the portal's processes, print where it is and ``words``, and watch until a signal comes."""
    for leaving in (place.folder / "metrics").glob("*.db"):  # counters of processes that are gone
        leaving.unlink()
    portal = Supervisor(place.folder, portal_programs(place.port, place.folder))
    stack.callback(portal.stop)
    stack.callback(say, "Stopping ...")
    stack.callback(forget, place.root)
    watch = LogWatch(portal.logs)
    with step("Workers and web server"):
        portal.start(for_processes(environment))
        note_running(place.root, for_note(environment))
        wait_for_answer(
            partial(web_answers, place.port), portal.check, log=portal.logs / "web.log", patience=_START_SECONDS
        )
    say(f"\nvPlus Portal is at http://localhost:{place.port}\n\n{words}\n")
    mail = urlsplit(environment.get("EMAIL_URL", ""))
    if mail.scheme == "file":
        say(f"Mail that the portal sends lies in {mail.path}, a file for each.")
    say(f"Logs are in {portal.logs}; warnings and errors are shown here. Ctrl-C stops everything.")
    while True:
        for line in watch.new_lines():
            say(line)
        running.check()
        for supervisor in (portal, *beside):
            supervisor.check()
        time.sleep(1)


def _module(name: str, environment: Mapping[str, str], *, shown: bool = False) -> None:
    """Run a module of ours in a process of its own; what it prints is ``shown``, or told where it fails."""
    done = subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-m", name],
        cwd=CLONE,
        env=dict(environment),
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=None if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
    )
    if done.returncode:
        raise StackProblem(f"{name} did not finish.\n{done.stdout or ''}".rstrip())


def _drop_half_filled(folder: Path) -> None:
    """Begin anew where the first start was cut short while it filled the demo."""
    shutil.rmtree(folder / "postgres", ignore_errors=True)
    (folder / "simulator.state").unlink(missing_ok=True)


def _raise_open_files() -> None:
    """Each open live stream is a file to the web process, and 1,024 is a common limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""`python -m vplus_simulator`: the simulator as a process of its own."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from .coverage import coverage
from .faults import Fault, FaultPlan
from .http import SimulatorServer
from .options import ServerOptions
from .seed.plan import SeedPlan
from .settings import Settings, changed, from_words
from .state_file import UnreadableState

log = logging.getLogger("vplus_simulator")
T = TypeVar("T")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m vplus_simulator", description="A stand-in vPlus server over HTTPS."
    )
    add = arguments.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=8181, help="port to listen on, 0 takes a free one (%(default)s)")
    add("--tls-dir", type=Path, help="where ca.pem and server.pem are, or are made")
    add("--tls-name", action="append", default=[], metavar="NAME", help="another name for the certificate that is made")
    add("--username", default="portal", help="the account's login (%(default)s)")
    add("--password-file", type=Path, help="file with the password; else SIMULATOR_PASSWORD from the environment")
    add(
        "--seed",
        default="small",
        choices=("demo", "small", "empty", "scale"),
        help="the world to begin with (%(default)s)",
    )
    add("--vms", type=int, default=1000, help="VMs of the seed scale (%(default)s)")
    add("--tenants", type=int, default=10, help="tenants of the seed scale (%(default)s)")
    add("--backups-per-vm", type=int, default=0, help="backups per VM of the seed scale (%(default)s)")
    add("--random-seed", type=int, default=1, help="what ids and chances come from (%(default)s)")
    add("--state", type=Path, metavar="FILE", help="keep the world in this file; it wins over --seed when it exists")
    add("--speed", type=float, default=1.0, help="how much faster than the wall clock time passes (%(default)s)")
    add("--clock-offset", type=float, default=0.0, metavar="SECONDS", help="a clock that is wrong by this much")
    add("--stepped", action="store_true", help="time moves only by POST /control/step")
    add("--dialect", choices=("guide", "current"), help="the generation of the API that is spoken (guide)")
    add("--richness", choices=("poorest", "plain", "generous"), help="what the answers contain (poorest)")
    add("--no-paging", action="store_true", help="page and size are ignored, X-Total-Count is not sent")
    add("--paging", action="store_true", help="page and size are honoured, also at the poorest")
    add("--tenant-filter", choices=("guide", "current", "ignored"), help="which spelling of the tenant filter works")
    add(
        "--task-response",
        choices=("default", "one", "array", "batch", "empty"),
        help="answer to POSTs that create tasks",
    )
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="added to every call")
    add(
        "--certificate",
        choices=("ca", "vplus"),
        default="ca",
        help="vplus: self-signed, a common name only (%(default)s)",
    )
    add("--fault", action="append", default=[], metavar="JSON", help="arm a fault; faults.py names its members")
    add("--fault-plan", metavar="JSON", help='arm faults by seeded chance, as {"seed":7,"rate":0.1}')
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any switch of settings.py, the value as JSON")
    add("--coverage", action="store_true", help="print the list of calls that exist and end")
    add("--verbose", action="store_true", help="log every call")
    return arguments


def options_from(arguments: argparse.Namespace) -> ServerOptions:
    """Return what the command line asks for. Raises ValueError with one sentence for the reader."""
    changes = from_words(arguments.set)
    if arguments.paging and arguments.no_paging:
        raise ValueError("--paging and --no-paging exclude each other")
    if arguments.paging or arguments.no_paging:
        changes["paging"] = arguments.paging
    for name in ("dialect", "richness", "tenant_filter", "task_response"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    try:
        settings = changed(Settings(), changes)
    except msgspec.ValidationError as error:
        raise ValueError(f"--set: {error}") from error
    faults = tuple(_json("--fault", word, Fault) for word in arguments.fault)
    for fault in faults:
        fault.check()
    plan = arguments.fault_plan
    return ServerOptions(
        host=arguments.host,
        port=arguments.port,
        tls_dir=arguments.tls_dir,
        tls_names=tuple(arguments.tls_name),
        username=arguments.username,
        password=_password(arguments.password_file),
        seed=SeedPlan(
            name=arguments.seed,
            vms=arguments.vms,
            tenants=arguments.tenants,
            backups_per_vm=arguments.backups_per_vm,
        ),
        random_seed=arguments.random_seed,
        settings=settings,
        state_file=arguments.state,
        stepped=arguments.stepped,
        speed=arguments.speed,
        clock_offset_seconds=arguments.clock_offset,
        latency_seconds=arguments.latency,
        certificate=arguments.certificate,
        faults=faults,
        fault_plan=None if plan is None else _json("--fault-plan", plan, FaultPlan),
    )


def _json(option: str, word: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(word, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{option}: {error}") from error


def _password(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"--password-file: {error}") from error
    password = os.environ.get("SIMULATOR_PASSWORD")
    if not password:
        raise ValueError("Set SIMULATOR_PASSWORD or give --password-file: the account needs a password")
    return password


def main(words: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    arguments = parser().parse_args(words)
    if arguments.coverage:
        sys.stdout.write(coverage())
        return 0
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        server = SimulatorServer(options_from(arguments)).start()
    except (ValueError, UnreadableState, OSError) as error:
        log.error("%s", error)  # noqa: TRY400 - one sentence for the person who started it, not a stack
        return 2
    log.info("vPlus simulator: %s, CA certificate %s, control %s", server.url, server.ca_path, server.control_url)
    ended.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

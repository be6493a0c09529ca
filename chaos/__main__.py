"""`make chaos`: the portal's own processes under load, faults and kills for some minutes, and then the reckoning.

It starts what `make demo` starts, on servers of its own and with two workers that send; lets concurrent clients of the API
ask for backups and restores of several tenants; meanwhile vPlus fails by seeded chance, workers are killed and paused,
Redis is wiped and PostgreSQL restarted. Then the trouble stops, everything comes to rest, and each operation's word is
compared with the simulator's own journal. It prints asked, settled, lost, doubled, misreported and needs attention, and
ends with status 0 only where the middle three are 0 and no client was answered with unknown trouble (5xx but 503). What
exactly these words mean stands in `chaos/reckoning.py`; the promise that they measure, in `docs/operators/exactly-once.md`.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from io import StringIO
from typing import Any

import django
from django.core.management import call_command
from django.db import OperationalError, close_old_connections

from chaos.reckoning import Reckoning, reckon
from chaos.stack import SETTLED_AFTER, Stack, running_stack
from chaos.trouble import Trouble
from local_stack.child import stop_child
from local_stack.demo_people import PEOPLE, PROVIDER
from local_stack.folder import CLONE
from local_stack.problem import StackProblem
from local_stack.signals import StopAsked, stop_on_signals
from local_stack.terminal import say, step

MAY_ASK = {"operator", "admin"}
REST_SECONDS = 240.0
"""How long everything has to come to rest, at most."""
CLIENTS_END_WITHIN = 120.0


def main() -> int:
    """Run it; return the exit status."""
    arguments = _parser().parse_args()
    try:
        with stop_on_signals(), running_stack(arguments.seed) as stack:
            return _chaos(stack, arguments)
    except StackProblem as problem:
        say(str(problem))
    except StopAsked as asked:
        return 128 + asked.number
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Trouble on purpose, and the reckoning.")
    parser.add_argument("--minutes", type=float, default=4, help="how long the trouble lasts (%(default)s)")
    parser.add_argument("--operations", type=int, default=300, help="how many are asked for (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what chance is drawn from (%(default)s)")
    parser.add_argument(
        "--rate", type=float, default=0.15, help="about which share of vPlus's calls fails (%(default)s)"
    )
    parser.add_argument(
        "--logs", action="store_true", help="print the processes' logs where the reckoning is not clean"
    )
    return parser


def _chaos(stack: Stack, arguments: argparse.Namespace) -> int:
    os.environ.update(stack.environment, DJANGO_SETTINGS_MODULE="portal.settings")
    django.setup()
    logging.disable(logging.WARNING)
    orders = {
        "url": stack.url,
        "operations": arguments.operations,
        "seconds": 60 * arguments.minutes,
        "seed": arguments.seed,
        "tenants": _tenants(),
    }
    say(f"  {arguments.minutes:g} minutes of trouble, seed {arguments.seed}:")
    accepted, answers, trouble = _under_trouble(stack, orders, arguments)
    with step("Everything comes to rest"):
        rested = _at_rest()
    result = _reckoning(stack, accepted)
    say(f"\n  Trouble: {trouble}")
    say(f"  Faults inside vPlus: {len(stack.vplus('GET', '/faults/journal'))}")
    say(f"  Answers to clients: {', '.join(f'{count} x {what}' for what, count in sorted(answers.items()))}")
    say(f"  At rest: {'yes' if rested else f'not within {REST_SECONDS:g} s'}\n")
    say(result.words())
    unknown = {what: count for what, count in answers.items() if _is_unknown_trouble(what)}
    if unknown:
        say(f"unknown trouble: {', '.join(f'{count} x {what}' for what, count in sorted(unknown.items()))}")
    clean = result.clean and not unknown
    if not clean and arguments.logs:
        for name, text in stack.logs().items():
            say(f"----- {name}\n{text}")
    return 0 if clean else 1


def _is_unknown_trouble(what: str) -> bool:
    """Tell whether an answer ("asked: 500") is trouble that nobody foresaw: a database that is away is a 503."""
    _, _, word = what.partition(": ")
    return word.startswith("5") and word != str(HTTPStatus.SERVICE_UNAVAILABLE.value)


def _tenants() -> list[dict[str, Any]]:
    """Return a token, the virtual machines and a place for restores of each tenant that need not choose a destination."""
    from tenants.models import Tenant
    from tenants.scope import every_tenant
    from vplus_bridge.models import AllowedDestination, AllowedRestoreTarget, VirtualMachine

    people = {place: person.email for person in PEOPLE for place, role in person.places if role in MAY_ASK}
    people.pop(PROVIDER, None)
    found = []
    for slug, email in people.items():
        with every_tenant("chaos: whose machines"):
            tenant = Tenant.objects.get(slug=slug)
            if AllowedDestination.objects.filter(tenant=tenant).count() != 1:
                continue
            machines = VirtualMachine.objects.filter(tenant=tenant, present=True, absent_since=None)
            guids = sorted(machines.values_list("guid", flat=True))
            target = (
                AllowedRestoreTarget.objects.filter(tenant=tenant).order_by("label").values_list("pk", flat=True)[0]
            )
        text = StringIO()
        call_command("create_token", email, tenant=slug, stdout=text)
        found.append({"token": text.getvalue().strip(), "machines": guids, "target": str(target)})
    return found


def _under_trouble(
    stack: Stack, orders: dict[str, Any], arguments: argparse.Namespace
) -> tuple[list[str], dict[str, int], str]:
    """Let the clients ask while trouble is made; return the accepted ids, the answers, and what trouble there was."""
    asked, answered = stack.folder / "orders.json", stack.folder / "results.json"
    asked.write_text(json.dumps(orders), encoding="utf-8")
    command = [sys.executable, "-m", "chaos.clients"]
    with asked.open() as source, answered.open("w") as target:
        clients = subprocess.Popen(command, cwd=CLONE, env=stack.environment, stdin=source, stdout=target)  # noqa: S603
        try:
            trouble, until = Trouble(stack, arguments.seed, arguments.minutes), time.monotonic() + orders["seconds"]
            trouble.begin(arguments.seed, arguments.rate)
            while time.monotonic() < until:
                began = time.monotonic()
                time.sleep(1)
                trouble.tick(time.monotonic() - began)
                stack.check()
            trouble.end()
            clients.wait(CLIENTS_END_WITHIN)
        finally:
            stop_child(clients, patience=0)
    if clients.returncode:
        raise StackProblem("The clients did not finish; what they said is above.")
    results = json.loads(answered.read_text(encoding="utf-8"))
    return results["accepted"], results["answers"], trouble.words()


def _at_rest() -> bool:
    """Wait until nothing more comes of any operation and no late task can turn up; tell whether that came in time."""
    from chaos.portal_side import told

    give_up, quiet_since = time.monotonic() + REST_SECONDS, time.monotonic()
    while time.monotonic() < give_up:
        with suppress(OperationalError):
            close_old_connections()
            if any(one.comes_to_more for one in told("chaos: at rest")):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > SETTLED_AFTER:
                return True
        time.sleep(0.5)
    return False


def _reckoning(stack: Stack, accepted: list[str]) -> Reckoning:
    from chaos.portal_side import told

    journal, backups = stack.vplus("GET", "/journal"), stack.vplus("GET", "/objects/backups")
    machines = stack.vplus("GET", "/objects/vms")
    return reckon(accepted, told("chaos: reckoning"), journal=journal, backups=backups, machines=machines)


if __name__ == "__main__":
    sys.exit(main())

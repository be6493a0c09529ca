"""Concurrent clients of the API, as scripts of several tenants are: a process of its own, orders in and results out.

Each asks for backups and restores with plain POSTs without an Idempotency-Key, now and then for several machines in one go,
and now and then cancels what it asked for. What gets no answer is not asked again: whether it was taken, the table tells
afterwards.
"""

import json
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import requests

CLIENTS = 6
RESTORED, SEVERAL, CANCELLED = 0.25, 0.2, 0.15
"""How often a client asks for a restore, or for backups of several machines at once, and how often it cancels."""
PATIENCE = 20.0


@dataclass
class Orders:
    """What the clients are to do: how many operations, in how many seconds, and who may ask for what."""

    url: str
    operations: int
    seconds: float
    seed: int
    tenants: list[dict[str, Any]]
    """Each with a ``token``, its ``machines`` and the ``target`` that its restores go to."""


@dataclass
class Results:
    """What came of it. ``accepted`` are ids of operations that were answered 202."""

    accepted: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str) -> None:
        """Count an answer."""
        with self.lock:
            self.answers[what] += 1

    def take(self, accepted: list[str]) -> None:
        """Note operations that were accepted."""
        with self.lock:
            self.accepted += accepted


def run(orders: Orders) -> Results:
    """Let all clients work until enough was accepted or the time is over."""
    results, until = Results(), time.monotonic() + orders.seconds
    pause = orders.seconds * CLIENTS / max(1, orders.operations) * 0.8

    def work(number: int) -> None:
        chance = random.Random(f"{orders.seed}|{number}")  # noqa: S311  # has to repeat itself
        with requests.Session() as http:
            http.trust_env = False
            while time.monotonic() < until and len(results.accepted) < orders.operations:
                _ask(http, orders, chance, results)
                time.sleep(chance.uniform(0.2, 1.8) * pause)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _ask(http: requests.Session, orders: Orders, chance: random.Random, results: Results) -> None:
    tenant = chance.choice(orders.tenants)
    wish = _restore_of if chance.random() < RESTORED else _backup_of
    body = wish(http, orders.url, tenant, chance)
    if body is None:
        results.note("no point to restore")
        return
    what, answer = _call(http, "POST", f"{orders.url}/api/v1/operations/", tenant["token"], body)
    results.note(f"{body['kind']}: {what}")
    if answer is None or answer.status_code != HTTPStatus.ACCEPTED:
        return
    mine = [one["id"] for one in answer.json()["operations"] if not one["already_active"]]
    results.take(mine)
    if mine and chance.random() < CANCELLED:
        time.sleep(chance.uniform(0, 4))
        what, _ = _call(http, "POST", f"{orders.url}/api/v1/operations/{mine[0]}/cancel/", tenant["token"], {})
        results.note(f"cancel: {what}")


def _backup_of(
    http: requests.Session, url: str, tenant: dict[str, Any], chance: random.Random
) -> dict[str, Any] | None:
    del http, url
    count = chance.randint(2, 3) if chance.random() < SEVERAL else 1
    machines = chance.sample(tenant["machines"], min(count, len(tenant["machines"])))
    return {"kind": "backup", "virtual_machines": machines, "backup_type": chance.choice(("FULL", "INCREMENTAL"))}


def _restore_of(
    http: requests.Session, url: str, tenant: dict[str, Any], chance: random.Random
) -> dict[str, Any] | None:
    """Return the wish for the newest point of some machine, under the name that the portal gives; None: it has none."""
    where = f"{url}/api/v1/virtual-machines/{chance.choice(tenant['machines'])}/restore-points/"
    _, answer = _call(http, "GET", where, tenant["token"])
    if answer is None or answer.status_code != HTTPStatus.OK or not answer.json()["results"]:
        return None
    point = answer.json()["results"][0]["guid"]
    return {"kind": "restore", "restore_point": point, "target": tenant["target"]}


def _call(
    http: requests.Session, method: str, url: str, token: str, body: Any = None
) -> tuple[str, requests.Response | None]:
    """Call; return what came of it in a word, and the answer where there is one."""
    try:
        answer = http.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE)
    except requests.RequestException as error:
        return type(error).__name__, None
    return str(answer.status_code), answer


def main() -> None:
    """Read orders from standard input, work, write the results to standard output."""
    results = run(Orders(**json.load(sys.stdin)))
    json.dump({"accepted": results.accepted, "answers": results.answers}, sys.stdout)


if __name__ == "__main__":
    main()

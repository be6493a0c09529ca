"""Fill an empty portal for the demo: the simulator's tenants, people with every role, virtual machines, destinations.

Done with the commands that a provider uses; run as a module of its own while no worker runs.
"""

import csv
import http.client
import io
import json
import logging
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.core.management import call_command

from local_stack.demo_people import PASSWORD, PEOPLE, PROVIDER
from local_stack.problem import StackProblem
from local_stack.terminal import step

_ZONES = {"klinika-zolw": "Europe/Warsaw", "piekarnia-labedz": "Europe/Warsaw", "oyama-robotics": "Asia/Tokyo"}
_ZONE = "Europe/Berlin"
_WITH_A_CHOICE = {"kestrel-games"}
"""Tenants that may store backups in several places; the others in one, so that nobody has to choose."""


def main() -> None:
    """Fill the portal that the environment names, from the simulator that it names."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    logging.disable(logging.WARNING)  # what the simulator does not let us read is expected here
    tenants, destinations = _ask("/control/tenants"), _ask("/control/objects/destinations")
    platforms = _Platforms()
    with step(f"Demo: {len(tenants)} tenants"):
        _make_tenants(tenants)
    with step("Demo: virtual machines and their backups, as read from the simulated vPlus"):
        call_command("sync_inventory", stdout=io.StringIO())
    with step("Demo: whose virtual machines are whose, where they may be stored and restored to"):
        for tenant in tenants:
            # Each by hand: the simulator, at its poorest, does not let the account read projects.
            call_command("assign_vms", tenant["slug"], *tenant["vm_guids"], stdout=io.StringIO())
            for destination in destinations:
                if destination["default"] or (tenant["slug"] in _WITH_A_CHOICE and _is_for_everybody(destination)):
                    call_command("allow_destination", tenant["slug"], destination["guid"], stdout=io.StringIO())
            platforms.allow_targets(tenant)
    with step("Demo: policies that vPlus had before, and what they promise"):
        _attach_policies(tenants)
        # Once more, for the verdicts of machines that have owners now.
        call_command("sync_inventory", no_histories=True, stdout=io.StringIO())
    with step(f"Demo: {len(PEOPLE)} people"):
        for person in PEOPLE:
            _make_person(person.email, person.name, person.places)


class _Platforms:
    """What the simulator knows of the platforms, for the places that tenants may restore to."""

    def __init__(self) -> None:
        self._managers = {each["guid"]: each for each in _ask("/control/objects/managers")}
        self._projects = {each["guid"]: each["name"] for each in _ask("/control/objects/projects")}
        self._clusters = _ask("/control/objects/clusters")
        self._manager_of = {each["guid"]: each["manager"] for each in _ask("/control/objects/vms")}

    def allow_targets(self, tenant: dict[str, Any]) -> None:
        """Allow the place where the tenant's machines are, by its own name; to those with a choice a second one."""
        guids = dict.fromkeys(self._manager_of[guid] for guid in tenant["vm_guids"])
        for guid in guids:
            of_openstack = self._managers[guid]["type"] == "OPENSTACK"
            places = {"hypervisor_manager": guid}
            if of_openstack and tenant["project_guid"]:
                places["project"] = self._projects[tenant["project_guid"]]
            words = "Production, Warsaw 1" if len(guids) == 1 or of_openstack else "Production, Warsaw 1 (vSphere)"
            self._allow(tenant, words, places)
            if tenant["slug"] in _WITH_A_CHOICE:
                spare = [each["uuid"] for each in self._clusters if each["manager"] == guid][-1]
                self._allow(tenant, f"Recovery, {words.partition(', ')[2]}", {**places, "cluster": spare})

    @staticmethod
    def _allow(tenant: dict[str, Any], label: str, places: dict[str, str]) -> None:
        call_command("allow_restore_target", tenant["slug"], name=label, stdout=io.StringIO(), **places)


def _attach_policies(tenants: list[dict[str, Any]]) -> None:
    """Let each tenant read the policies that bear its name, under the name of their level, as a provider would."""
    policies = _ask("/control/objects/policies")
    for tenant in tenants:
        for policy in policies:
            slug, _, level = policy["name"].rpartition("-")
            if slug == tenant["slug"]:
                words = {"name": level.capitalize()}
                call_command("attach_policy", tenant["slug"], policy["guid"], stdout=io.StringIO(), **words)


def _make_tenants(tenants: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tenants.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["slug", "name", "vplus_tenant_id", "time_zone"])
            writer.writerows(
                [each["slug"], each["name"], each["project_uuid"] or "", _ZONES.get(each["slug"], _ZONE)]
                for each in tenants
            )
        call_command("import_tenants", str(path), stdout=io.StringIO())


def _make_person(email: str, name: str, places: tuple[tuple[str, str], ...]) -> None:
    password = PASSWORD  # only the first time: a command does not change the password of an account that exists
    for place, role in places:
        where = {"provider": role} if place == PROVIDER else {"tenant": place, "role": role}
        with _standard_input(password):
            call_command("create_user", email, name=name, stdout=io.StringIO(), **where)
        password = ""


def _is_for_everybody(destination: dict[str, Any]) -> bool:
    return bool(destination["enabled"] and destination["projects"] is None)


@contextmanager
def _standard_input(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before


def _ask(path: str) -> list[dict[str, Any]]:
    """Return what the simulator's control API tells, over HTTPS and verified."""
    name = urlsplit(os.environ["VPLUS_URL"]).netloc
    context = ssl.create_default_context(cafile=os.environ["VPLUS_CA_BUNDLE"])
    connection = http.client.HTTPSConnection(name, timeout=30, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise StackProblem(f"The simulator answers {response.status} to {path}.")
    answer: list[dict[str, Any]] = json.loads(body)
    return answer


if __name__ == "__main__":
    main()

"""Backup destinations, projects and what VMs run on, for reading (vplus-api.md 2.9, 2.10)."""

from __future__ import annotations

from typing import Any

from ..listing import answer_list, in_order, matches_text
from ..messages import Answer, Refusal, bad_request, json_answer, not_found, reference_guids
from .call import Call, Route


def _list(call: Call, kind: str, items: list[Any], *, name: str = "name") -> Answer:
    rows = [item for item in items if matches_text(call.request, getattr(item, name))]
    return answer_list(call.request, call.painter, kind, in_order(call.request, call.painter, kind, rows))


def destinations(call: Call) -> Answer:
    """List all backup destinations."""
    return _list(call, "destination", list(call.world.destinations.values()))


def usable_for_vms(call: Call) -> Answer:
    """List the destinations that every one of the given VMs may use."""
    guids = reference_guids(call.request.json(), "The request body")
    if not guids:
        raise bad_request("At least one virtual machine must be given")
    for guid in guids:
        if guid not in call.world.vms:
            raise not_found("Virtual machine", guid)
    vms = [call.world.vms[guid] for guid in guids]
    usable = [d for d in call.world.destinations.values() if all(call.world.usable(d, vm) for vm in vms)]
    return _list(call, "destination", usable)


def projects(call: Call) -> Answer:
    """List projects, where this account may."""
    if call.settings.projects_call == "forbidden":
        raise Refusal(403, "Access denied")
    if call.settings.projects_call == "missing":
        raise Refusal(404, "Not found")
    return _list(call, "project", list(call.world.projects.values()))


def managers(call: Call) -> Answer:
    """List hypervisor managers; with `backup-to-be-restored` those that the backup can go to."""
    found = list(call.world.managers.values())
    guid = call.request.one("backup-to-be-restored")
    if guid is not None:
        backup = call.world.backups.get(guid)
        if backup is None:
            raise not_found("Backup", guid)
        kind = call.world.managers[call.world.vms[backup.vm].manager].type
        found = [manager for manager in found if manager.type == kind]
    return _list(call, "manager", found)


def hypervisors(call: Call) -> Answer:
    """List hypervisors."""
    return _list(call, "hypervisor", list(call.world.hypervisors.values()), name="host")


def hypervisor(call: Call) -> Answer:
    """Return one hypervisor."""
    guid = call.request.parts["guid"]
    if guid not in call.world.hypervisors:
        raise not_found("Hypervisor", guid)
    return json_answer(call.painter.record("hypervisor", call.world.hypervisors[guid], detail=True))


def clusters(call: Call) -> Answer:
    """List clusters, of one manager where `hypervisor-manager` is given."""
    manager = call.request.one("hypervisor-manager")
    found = [cluster for cluster in call.world.clusters.values() if manager in (None, cluster.manager)]
    return _list(call, "cluster", found)


def storages(call: Call) -> Answer:
    """List storages, of one manager where `hypervisor-manager` is given."""
    manager = call.request.one("hypervisor-manager")
    found = [storage for storage in call.world.storages.values() if manager in (None, storage.manager)]
    return _list(call, "storage", found)


ROUTES = (
    Route("GET", "/backup-destinations", destinations, "list"),
    Route("POST", "/backup-destinations/usable-for-vms", usable_for_vms, "destinations usable for all given VMs"),
    Route("GET", "/projects", projects, "list; 403 or 404 by switch, 403 at the poorest"),
    Route("GET", "/hypervisor-managers", managers, "list; `backup-to-be-restored`"),
    Route("GET", "/hypervisors", hypervisors, "list"),
    Route("GET", "/hypervisors/{guid}", hypervisor, "one"),
    Route("GET", "/hypervisor-clusters", clusters, "list; `hypervisor-manager`"),
    Route("GET", "/hypervisor-storages", storages, "list; `hypervisor-manager`"),
)

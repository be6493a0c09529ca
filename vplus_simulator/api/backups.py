"""Backup records, for reading (vplus-api.md 2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..entities import BACKUP_STATUSES, BACKUP_TYPES, Backup
from ..listing import answer_list, has_text, in_order, matches_text
from ..messages import Answer, Refusal, Request, enum_name, json_answer, not_found
from ..retention import STORED
from .call import Call, Route
from .tenant_filter import wanted_project

Test = Callable[[Backup], bool]

EQUAL: dict[str, Callable[[Call, Backup], str | None]] = {
    "backup-destination": lambda call, b: b.destination,
    "backup-rule": lambda call, b: b.rule,
    "backup-policy": lambda call, b: b.policy,
    "parent-backup": lambda call, b: b.parent,
    "root-backup": lambda call, b: b.root or b.guid,
    "hypervisor-manager": lambda call, b: call.world.vms[b.vm].manager,
    "hypervisor": lambda call, b: call.world.vms[b.vm].hypervisor,
}
"""Parameters that name one object, and where a backup has it."""
REPEATED = {"backup-policy"}


def listing(call: Call) -> Answer:
    """List backups, oldest first; without `protected-entity` those of every VM."""
    rows = in_order(call.request, call.painter, "backup", _filtered(call))
    return answer_list(call.request, call.painter, "backup", rows)


def _filtered(call: Call) -> list[Backup]:
    request, world = call.request, call.world
    vm = request.one("protected-entity")
    found: Iterable[Backup] = world.backups.values()
    if vm is not None:
        found = [world.backups[guid] for guid in world.backups_of.get(vm, [])]
    tests = _tests(call)
    return [backup for backup in found if all(test(backup) for test in tests)]


def _tests(call: Call) -> list[Test]:
    request = call.request
    statuses = {enum_name(value, "status", BACKUP_STATUSES) for value in request.many("status")}
    tests: list[Test] = [lambda b: b.status in statuses] if statuses else []
    kind = request.one("type")
    if kind is not None:
        wanted = enum_name(kind, "type", BACKUP_TYPES)
        tests.append(lambda b: b.type == wanted)
    for name, value_of in EQUAL.items():
        asked = set(request.many(name) if name in REPEATED else request.many(name)[:1])
        if asked:
            tests.append(_one_of(asked, value_of, call))
    tests += _number_tests(request)
    if request.flag("only-mountable"):
        tests.append(lambda b: b.status in STORED)
    in_progress = request.flag("in-progress")
    if in_progress is not None:
        tests.append(lambda b: (b.status in {"QUEUED", "INPROGRESS"}) == in_progress)
    projects = wanted_project(call)
    if projects is not None:
        tests.append(lambda b: b.project in projects)
    if has_text(request):
        tests.append(lambda b: matches_text(request, b.vm_name))
    return tests


def _one_of(asked: set[str], value_of: Callable[[Call, Backup], str | None], call: Call) -> Test:
    return lambda backup: value_of(call, backup) in asked


def _number_tests(request: Request) -> list[Test]:
    tests: list[Test] = []
    since, until, least = request.whole("from"), request.whole("to"), request.whole("min-size")
    if since is not None:
        tests.append(lambda b: b.snapshot_time is not None and b.snapshot_time >= since)
    if until is not None:
        tests.append(lambda b: b.snapshot_time is not None and b.snapshot_time <= until)
    if least is not None:
        tests.append(lambda b: b.size >= least)
    return tests


def one(call: Call) -> Answer:
    """Return one backup."""
    guid = call.request.parts["guid"]
    backup = call.world.backups.get(guid)
    if backup is None:
        raise not_found("Backup", guid)
    return json_answer(call.painter.record("backup", backup, detail=True))


def locations(call: Call) -> Answer:
    """List the copies of backups, of one VM where `protected-entity` is given; the guide's server has no such call."""
    return _locations(call, lambda backup: True)


def locations_for_restore(call: Call) -> Answer:
    """List the copies that a restore can read."""
    return _locations(call, lambda backup: backup.status in STORED)


def _locations(call: Call, test: Test) -> Answer:
    if not call.settings.current:
        raise Refusal(404, "Not found")
    vm, world = call.request.one("protected-entity"), call.world
    found = [
        b for b in world.backups.values() if vm in (None, b.vm) and b.destination in world.destinations and test(b)
    ]
    return answer_list(call.request, call.painter, "backup_location", found)


ROUTES = (
    Route(
        "GET",
        "/backups",
        listing,
        "list; `protected-entity`, `status` (repeated), `type`, `from`, `to`, `min-size`, `only-mountable`, "
        "`in-progress`, `backup-destination`, `backup-policy` (repeated), `backup-rule`, `parent-backup`, "
        "`root-backup`, `hypervisor-manager`, `hypervisor`, `project-uuid`, `filter`, `nameLike`, paging",
    ),
    Route("GET", "/backups/{guid}", one, "one"),
    Route("GET", "/backup-locations", locations, "list of copies, in the current dialect; `protected-entity`, paging"),
    Route(
        "GET",
        "/backup-locations/for-restore",
        locations_for_restore,
        "those that can be restored, in the current dialect; `protected-entity`, paging",
    ),
)

"""Asking for a restore with import, and the restore jobs that remember it (vplus-api.md 2.2.4, 2.6)."""

from __future__ import annotations

from typing import Any

from ..entities import Backup, RestoreJob
from ..listing import answer_list, in_order
from ..messages import Answer, Refusal, bad_request, json_answer, not_found, optional_number, reference_guid
from ..shapes import LOCATION
from .call import Call, Route
from .tasks import DEFAULT_PRIORITY, HIGHEST_PRIORITY, created, note


def restore_and_import(call: Call) -> Answer:
    """Take a restore: one RESTORE task now, an IMPORT task later. What cannot be done fails as a task (1.8)."""
    body, world = call.request.json_object(), call.world
    backup = _backup(call, body)
    hypervisor = reference_guid(body.get("hypervisor"), "hypervisor")
    manager = reference_guid(body.get("hypervisorManager"), "hypervisorManager")
    if (hypervisor is None) == (manager is None):
        raise bad_request("Exactly one of hypervisor and hypervisorManager must be given")
    if hypervisor is not None:
        if hypervisor not in world.hypervisors:
            raise not_found("Hypervisor", hypervisor)
        manager = world.hypervisors[hypervisor].manager
    if manager is None or manager not in world.managers:
        raise not_found("Hypervisor manager", str(manager))
    priority = optional_number(body, "priority")
    if priority is not None and not 0 <= priority <= HIGHEST_PRIORITY:
        raise bad_request(f"priority must be between 0 and {HIGHEST_PRIORITY}")
    overwrite = body.get("overwrite") or False
    if not isinstance(overwrite, bool):
        raise bad_request("overwrite must be true or false")
    job = RestoreJob(
        guid=world.new_guid("restore job"),
        vm=backup.vm,
        backup=backup.guid,
        restore_time=call.now,
        name=_text(body, "restoredPeName") or backup.vm_name,
        manager=manager,
        hypervisor=hypervisor,
        storage_id=_text(body, "restoreStorageId"),
        cluster_id=_text(body, "restoreClusterId"),
        project=_project_in_headers(call) if call.settings.current else _project(body),
        overwrite=overwrite,
    )
    task = call.engine.restores.ask(
        job, backup, now=call.now, priority=DEFAULT_PRIORITY if priority is None else priority
    )
    note(call, task)
    call.engine.advance(call.now)
    return created(call, [task], default="one")


def _backup(call: Call, body: dict[str, Any]) -> Backup:
    guid = reference_guid(body.get("backup"), "backup")
    location = reference_guid(body.get("backupLocation"), "backupLocation")
    if call.settings.current and location is None:
        raise bad_request("backupLocation must be given")
    if guid is None and location is None:
        raise bad_request("backup must be given")
    if location is not None:
        stored = location.removeprefix(LOCATION)
        if guid not in (None, stored):
            raise bad_request("backupLocation is not of that backup")
        guid = stored
    if guid is None or guid not in call.world.backups:
        raise not_found("Backup", str(guid))
    return call.world.backups[guid]


def _text(body: dict[str, Any], name: str) -> str | None:
    """Read a text that may be absent, null or empty: not chosen."""
    value = body.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise bad_request(f"{name} must be a text")
    return value


def _project(body: dict[str, Any]) -> str | None:
    """Read the target project: its name as a text, or a whole record (4.9)."""
    value = body.get("restoreProject")
    return _text(value, "name") if isinstance(value, dict) else _text(body, "restoreProject")


def _project_in_headers(call: Call) -> str | None:
    """Return the name of the project on whose behalf the call is made: the current dialect's target (2.2.4, 4.9)."""
    uuid = call.request.headers.get("3rd-party-project") or call.request.one("project-uuid")
    return next((project.name for project in call.world.projects.values() if project.uuid == uuid), None)


def jobs(call: Call) -> Answer:
    """List restore jobs, oldest first, where this server has the call."""
    _refuse_where_closed(call)
    request, world = call.request, call.world
    vm, since, until = request.one("protected-entity"), request.whole("from"), request.whole("to")
    rows = [
        job
        for job in world.restore_jobs.values()
        if vm in (None, job.vm)
        and (since is None or job.restore_time >= since)
        and (until is None or job.restore_time <= until)
    ]
    return answer_list(request, call.painter, "restore_job", in_order(request, call.painter, "restore_job", rows))


def job(call: Call) -> Answer:
    """Return one restore job."""
    _refuse_where_closed(call)
    guid = call.request.parts["guid"]
    if guid not in call.world.restore_jobs:
        raise not_found("Restore job", guid)
    return json_answer(call.painter.record("restore_job", call.world.restore_jobs[guid], detail=True))


def _refuse_where_closed(call: Call) -> None:
    if call.settings.restore_jobs_call == "forbidden":
        raise Refusal(403, "Access denied")
    if call.settings.restore_jobs_call == "missing":
        raise Refusal(404, "Not found")


ROUTES = (
    Route(
        "POST",
        "/tasks/restore-and-import",
        restore_and_import,
        "restores: RESTORE, then IMPORT makes a VM",
        changes=True,
    ),
    Route(
        "GET", "/restore-jobs", jobs, "list; `protected-entity`, `from`, `to`; 403 or 404 by switch, 404 at the poorest"
    ),
    Route("GET", "/restore-jobs/{guid}", job, "one"),
)

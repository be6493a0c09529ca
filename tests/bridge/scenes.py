"""What many tests of the bridge begin with: a wish, a record as vPlus words it, and rows as the mirror would hold them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import requests
from django.utils import timezone

from tenants.scope import every_tenant, in_tenant
from tests.conftest import VPLUS_PASSWORD, Member
from vplus_bridge.models import Attempt, Backup, ChainTask, Operation, Step, Task, VirtualMachine
from vplus_bridge.operations import follow
from vplus_bridge.operations.request import Asked, BackupWish, request_backups
from vplus_bridge.operations.restore_request import RestoreWish, request_restore

T0 = datetime(2026, 11, 24, 12, 0, 7, tzinfo=timezone.get_default_timezone())
WEB = "vm-alpha-web"


def ask(member: Member, *machines: str, **wish: Any) -> Asked:
    actor = member.actor
    with in_tenant(actor.tenant_id):
        return request_backups(actor, BackupWish(machines or (WEB,), **wish), now=timezone.now())


def ask_restore(member: Member, restore_point: str = "backup-web-full", **wish: Any) -> Asked:
    actor = member.actor
    with in_tenant(actor.tenant_id):
        return request_restore(actor, RestoreWish(restore_point, **wish), now=timezone.now())


def restores_sent(simulator: Any) -> list[Any]:
    return [entry for entry in simulator.control.journal() if entry.call == "POST /tasks/restore-and-import"]


def operation(asked: Asked) -> Operation:
    with every_tenant("test"):
        return Operation.objects.get(pk=asked.operations[0].pk)


def attempts(asked: Asked) -> list[Attempt]:
    with every_tenant("test"):
        return list(Attempt.objects.filter(step__operation=asked.operations[0].pk).order_by("number"))


def machine(guid: str = WEB) -> VirtualMachine:
    with every_tenant("test"):
        return VirtualMachine.objects.get(guid=guid)


def machines() -> dict[str, VirtualMachine]:
    with every_tenant("test"):
        return {row.guid: row for row in VirtualMachine.objects.all()}


def tasks() -> dict[str, Task]:
    with every_tenant("test"):
        return {row.guid: row for row in Task.objects.all()}


def backups(vm_guid: str = WEB) -> dict[str, Backup]:
    with every_tenant("test"):
        return {row.guid: row for row in Backup.objects.filter(virtual_machine_guid=vm_guid)}


def exports_sent(simulator: Any) -> list[Any]:
    return [entry for entry in simulator.control.journal() if entry.call == "POST /tasks/export"]


# Records as vPlus words them; the poorest that may come.


def vm_record(guid: str, **members: Any) -> dict[str, Any]:
    return {"guid": guid, "uuid": f"uuid-{guid}", "name": guid, "present": True, **members}


def task_record(guid: str, state: str = "RUNNING", vm: str | None = WEB, **members: Any) -> dict[str, Any]:
    entity = {} if vm is None else {"protectedEntity": {"guid": vm, "name": vm}}
    return {"guid": guid, "type": {"name": "EXPORT"}, "state": {"name": state}, **entity, **members}


def backup_record(guid: str, status: str = "SUCCESS", vm: str | None = WEB, **members: Any) -> dict[str, Any]:
    entity = {} if vm is None else {"protectedEntity": {"guid": vm, "name": vm}}
    return {"guid": guid, "status": {"name": status}, **entity, **members}


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


# Rows as the mirror would hold them.


def vm_row(guid: str = WEB, **facts: Any) -> VirtualMachine:
    usual: dict[str, Any] = {"uuid": f"uuid-{guid}", "name": guid, "present": True, "digest": b""}
    with every_tenant("test"):
        return VirtualMachine.objects.create(guid=guid, **{**usual, **facts})


def task_row(guid: str, kind: str = "EXPORT", state: str = "QUEUED", **facts: Any) -> Task:
    ended = state in {"FINISHED", "FAILED", "CANCELLED"} or facts.get("vanished_at") is not None
    seen = facts.get("first_seen_at", timezone.now())
    usual: dict[str, Any] = {
        "virtual_machine_guid": WEB,
        "digest": b"read",
        "live": not ended,
        "changed_at": seen,
        "ended_seen_at": facts.get("vanished_at", timezone.now()) if ended else None,
    }
    with every_tenant("test"):
        row, _made = Task.objects.update_or_create(guid=guid, defaults={"type": kind, "state": state, **usual, **facts})
        return row


def backup_row(guid: str, status: str = "SUCCESS", **facts: Any) -> Backup:
    usual: dict[str, Any] = {"virtual_machine_guid": WEB, "digest": b"", "taken_at_source": "first_seen"}
    with every_tenant("test"):
        row, _made = Backup.objects.update_or_create(guid=guid, defaults={"status": status, **usual, **facts})
        return row


def sent_operation(tenant: Any, *, task: str | None = "export-1", **facts: Any) -> Operation:
    """An operation whose export was sent ten minutes ago and, where ``task`` is given, made this task."""
    sent = facts.pop("sent_at", timezone.now() - timedelta(minutes=10))
    attempt_facts = {name: facts.pop(name) for name in ("stamp", "baseline_tasks", "baseline_backups") if name in facts}
    usual: dict[str, Any] = {
        "kind": "backup",
        "state": "submitted",
        "subject": WEB,
        "virtual_machine_guid": facts.get("subject", WEB),
        "requested_by_id": tenant.pk,
        "requested_by_name": "Oscar",
        "send_until": timezone.now() + timedelta(hours=6),
        "plan": {"backup_type": "FULL", "destination": "bd-main", "priority": 50, "tenant_label": ""},
    }
    with every_tenant("test"):
        row = Operation.objects.create(tenant=tenant, **{**usual, **facts})
        step = Step.objects.create(tenant=tenant, operation=row, position=1, action="export")
        attempt = Attempt.objects.create(
            tenant=tenant,
            step=step,
            sent_at=sent,
            outcome="accepted" if task else "uncertain",
            task_guid=task,
            **{"stamp": sent, **attempt_facts},
        )
        if task:
            ChainTask.objects.create(tenant=tenant, attempt=attempt, task_guid=task, stage="export", linked_by="answer")
    return row


def history_read(vm_guid: str = WEB, at: datetime | None = None) -> None:
    """Note that the history was read whole now, or at a moment."""
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid=vm_guid).update(history_read_at=at or timezone.now())


def followed(rows: Iterable[Operation] | Operation) -> Operation:
    """Bring an operation up to date and return it as it is then."""
    chosen = [rows] if isinstance(rows, Operation) else list(rows)
    with every_tenant("test"):
        follow.follow([row.pk for row in chosen])
        return Operation.objects.get(pk=chosen[0].pk)


def export(simulator: Any, *guids: str) -> None:
    """Start backups past the portal, as a person at the provider would."""
    body = {"backupType": {"name": "FULL"}, "protectedEntities": [{"guid": guid} for guid in guids]}
    _past_the_portal(simulator, "/tasks/export", body)


def restore_in_vplus(simulator: Any, backup: str = "backup-web-full") -> None:
    """Start a restore past the portal, as a person at the provider would."""
    body = {"backup": backup, "hypervisorManager": {"guid": "hvm-openstack"}, "restoredPeName": "web-by-hand"}
    _past_the_portal(simulator, "/tasks/restore-and-import", body)


def _past_the_portal(simulator: Any, path: str, body: dict[str, Any]) -> None:
    with requests.Session() as http:
        http.trust_env, http.verify = False, str(simulator.ca_path)
        sign_in = {"login": "portal", "password": VPLUS_PASSWORD}
        http.post(f"{simulator.url}/session/login", json=sign_in, timeout=5).raise_for_status()
        http.post(f"{simulator.url}{path}", json=body, timeout=5).raise_for_status()

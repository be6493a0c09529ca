"""The wire of the guide dialect: what we ask vPlus to do, as exact requests (vplus-api.md 0.1, 2.2, 2.7, 2.8).

The functions are those of `dialect.Dialect`, where each of them is explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from vplus_bridge.client.bodies import (
    checked_name,
    create_request,
    delete_request,
    enum,
    given,
    json_text,
    reference,
    replace_request,
)
from vplus_bridge.client.drafts import (
    POLICIES,
    RULES,
    SCHEDULES,
    NewPolicy,
    NewSchedule,
    PolicyMembers,
    RestorePlace,
    RuleDraft,
    RuleMembers,
    ScheduleMembers,
    changed_policy,
    changed_rule,
    changed_schedule,
    checked_destinations,
    destinations_in,
    new_policy,
    new_schedule,
    policy_members,
    rule_destinations,
    rule_members,
    schedule_members,
)
from vplus_bridge.client.errors import Invalid
from vplus_bridge.client.outcome import Expectation, WriteRequest
from vplus_bridge.client.records import RawObject
from vplus_bridge.client.transport import path_segment

TASK_TYPES: frozenset[str] = frozenset({
    "INDEX",
    "EXPORT",
    "STORE",
    "RESTORE",
    "OLD_BACKUPS_REMOVAL",
    "OLD_SNAPSHOTS_REMOVAL",
    "IMPORT",
    "MOUNT",
    "UNMOUNT",
    "DELETE",
    "SNAPSHOT",
    "SNAPSHOT_REVERSION",
})  # fmt: skip
SCHEDULE_TYPES: frozenset[str] = frozenset({"VM_BACKUP", "APP_BACKUP", "SNAPSHOT"})
POLICY_LIST_QUERY: tuple[tuple[str, str], ...] = ()
RULE_IS_EMBEDDED: bool = False
EXPORTS_BY_RULE: bool = False
RESTORES_A_COPY: bool = False
PROJECTS_BY_ID: bool = False


def tenant_query(tenant_label: str | None, project_uuid: str | None) -> list[tuple[str, str]]:
    """By the label, in the guide's spelling (vplus-api.md 4.1)."""
    return [] if tenant_label is None else [("tenantid", tenant_label)]


def export_request(
    *,
    vm_guid: str,
    destination_guid: str | None,
    backup_type: str,
    priority: int,
    window_start_ms: int,
    window_end_ms: int,
    tenant_label: str | None = None,
    rules: Sequence[RawObject] | None = None,
    project_uuid: str | None = None,
) -> WriteRequest:
    """Ask for one backup of one VM (vplus-api.md 2.2.3).

    The window is in ms UTC by vPlus's clock; `priority` is 0..100; `backup_type` FULL or INCREMENTAL.
    Without `destination_guid` the server chooses. `tenant_label` is the `tenantId` that the guide's own
    client sent: a label, never proof of ownership. `rules` and `project_uuid` are the current dialect's.
    """
    body: dict[str, Any] = {
        "windowStart": window_start_ms,
        "windowEnd": window_end_ms,
        "priority": priority,
        "backupType": enum(backup_type),
    }
    if destination_guid is not None:
        body["backupDestination"] = {"guid": destination_guid}
    body["protectedEntities"] = [{"guid": vm_guid}]
    if tenant_label is not None:
        body["tenantId"] = tenant_label
    return WriteRequest("POST", "/tasks/export", json_text(body), Expectation.TASK, "/tasks/export")


def restore_and_import_request(
    *,
    backup_guid: str,
    project_name: str | None = None,
    tenant_label: str | None = None,
    location_guid: str | None = None,
    project_uuid: str | None = None,
    **place: Unpack[RestorePlace],
) -> WriteRequest:
    """The backup is a bare guid and the project goes by its name (vplus-api.md 2.2.4, 4.8, 4.9)."""
    body = {
        "backup": reference(backup_guid)["guid"],
        **restore_members(place),
        **given(restoreProject=project_name, tenantId=tenant_label),
    }
    return restore_request(body)


def restore_members(place: RestorePlace) -> dict[str, Any]:
    """What both dialects say about the place of a restore. Raises Invalid."""
    hypervisor_guid, hypervisor_manager_guid = place.get("hypervisor_guid"), place.get("hypervisor_manager_guid")
    restored_name, data_center = place.get("restored_name"), place.get("data_center")
    if (hypervisor_guid is None) == (hypervisor_manager_guid is None):
        raise Invalid("a restore goes either to a hypervisor or to a hypervisor manager")
    return given(
        hypervisor=None if hypervisor_guid is None else reference(hypervisor_guid),
        hypervisorManager=None if hypervisor_manager_guid is None else reference(hypervisor_manager_guid),
        restoredPeName=None if restored_name is None else checked_name(restored_name),
        restoreStorageId=place.get("storage_uuid"),
        restoreClusterId=place.get("cluster_uuid"),
        dataCenter=None if data_center is None else {"name": data_center},
        # True would delete every VM of that name in the project: the portal never asks for it (vplus-api.md 4.19).
        overwrite=False,
    )


def restore_request(body: dict[str, Any]) -> WriteRequest:
    """POST a restore, which creates one task."""
    path = "/tasks/restore-and-import"
    return WriteRequest("POST", path, json_text(body), Expectation.TASK, path)


def cancel_running_request(task_guid: str) -> WriteRequest:
    """Ask vPlus to stop a RUNNING task; asked once, never escalated (vplus-api.md 3.7).

    Raises Invalid when the guid cannot stand in a path.
    """
    body = json_text({"state": {"name": "CANCELLED"}, "statusInfo": "Canceled by user"})
    return WriteRequest(
        "PUT", f"/tasks/{path_segment(task_guid)}/state", body, Expectation.ANYTHING, "/tasks/{guid}/state"
    )


def cancel_queued_request(task_guid: str) -> WriteRequest:
    """Remove a QUEUED task. On a running one this would cancel, and a second time force (vplus-api.md 3.7, 4.22).

    Raises Invalid when the guid cannot stand in a path.
    """
    return WriteRequest("DELETE", f"/tasks/{path_segment(task_guid)}", "", Expectation.ANYTHING, "/tasks/{guid}")


def create_schedule_request(
    *,
    tenant_label: str | None = None,
    project_uuid: str | None = None,
    **schedule: Unpack[NewSchedule],
) -> WriteRequest:
    """With `tenantId` (vplus-api.md 2.7)."""
    return create_request(SCHEDULES, {**new_schedule(schedule), **given(tenantId=tenant_label)})


def update_schedule_request(
    current: RawObject,
    *,
    tenant_label: str | None = None,
    project_uuid: str | None = None,
    **changes: Unpack[ScheduleMembers],
) -> WriteRequest:
    """The label must be known: a PUT without it may clear it (vplus-api.md 7.1)."""
    members = schedule_members(changes)
    body = changed_schedule(current, {**members, **given(tenantId=tenant_label)}, required=("tenantId",))
    return replace_request(SCHEDULES, body)


def delete_schedule_request(guid: str, *, project_uuid: str | None = None) -> WriteRequest:
    """By its guid (vplus-api.md 2.7)."""
    return delete_request(SCHEDULES, guid)


def create_policy_request(
    *,
    rule: RuleDraft | None = None,
    tenant_label: str | None = None,
    project_uuid: str | None = None,
    **policy: Unpack[NewPolicy],
) -> WriteRequest:
    """Without its rule, which is the second step (vplus-api.md 3.8): one that is given is Invalid."""
    if rule is not None:
        raise Invalid("this vPlus takes a policy first and its rule by a call of its own")
    members = new_policy(policy)
    disabled = {"mode": enum("DISABLED")}
    return create_request(POLICIES, {**members, "autoAssignSettings": disabled, **given(tenantId=tenant_label)})


def update_policy_request(
    current: RawObject,
    *,
    tenant_label: str | None = None,
    project_uuid: str | None = None,
    **changes: Unpack[PolicyMembers],
) -> WriteRequest:
    """The label must be known: a PUT without it may clear it (vplus-api.md 7.1)."""
    members = policy_members(changes)
    body = changed_policy(current, {**members, **given(tenantId=tenant_label)}, required=("tenantId",))
    return replace_request(POLICIES, body)


def delete_policy_request(guid: str, *, project_uuid: str | None = None) -> WriteRequest:
    """Its rules go with it (vplus-api.md 3.8)."""
    return delete_request(POLICIES, guid)


def create_rule_request(rule: RuleDraft, *, policy_guid: str, project_uuid: str | None = None) -> WriteRequest:
    """Its destinations are bare guids in `backupDestinations` (vplus-api.md 2.8, 4.10)."""
    members = rule_members(name=rule.name, schedule_guids=rule.schedule_guids, policy_guid=policy_guid)
    return create_request(RULES, {**members, "backupDestinations": checked_destinations(rule.destination_guids)})


def update_rule_request(
    current: RawObject,
    *,
    destination_guids: Sequence[str] | None = None,
    project_uuid: str | None = None,
    **changes: Unpack[RuleMembers],
) -> WriteRequest:
    """A server that tells the destinations in the current dialect's form gets them back in both, saying the same."""
    members = rule_members(**changes)
    entries = current.get("ruleBackupDestinations")
    if destination_guids is not None:
        members["backupDestinations"] = checked_destinations(destination_guids)
        if entries is not None:
            members["ruleBackupDestinations"] = rule_destinations(destination_guids, entries)
    elif current.get("backupDestinations") is None:
        members |= given(backupDestinations=destinations_in(entries))
    return replace_request(RULES, changed_rule(current, members, required=("backupDestinations",)))


def delete_rule_request(guid: str, *, project_uuid: str | None = None) -> WriteRequest:
    """By its guid (vplus-api.md 2.8)."""
    return delete_request(RULES, guid)

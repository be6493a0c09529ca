"""The wire of the current dialect, 5.2 to 7.4 (vplus-api.md 0.1): the same requests as `guide`, otherwise spelt.

A tenant is an OpenStack project here and goes into a query and two headers, not into the body (1.9).
The functions are those of `dialect.Dialect`, where each of them is explained.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Unpack

from vplus_bridge.client import guide
from vplus_bridge.client.bodies import (
    create_request,
    delete_request,
    enum,
    filled,
    given,
    json_text,
    plain_name,
    reference,
    references,
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
    new_policy,
    new_schedule,
    policy_members,
    rule_destinations,
    rule_members,
    schedule_members,
    whole_destinations,
)
from vplus_bridge.client.errors import Invalid
from vplus_bridge.client.outcome import Expectation, WriteRequest
from vplus_bridge.client.records import RawObject

TASK_TYPES: frozenset[str] = frozenset({
    "EXPORT",
    "STORE",
    "RESTORE",
    "IMPORT",
    "MOUNT",
    "UNMOUNT",
    "DELETE",
    "SNAPSHOT",
    "SNAPSHOT_REVERSION",
    "BACKUP_CLEANUP",
    "BACKUP_DESTINATION_INIT",
    "BACKUP_DESTINATION_SYNC",
    "CONNECTIVITY_TEST",
    "EJECT_TAPE",
    "IMPORT_TAPE",
    "INVENTORY_SYNC",
    "LIVE_MIGRATION",
    "SCOPED_INVENTORY_SYNC",
    "SNAPSHOT_CLEANUP",
    "STAGING_CLEANUP",
    "TAPE_MANAGER_INVENTORY_SYNC",
    "UPLOAD",
})  # fmt: skip
SCHEDULE_TYPES: frozenset[str] = frozenset({
    "APP_BACKUP",
    "CLOUD_BACKUP",
    "OS_BACKUP",
    "STORAGE_BACKUP",
    "STORAGE_SNAPSHOT",
    "VM_BACKUP",
    "VM_RESTORE",
    "VM_SNAPSHOT",
})  # fmt: skip
POLICY_LIST_QUERY: tuple[tuple[str, str], ...] = (("extended", "true"),)
RULE_IS_EMBEDDED: bool = True
EXPORTS_BY_RULE: bool = True
RESTORES_A_COPY: bool = True
PROJECTS_BY_ID: bool = True

cancel_running_request = guide.cancel_running_request
cancel_queued_request = guide.cancel_queued_request

_PROJECT = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")


def tenant_query(tenant_label: str | None, project_uuid: str | None) -> list[tuple[str, str]]:
    """By the project (vplus-api.md 0.1)."""
    return [] if project_uuid is None else [("project-uuid", project_uuid)]


def _within_project(request: WriteRequest, project_uuid: str | None) -> WriteRequest:
    """The request on behalf of a project, as the vendor's proxy sends it (vplus-api.md 1.9). Raises Invalid."""
    if project_uuid is None:
        return request
    if not _PROJECT.fullmatch(project_uuid):
        raise Invalid("this is not the id of a project")
    return dataclasses.replace(
        request,
        path=f"{request.path}?project-uuid={project_uuid}",
        headers=(("3rd-party", "HORIZON"), ("3rd-party-project", project_uuid)),
    )


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
    """`rules`, whole as vPlus gave them, say where the backup goes; `destination_guid` is not sent (2.2.3).

    `async` is left out: with it the answer may name no task. Raises Invalid without a rule.
    """
    if not rules:
        raise Invalid("this vPlus backs up a VM only by a rule of its policy, and there is none")
    body = {
        "windowStart": window_start_ms,
        "windowEnd": window_end_ms,
        "priority": priority,
        "backupType": enum(backup_type),
        "rules": list(rules),
        "protectedEntities": references([vm_guid]),
        "protectedEntityType": "VM",
        "retryCount": 0,
    }
    request = WriteRequest("POST", "/tasks/export", json_text(body), Expectation.TASK, "/tasks/export")
    return _within_project(request, project_uuid)


def restore_and_import_request(
    *,
    backup_guid: str,
    project_name: str | None = None,
    tenant_label: str | None = None,
    location_guid: str | None = None,
    project_uuid: str | None = None,
    **place: Unpack[RestorePlace],
) -> WriteRequest:
    """The copy to read is `backupLocation`, the project a header (vplus-api.md 2.2.4, 4.8, 4.9, 7.1).

    The backup is named too: servers of the time take it beside the copy, and may need one or the other.

    Raises Invalid for a project without its uuid, since the VM would come up in whichever the server thinks of.
    """
    if project_name is not None and project_uuid is None:
        raise Invalid("this vPlus takes a project by its id only")
    source: dict[str, Any] = {"backup": reference(backup_guid)}
    if location_guid is not None:
        source["backupLocation"] = reference(location_guid)
    members = guide.restore_members(place)
    return _within_project(guide.restore_request({**source, **members}), project_uuid)


def create_schedule_request(
    *,
    tenant_label: str | None = None,
    project_uuid: str | None = None,
    **schedule: Unpack[NewSchedule],
) -> WriteRequest:
    """As in the guide, without the label (vplus-api.md 2.7)."""
    return _within_project(create_request(SCHEDULES, new_schedule(schedule)), project_uuid)


def update_schedule_request(
    current: RawObject,
    *,
    tenant_label: str | None = None,
    project_uuid: str | None = None,
    **changes: Unpack[ScheduleMembers],
) -> WriteRequest:
    """As in the guide, without the label."""
    members = schedule_members(changes)
    return _within_project(replace_request(SCHEDULES, changed_schedule(current, members)), project_uuid)


def delete_schedule_request(guid: str, *, project_uuid: str | None = None) -> WriteRequest:
    """By its guid (vplus-api.md 2.7)."""
    return _within_project(delete_request(SCHEDULES, guid), project_uuid)


# Primitive booleans that the current server calls required: absent, they are false (vplus-api.md 2.8).
_POLICY_SWITCHES = {
    "dailyReportEnabled": False,
    "visibleForAllProjects": False,
    "executeAutoAssignmentAfterSavingPolicy": False,
    "disableCleanOldBackups": False,
    "quiesceBeforeSnapshot": False,
}
_NO_AUTO_ASSIGNMENT = {
    "mode": enum("DISABLED"),
    "includeTags": [],
    "excludeTags": [],
    "includeRegExps": [],
    "excludeRegExps": [],
    "hvClusters": [],
    "projects": [],
}


def create_policy_request(
    *,
    rule: RuleDraft | None = None,
    tenant_label: str | None = None,
    project_uuid: str | None = None,
    **policy: Unpack[NewPolicy],
) -> WriteRequest:
    """With its rule, which is required (vplus-api.md 2.8, 3.8). Raises Invalid without one."""
    if rule is None:
        raise Invalid("this vPlus takes no policy without a rule")
    body = {
        **new_policy(policy),
        "autoAssignSettings": _NO_AUTO_ASSIGNMENT,
        "rules": [_rule(rule, None)],
        "active": True,
        "backupRetryCount": 0,
        **_POLICY_SWITCHES,
        **given(projectUuid=project_uuid),
    }
    return _within_project(create_request(POLICIES, body), project_uuid)


def update_policy_request(
    current: RawObject,
    *,
    tenant_label: str | None = None,
    project_uuid: str | None = None,
    **changes: Unpack[PolicyMembers],
) -> WriteRequest:
    """Its rules go back as they came: here too they are part of it.

    What `current` does not tell of itself or of a rule, and we would have written in one way only, goes back so.
    """
    members = policy_members(changes)
    body = changed_policy(
        filled(current, {"active": True, "backupRetryCount": 0, **_POLICY_SWITCHES}),
        {**members, **given(projectUuid=project_uuid)},
        required=("rules", "active", "backupRetryCount"),
    )
    if not body["rules"] or not isinstance(body["rules"], list):
        raise Invalid("this vPlus takes no policy without a rule")
    body["rules"] = [_embedded(rule, position) for position, rule in enumerate(body["rules"])]
    return _within_project(replace_request(POLICIES, body), project_uuid)


def delete_policy_request(guid: str, *, project_uuid: str | None = None) -> WriteRequest:
    """Its rules go with it (vplus-api.md 3.8)."""
    return _within_project(delete_request(POLICIES, guid), project_uuid)


def _rule(rule: RuleDraft, policy_guid: str | None) -> dict[str, Any]:
    return {
        **rule_members(name=rule.name, schedule_guids=rule.schedule_guids, policy_guid=policy_guid),
        "ruleBackupDestinations": rule_destinations(rule.destination_guids),
        "active": True,
        "position": 0,
    }


def _unprefixed(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule under the name that it was given: the project before it is the server's, and comes anew (vplus-api.md 1.9)."""
    name = rule.get("name")
    return {**rule, "name": plain_name(name)} if isinstance(name, str) else rule


def _embedded(rule: Any, position: int) -> dict[str, Any]:
    """A rule as the PUT of its policy takes it. Raises Invalid where the PUT would wipe out what is not told."""
    if not isinstance(rule, dict):
        raise Invalid("vPlus does not tell the rules of this policy, so a change would lose them")
    whole = _unprefixed(filled(rule, {"active": True, "position": position}))
    if whole.get("schedules") is None or not whole.get("ruleBackupDestinations"):
        raise Invalid("vPlus does not tell what a rule of this policy says, so a change would lose it")
    return {**whole, "ruleBackupDestinations": whole_destinations(whole["ruleBackupDestinations"])}


def create_rule_request(rule: RuleDraft, *, policy_guid: str, project_uuid: str | None = None) -> WriteRequest:
    """One more rule of a policy, with its destinations as `ruleBackupDestinations` (vplus-api.md 2.8)."""
    return _within_project(create_request(RULES, _rule(rule, policy_guid)), project_uuid)


def update_rule_request(
    current: RawObject,
    *,
    destination_guids: Sequence[str] | None = None,
    project_uuid: str | None = None,
    **changes: Unpack[RuleMembers],
) -> WriteRequest:
    """Retention stays with the role whose destination changes (vplus-api.md 2.8)."""
    current = _unprefixed(filled(current, {"active": True, "position": 0}))
    members = rule_members(**changes)
    if destination_guids is not None:
        entries = rule_destinations(destination_guids, current.get("ruleBackupDestinations"))
        members["ruleBackupDestinations"] = entries
    body = changed_rule(current, members, required=("ruleBackupDestinations", "active", "position"))
    return _within_project(replace_request(RULES, body), project_uuid)


def delete_rule_request(guid: str, *, project_uuid: str | None = None) -> WriteRequest:
    """By its guid (vplus-api.md 2.8)."""
    return _within_project(delete_request(RULES, guid), project_uuid)

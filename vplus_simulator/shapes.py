"""What each record shows, member by member, at which richness (vplus-api.md 4.31).

A member is a name, the least richness that shows it, and a function. A function that returns None leaves the member
out: members without a value are absent, never null (vplus-api.md 1.1). Enums are objects, references carry guid and
name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from .entities import (
    DAYS,
    Backup,
    Cluster,
    Destination,
    Hypervisor,
    Manager,
    Origin,
    Policy,
    Project,
    RestoreJob,
    Rule,
    RuleDestination,
    Schedule,
    Storage,
    Task,
    VirtualMachine,
)
from .settings import Richness, Settings
from .world import World

Record = dict[str, Any]
ORDER: dict[Richness | Literal["never"], int] = {"poorest": 0, "plain": 1, "generous": 2, "never": 3}
DAY = 86_400_000
LOCATION = "location-"
"""The guid of a backup's only location is this before the backup's own."""

OTHER_POLICY_MEMBERS = (
    "backupRetryCount",
    "failRemainingBackupTasksExportThreshold",
    "failRemainingBackupTasksStoreThreshold",
    "dailyReportEnabled",
    "mailingList",
    "projects",
    "visibleForAllProjects",
    "disableCleanOldBackups",
    "quiesceBeforeSnapshot",
)
"""What the current dialect also keeps with a policy (vplus-api.md 2.8)."""

DESCRIPTIONS = {
    "CANCELLED": "Canceled",
    "INPROGRESS": "In progress",
    "SUCCESS_REMOVED": "Success (removed)",
    "VM": "Virtual machine",
    "OPENSTACK": "OpenStack",
    "VCENTER": "vCenter",
    "VM_BACKUP": "VM backup",
    "USER": "User",
}


def enum(name: str) -> Record:
    """Return an EnumNameAndDescription."""
    return {"name": name, "description": DESCRIPTIONS.get(name) or name.replace("_", " ").capitalize()}


def reference(guid: str, name: str) -> Record:
    """Return a NameAndGuid."""
    return {"guid": guid, "name": name}


def name_prefix(world: World, item: Policy | Rule | Schedule) -> str:
    """Return what a server that names projects puts before a name; nothing where there is no label."""
    labelled = world.policies.get(item.policy) if isinstance(item, Rule) else item
    return "" if labelled is None or labelled.tenant_id is None else f"uuid_{labelled.tenant_id}_"


class Member(NamedTuple):
    """One member of a record. `detail`: only where one object was asked for."""

    name: str
    richness: Richness | Literal["never"]
    value: Callable[[Painter, Any], Any]
    detail: bool = False
    current: Richness | Literal["never"] | None = None
    """The least richness in the current dialect, where it is another one there."""


class Painter:
    """Turns objects into records at one instant and under one set of switches."""

    def __init__(self, world: World, settings: Settings, now: int) -> None:
        self.world = world
        self.settings = settings
        self.now = now
        self._plans: dict[tuple[str, bool], list[Member]] = {}
        self._hidden: set[str] = set()

    def hide(self, name: str) -> None:
        """Leave out a member for this call, as "policy.rules"."""
        self._hidden.add(name)
        self._plans.clear()

    def members(self, kind: str, *, detail: bool) -> list[Member]:
        """Return the members that a record of `kind` may show now."""
        plan = self._plans.get((kind, detail))
        if plan is None:
            level = ORDER[self.settings.richness]
            plan = [
                member
                for member in SHAPES[kind]
                if (detail or not member.detail)
                and f"{kind}.{member.name}" not in (*self.settings.hide, *self._hidden)
                and (ORDER[self._least(member)] <= level or f"{kind}.{member.name}" in self.settings.show)
            ]
            self._plans[kind, detail] = plan
        return plan

    def _least(self, member: Member) -> Richness | Literal["never"]:
        return member.current if self.settings.current and member.current else member.richness

    def record(self, kind: str, item: Any, *, detail: bool = False) -> Record:
        """Return the record of one object."""
        record: Record = {}
        for member in self.members(kind, detail=detail):
            value = member.value(self, item)
            if value is not None:
                record[member.name] = value
        return record

    def refer(self, objects: dict[str, Any], guid: str | None) -> Record | None:
        """Return the reference to an object, or None where it is gone."""
        item = objects.get(guid or "")
        return None if item is None else reference(item.guid, self.name(item))

    @property
    def poorest(self) -> bool:
        """Whether no more is told than what a real client reads unguarded."""
        return self.settings.richness == "poorest"

    def name(self, item: Any) -> str:
        """Return the name that an object is shown by: with its project before it where the server does that (1.9)."""
        name: str = item.name
        if self.settings.prefixes and isinstance(item, Policy | Rule | Schedule):
            return name_prefix(self.world, item) + name
        return name

    def entity(self, guid: str | None, name: str | None) -> Record | None:
        """Return the reference to a VM, with its type where the server is generous."""
        if guid is None or guid not in self.world.vms:
            return None
        shown = reference(guid, name or self.world.vms[guid].name)
        if self.settings.richness == "generous":
            shown["type"] = enum("VM")
        return shown

    def backup_name(self, guid: str | None) -> Record | None:
        """Return the reference to a backup, named as vPlus names them: "<vm> - <date>"."""
        backup = self.world.backups.get(guid or "")
        if backup is None:
            return None
        date = datetime.fromtimestamp(backup.created / 1000, UTC)
        return reference(backup.guid, f"{backup.vm_name} - {date:%Y-%m-%d %H:%M}")


def _origin(painter: Painter, origin: Origin) -> Record:
    shown: Record = {"type": enum(origin.type)}
    if origin.guid is not None:
        shown["guid"] = origin.guid
    if origin.name is not None:
        shown["name"] = origin.name
    return shown


def _parent_task(painter: Painter, task: Task) -> Record | None:
    return None if task.parent is None else reference(task.parent, "RESTORE" if task.type == "IMPORT" else "EXPORT")


def _destination_entity(painter: Painter, task: Task) -> Record | None:
    """A restore names the VM that the backup was taken from; only by switch an ended import names the new one."""
    if task.restore_job is None:
        return None
    job = painter.world.restore_jobs.get(task.restore_job)
    named = painter.settings.import_names == "restored" and task.type == "IMPORT" and task.state == "FINISHED"
    if named and job is not None and job.new_uuid is not None:
        return reference(painter.world.guid_of("vm", job.new_uuid), job.name)
    return painter.entity(task.vm, task.vm_name)


def _restored_backup(painter: Painter, job: RestoreJob) -> Record | None:
    backup = painter.world.backups.get(job.backup)
    return None if backup is None else painter.record("backup", backup)


def _up_to_date(painter: Painter, vm: VirtualMachine) -> bool | None:
    """True, false, or None where no schedule promises anything (2.1)."""
    schedules = painter.world.schedules_of(vm.policy) if vm.policy else []
    days = {DAYS.index(day) for schedule in schedules if schedule.active for day in schedule.days}
    if not days:
        return None
    ordered = sorted(days)
    gaps = [b - a for a, b in pairwise(ordered)] + [ordered[0] + 7 - ordered[-1]]
    return vm.last_backup is not None and painter.now - vm.last_backup <= max(gaps) * DAY + 6 * 3_600_000


def _restorable(painter: Painter, vm: VirtualMachine) -> bool:
    guids = painter.world.backups_of.get(vm.guid, [])
    return any(painter.world.backups[guid].status in {"SUCCESS", "PARTIAL_SUCCESS"} for guid in guids)


def _hypervisor(painter: Painter, vm: VirtualMachine) -> Record | None:
    host = painter.world.hypervisors.get(vm.hypervisor or "")
    return None if host is None else reference(host.guid, host.host) | {"hvManager": {"guid": host.manager}}


def _hypervisor_name(painter: Painter, guid: str | None) -> Record | None:
    host = painter.world.hypervisors.get(guid or "")
    return None if host is None else reference(host.guid, host.host)


def _locations(painter: Painter, backup: Backup) -> list[Record]:
    destination = painter.world.destinations.get(backup.destination or "")
    state = {"SUCCESS": "PRESENT", "PARTIAL_SUCCESS": "PRESENT", "SUCCESS_REMOVED": "REMOVED", "FAILED": "FAILED"}
    if destination is None:
        return []
    return [
        # At its poorest it has no guid here: clients print it, and ask /backup-locations/for-restore to restore (2.4).
        ({} if painter.poorest else {"guid": f"{LOCATION}{backup.guid}", "roleType": enum("PRIMARY")})
        | {
            "backupDestination": reference(destination.guid, destination.name),
            "status": enum(state.get(backup.status, "IN_PROGRESS")),
            "retentionHint": enum("STANDARD_RETENTION"),
        }
    ]


def _location_status(painter: Painter, backup: Backup) -> Record:
    status: Record = _locations(painter, backup)[0]["status"]
    return status


def _interval(painter: Painter, schedule: Schedule) -> Record | None:
    if schedule.interval is None:
        return None
    start, end, frequency = schedule.interval
    return {"startHour": start, "endHour": end, "frequency": frequency}


def _policies_of(painter: Painter, schedule: Schedule) -> list[Record]:
    policies = [painter.world.policies[rule.policy] for rule in painter.world.rules_with(schedule.guid)]
    return [reference(policy.guid, painter.name(policy)) for policy in policies]


def _policy_vms(painter: Painter, policy: Policy) -> list[Record]:
    members = painter.world.members(policy.guid)
    if painter.settings.richness == "generous":
        return [painter.record("vm", vm) for vm in members]
    return [reference(vm.guid, vm.name) for vm in members]


def _rule_destinations(painter: Painter, rule: Rule) -> list[Record]:
    found = [painter.world.destinations[guid] for guid in rule.destinations if guid in painter.world.destinations]
    return [_rule_destination(painter, rule, destination) for destination in found]


def _rule_destination(painter: Painter, rule: Rule, destination: Destination) -> Record:
    told = rule.details.get(destination.guid) or RuleDestination()
    least = {"backupDestination": reference(destination.guid, painter.name(destination)), "roleType": enum(told.role)}
    if painter.poorest:
        return least
    return {
        "guid": f"{rule.guid}-{destination.guid}",
        **least,
        "active": told.active,
        "daysToKeepRetentionLock": told.lock_days,
        "backupRetentionSettings": {
            "retentionKeepLastNFull": rule.keep_fulls,
            "retentionKeepFullNewerThan": 0,
            "retentionKeepLastNIncremental": 0,
            "retentionKeepIncrementalNewerThan": 0,
            "keepLastBackupWhenSourceStillExists": False,
            **(told.retention or {}),
        },
    }


def _plain_destinations(painter: Painter, rule: Rule) -> list[Record]:
    return [reference(guid, painter.world.destinations[guid].name) for guid in rule.destinations]


def _other(name: str) -> Callable[[Painter, Policy], Any]:
    return lambda painter, policy: policy.others.get(name)


def _rule_schedules(painter: Painter, rule: Rule) -> list[Record]:
    found = [painter.world.schedules[guid] for guid in rule.schedules if guid in painter.world.schedules]
    return [reference(schedule.guid, painter.name(schedule)) for schedule in found]


def _average_size(painter: Painter, policy: Policy) -> int:
    sizes = [vm.last_success_size for vm in painter.world.members(policy.guid) if vm.last_success_size]
    return sum(sizes) // len(sizes) if sizes else 0


def _set(values: list[str]) -> list[Record]:
    return [enum(value) for value in values]


VM = (
    Member("guid", "poorest", lambda p, vm: vm.guid),
    Member("uuid", "poorest", lambda p, vm: vm.uuid),
    Member("name", "poorest", lambda p, vm: vm.name),
    Member("present", "poorest", lambda p, vm: vm.present),
    Member("lastSuccessfulBackupSize", "poorest", lambda p, vm: vm.last_success_size),
    Member("project", "plain", lambda p, vm: p.refer(p.world.projects, vm.project)),
    Member("type", "generous", lambda p, vm: enum("VM")),
    Member("originalName", "generous", lambda p, vm: vm.name),
    Member("hvManager", "generous", lambda p, vm: p.refer(p.world.managers, vm.manager)),
    Member("hvmType", "generous", lambda p, vm: enum(p.world.managers[vm.manager].type)),
    Member("hypervisor", "generous", _hypervisor),
    Member("hvCluster", "generous", lambda p, vm: p.refer(p.world.clusters, vm.cluster)),
    Member("vmBackupPolicy", "generous", lambda p, vm: p.refer(p.world.policies, vm.policy)),
    Member("backupUpToDate", "generous", _up_to_date),
    Member("restorable", "generous", _restorable),
    Member("lastBackup", "generous", lambda p, vm: vm.last_backup),
    Member("lastSuccessfulFullBackupSize", "generous", lambda p, vm: vm.last_full_size),
    Member("lastSuccessfulFullBackup", "generous", lambda p, vm: p.backup_name(vm.last_full)),
    Member("lastSuccessfulIncBackup", "generous", lambda p, vm: p.backup_name(vm.last_incremental)),
    Member("warningsPresent", "generous", lambda p, vm: False),
    Member("possibleActions", "generous", lambda p, vm: [enum("WRITE")]),
    Member("tags", "generous", lambda p, vm: [], detail=True),
    Member("quiesceBeforeSnapshot", "generous", lambda p, vm: False, detail=True),
)

TASK = (
    Member("guid", "poorest", lambda p, t: t.guid),
    Member("state", "poorest", lambda p, t: enum(t.state)),
    Member("type", "poorest", lambda p, t: enum(t.type)),
    Member("protectedEntity", "poorest", lambda p, t: p.entity(t.vm, t.vm_name)),
    Member("dstProtectedEntity", "plain", _destination_entity),
    Member("progress", "generous", lambda p, t: t.progress(p.now)),
    Member("priority", "generous", lambda p, t: t.priority),
    Member("windowStart", "generous", lambda p, t: t.window_shown),
    Member("windowEnd", "generous", lambda p, t: t.window_end),
    Member("creationTime", "generous", lambda p, t: t.created),
    Member("startTime", "generous", lambda p, t: t.started),
    Member("finishTime", "generous", lambda p, t: t.finished),
    Member("statusInfo", "generous", lambda p, t: t.status_info),
    Member("protectedEntityDisplayName", "generous", lambda p, t: t.vm_name),
    Member("backupType", "generous", lambda p, t: enum(t.backup_type) if t.backup_type else None),
    Member("backupDestination", "generous", lambda p, t: p.refer(p.world.destinations, t.destination)),
    Member("hypervisorManager", "generous", lambda p, t: p.refer(p.world.managers, t.manager)),
    Member("node", "generous", lambda p, t: reference("node-1", "node-1") if t.started else None),
    Member("backup", "generous", lambda p, t: p.backup_name(t.backup)),
    Member("parentTask", "generous", _parent_task),
    Member("restoreType", "generous", lambda p, t: enum("RESTORE_AND_IMPORT") if t.restore_job else None),
    Member("restoreJob", "generous", lambda p, t: reference(t.restore_job, t.vm_name) if t.restore_job else None),
    Member("originEntity", "generous", lambda p, t: _origin(p, t.origin)),
    Member("retryCount", "generous", lambda p, t: t.retry_count),
)

BACKUP = (
    Member("guid", "poorest", lambda p, b: b.guid),
    Member("status", "poorest", lambda p, b: enum(b.status)),
    Member("backupTime", "poorest", lambda p, b: b.backup_time),
    Member("snapshotTime", "plain", lambda p, b: b.snapshot_time),
    Member("type", "generous", lambda p, b: enum(b.type)),
    Member("statusInfo", "generous", lambda p, b: b.status_info),
    Member("size", "generous", lambda p, b: b.size),
    Member("protectedEntity", "generous", lambda p, b: p.entity(b.vm, b.vm_name)),
    Member("parentBackup", "generous", lambda p, b: p.backup_name(b.parent)),
    Member("backupLocations", "generous", _locations, current="poorest"),
    Member("backupRule", "generous", lambda p, b: p.refer(p.world.rules, b.rule)),
    Member("originEntity", "generous", lambda p, b: _origin(p, b.origin)),
    Member("sourceProject", "generous", lambda p, b: p.refer(p.world.projects, b.project)),
    Member(
        "taskTimeStats",
        "generous",
        lambda p, b: {
            "queuedExportTime": b.times.queued_export,
            "exportTime": b.times.export,
            "queuedStoreTime": b.times.queued_store,
            "storeTime": b.times.store,
        },
        current="poorest",
    ),
    Member("warnings", "generous", lambda p, b: b.warnings, current="poorest"),
    Member("warningsPresent", "generous", lambda p, b: bool(b.warnings)),
    Member("hidden", "generous", lambda p, b: False),
)

SCHEDULE = (
    Member("guid", "poorest", lambda p, s: s.guid),
    Member("name", "poorest", lambda p, s: p.name(s)),
    Member("active", "poorest", lambda p, s: s.active),
    Member("type", "poorest", lambda p, s: enum(s.type)),
    Member("executionType", "poorest", lambda p, s: enum(s.execution_type)),
    Member("backupType", "poorest", lambda p, s: enum(s.backup_type)),
    Member("daysOfWeek", "poorest", lambda p, s: _set(s.days)),
    Member("rules", "poorest", lambda p, s: [reference(r.guid, p.name(r)) for r in p.world.rules_with(s.guid)]),
    Member("hour", "poorest", lambda p, s: s.hour),
    Member("startWindowLength", "poorest", lambda p, s: s.start_window),
    Member("months", "poorest", lambda p, s: _set(s.months)),
    Member("dayOfWeekOccurrences", "poorest", lambda p, s: _set(s.occurrences)),
    Member("interval", "poorest", _interval),
    Member("lastRun", "generous", lambda p, s: s.last_run),
    Member("policies", "generous", _policies_of),
    Member("tenantId", "generous", lambda p, s: s.tenant_id, current="never"),
)

POLICY = (
    Member("guid", "poorest", lambda p, x: x.guid),
    Member("name", "poorest", lambda p, x: p.name(x)),
    Member("rules", "poorest", lambda p, x: [p.record("rule", rule) for rule in p.world.rules_of(x.guid)]),
    Member("vms", "poorest", _policy_vms, detail=True),
    Member("active", "generous", lambda p, x: x.active),
    Member("priority", "generous", lambda p, x: x.priority),
    Member("vmCount", "generous", lambda p, x: len(p.world.members_of.get(x.guid, {}))),
    Member("averageBackupSize", "generous", _average_size),
    Member("autoAssignMode", "generous", lambda p, x: enum(x.auto_assign_mode)),
    Member("autoAssignSettings", "generous", lambda p, x: {"mode": enum(x.auto_assign_mode)}, detail=True),
    Member("autoRemoveNonPresent", "generous", lambda p, x: x.auto_remove_non_present, detail=True),
    Member("tenantId", "generous", lambda p, x: x.tenant_id, current="never"),
    *(Member(name, "generous", _other(name), detail=True) for name in OTHER_POLICY_MEMBERS),
)

RULE = (
    Member("guid", "poorest", lambda p, r: r.guid),
    Member("name", "poorest", lambda p, r: p.name(r)),
    Member("policy", "generous", lambda p, r: p.refer(p.world.policies, r.policy)),
    Member("schedules", "generous", _rule_schedules),
    Member("backupDestinations", "generous", _plain_destinations, current="never"),
    Member("ruleBackupDestinations", "generous", _rule_destinations, current="poorest"),
    Member("vmCount", "generous", lambda p, r: len(p.world.members_of.get(r.policy, {}))),
    Member("schedulesCount", "generous", lambda p, r: len(r.schedules)),
    Member("active", "generous", lambda p, r: r.active),
    Member("position", "generous", lambda p, r: 0),
)

DESTINATION = (
    Member("guid", "poorest", lambda p, d: d.guid),
    Member("name", "poorest", lambda p, d: d.name),
    Member("type", "generous", lambda p, d: enum(d.type)),
    Member("description", "generous", lambda p, d: d.description),
    Member("defaultBackupDestination", "generous", lambda p, d: d.default),
    Member("visibleForAllVms", "generous", lambda p, d: d.projects is None),
    Member("projects", "generous", lambda p, d: [p.refer(p.world.projects, guid) for guid in d.projects or []]),
    Member("totalAvailableSpace", "generous", lambda p, d: d.total),
    Member("totalUsedSpace", "generous", lambda p, d: d.used),
)

PROJECT: tuple[Member, ...] = (
    Member("guid", "poorest", lambda p, x: x.guid),
    Member("uuid", "poorest", lambda p, x: x.uuid),
    Member("name", "poorest", lambda p, x: x.name),
)

MANAGER = (
    Member("guid", "poorest", lambda p, m: m.guid),
    Member("name", "poorest", lambda p, m: m.name, current="generous"),
    Member("url", "generous", lambda p, m: m.url, current="poorest"),
    Member("type", "generous", lambda p, m: enum(m.type)),
)

HYPERVISOR = (
    Member("guid", "poorest", lambda p, h: h.guid),
    Member("host", "poorest", lambda p, h: h.host),
    Member("type", "generous", lambda p, h: enum(h.type)),
    Member("cluster", "generous", lambda p, h: p.refer(p.world.clusters, h.cluster)),
    Member("hvManager", "generous", lambda p, h: p.refer(p.world.managers, h.manager)),
    Member("vmCount", "generous", lambda p, h: sum(vm.hypervisor == h.guid for vm in p.world.vms.values())),
)

CLUSTER = (
    Member("guid", "poorest", lambda p, c: c.guid),
    Member("uuid", "poorest", lambda p, c: c.uuid),
    Member("name", "poorest", lambda p, c: c.name),
)

STORAGE = (
    Member("guid", "poorest", lambda p, s: s.guid),
    Member("uuid", "poorest", lambda p, s: s.uuid),
    Member("name", "poorest", lambda p, s: s.name),
    Member("totalAvailableSpace", "generous", lambda p, s: s.total),
    Member("totalUsedSpace", "generous", lambda p, s: s.used),
    Member("clusters", "generous", lambda p, s: [{"guid": guid} for guid in s.clusters]),
)

RESTORE_JOB = (
    Member("guid", "poorest", lambda p, j: j.guid),
    Member("restoreTime", "generous", lambda p, j: j.restore_time, current="poorest"),
    Member("restoreType", "generous", lambda p, j: enum("RESTORE_AND_IMPORT")),
    Member("status", "generous", lambda p, j: enum(j.status), current="poorest"),
    Member("statusInfo", "generous", lambda p, j: j.status_info, current="poorest"),
    Member("backup", "generous", _restored_backup),
    Member("dstProtectedEntity", "generous", lambda p, j: p.entity(j.vm, None), detail=True),
    Member("restoredPeName", "generous", lambda p, j: j.name, detail=True),
    Member(
        "taskTimeStats",
        "generous",
        lambda p, j: {
            "queuedRestoreTime": j.times.queued_restore,
            "restoreTime": j.times.restore,
            "queuedImportTime": j.times.queued_import,
            "importTime": j.times.import_,
            "queuedMountTime": 0,
            "mountTime": 0,
        },
        current="poorest",
    ),
)

BACKUP_LOCATION = (
    Member("guid", "poorest", lambda p, b: f"{LOCATION}{b.guid}"),
    Member("backup", "poorest", lambda p, b: p.backup_name(b.guid)),
    Member("backupDestination", "poorest", lambda p, b: p.refer(p.world.destinations, b.destination)),
    Member("status", "poorest", _location_status),
    Member("roleType", "plain", lambda p, b: enum("PRIMARY")),
    Member("type", "plain", lambda p, b: enum(b.type)),
    Member("snapshotTime", "plain", lambda p, b: b.snapshot_time),
    Member("retentionHint", "plain", lambda p, b: enum("STANDARD_RETENTION")),
)

SHAPES: dict[str, tuple[Member, ...]] = {
    "vm": VM,
    "task": TASK,
    "backup": BACKUP,
    "backup_location": BACKUP_LOCATION,
    "schedule": SCHEDULE,
    "policy": POLICY,
    "rule": RULE,
    "destination": DESTINATION,
    "project": PROJECT,
    "manager": MANAGER,
    "hypervisor": HYPERVISOR,
    "cluster": CLUSTER,
    "storage": STORAGE,
    "restore_job": RESTORE_JOB,
}

CHANGES_BY_ITSELF = {"backupUpToDate"}
"""VM members that change as time passes, so that a list showing them cannot be kept ready."""

KINDS: dict[str, type] = {
    "vm": VirtualMachine,
    "task": Task,
    "backup": Backup,
    "backup_location": Backup,
    "schedule": Schedule,
    "policy": Policy,
    "rule": Rule,
    "destination": Destination,
    "project": Project,
    "manager": Manager,
    "hypervisor": Hypervisor,
    "cluster": Cluster,
    "storage": Storage,
    "restore_job": RestoreJob,
}
"""Which objects each record kind shows."""

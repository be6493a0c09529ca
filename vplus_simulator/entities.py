"""What the world is made of. Instants are ms since the epoch (UTC), sizes bytes; references are guids."""

from __future__ import annotations

from typing import Any

import msgspec

LIVE = ("QUEUED", "RUNNING")
ENDED = ("FINISHED", "FAILED", "CANCELLED")
TASK_STATES = (*LIVE, *ENDED)
TASK_TYPES = (
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
)
"""The guide's task types."""
CURRENT_TASK_TYPES = (
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
)
"""Those of the current dialect (vplus-api.md 2.2.1)."""
BACKUP_STATUSES = ("QUEUED", "INPROGRESS", "SUCCESS", "PARTIAL_SUCCESS", "FAILED", "SUCCESS_REMOVED")
BACKUP_TYPES = ("FULL", "INCREMENTAL", "SYNCHRONIZATION", "SYNTHETIC")
DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
OCCURRENCES = ("FIRST_IN_MONTH", "SECOND_IN_MONTH", "THIRD_IN_MONTH", "FOURTH_IN_MONTH", "LAST_IN_MONTH")
MONTHS = (
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
)
SCHEDULE_TYPES = ("VM_BACKUP", "APP_BACKUP", "SNAPSHOT")
CURRENT_SCHEDULE_TYPES = (
    "APP_BACKUP",
    "CLOUD_BACKUP",
    "OS_BACKUP",
    "STORAGE_BACKUP",
    "STORAGE_SNAPSHOT",
    "VM_BACKUP",
    "VM_RESTORE",
    "VM_SNAPSHOT",
)
AUTO_ASSIGN_MODES = ("DISABLED", "ASSIGN_ONLY", "ASSIGN_AND_REMOVE")
ROLES = ("PRIMARY", "SECONDARY", "ARCHIVE")


class Project(msgspec.Struct):
    """An OpenStack project; `uuid` is the platform's id, the tenant id of the guide."""

    guid: str
    uuid: str
    name: str


class Manager(msgspec.Struct):
    """A hypervisor manager; `type` as in `hvmType` (OPENSTACK, VCENTER)."""

    guid: str
    name: str
    url: str
    type: str


class Cluster(msgspec.Struct):
    """A hypervisor cluster of a manager (an availability zone on OpenStack)."""

    guid: str
    uuid: str
    name: str
    manager: str


class Hypervisor(msgspec.Struct):
    """One host of a manager."""

    guid: str
    host: str
    type: str
    manager: str
    cluster: str


class Storage(msgspec.Struct):
    """A storage of a manager. `total` is the capacity, although the API calls it available (vplus-api.md 4.27)."""

    guid: str
    uuid: str
    name: str
    manager: str
    clusters: list[str]
    total: int
    used: int
    """As of the last sync."""
    really_used: int | None = None
    """Where it has changed since."""

    @property
    def free(self) -> int:
        """Bytes that are really free."""
        return self.total - (self.used if self.really_used is None else self.really_used)

    def take(self, size: int) -> None:
        """Use `size` bytes; statistics show it after the next sync only."""
        self.really_used = self.total - self.free + size


class Destination(msgspec.Struct):
    """A backup destination; `projects` None: for every VM; `enabled` False: no node may use it, tasks fail."""

    guid: str
    name: str
    type: str = "FILESYSTEM"
    description: str = ""
    default: bool = False
    projects: list[str] | None = None
    enabled: bool = True
    total: int | None = None
    used: int | None = None


class Schedule(msgspec.Struct, kw_only=True):
    """A schedule; `hour`, `start_window` and the members of `interval` are ms (vplus-api.md 2.7)."""

    guid: str
    name: str
    backup_type: str
    execution_type: str = "TIME"
    type: str = "VM_BACKUP"
    hour: int = 0
    start_window: int = 21_600_000
    interval: tuple[int, int, int] | None = None
    """Start hour, end hour, frequency; only for INTERVAL."""
    active: bool = True
    days: list[str] = msgspec.field(default_factory=list)
    occurrences: list[str] = msgspec.field(default_factory=list)
    months: list[str] = msgspec.field(default_factory=list)
    tenant_id: str | None = None
    last_run: int | None = None


class RuleDestination(msgspec.Struct, kw_only=True):
    """What a rule says about one of its destinations in the current dialect's form (vplus-api.md 2.8)."""

    role: str = "PRIMARY"
    active: bool = True
    """One that is not active gets no backups."""
    lock_days: int = 0
    retention: dict[str, Any] | None = None
    """`backupRetentionSettings` as it was written; None: only the rule's `keep_fulls` counts."""


class Rule(msgspec.Struct, kw_only=True):
    """A policy's rule; the one place that links a policy, its schedules and its destinations."""

    guid: str
    name: str
    policy: str
    schedules: list[str] = msgspec.field(default_factory=list)
    destinations: list[str] = msgspec.field(default_factory=list)
    details: dict[str, RuleDestination] = msgspec.field(default_factory=dict)
    """By the guid of a destination; one that is not here is an active PRIMARY."""
    keep_fulls: int = 4
    """How many full backups stay restorable, each with the incrementals that build on it."""
    active: bool = True

    def active_destinations(self) -> list[str]:
        """Return where backups of this rule may go, in order."""
        return [guid for guid in self.destinations if guid not in self.details or self.details[guid].active]


class Policy(msgspec.Struct, kw_only=True):
    """A VM backup policy. Its members are the VMs whose `policy` names it: a VM has at most one."""

    guid: str
    name: str
    priority: int = 50
    active: bool = True
    auto_remove_non_present: bool = False
    auto_assign_mode: str = "DISABLED"
    tenant_id: str | None = None
    others: dict[str, Any] = msgspec.field(default_factory=dict)
    """Members of the current dialect as they were written: kept and shown. The thresholds of failures count (3.9)."""


class PlatformVm(msgspec.Struct, kw_only=True):
    """A VM as the virtualization platform has it, whether or not vPlus knows it yet."""

    uuid: str
    name: str
    manager: str
    project: str | None = None
    cluster: str | None = None
    hypervisor: str | None = None
    size: int = 40 * 2**30
    incremental: bool = True
    """Whether the platform can tell what changed since the last snapshot."""


class VirtualMachine(msgspec.Struct, kw_only=True):
    """A VM in vPlus's inventory, which follows the platform only at each sync."""

    guid: str
    uuid: str
    name: str
    manager: str
    present: bool = True
    project: str | None = None
    cluster: str | None = None
    hypervisor: str | None = None
    policy: str | None = None
    size: int = 0
    incremental: bool = True
    last_backup: int | None = None
    last_success_size: int = 0
    last_full: str | None = None
    last_full_size: int = 0
    last_incremental: str | None = None
    base: str | None = None
    """The backup whose snapshot the platform still keeps, so that an incremental can build on it (3.6)."""


class Origin(msgspec.Struct):
    """Who started something: USER, SCHEDULE or SYSTEM_SCHEDULE."""

    type: str
    guid: str | None = None
    name: str | None = None


class Times(msgspec.Struct):
    """Durations of a backup's phases in ms (`taskTimeStats`)."""

    queued_export: int = 0
    export: int = 0
    queued_store: int = 0
    store: int = 0


class Backup(msgspec.Struct, kw_only=True):
    """A backup record; it outlives its tasks and its VM."""

    guid: str
    vm: str
    vm_name: str
    status: str
    type: str
    created: int
    destination: str | None = None
    status_info: str | None = None
    snapshot_time: int | None = None
    backup_time: int | None = None
    size: int = 0
    parent: str | None = None
    root: str | None = None
    """The full backup at the foot of an incremental's chain."""
    policy: str | None = None
    rule: str | None = None
    project: str | None = None
    origin: Origin = msgspec.field(default_factory=lambda: Origin("USER"))
    times: Times = msgspec.field(default_factory=Times)
    warnings: list[str] = msgspec.field(default_factory=list)


class RestoreTimes(msgspec.Struct):
    """Durations of a restore's phases in ms (`taskTimeStats`)."""

    queued_restore: int = 0
    restore: int = 0
    queued_import: int = 0
    import_: int = 0


class RestoreJob(msgspec.Struct, kw_only=True):
    """A restore as it was asked for, and what became of it; it outlives its tasks."""

    guid: str
    vm: str
    """The VM that the backup was taken from."""
    backup: str
    restore_time: int
    """When it was asked for."""
    name: str
    manager: str
    hypervisor: str | None = None
    storage_id: str | None = None
    cluster_id: str | None = None
    project: str | None = None
    """As asked, so a name or a uuid."""
    overwrite: bool = False
    status: str = "QUEUED"
    status_info: str | None = None
    times: RestoreTimes = msgspec.field(default_factory=RestoreTimes)
    import_made: bool = False
    new_uuid: str | None = None
    """The platform's id of the VM that it made; nothing in the API says it."""


class Task(msgspec.Struct, kw_only=True):
    """A task. The members after `finished` are the engine's own plan and never shown."""

    guid: str
    type: str
    state: str
    created: int
    number: int
    """Counts up over all tasks: the order of birth."""
    priority: int
    window_start: int
    window_end: int
    window_shown: int
    """What `windowStart` shows, which a server may change."""
    vm: str | None = None
    vm_name: str | None = None
    backup: str | None = None
    parent: str | None = None
    backup_type: str | None = None
    """As asked: it may still say INCREMENTAL while a full is made (3.6)."""
    destination: str | None = None
    manager: str | None = None
    origin: Origin = msgspec.field(default_factory=lambda: Origin("USER"))
    retry_count: int = 0
    restore_job: str | None = None
    retried: bool = False
    """Whether a copy of this failed task was made."""
    status_info: str | None = None
    started: int | None = None
    finished: int | None = None

    duration: int = 0
    done: float = 0.0
    """Percent done at `moving_since`."""
    moving_since: int | None = None
    """None while the task does not move: not started, ended, or held by a test."""
    hold_at: float | None = None
    """Percent at which a test wants it to stand still."""
    fail_at: float | None = None
    """Percent at which it will fail."""
    fail_reason: str | None = None
    partial: bool = False
    """A store that leaves one copy out: the backup ends PARTIAL_SUCCESS."""
    thread_until: int | None = None
    """A cancelled task keeps its thread on the node until then."""

    def progress(self, now: int) -> float:
        """Return percent done at `now`, 0..100."""
        if self.state == "FINISHED":
            return 100.0
        if self.moving_since is None:
            return round(self.done, 1)
        moved = (now - self.moving_since) * 100.0 / max(self.duration, 1)
        return round(min(self.done + moved, 99.9), 1)


class SeedTenant(msgspec.Struct):
    """Whose VMs are whose in the seeded world, for a loader that assigns them."""

    slug: str
    name: str
    project_uuid: str | None
    project_guid: str | None
    vm_guids: list[str]

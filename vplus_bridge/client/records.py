"""What vPlus told us, as frozen records.

Conventions of every record here: `*_ms` are instants in milliseconds since the epoch, UTC; sizes are
bytes; durations are milliseconds; enums are the bare names that vPlus uses, unknown ones kept as they
came; references are flattened to `..._guid` and `..._name`. A member that was absent, null or
unreadable is None; an empty reference is None too (vplus-api.md 1.1, 1.5, 1.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

RawObject = Mapping[str, Any]
"""A JSON object as vPlus sent it, also with the members that we do not understand. Read it, never change it."""


class VirtualMachineRecord(msgspec.Struct, frozen=True, gc=False):
    """One VM of the inventory, also one that no longer exists (vplus-api.md 2.1)."""

    guid: str
    uuid: str
    name: str
    present: bool
    project_guid: str | None = None
    project_name: str | None = None
    hv_manager_guid: str | None = None
    hv_manager_name: str | None = None
    hypervisor_guid: str | None = None
    hypervisor_name: str | None = None
    cluster_guid: str | None = None
    cluster_name: str | None = None
    platform: str | None = None
    """`hvmType` where the VM belongs to a manager, else `hvType`."""
    policy_guid: str | None = None
    policy_name: str | None = None
    backup_up_to_date: bool | None = None
    """Three values: None means that no schedule covers the VM, or that vPlus did not say."""
    restorable: bool | None = None
    last_backup_ms: int | None = None
    last_backup_size: int | None = None
    last_full_backup_size: int | None = None
    tags: tuple[str, ...] = ()


class TaskRecord(msgspec.Struct, frozen=True, gc=False):
    """One thing that vPlus does (vplus-api.md 2.2.2).

    `type` and `state` are None only in the answer to a write that names a task and no more.
    """

    guid: str
    type: str | None = None
    type_description: str | None = None
    state: str | None = None
    state_description: str | None = None
    progress: float | None = None
    """0 to 100, as vPlus says it; None is unknown, not 0."""
    vm_guid: str | None = None
    """The protected entity, when it is a VM or its kind is not said."""
    vm_name: str | None = None
    dst_guid: str | None = None
    dst_name: str | None = None
    dst_uuid: str | None = None
    backup_guid: str | None = None
    parent_guid: str | None = None
    restore_job_guid: str | None = None
    backup_type: str | None = None
    window_start_ms: int | None = None
    window_end_ms: int | None = None
    created_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    priority: int | None = None
    status_info: str | None = None
    origin_type: str | None = None
    origin_guid: str | None = None
    origin_name: str | None = None
    destination_guid: str | None = None
    destination_name: str | None = None
    retry_count: int | None = None
    project_guid: str | None = None


class TaskTimes(msgspec.Struct, frozen=True, gc=False):
    """How long each part of a backup took, in ms."""

    queued_export_ms: int | None = None
    export_ms: int | None = None
    queued_store_ms: int | None = None
    store_ms: int | None = None


class LocationRecord(msgspec.Struct, frozen=True, gc=False):
    """One copy of a backup on one destination (vplus-api.md 2.4)."""

    guid: str | None = None
    destination_guid: str | None = None
    destination_name: str | None = None
    status: str | None = None
    role: str | None = None
    snapshot_ms: int | None = None


class CopyRecord(msgspec.Struct, frozen=True, gc=False):
    """One copy of a backup, as servers of the current dialect list copies by themselves (vplus-api.md 2.4)."""

    guid: str
    backup_guid: str | None = None
    destination_guid: str | None = None
    status: str | None = None
    """PRESENT can be read."""
    role: str | None = None
    """PRIMARY, SECONDARY or ARCHIVE."""


class BackupRecord(msgspec.Struct, frozen=True, gc=False):
    """One backup of a VM in any status (vplus-api.md 2.3)."""

    guid: str
    status: str | None = None
    type: str | None = None
    status_info: str | None = None
    snapshot_ms: int | None = None
    """The moment a person restores to."""
    backup_ms: int | None = None
    """When the copy ended; not a substitute for `snapshot_ms` without saying so."""
    size: int | None = None
    times: TaskTimes = TaskTimes()
    vm_guid: str | None = None
    vm_name: str | None = None
    parent_guid: str | None = None
    destinations: tuple[LocationRecord, ...] = ()
    rule_guid: str | None = None
    origin_type: str | None = None
    origin_guid: str | None = None
    origin_name: str | None = None
    source_project_guid: str | None = None
    warnings: tuple[str, ...] = ()
    warnings_present: bool | None = None


class RestoreTimes(msgspec.Struct, frozen=True, gc=False):
    """How long each part of a restore took, in ms."""

    queued_restore_ms: int | None = None
    restore_ms: int | None = None
    queued_import_ms: int | None = None
    import_ms: int | None = None
    queued_mount_ms: int | None = None
    mount_ms: int | None = None


class RestoreJobRecord(msgspec.Struct, frozen=True, gc=False):
    """One restore in vPlus's history; only the guid is sure (vplus-api.md 2.6, 4.31)."""

    guid: str
    status: str | None = None
    status_info: str | None = None
    type: str | None = None
    """RESTORE, RESTORE_AND_IMPORT or RESTORE_AND_MOUNT."""
    restore_ms: int | None = None
    backup_guid: str | None = None
    backup_name: str | None = None
    vm_guid: str | None = None
    vm_name: str | None = None
    dst_guid: str | None = None
    """Usually the VM that the backup was taken from; the new one only if it was unknown before (vplus-api.md 2.2.2)."""
    dst_name: str | None = None
    dst_uuid: str | None = None
    restored_name: str | None = None
    times: RestoreTimes = RestoreTimes()

    def by_our_clock(self, offset_ms: int | None) -> RestoreJobRecord:
        """The same with its moment as our clock has it; `offset_ms` is vPlus's clock minus ours, None: not told."""
        if self.restore_ms is None or not offset_ms:
            return self
        return msgspec.structs.replace(self, restore_ms=self.restore_ms - offset_ms)


class InfrastructureRecord(msgspec.Struct, frozen=True, gc=False):
    """A hypervisor manager, hypervisor, cluster or storage (vplus-api.md 2.10).

    Names and addresses of these are the provider's; they never reach a tenant (vplus-api.md 4.20).
    `parent_guid` is the manager's, None for managers. `total_space` is capacity, not free space.
    """

    guid: str
    uuid: str | None = None
    name: str | None = None
    """vPlus's name, else the host or the address, which is all that some answers carry."""
    type: str | None = None
    url: str | None = None
    parent_guid: str | None = None
    total_space: int | None = None
    used_space: int | None = None
    cluster_guids: tuple[str, ...] = ()


class DestinationRecord(msgspec.Struct, frozen=True, gc=False):
    """A backup destination. `total_space` is `totalAvailableSpace`: capacity (vplus-api.md 2.9, 4.27)."""

    guid: str
    name: str | None = None
    type: str | None = None
    default: bool | None = None
    total_space: int | None = None
    used_space: int | None = None


class RuleRecord(msgspec.Struct, frozen=True, gc=False):
    """A rule inside a policy; None where the answer does not list the relation (vplus-api.md 2.8)."""

    guid: str
    name: str | None = None
    active: bool | None = None
    marked_for_deletion: bool | None = None
    schedule_guids: tuple[str, ...] | None = None
    destination_guids: tuple[str, ...] | None = None
    policy_guid: str | None = None
    """Not said by every server, and left out inside its policy."""


class PolicyRecord(msgspec.Struct, frozen=True, gc=False):
    """A VM backup policy; `vm_guids` and `rules` are None where the answer leaves them out (lists)."""

    guid: str
    name: str
    active: bool | None = None
    priority: int | None = None
    vm_guids: tuple[str, ...] | None = None
    rules: tuple[RuleRecord, ...] | None = None
    auto_remove_non_present: bool | None = None
    auto_assign_mode: str | None = None
    vm_count: int | None = None
    tenant_label: str | None = None
    """The `tenantId` that was written, where the server gives it back: a label, never proof of ownership."""


class IntervalRecord(msgspec.Struct, frozen=True, gc=False):
    """When an INTERVAL schedule fires: from `start_hour_ms` every `frequency_ms` until `end_hour_ms`.

    Hours are ms since midnight UTC, the frequency is ms (vplus-api.md 2.7, 3.9).
    """

    start_hour_ms: int | None = None
    end_hour_ms: int | None = None
    frequency_ms: int | None = None


class ScheduleRecord(msgspec.Struct, frozen=True, gc=False):
    """A schedule (vplus-api.md 2.7). Days, months and occurrences are in UTC; empty means no restriction (4.2).

    A relation that the answer leaves out is None. A server may give the figures of both kinds: which of them
    counts is told by `execution_type`.
    """

    guid: str
    name: str
    active: bool | None = None
    type: str | None = None
    execution_type: str | None = None
    """TIME or INTERVAL."""
    backup_type: str | None = None
    hour_ms: int | None = None
    """Ms since midnight UTC, for TIME."""
    start_window_ms: int | None = None
    """How long after its firing an export may start, for TIME."""
    interval: IntervalRecord | None = None
    days_of_week: tuple[str, ...] | None = None
    months: tuple[str, ...] | None = None
    occurrences: tuple[str, ...] | None = None
    rule_guids: tuple[str, ...] | None = None
    policy_guids: tuple[str, ...] | None = None
    last_run_ms: int | None = None
    tenant_label: str | None = None
    """The `tenantId` that was written, where the server gives it back: a label, never proof of ownership."""


class ProjectRecord(msgspec.Struct, frozen=True, gc=False):
    """A project of the platform: `guid` is vPlus's id, `uuid` the platform's (vplus-api.md 1.4)."""

    guid: str
    uuid: str | None = None
    name: str | None = None


class NodeRecord(msgspec.Struct, frozen=True, gc=False):
    """A node of vPlus, which is where it tells its version; it needs a right of its own (vplus-api.md 2.10)."""

    guid: str
    name: str | None = None
    version: str | None = None


class SessionInfo(msgspec.Struct, frozen=True, gc=False):
    """What signing in told about the account; None where the server does not say (vplus-api.md 1.2)."""

    privileges: tuple[str, ...] | None = None
    time_zone: str | None = None


@dataclass(frozen=True)
class Detail(Generic[T]):
    """One object read to be changed: its record, and the whole JSON that a replacing PUT starts from.

    vPlus replaces an object by what a PUT holds, so the PUT must bring back what it does not change (4.26).
    """

    record: T
    raw: RawObject = field(repr=False)


@dataclass(frozen=True)
class PolicyDetail(Detail[PolicyRecord]):
    """A policy with its rules, each ready to be changed; None where the answer has none or one that is unreadable."""

    rules: tuple[Detail[RuleRecord], ...] | None = None

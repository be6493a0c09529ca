"""vPlus's JSON objects as they come, and how each becomes a record.

The shapes take what the evidence says that servers send (vplus-api.md 1.5): numbers as floats or digit
strings, enums as objects or bare names, references as objects or bare guids.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from vplus_bridge.client.records import (
    BackupRecord,
    CopyRecord,
    DestinationRecord,
    InfrastructureRecord,
    LocationRecord,
    NodeRecord,
    ProjectRecord,
    RestoreJobRecord,
    RestoreTimes,
    TaskRecord,
    TaskTimes,
    VirtualMachineRecord,
)

GUID_LIMIT = 200
"""Characters; ids are opaque, but one longer than this is not an id."""
TEXT_LIMIT = 4000
"""Characters kept of a free text or a name."""

# The bounds keep every figure inside a PostgreSQL bigint or timestamp: 9999-12-31 is the last instant.
Guid = Annotated[str, Meta(min_length=1, max_length=GUID_LIMIT)]
Instant = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Duration = Annotated[int, Meta(ge=0, le=2**53)]


class Wire(msgspec.Struct, rename="camel", kw_only=True):
    """Base of the wire shapes: camelCase members, unknown ones ignored."""


class EnumName(Wire):
    """EnumNameAndDescription; in requests only `name` counts (vplus-api.md 1.5)."""

    name: str | None = None
    description: str | None = None


class Reference(Wire):
    """NameAndGuid and its relatives; every member may be missing."""

    guid: str | None = None
    name: str | None = None
    uuid: str | None = None
    type: EnumName | str | None = None


EnumValue = EnumName | str | None
ReferenceValue = Reference | str | None


class WireObject(Wire):
    """Anything that has a guid."""

    guid: Guid


class WireVirtualMachine(WireObject):
    """vplus-api.md 2.1; required is what even the poorest server sends (4.31)."""

    uuid: Guid
    name: str
    present: bool
    project: ReferenceValue = None
    hv_manager: ReferenceValue = None
    hypervisor: ReferenceValue = None
    hv_cluster: ReferenceValue = None
    hvm_type: EnumValue = None
    hv_type: EnumValue = None
    vm_backup_policy: ReferenceValue = None
    backup_up_to_date: bool | None = None
    restorable: bool | None = None
    last_backup: Instant | None = None
    last_successful_backup_size: Size | None = None
    last_successful_full_backup_size: Size | None = None
    tags: list[Reference | str] | None = None


class WireTaskAnswer(WireObject):
    """A task as the answer to a write may name it: with its guid and perhaps nothing else."""

    type: EnumValue = None
    state: EnumValue = None
    progress: float | None = None
    protected_entity: ReferenceValue = None
    protected_entity_display_name: str | None = None
    dst_protected_entity: ReferenceValue = None
    backup: ReferenceValue = None
    parent_task: ReferenceValue = None
    restore_job: ReferenceValue = None
    backup_type: EnumValue = None
    window_start: Instant | None = None
    window_end: Instant | None = None
    creation_time: Instant | None = None
    start_time: Instant | None = None
    finish_time: Instant | None = None
    priority: Annotated[int, Meta(ge=0, le=100)] | None = None
    status_info: str | None = None
    origin_entity: ReferenceValue = None
    backup_destination: ReferenceValue = None
    retry_count: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    project: ReferenceValue = None


class WireTask(WireTaskAnswer, kw_only=True):
    """A task of a listing or a detail: type and state are always there (vplus-api.md 2.2.2)."""

    type: EnumName | str
    state: EnumName | str


class WireTimes(Wire):
    """`taskTimeStats`, durations in ms (vplus-api.md 2.3)."""

    queued_export_time: Duration | None = None
    export_time: Duration | None = None
    queued_store_time: Duration | None = None
    store_time: Duration | None = None


class WireLocation(Wire):
    """A copy embedded in a backup (vplus-api.md 2.4)."""

    guid: str | None = None
    backup_destination: ReferenceValue = None
    status: EnumValue = None
    role_type: EnumValue = None
    snapshot_time: Instant | None = None


class WireCopy(WireObject):
    """A copy of a backup, listed by itself (vplus-api.md 2.4)."""

    backup: ReferenceValue = None
    backup_destination: ReferenceValue = None
    status: EnumValue = None
    role_type: EnumValue = None


class WireBackup(WireObject):
    """vplus-api.md 2.3; only the guid is sure."""

    status: EnumValue = None
    type: EnumValue = None
    status_info: str | None = None
    snapshot_time: Instant | None = None
    backup_time: Instant | None = None
    size: Size | None = None
    task_time_stats: WireTimes | None = None
    protected_entity: ReferenceValue = None
    parent_backup: ReferenceValue = None
    backup_locations: list[WireLocation] | None = None
    backup_rule: ReferenceValue = None
    origin_entity: ReferenceValue = None
    source_project: ReferenceValue = None
    warnings: list[str] | None = None
    warnings_present: bool | None = None


class WireRestoreTimes(Wire):
    """`taskTimeStats` of a restore, durations in ms (vplus-api.md 2.6)."""

    queued_restore_time: Duration | None = None
    restore_time: Duration | None = None
    queued_import_time: Duration | None = None
    import_time: Duration | None = None
    queued_mount_time: Duration | None = None
    mount_time: Duration | None = None


class WireRestoreJob(WireObject):
    """vplus-api.md 2.6; only the guid is sure."""

    status: EnumValue = None
    status_info: str | None = None
    restore_type: EnumValue = None
    restore_time: Instant | None = None
    backup: ReferenceValue = None
    protected_entity: ReferenceValue = None
    dst_protected_entity: ReferenceValue = None
    restored_pe_name: str | None = None
    task_time_stats: WireRestoreTimes | None = None


class WireInfrastructure(WireObject):
    """Manager, hypervisor, cluster and storage in one; each kind has some of it (vplus-api.md 2.10)."""

    uuid: str | None = None
    name: str | None = None
    host: str | None = None
    url: str | None = None
    type: EnumValue = None
    hv_manager: ReferenceValue = None
    hypervisor_manager: ReferenceValue = None
    total_available_space: Size | None = None
    total_used_space: Size | None = None
    clusters: list[Reference | str] | None = None


class WireDestination(WireObject):
    """vplus-api.md 2.9."""

    name: str | None = None
    type: EnumValue = None
    default_backup_destination: bool | None = None
    total_available_space: Size | None = None
    total_used_space: Size | None = None


class WireProject(WireObject):
    """vplus-api.md 2.10."""

    uuid: str | None = None
    name: str | None = None


class WireNode(WireObject):
    """vplus-api.md 2.10."""

    name: str | None = None
    version: str | None = None


class WireUser(Wire):
    """The user object that answers a sign-in (vplus-api.md 1.2)."""

    privileges: list[EnumName | str] | None = None
    ui_time_zone: str | None = None


def clipped(value: str | None) -> str | None:
    """A text of at most TEXT_LIMIT characters; None for none or an empty one."""
    if not value:
        return None
    return value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT]


def guid_of(value: ReferenceValue) -> str | None:
    """The guid that a reference holds or is; None where there is none that can be one."""
    guid = value.guid if isinstance(value, Reference) else value
    return guid if guid and len(guid) <= GUID_LIMIT else None


def name_of(value: ReferenceValue) -> str | None:
    """The name that a reference carries."""
    return clipped(value.name) if isinstance(value, Reference) else None


def _kind(value: ReferenceValue) -> str | None:
    return enum_name(value.type) if isinstance(value, Reference) else None


def enum_name(value: EnumValue) -> str | None:
    """The bare name of an enum in either of its forms."""
    return clipped(value.name if isinstance(value, EnumName) else value)


def _words(value: EnumValue) -> str | None:
    return clipped(value.description) if isinstance(value, EnumName) else None


def guids_of(values: list[Reference | str] | None) -> tuple[str, ...] | None:
    """The guids of a list of references; None where there is no list."""
    if values is None:
        return None
    return tuple(guid for guid in map(guid_of, values) if guid is not None)


def _percent(value: float | None) -> float | None:
    # The first comparison also turns away "nan", which a digit string may spell.
    return min(value, 100.0) if value is not None and value >= 0 else None


def virtual_machine_record(vm: WireVirtualMachine) -> VirtualMachineRecord:
    """Flatten a VM."""
    return VirtualMachineRecord(
        guid=vm.guid,
        uuid=vm.uuid,
        name=vm.name[:TEXT_LIMIT],
        present=vm.present,
        project_guid=guid_of(vm.project),
        project_name=name_of(vm.project),
        hv_manager_guid=guid_of(vm.hv_manager),
        hv_manager_name=name_of(vm.hv_manager),
        hypervisor_guid=guid_of(vm.hypervisor),
        hypervisor_name=name_of(vm.hypervisor),
        cluster_guid=guid_of(vm.hv_cluster),
        cluster_name=name_of(vm.hv_cluster),
        platform=enum_name(vm.hvm_type) or enum_name(vm.hv_type),
        policy_guid=guid_of(vm.vm_backup_policy),
        policy_name=name_of(vm.vm_backup_policy),
        backup_up_to_date=vm.backup_up_to_date,
        restorable=vm.restorable,
        last_backup_ms=vm.last_backup,
        last_backup_size=vm.last_successful_backup_size,
        last_full_backup_size=vm.last_successful_full_backup_size,
        tags=tuple(tag for tag in map(_tag, vm.tags) if tag is not None) if vm.tags else (),
    )


def _tag(value: Reference | str) -> str | None:
    return clipped(value if isinstance(value, str) else value.name)


def task_record(task: WireTaskAnswer) -> TaskRecord:
    """Flatten a task. The protected entity counts as the VM unless it says to be something else."""
    vm = task.protected_entity
    is_vm = _kind(vm) in {None, "VM"}
    dst = task.dst_protected_entity
    return TaskRecord(
        guid=task.guid,
        type=enum_name(task.type),
        type_description=_words(task.type),
        state=enum_name(task.state),
        state_description=_words(task.state),
        progress=_percent(task.progress),
        vm_guid=guid_of(vm) if is_vm else None,
        vm_name=(name_of(vm) if is_vm else None) or clipped(task.protected_entity_display_name),
        dst_guid=guid_of(dst),
        dst_name=name_of(dst),
        dst_uuid=clipped(dst.uuid) if isinstance(dst, Reference) else None,
        backup_guid=guid_of(task.backup),
        parent_guid=guid_of(task.parent_task),
        restore_job_guid=guid_of(task.restore_job),
        backup_type=enum_name(task.backup_type),
        window_start_ms=task.window_start,
        window_end_ms=task.window_end,
        created_ms=task.creation_time,
        started_ms=task.start_time,
        finished_ms=task.finish_time,
        priority=task.priority,
        status_info=clipped(task.status_info),
        origin_type=_kind(task.origin_entity),
        origin_guid=guid_of(task.origin_entity),
        origin_name=name_of(task.origin_entity),
        destination_guid=guid_of(task.backup_destination),
        destination_name=name_of(task.backup_destination),
        retry_count=task.retry_count,
        project_guid=guid_of(task.project),
    )


def location_record(location: WireLocation) -> LocationRecord:
    """Flatten a copy of a backup."""
    return LocationRecord(
        guid=guid_of(location.guid),
        destination_guid=guid_of(location.backup_destination),
        destination_name=name_of(location.backup_destination),
        status=enum_name(location.status),
        role=enum_name(location.role_type),
        snapshot_ms=location.snapshot_time,
    )


def copy_record(copy: WireCopy) -> CopyRecord:
    """Flatten a copy."""
    return CopyRecord(
        guid=copy.guid,
        backup_guid=guid_of(copy.backup),
        destination_guid=guid_of(copy.backup_destination),
        status=enum_name(copy.status),
        role=enum_name(copy.role_type),
    )


def backup_record(backup: WireBackup) -> BackupRecord:
    """Flatten a backup."""
    times = backup.task_time_stats or WireTimes()
    return BackupRecord(
        guid=backup.guid,
        status=enum_name(backup.status),
        type=enum_name(backup.type),
        status_info=clipped(backup.status_info),
        snapshot_ms=backup.snapshot_time,
        backup_ms=backup.backup_time,
        size=backup.size,
        times=TaskTimes(times.queued_export_time, times.export_time, times.queued_store_time, times.store_time),
        vm_guid=guid_of(backup.protected_entity),
        vm_name=name_of(backup.protected_entity),
        parent_guid=guid_of(backup.parent_backup),
        destinations=tuple(location_record(location) for location in backup.backup_locations or ()),
        rule_guid=guid_of(backup.backup_rule),
        origin_type=_kind(backup.origin_entity),
        origin_guid=guid_of(backup.origin_entity),
        origin_name=name_of(backup.origin_entity),
        source_project_guid=guid_of(backup.source_project),
        warnings=tuple(warning[:TEXT_LIMIT] for warning in backup.warnings or ()),
        warnings_present=backup.warnings_present,
    )


def restore_job_record(job: WireRestoreJob) -> RestoreJobRecord:
    """Flatten a restore job; its entities are read as a task's are."""
    vm, dst = job.protected_entity, job.dst_protected_entity
    is_vm = _kind(vm) in {None, "VM"}
    times = job.task_time_stats or WireRestoreTimes()
    return RestoreJobRecord(
        guid=job.guid,
        status=enum_name(job.status),
        status_info=clipped(job.status_info),
        type=enum_name(job.restore_type),
        restore_ms=job.restore_time,
        backup_guid=guid_of(job.backup),
        backup_name=name_of(job.backup),
        vm_guid=guid_of(vm) if is_vm else None,
        vm_name=name_of(vm) if is_vm else None,
        dst_guid=guid_of(dst),
        dst_name=name_of(dst),
        dst_uuid=clipped(dst.uuid) if isinstance(dst, Reference) else None,
        restored_name=clipped(job.restored_pe_name),
        times=RestoreTimes(
            queued_restore_ms=times.queued_restore_time,
            restore_ms=times.restore_time,
            queued_import_ms=times.queued_import_time,
            import_ms=times.import_time,
            queued_mount_ms=times.queued_mount_time,
            mount_ms=times.mount_time,
        ),
    )


def infrastructure_record(item: WireInfrastructure) -> InfrastructureRecord:
    """Flatten a piece of infrastructure; without a name its host or address stands in."""
    return InfrastructureRecord(
        guid=item.guid,
        uuid=clipped(item.uuid),
        name=clipped(item.name) or clipped(item.host) or clipped(item.url),
        type=enum_name(item.type),
        url=clipped(item.url),
        parent_guid=guid_of(item.hv_manager) or guid_of(item.hypervisor_manager),
        total_space=item.total_available_space,
        used_space=item.total_used_space,
        cluster_guids=guids_of(item.clusters) or (),
    )


def destination_record(item: WireDestination) -> DestinationRecord:
    """Flatten a destination."""
    return DestinationRecord(
        guid=item.guid,
        name=clipped(item.name),
        type=enum_name(item.type),
        default=item.default_backup_destination,
        total_space=item.total_available_space,
        used_space=item.total_used_space,
    )


def node_record(node: WireNode) -> NodeRecord:
    """Flatten a node."""
    return NodeRecord(guid=node.guid, name=clipped(node.name), version=clipped(node.version))


def project_record(project: WireProject) -> ProjectRecord:
    """Flatten a project."""
    return ProjectRecord(guid=project.guid, uuid=clipped(project.uuid), name=clipped(project.name))

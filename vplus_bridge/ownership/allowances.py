"""What a tenant may use: backup destinations and restore targets, in the open wide scope."""

from uuid import UUID

from tenants import audit
from tenants.refusals import Invalid
from vplus_bridge.mirror.models import BackupDestination, InfrastructureItem, InfrastructureKind
from vplus_bridge.ownership.models import AllowedDestination, AllowedRestoreTarget


def allow_destination(*, tenant_id: UUID, guid: str, label: str = "") -> AllowedDestination:
    """Allow a destination, or rename an allowed one; raise Invalid where the mirror does not know it."""
    destination = BackupDestination.objects.filter(guid=guid, gone_at=None).first()
    if destination is None:
        known = BackupDestination.objects.filter(gone_at=None).order_by("name")
        listed = ", ".join(f"{row.guid} ({row.name})" for row in known) or "none was read yet; run sync_inventory"
        raise Invalid({"guid": [f"{guid}: vPlus has no such backup destination. Known: {listed}."]})
    allowed, made = AllowedDestination.objects.get_or_create(
        tenant_id=tenant_id, destination_guid=guid, defaults={"label": label or destination.name or guid}
    )
    if not made and label and allowed.label != label:
        allowed.label = label
        allowed.save(update_fields=["label"])
    audit.record(
        None,
        "destination.allow",
        tenant_id=tenant_id,
        object_kind="backup_destination",
        object_id=guid,
        object_name=allowed.label,
    )
    return allowed


def allow_restore_target(
    *,
    tenant_id: UUID,
    label: str,
    hypervisor_guid: str = "",
    manager_guid: str = "",
    cluster_uuid: str = "",
    storage_uuid: str = "",
    data_center: str = "",
    project: str = "",
) -> AllowedRestoreTarget:
    """Allow one bundle of places, or change the one of that label; raise Invalid naming what the mirror does not know."""
    errors: dict[str, list[str]] = {}
    if bool(hypervisor_guid) == bool(manager_guid):
        errors["hypervisor"] = ["Name either a hypervisor or a hypervisor manager."]
    for field, kind, column, value in (
        ("hypervisor", InfrastructureKind.HYPERVISOR, "guid", hypervisor_guid),
        ("hypervisor_manager", InfrastructureKind.MANAGER, "guid", manager_guid),
        ("cluster", InfrastructureKind.CLUSTER, "uuid", cluster_uuid),
        ("storage", InfrastructureKind.STORAGE, "uuid", storage_uuid),
    ):
        # vPlus wants guids of hypervisors and managers, but uuids of clusters and storages (vplus-api.md 1.4).
        if value and not InfrastructureItem.objects.filter(kind=kind, gone_at=None, **{column: value}).exists():
            errors.setdefault(field, []).append(f"vPlus has no {kind.label.lower()} with the {column} {value}.")
    if not label.strip():
        errors["name"] = ["Give a name; it is what the tenant's people see."]
    if errors:
        raise Invalid(errors)
    places = {
        "hypervisor_guid": hypervisor_guid,
        "manager_guid": manager_guid,
        "cluster_uuid": cluster_uuid,
        "storage_uuid": storage_uuid,
        "data_center": data_center,
        "project": project,
    }
    target, _made = AllowedRestoreTarget.objects.update_or_create(tenant_id=tenant_id, label=label, defaults=places)
    audit.record(
        None,
        "restore_target.allow",
        tenant_id=tenant_id,
        object_kind="restore_target",
        object_id=str(target.pk),
        object_name=label,
        detail=places,
    )
    return target

"""What an actor sees: one accessor per kind of object. Views and services start here, never at the tables."""

from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet

from tenants.refusals import NotVisible
from tenants.rights import Actor
from vplus_bridge.mirror.backups import RESTORABLE, newest_first
from vplus_bridge.mirror.models import Backup, Task, VirtualMachine
from vplus_bridge.ownership.models import AllowedDestination, AllowedRestoreTarget


def virtual_machines(actor: Actor) -> QuerySet[VirtualMachine]:
    """Return the virtual machines that the actor sees: the tenant's, or those granted."""
    rows = VirtualMachine.objects.all()
    return rows if actor.sees_all else rows.filter(guid__in=list(actor.grants))


def virtual_machine(actor: Actor, guid: str) -> VirtualMachine:
    """Return one virtual machine; raise NotVisible where it is not the actor's to see."""
    row = virtual_machines(actor).filter(guid=guid).first()
    if row is None:
        raise NotVisible
    return row


def backups(actor: Actor, vm_guid: str | None = None) -> QuerySet[Backup]:
    """Return the backups that the actor sees, of one virtual machine or of all."""
    rows = Backup.objects.filter(_of_visible(actor))
    return rows.filter(virtual_machine_guid=vm_guid) if vm_guid is not None else rows


def restore_points(actor: Actor, vm_guid: str) -> QuerySet[Backup]:
    """Return the backups of a virtual machine that one can restore, newest first; those without a time come last."""
    return newest_first(backups(actor, vm_guid).filter(status__in=RESTORABLE, gone_at=None))


@dataclass(frozen=True)
class BackupCounts:
    """How many backups there are of one virtual machine, and how many of them one can restore."""

    all: int
    restore_points: int


def backup_counts(actor: Actor, vm_guid: str) -> BackupCounts:
    """Return both counts from the rows themselves, in one SQL statement; they are those of ``restore_points``."""
    restorable = Count("guid", filter=Q(status__in=RESTORABLE, gone_at=None))
    return BackupCounts(**backups(actor, vm_guid).aggregate(all=Count("guid"), restore_points=restorable))


def tasks(actor: Actor) -> QuerySet[Task]:
    """Return the tasks that the actor sees."""
    return Task.objects.filter(_of_visible(actor))


def task(actor: Actor, guid: str) -> Task:
    """Return one task; raise NotVisible where it is not the actor's to see."""
    row = tasks(actor).filter(guid=guid).first()
    if row is None:
        raise NotVisible
    return row


def destinations(actor: Actor) -> QuerySet[AllowedDestination]:
    """Return the backup destinations that the actor's tenant may use, by label."""
    del actor  # the scope has narrowed them to the tenant already
    return AllowedDestination.objects.order_by("label", "id")


def restore_targets(actor: Actor) -> QuerySet[AllowedRestoreTarget]:
    """Return the places that the actor's tenant may restore to, by label."""
    del actor  # the scope has narrowed them to the tenant already
    return AllowedRestoreTarget.objects.order_by("label", "id")


def _of_visible(actor: Actor) -> Q:
    return Q() if actor.sees_all else Q(virtual_machine_guid__in=list(actor.grants))

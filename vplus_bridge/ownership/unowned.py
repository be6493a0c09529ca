"""Virtual machines that are nobody's, for the provider's inbox; in the open wide scope."""

from django.db.models import CharField, Count, IntegerField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from vplus_bridge.mirror.models import Backup, VirtualMachine


def unowned() -> QuerySet[VirtualMachine]:
    """Return them with ``backup_count``: what an assignment would make visible."""
    counted = (
        Backup.objects.filter(virtual_machine_guid=OuterRef("guid"))
        .order_by()
        .annotate(one=Value("", output_field=CharField()))
        .values("one")
        .annotate(n=Count("guid"))
        .values("n")
    )
    return VirtualMachine.objects.filter(tenant=None).annotate(
        backup_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0)
    )


def unowned_count() -> int:
    """Return how many there are."""
    return VirtualMachine.objects.filter(tenant=None).count()

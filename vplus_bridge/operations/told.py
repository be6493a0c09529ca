"""What is told to open pages when an operation changes. Whoever saves one tells of it by that; bulk writes call ``tell``."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models.signals import post_save
from django.dispatch import receiver

from vplus_bridge import changes
from vplus_bridge.mirror.instants import to_ms
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import State

KIND = "operation"
# What a page needs to show how far it is. Nothing of it may be for the provider only.
TOLD = ("kind", "state", "stage", "progress", "warnings", "error_code", "estimate_seconds", "started_at")


def tell(operations: Iterable[Operation], *, new: bool = False) -> None:
    """Tell open pages how far these operations are, after the commit. ``new``: they were just asked for."""
    changes.tell(_change(operation, new=new) for operation in operations)


def tell_by_id(operation_ids: Iterable[UUID]) -> None:
    """Tell of operations that were changed by one statement for many, in the open scope."""
    ids = list(operation_ids)
    if ids:
        tell(Operation.objects.filter(pk__in=ids))


def news_number(operation: Operation) -> int:
    """Return a number that grows with each change, so that a page never takes an older message for news.

    Milliseconds by the database's clock. A wish that was not sent yet is dated by the clock of whoever asked, and so is 0.
    """
    if operation.state == State.REQUESTED or operation.last_news_at is None:
        return 0
    return to_ms(operation.last_news_at)


def _change(operation: Operation, *, new: bool) -> changes.Change:
    public = {name: getattr(operation, name) for name in TOLD if name != "kind"}
    return changes.Change(
        kind=KIND,
        id=str(operation.pk),
        tenant_id=operation.tenant_id,
        virtual_machine_guid=operation.virtual_machine_guid,
        public={
            **public,
            "asked": operation.kind,
            "name": operation.virtual_machine_name or operation.plan.get("name", ""),
            "backup_type": operation.plan.get("backup_type", ""),
            "new": new,
            "news": news_number(operation),
        },
    )


@receiver(post_save, sender=Operation, dispatch_uid="operation told")
def _saved(instance: Operation, created: bool, **_: Any) -> None:
    tell([instance], new=created)

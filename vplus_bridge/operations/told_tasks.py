"""What is told to open pages of tasks that no operation made: those of schedules, and of somebody in vPlus.

A task of an operation is told by that operation's own state (told.py), and what several are together by told_runs.py.
"""

from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, QuerySet

from vplus_bridge import changes
from vplus_bridge.mirror.instants import to_ms
from vplus_bridge.mirror.models import Task
from vplus_bridge.operations.models import ChainTask

KIND = "task"
# What a page needs to show how far it is. Nothing of it may be for the provider only.
TOLD = ("type", "type_description", "state", "state_description", "progress", "backup_type", "live")
TOLD_TOGETHER = 100


def tell(changed: Collection[str], turned: Collection[str]) -> None:
    """Tell their owners of these tasks, each once, in the open wide scope and after the commit.

    ``turned``: those of them that begin, wait no more, or are over; pages read again what they show of such. Where
    hundreds of one tenant do so at once, that tenant is told to read again instead. The others only moved on, and a
    page is never read again for that, however many they are.
    """
    if not changed:
        return
    crowded = crowded_tenants(_own(turned), len(turned))
    changes.tell_again(crowded)
    rows = _own(changed).exclude(tenant__in=crowded) if crowded else _own(changed)
    together: list[changes.Change] = []
    for row in rows.iterator(TOLD_TOGETHER):
        together.append(_change(row, new=row.guid in turned))
        if len(together) == TOLD_TOGETHER:
            changes.tell(together)
            together = []
    changes.tell(together)


def crowded_tenants(turned: QuerySet[Task], most: int) -> set[UUID]:
    """Return the tenants of more of these tasks than one by one can be named; ``most``: how many there are at most."""
    if most <= changes.MOST_NAMED:
        return set()
    by_tenant = turned.order_by().values_list("tenant").annotate(tasks=Count("guid"))
    return {tenant for tenant, count in by_tenant if tenant is not None and count > changes.MOST_NAMED}


def mark(turned: Collection[str]) -> None:
    """Note on tasks that came to be known after an operation had them that it does, in the wide scope.

    A worker that dies before it only leaves a hint out, which the task's next state makes up for.
    """
    if turned:
        chained = Exists(ChainTask.objects.filter(task_guid=OuterRef("guid")))
        Task.objects.filter(chained, guid__in=list(turned), of_operation=False).update(of_operation=True)


def news_number(task: Task) -> int:
    """Return a number that grows with each change, so that a page never takes an older message for news.

    Milliseconds by the database's clock.
    """
    return to_ms(task.changed_at)


def _own(guids: Iterable[str]) -> QuerySet[Task]:
    chained = Exists(ChainTask.objects.filter(task_guid=OuterRef("guid")))
    return Task.objects.filter(~chained, guid__in=list(guids), tenant__isnull=False)


def _change(task: Task, *, new: bool) -> changes.Change:
    assert task.tenant_id is not None  # noqa: S101  # the filter has seen to it; this tells the type checker
    return changes.Change(
        kind=KIND,
        id=task.guid,
        tenant_id=task.tenant_id,
        virtual_machine_guid=task.virtual_machine_guid,
        public={**{name: getattr(task, name) for name in TOLD}, "new": new, "news": news_number(task)},
    )

"""What is told to open pages of runs: what schedules, and somebody in vPlus, had it do. One bar over all tasks of each.

Its single tasks are told beside it, for the list of tasks (told_tasks.py).
"""

from collections.abc import Collection, Sequence

from django.db.models import Exists, OuterRef

from vplus_bridge import changes
from vplus_bridge.mirror.models import Task
from vplus_bridge.operations.models import ChainTask
from vplus_bridge.operations.runs import Run, runs_of
from vplus_bridge.operations.told_tasks import TOLD_TOGETHER, crowded_tenants

KIND = "run"


def tell(changed_tasks: Collection[str], turned_tasks: Collection[str], changed_runs: Collection[str]) -> None:
    """Tell their owners of the runs of these tasks and of these runs, each once, in the open wide scope, after the commit.

    Where a task begins, waits no more or is over, and where a run itself changed, pages read again what they show of it.
    """
    chained = Exists(ChainTask.objects.filter(task_guid=OuterRef("guid")))
    heads = Task.objects.filter(~chained, of_operation=False, run_guid="", tenant__isnull=False)
    turned = {*_heads_of(turned_tasks), *changed_runs}
    told = {*_heads_of(changed_tasks), *turned}
    if not told:
        return
    crowded = crowded_tenants(heads.filter(guid__in=turned), len(turned))
    changes.tell_again(crowded)
    guids = sorted(heads.filter(guid__in=told).exclude(tenant__in=crowded).values_list("guid", flat=True))
    for start in range(0, len(guids), TOLD_TOGETHER):
        together = guids[start : start + TOLD_TOGETHER]
        rows = list(Task.objects.filter(guid__in=together))
        further = Task.objects.filter(run_guid__in=together, of_operation=False)
        changes.tell(change(run, new=run.head.guid in turned) for run in runs_of(rows, further))


def change(run: Run, *, new: bool) -> changes.Change:
    """Return what is told of one run; ``new``: there is more to it than a bar that moved on."""
    assert run.head.tenant_id is not None  # noqa: S101  # the filter has seen to it; this tells the type checker
    return changes.Change(
        kind=KIND,
        id=run.head.guid,
        tenant_id=run.head.tenant_id,
        virtual_machine_guid=run.head.virtual_machine_guid,
        public={**run.told, "new": new},
    )


def _heads_of(task_guids: Collection[str]) -> Sequence[str]:
    if not task_guids:
        return []
    rows = Task.objects.filter(guid__in=list(task_guids)).values_list("guid", "run_guid")
    return [run_guid or guid for guid, run_guid in rows]

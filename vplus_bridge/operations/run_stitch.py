"""Which tasks that no operation made belong to one run: EXPORT and STORE, RESTORE and IMPORT, copies of those that failed.

Told from the tasks of one machine alone, without the database. As with operations: where vPlus does not name the link it is
told by order and time, and where it cannot be told, it is left open rather than guessed (design.md 6, Stitching).
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence

from vplus_bridge.mirror.models import Task
from vplus_bridge.operations.runs import DATA_TASKS, FIRST, SECOND, Run, order
from vplus_bridge.operations.stitch import AROUND, after, ended_badly


def joined(tasks: Iterable[Task], held: Mapping[str, Hashable]) -> dict[str, str]:
    """Return, by guid of a task that goes on with a run, the guid of the task that this run begins with; new ones only.

    ``tasks``: those of one machine, also of operations; ``held``: by guid, of which operation's chain a task is.
    """
    known = sorted((task for task in tasks if task.type in DATA_TASKS), key=order)
    own = [task for task in known if task.guid not in held and not task.of_operation]
    runs: dict[str, list[Task]] = {task.guid: [task] for task in own if not task.run_guid}
    heads = {guid: row for guid, [row] in runs.items()}
    for task in own:
        if task.run_guid in runs:
            runs[task.run_guid].append(task)
    found: dict[str, str] = {}
    rivals = _waiting_of_operations(known, held)
    for task in own:
        if task.run_guid or len(runs[task.guid]) > 1:
            continue
        others = [
            Run(heads[guid], sorted(chain, key=order))
            for guid, chain in runs.items()
            if guid != task.guid and heads[guid].tenant_id == task.tenant_id
        ]
        alone = [other.head for other in others if len(other.tasks) == 1]
        if run := _of(task, others, alone, rivals):
            found[task.guid] = run.head.guid
            runs[run.head.guid].append(task)
            del runs[task.guid]
    return found


def _of(task: Task, runs: Sequence[Run], alone: Sequence[Task], rivals: Sequence[Task]) -> Run | None:
    """Return the run that a task goes on with: what names it, else the only one whose copy or second stage it can be."""
    ways = [[run for run in runs if _named(task, run)], [run for run in runs if _copy(task, run)]]
    for fitting in ways:
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            return None
    if task.type not in FIRST or _names_something(task) or any(rival.type == FIRST[task.type] for rival in rivals):
        return None
    waiting = [run for run in runs if _waits(run, task.type)]
    if len(waiting) != 1 or not after(waiting[0].firsts[-1], task):
        return None
    first = waiting[0].firsts[-1]
    same = [one for one in alone if one.type == task.type and not _names_something(one) and after(first, one)]
    return None if same or _contradicts(task, first) else waiting[0]


def _named(task: Task, run: Run) -> bool:
    """Tell whether a second stage names the run: its first stage, or its record. Restores of one record are many."""
    if run.head.type != FIRST.get(task.type):
        return False
    if task.parent_guid:
        return task.parent_guid in {one.guid for one in run.tasks}
    return task.type == "STORE" and task.backup_guid in run.backup_names


def _copy(task: Task, run: Run) -> bool:
    """Tell whether a task is the next try of the last one of a run (vplus-api.md 3.2 line 6)."""
    last = run.last
    if last.type != task.type or not ended_badly(last) or order(task) < order(last) or _contradicts(task, last):
        return False
    if _same(task.backup_guid, last.backup_guid) and task.type in {"EXPORT", "STORE"}:
        return True
    # Two that were seen at the same moment may be of two schedules that fire together.
    later = task.first_seen_at > last.first_seen_at
    if last.ended_seen_at is not None:
        later = later and task.first_seen_at >= last.ended_seen_at - AROUND
    return later and task.window_start is not None and task.window_start == last.window_start


def _waits(run: Run, second: str) -> bool:
    """Tell whether a run may go on with a task of this type that names nothing."""
    first = run.last
    return (
        SECOND.get(run.head.type) == second
        and first.type == run.head.type
        and not run.head.run_ended
        and _may_have_finished(first)
    )


def _waiting_of_operations(tasks: Sequence[Task], held: Mapping[str, Hashable]) -> list[Task]:
    """Return first stages of operations that have ended, and whose second stage is not known: a nameless one may be theirs."""
    complete = {held[task.guid] for task in tasks if task.guid in held and task.type in FIRST}
    return [
        task
        for task in tasks
        if task.guid in held and task.type in SECOND and held[task.guid] not in complete and _may_have_finished(task)
    ]


def _may_have_finished(task: Task) -> bool:
    return task.state == "FINISHED" or (task.vanished_at is not None and task.state != "QUEUED")


def _names_something(task: Task) -> bool:
    return bool(task.parent_guid) or (task.type == "STORE" and bool(task.backup_guid))


def _contradicts(task: Task, other: Task) -> bool:
    """Tell whether what two tasks name differs, so that they cannot be of one run."""
    pairs = (
        (task.backup_guid, other.backup_guid),
        (task.schedule_guid, other.schedule_guid),
        (task.destination_vm_guid, other.destination_vm_guid),
    )
    return any(one and another and one != another for one, another in pairs)


def _same(one: str, another: str) -> bool:
    return bool(one) and one == another

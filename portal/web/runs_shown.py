"""What rows show of runs: what schedules and vPlus itself did and do, one row each over all of their tasks."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from portal.web import shown, tasks_shown
from portal.web.wording import operation_words
from portal.web.wording.badges import DONE_WITH_WARNINGS, OPERATION, RUN, TASK, Badge, Word
from tenants.rights import Actor
from vplus_bridge.mirror.models import Task, VirtualMachine
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.moves import Kind
from vplus_bridge.operations.runs import SECOND, Progress, Run, RunState
from vplus_bridge.ownership import visible
from vplus_bridge.protection import visible as protection

KINDS: Final = {"EXPORT": Kind.BACKUP, "RESTORE": Kind.RESTORE}
"""By the type of its first task, what a run is in the words for operations; other tasks are what they are."""
BADGES: Final[Mapping[RunState, Badge]] = {
    RunState.QUEUED: OPERATION["submitted"],
    RunState.RUNNING: OPERATION["running"],
    RunState.DONE: OPERATION["succeeded"],
    RunState.IN_PART: DONE_WITH_WARNINGS,
    RunState.FINISHED: TASK["FINISHED"],  # a task that ended is no backup: not green
    RunState.FAILED: OPERATION["failed"],
    RunState.CANCELLED: OPERATION["cancelled"],
    RunState.UNKNOWN: RUN["excused"],
}


def badge(now: Progress) -> Badge:
    """Return the badge of a run that is as far as this; while it runs, with the word of what it does."""
    found = BADGES[RunState(now.state)]
    return replace(found, word=stage(now, counted=False)) if now.state == RunState.RUNNING else found


def stage(now: Progress, *, counted: bool = True) -> Word:
    """Return what it does at this moment: "Storing, 2 of 2"; of what has ended, how it did."""
    if now.ended or now.state == RunState.QUEUED:
        return BADGES[RunState(now.state)].word
    if now.first_type not in KINDS:
        return tasks_shown.doing_words(now.task_type, now.task_state, now.state_description)
    stages = operation_words.STAGES[KINDS[now.first_type]]
    name = SECOND[now.first_type] if now.second else now.first_type
    return str(stages[name.lower()][int(counted)])


def what(now: Progress) -> str:
    """Return what it is, beside the name of its machine: "Backup, full"."""
    words = {Kind.BACKUP: _("Backup"), Kind.RESTORE: _("Restore")}
    kind = KINDS.get(now.first_type)
    word = words[kind] if kind else str(tasks_shown.type_words(now.task_type, now.type_description))
    typed = now.backup_type and kind != Kind.RESTORE
    return f"{word}, {operation_words.type_word(now.backup_type).lower()}" if typed else word


def live(run: Run, name: str) -> shown.Live:
    """Return the running part of a row, of the virtual machine of this name; how long it will take nobody knows."""
    now = run.progress
    titles = {Kind.BACKUP: _("Backup of %(name)s"), Kind.RESTORE: _("Restore of %(name)s")}
    title = titles.get(KINDS.get(now.first_type, Kind.POLICY), _("%(task)s of %(name)s"))
    return shown.Live(
        id=f"run-{run.head.guid}",
        news=run.news_number,
        label=title % {"name": name, "task": tasks_shown.type_words(now.task_type, now.type_description)},
        url="",
        stage_word=str(stage(now)),
        percent=now.percent,
        kind_word=operation_words.type_word(now.backup_type) if now.backup_type else "",
        eta=None,
    )


def running_by_itself(actor: Actor, machines: Sequence[VirtualMachine]) -> dict[str, shown.Live]:
    """Return, by guid of a machine, what runs for it that nobody here asked for, and whose doing it is."""
    found = operations.running_by_itself(actor, [row.guid for row in machines])
    return {row.guid: of_machine(found[row.guid], row.name) for row in machines if row.guid in found}


def of_machine(run: Run, name: str) -> shown.Live:
    """Return the running part of a machine's row, which has no column of its own for who began it."""
    bar = live(run, name)
    return replace(bar, kind_word=" · ".join(word for word in (bar.kind_word, _by(run, {})) if word))


def run_rows(actor: Actor, heads: Sequence[Task]) -> list[shown.OperationRow]:
    """Return runs as rows of a table, in the same number of SQL statements however many they are."""
    if not heads:
        return []
    runs = operations.runs_with_tasks(actor, heads)
    guids = {head.virtual_machine_guid for head in heads}
    names = dict(visible.virtual_machines(actor).filter(guid__in=guids).values_list("guid", "name"))
    cancellable = tasks_shown.cancellable(actor, [run.last for run in runs])
    policies = protection.policy_names_of_schedules(actor, _schedules(runs))
    made = _types_made(actor, runs)
    return [_row(run, _as_made(run, made), names, cancellable, policies, slug=actor.tenant_slug) for run in runs]


def _types_made(actor: Actor, runs: Iterable[Run]) -> Mapping[str, str]:
    """Return, by guid of a record, the type of backup that it became: without a base, an incremental is a full one."""
    guids = {run.head.run_backup_guid for run in runs if run.head.run_backup_guid}
    return dict(visible.backups(actor).filter(guid__in=guids).values_list("guid", "type")) if guids else {}


def _as_made(run: Run, made: Mapping[str, str]) -> Progress:
    return replace(run.progress, backup_type=made.get(run.head.run_backup_guid) or run.progress.backup_type)


def _row(
    run: Run,
    now: Progress,
    names: Mapping[str, str],
    cancellable: AbstractSet[str],
    policies: Mapping[str, str],
    *,
    slug: str,
) -> shown.OperationRow:
    machine = run.head.virtual_machine_guid
    name = names.get(machine, "")
    return shown.OperationRow(
        id=run.head.guid,
        url="",
        what=what(now),
        vm_name=name or _("Not among yours any more"),
        vm_url=shown.machine_url("vm_detail", slug, machine) if name else "",
        started_at=run.head.shown_at,
        badge=badge(now),
        reason=tasks_shown.WHY_FAILED.get(run.last.type, "") if run.state == RunState.FAILED else "",
        live=None if run.head.run_ended else live(run, name or machine),
        by=_by(run, policies),
        by_url=_by_url(run, slug),
        cancel_url=tasks_shown.cancel_address(run.last, slug) if run.last.guid in cancellable else "",
    )


def _schedules(runs: Iterable[Run]) -> set[str]:
    return {run.head.schedule_guid for run in runs if run.head.schedule_guid}


def _by(run: Run, policies: Mapping[str, str]) -> str:
    named = (task.schedule_guid for task in run.tasks if task.schedule_guid)
    return shown.by_schedule(run.head.schedule_guid or next(named, ""), policies)


def _by_url(run: Run, slug: str) -> str:
    """Return where everything stands that the schedule started; "" where it was none."""
    if not run.head.schedule_guid:
        return ""
    given: dict[str, Any] = {"schedule": run.head.schedule_guid}
    return f"{reverse('tenant:activity', kwargs={'tenant_slug': slug})}?{urlencode(given)}"

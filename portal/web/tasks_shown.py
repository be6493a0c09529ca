"""What rows show of vPlus's tasks: words for type, state, schedule and window, ready for the templates."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from portal.web import shown
from portal.web.wording import moments, operation_words
from portal.web.wording.badges import Badge, Word, task_badge
from portal.web.wording.operation_words import STAGES
from tenants.rights import Actor, Right
from vplus_bridge.mirror.models import Task, VirtualMachine
from vplus_bridge.operations import cancel
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.moves import Kind
from vplus_bridge.operations.told_tasks import news_number
from vplus_bridge.ownership import visible

TASK_WORDS: Final = {
    "EXPORT": lazy("Export"),
    "STORE": lazy("Store"),
    "RESTORE": lazy("Restore"),
    "IMPORT": lazy("Import"),
    "INDEX": lazy("Index"),
    "OLD_BACKUPS_REMOVAL": lazy("Removal of old backups"),
    "OLD_SNAPSHOTS_REMOVAL": lazy("Removal of old snapshots"),
    "MOUNT": lazy("Mount"),
    "UNMOUNT": lazy("Unmount"),
    "DELETE": lazy("Delete"),
    "SNAPSHOT": lazy("Snapshot"),
    "SNAPSHOT_REVERSION": lazy("Snapshot reversion"),
    # Those of newer servers; what is left over is shown as the server describes it.
    "BACKUP_CLEANUP": lazy("Removal of old backups"),
    "SNAPSHOT_CLEANUP": lazy("Removal of old snapshots"),
    "STAGING_CLEANUP": lazy("Clearing of the staging area"),
    "INVENTORY_SYNC": lazy("Reading of the inventory"),
    "SCOPED_INVENTORY_SYNC": lazy("Reading of a part of the inventory"),
    "LIVE_MIGRATION": lazy("Live migration"),
    "UPLOAD": lazy("Upload"),
}
DOING: Final = {
    "EXPORT": STAGES[Kind.BACKUP]["export"][0],
    "STORE": STAGES[Kind.BACKUP]["store"][0],
    "RESTORE": STAGES[Kind.RESTORE]["restore"][0],
    "IMPORT": STAGES[Kind.RESTORE]["import"][0],
}
WHY_FAILED: Final = {
    "EXPORT": lazy("The virtual machine could not be read."),
    "STORE": lazy("The copy could not be stored. Older restore points are untouched."),
    "RESTORE": lazy("The copy could not be read."),
    "IMPORT": lazy("The virtual machine could not be created."),
}
TASK_STATES: Final = ("QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class TaskRow:
    """One task in a table."""

    guid: str
    type_word: Any
    badge: Badge
    percent: float | None
    news: int  # of this state: a page takes nothing older for news
    live: shown.Live | None
    vm_name: str
    vm_url: str
    backup_words: str
    by: str
    by_url: str  # everything that this schedule started; "" where it was none
    window_words: str
    started_at: datetime
    reason: Word = ""
    cancel_url: str = ""


def task_word(task: Task) -> Any:
    """Return the type of a task in words; one we do not know as vPlus describes it."""
    return TASK_WORDS.get(task.type, task.type_description or task.type)


def doing(task: Task) -> Word:
    """Return what it does at this moment: "Exporting"; the word of its badge where there is no better one."""
    word = task_badge(task.state, task.state_description).word
    return DOING.get(task.type, word) if task.state == "RUNNING" else word


def live(task: Task, name: str) -> shown.Live:
    """Return the running part of a row, of the virtual machine of this name; how long it will take nobody knows."""
    return shown.Live(
        id=f"task-{task.guid}",
        news=news_number(task),
        label=_("%(task)s of %(name)s") % {"task": task_word(task), "name": name},
        url="",
        stage_word=str(doing(task)),
        percent=task.progress,
        kind_word=operation_words.type_word(task.backup_type) if task.backup_type else "",
        eta=None,
    )


def running_by_itself(actor: Actor, machines: Sequence[VirtualMachine]) -> dict[str, shown.Live]:
    """Return, by guid of a machine, what runs for it that nobody here asked for, and whose doing it is."""
    found = operations.running_by_itself(actor, [row.guid for row in machines])
    return {row.guid: of_machine(found[row.guid], row.name) for row in machines if row.guid in found}


def of_machine(task: Task, name: str) -> shown.Live:
    """Return the running part of a machine's row, which has no column of its own for who began it."""
    bar = live(task, name)
    return replace(bar, kind_word=" · ".join(word for word in (bar.kind_word, _by(task)) if word))


def task_rows(actor: Actor, rows: Sequence[Task], slug: str, now: datetime) -> list[TaskRow]:
    """Return tasks as table rows, in the same number of SQL statements however many they are."""
    guids = {row.virtual_machine_guid for row in rows}
    names = dict(visible.virtual_machines(actor).filter(guid__in=guids).values_list("guid", "name")) if guids else {}
    cancellable = _cancellable(actor, rows)
    return [_task_row(row, names, cancellable, slug, now) for row in rows]


def cancel_url(actor: Actor, task: Task) -> str:
    """Return where to ask for an end of a task; "" where one may not, or it cannot be."""
    if task.guid not in _cancellable(actor, [task]):
        return ""
    return reverse("tenant:task_cancel", kwargs={"tenant_slug": actor.tenant_slug, "guid": task.guid})


def _cancellable(actor: Actor, rows: Sequence[Task]) -> set[str]:
    """Return guids of tasks of which the actor may ask an end; those of operations are ended with these."""
    live = {
        row.guid: row.virtual_machine_guid
        for row in rows
        if row.live and row.type in cancel.TASK_TYPES and actor.may(Right.CANCEL, row.virtual_machine_guid)
    }
    if not live or actor.suspended or not cancel.can_cancel():
        return set()
    return set(live) - set(operations.operations_of_tasks(actor, live))


def _task_row(row: Task, names: Mapping[str, str], cancellable: AbstractSet[str], slug: str, now: datetime) -> TaskRow:
    zone = timezone.get_current_timezone()
    window = [moment for moment in (row.window_start, row.window_end) if moment]
    name = names.get(row.virtual_machine_guid, "")
    return TaskRow(
        guid=row.guid,
        type_word=task_word(row),
        badge=task_badge(row.state, row.state_description),
        percent=row.progress if row.live else None,
        news=news_number(row),
        live=live(row, name or row.virtual_machine_guid) if row.live else None,
        vm_name=name or _("Not among yours any more"),
        vm_url=shown.machine_url("vm_detail", slug, row.virtual_machine_guid) if name else "",
        backup_words=operation_words.type_word(row.backup_type) if row.backup_type else "",
        by=_by(row),
        by_url=_by_schedule(slug, row.schedule_guid),
        window_words=" – ".join(moments.clock_words(moment, now, zone) for moment in window),
        started_at=row.shown_at,
        reason=WHY_FAILED.get(row.type, "") if row.state == "FAILED" else "",
        cancel_url=reverse("tenant:task_cancel", kwargs={"tenant_slug": slug, "guid": row.guid})
        if row.guid in cancellable
        else "",
    )


def _by(task: Task) -> str:
    return _("Schedule") if task.schedule_guid else "vPlus"


def _by_schedule(slug: str, guid: str) -> str:
    if not guid:
        return ""
    return f"{reverse('tenant:activity', kwargs={'tenant_slug': slug})}?{urlencode({'schedule': guid})}"

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
from vplus_bridge.mirror.models import Task
from vplus_bridge.operations import cancel
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.moves import Kind
from vplus_bridge.operations.told_tasks import news_number
from vplus_bridge.ownership import visible
from vplus_bridge.protection import visible as protection

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
    live: bool
    vm_name: str
    vm_url: str
    backup_words: str
    by: str
    by_url: str  # the operation that it is a step of, or all that this schedule started; else ""
    window_words: str
    started_at: datetime
    cancel_url: str = ""


def type_words(name: str, description: str) -> Any:
    """Return the type of a task in words; one we do not know as vPlus describes it."""
    return TASK_WORDS.get(name, description or name)


def doing_words(name: str, state: str, description: str) -> Word:
    """Return what a task of this type does in this state: "Exporting"; the word of its badge where there is no better."""
    word = task_badge(state, description).word
    return DOING.get(name, word) if state == "RUNNING" else word


def task_word(task: Task) -> Any:
    """Return the type of a task in words."""
    return type_words(task.type, task.type_description)


def doing(task: Task) -> Word:
    """Return what a task does at this moment."""
    return doing_words(task.type, task.state, task.state_description)


def task_rows(actor: Actor, rows: Sequence[Task], slug: str, now: datetime) -> list[TaskRow]:
    """Return tasks as table rows, in the same number of SQL statements however many they are."""
    guids = {row.virtual_machine_guid for row in rows}
    names = dict(visible.virtual_machines(actor).filter(guid__in=guids).values_list("guid", "name")) if guids else {}
    may_end = cancellable(actor, rows)
    askers = operations.operations_of_tasks(actor, [row.guid for row in rows])
    policies = protection.policy_names_of_schedules(actor, {row.schedule_guid for row in rows if row.schedule_guid})
    shown_rows = [_task_row(row, names, policies, may_end, slug=slug, now=now) for row in rows]
    return [
        replace(row, by=asked.requested_by_name, by_url=shown.operation_url(asked, slug))
        if (asked := askers.get(row.guid))
        else row
        for row in shown_rows
    ]


def cancel_url(actor: Actor, task: Task) -> str:
    """Return where to ask for an end of a task; "" where one may not, or it cannot be."""
    if task.guid not in cancellable(actor, [task]):
        return ""
    return cancel_address(task, actor.tenant_slug)


def cancel_address(task: Task, slug: str) -> str:
    """Return the address of the page that asks for an end of a task."""
    return reverse("tenant:task_cancel", kwargs={"tenant_slug": slug, "guid": task.guid})


def cancellable(actor: Actor, rows: Sequence[Task]) -> set[str]:
    """Return guids of tasks of which the actor may ask an end; those of operations are ended with these."""
    live = {
        row.guid: row.virtual_machine_guid
        for row in rows
        if row.live and row.type in cancel.TASK_TYPES and actor.may(Right.CANCEL, row.virtual_machine_guid)
    }
    if not live or actor.suspended or not cancel.can_cancel():
        return set()
    return set(live) - set(operations.operations_of_tasks(actor, live))


def _task_row(
    row: Task,
    names: Mapping[str, str],
    policies: Mapping[str, str],
    may_end: AbstractSet[str],
    *,
    slug: str,
    now: datetime,
) -> TaskRow:
    zone = timezone.get_current_timezone()
    window = [moment for moment in (row.window_start, row.window_end) if moment]
    name = names.get(row.virtual_machine_guid, "")
    return TaskRow(
        guid=row.guid,
        type_word=task_word(row),
        badge=task_badge(row.known_state, row.state_description),
        percent=row.progress if row.live else None,
        news=news_number(row),
        live=row.live,
        vm_name=name or _("Not among yours any more"),
        vm_url=shown.machine_url("vm_detail", slug, row.virtual_machine_guid) if name else "",
        backup_words=operation_words.type_word(row.backup_type) if row.backup_type else "",
        by=shown.by_schedule(row.schedule_guid, policies),
        by_url=_by_schedule(slug, row.schedule_guid),
        window_words=" – ".join(moments.clock_words(moment, now, zone) for moment in window),
        started_at=row.shown_at,
        cancel_url=cancel_address(row, slug) if row.guid in may_end else "",
    )


def _by_schedule(slug: str, guid: str) -> str:
    if not guid:
        return ""
    return f"{reverse('tenant:activity', kwargs={'tenant_slug': slug})}?{urlencode({'schedule': guid})}"

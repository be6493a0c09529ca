"""What ran and runs as one list: operations that people asked for, and runs of schedules and of vPlus itself."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import BooleanField, Case, Count, F, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Cast, Collate
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.scoped_request import ScopedRequest
from portal.web import runs_shown, shown
from portal.web.filters import FilterBar, Given, Select, counted
from portal.web.tasks_shown import TASK_STATES, TASK_WORDS
from portal.web.wording import moments, operation_words
from portal.web.wording.badges import OPERATION, task_badge
from tenants.rights import Actor
from vplus_bridge.keyset import Key, Keyset, Page, merged_page_of
from vplus_bridge.mirror.models import TASK_ID, Task
from vplus_bridge.mirror.tasks import in_state
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind, State
from vplus_bridge.operations.runs import RunState
from vplus_bridge.ownership import visible

WAITING: Final = frozenset({State.REQUESTED, State.SUBMITTED})
ACTIVE_FIRST: Final = Keyset(
    "active-first", (Key("ended"), Key("row_at", descending=True), Key("row_id")), grouped=True
)
NEWEST_TASKS: Final = Keyset("newest", (Key("shown_at", descending=True), Key("guid")))
_OPERATION_ENDED: Final = Case(
    When(state__in=ACTIVE, then=Value(value=False)), default=Value(value=True), output_field=BooleanField()
)
_OPERATION_ID: Final = Collate(Cast("id", TextField()), "C")
# Where a run stands by the words for operations; it cannot wait to be sent, nor need attention. One that was seen this
# moment and is not judged yet goes on.
_RUN_STATES: Final[Mapping[State, Sequence[str]]] = {
    State.SUBMITTED: [RunState.QUEUED],
    State.RUNNING: [RunState.RUNNING, ""],
    State.SUCCEEDED: [RunState.DONE, RunState.IN_PART, RunState.FINISHED],
    State.FAILED: [RunState.FAILED],
    State.CANCELLED: [RunState.CANCELLED],
}
_TASK_TYPES: Final = {Kind.BACKUP: ("EXPORT", "STORE"), Kind.RESTORE: ("RESTORE", "IMPORT")}


def run_bar(request: ScopedRequest) -> FilterBar:
    """Return the filters of the list of operations."""
    return FilterBar(
        request,
        search=("search", _("Virtual machine"), _("Search by virtual machine")),
        selects=[
            Select("kind", _("Kind"), [("", _("Any")), *kind_words().items()]),
            Select("state", _("State"), [("", _("Any")), *((one, str(OPERATION[one].word)) for one in State.values)]),
        ],
        dates=_dates(),
        ticks=[("mine", _("Mine"))],
        kept=("size",),
        given=_given(request),
    )


def task_bar(request: ScopedRequest) -> FilterBar:
    """Return the filters of the list of tasks."""
    return FilterBar(
        request,
        search=("vm", _("Virtual machine"), _("Search by virtual machine")),
        selects=[
            Select("state", _("State"), [("", _("Any")), *((s, str(task_badge(s).word)) for s in TASK_STATES)]),
            Select("type", _("Type"), [("", _("Any")), *((name, str(word)) for name, word in TASK_WORDS.items())]),
        ],
        dates=_dates(),
        ticks=[("mine", _("Mine"))],
        kept=("size",),
        given=_given(request),
    )


def kind_words() -> Mapping[str, str]:
    """Return the kinds of operations that a person may look for, as words."""
    return {Kind.BACKUP: _("Backup"), Kind.RESTORE: _("Restore"), Kind.POLICY: _("Policy")}


def runs_page(actor: Actor, bar: FilterBar, *, vm_guid: str | None = None) -> tuple[Page[Operation | Task], int | None]:
    """Return one page of what the bar asks for, active first, then the newest; and how many there are, as ``counted``."""
    asked = _operations(actor, bar)
    own = _own_runs(actor, bar)
    if vm_guid is not None:
        asked, own = asked.filter(virtual_machine_guid=vm_guid), own.filter(virtual_machine_guid=vm_guid)
    page = merged_page_of(_in_order(asked, own), ACTIVE_FIRST, bar.cursor, bar.size)
    return page, counted(asked, own)


def latest_runs(actor: Actor, vm_guid: str, how_many: int, now: datetime) -> list[shown.OperationRow]:
    """Return the first rows of a machine's activity: what is active, then the newest, whoever asked for it."""
    lists = _in_order(operations.operations(actor), operations.run_heads(actor))
    found = merged_page_of([rows.filter(virtual_machine_guid=vm_guid) for rows in lists], ACTIVE_FIRST, "", how_many)
    return run_rows(actor, found.rows, now)


def under_way(actor: Actor) -> tuple[int, int]:
    """Return how many run and how many wait, of operations and of what nobody asked for, in two SQL statements.

    What is queued waits, whoever asked for it: so the figures say the same as the badges of the rows.
    """
    running = Count("pk", filter=Q(state__in=ACTIVE - WAITING))
    asked = operations.operations(actor).aggregate(run=running, wait=Count("pk", filter=Q(state__in=WAITING)))
    waits = Q(run_state=RunState.QUEUED)
    own = operations.open_run_heads(actor)
    by_itself = own.aggregate(run=Count("pk", filter=~waits), wait=Count("pk", filter=waits))
    return asked["run"] + by_itself["run"], asked["wait"] + by_itself["wait"]


def run_rows(actor: Actor, rows: Sequence[Operation | Task], now: datetime) -> list[shown.OperationRow]:
    """Return a page's rows in their order, ready for activity/_table.html."""
    asked = [row for row in rows if isinstance(row, Operation)]
    own = [row for row in rows if isinstance(row, Task)]
    known: dict[Any, shown.OperationRow] = {
        row.pk: line for row, line in zip(asked, shown.operation_rows(actor, asked, now), strict=True)
    }
    known |= {line.id: line for line in runs_shown.run_rows(actor, own)}
    return [known[row.pk] for row in rows]


def filtered_tasks(actor: Actor, bar: FilterBar) -> QuerySet[Task]:
    """Return the tasks that the bar of tasks asks for."""
    backup = bar.request.GET.get("backup", "")[:200].replace("\0", "")
    rows = operations.tasks_of_backup(actor, backup) if backup else visible.tasks(actor)
    if state := bar.value("state"):
        rows = in_state(rows, state)
    if kind := bar.value("type"):
        rows = rows.filter(type=kind)
    if bar.value("mine"):
        rows = rows.filter(guid__in=operations.tasks_asked_by(actor).values("guid"))
    return _common(actor, rows, bar, bar.value("vm"))


def _in_order(asked: QuerySet[Operation], own: QuerySet[Task]) -> list[QuerySet[Any]]:
    """Return both lists with the columns of ACTIVE_FIRST."""
    return [
        asked.annotate(ended=_OPERATION_ENDED, row_at=F("requested_at"), row_id=_OPERATION_ID),
        own.annotate(ended=F("run_ended"), row_at=F("shown_at"), row_id=TASK_ID),
    ]


def _operations(actor: Actor, bar: FilterBar) -> QuerySet[Operation]:
    rows = operations.operations(actor)
    if bar.value("schedule").replace("\0", ""):
        return rows.none()  # what a schedule starts nobody asked for
    if text := bar.value("search").replace("\0", ""):
        rows = rows.filter(virtual_machine_name__icontains=text)
    for name, column in (("kind", "kind"), ("state", "state"), ("backup", "backup_guid")):
        if value := bar.value(name).replace("\0", ""):
            rows = rows.filter(**{column: value})
    if bar.value("mine"):
        rows = rows.filter(requested_by_id=actor.membership_id)
    return _in_days(rows, bar, "requested_at")


def _own_runs(actor: Actor, bar: FilterBar) -> QuerySet[Task]:
    rows = operations.run_heads(actor)
    if bar.value("mine"):
        return rows.none()
    if state := bar.value("state"):
        rows = rows.filter(run_state__in=_RUN_STATES.get(State(state), ()))
    if kind := bar.value("kind"):
        rows = rows.filter(type__in=_TASK_TYPES.get(Kind(kind), ()))
    if backup := bar.value("backup").replace("\0", ""):
        rows = rows.filter(Q(backup_guid=backup) | Q(run_backup_guid=backup))
    return _common(actor, rows, bar, bar.value("search"))


def _common(actor: Actor, rows: QuerySet[Task], bar: FilterBar, name: str) -> QuerySet[Task]:
    if schedule := bar.value("schedule").replace("\0", ""):
        rows = rows.filter(schedule_guid=schedule)
    if text := name.replace("\0", ""):
        found = visible.virtual_machines(actor).filter(name__icontains=text)
        rows = rows.filter(virtual_machine_guid__in=found.values("guid"))
    return _in_days(rows, bar, "shown_at")


def _in_days(rows: QuerySet[Any], bar: FilterBar, moment: str) -> QuerySet[Any]:
    start, end = bar.between("from_day", "to_day")
    if start:
        rows = rows.filter(**{f"{moment}__gte": start})
    return rows.filter(**{f"{moment}__lt": end}) if end else rows


def _dates() -> list[tuple[str, str]]:
    return [("from_day", _("From")), ("to_day", _("To"))]


def _given(request: ScopedRequest) -> list[Given]:
    """Return the filters that links set: a schedule, a backup; in words where they are known."""
    given = []
    if schedule := request.GET.get("schedule", "")[:200].replace("\0", ""):
        given.append(Given("schedule", _("Schedule"), _short(schedule)))
    if backup := request.GET.get("backup", "")[:200].replace("\0", ""):
        given.append(Given("backup", _("Backup"), _backup_words(request.actor, backup)))
    return given


def _backup_words(actor: Actor, guid: str) -> str:
    row = visible.backups(actor).filter(guid=guid).first()
    if row is None:
        return _short(guid)
    zone, now = timezone.get_current_timezone(), timezone.now()
    when = moments.said_words(row.taken_at or row.first_seen_at, now, zone)
    return _("%(type)s of %(when)s") % {"type": operation_words.type_word(row.type), "when": when}


def _short(guid: str) -> str:
    return guid[:8]

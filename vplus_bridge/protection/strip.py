"""The last seven days of machines at a glance, and their runs: what list rows, the Protection tab and the API read.

In the open scope of a tenant; the caller names machines that the actor sees. One SQL statement for a whole page of them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

from django.db.models import Case, IntegerField, Max, QuerySet, Value, When
from django.db.models.functions import Coalesce, TruncDate

from tenants.rights import Actor
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.models import Backup
from vplus_bridge.ownership import visible
from vplus_bridge.protection.evidence import STORED
from vplus_bridge.protection.expected import timetables_of
from vplus_bridge.protection.ledger_models import ExpectedRun, PolicyPromise, RunOutcome
from vplus_bridge.protection.timetable import Timetable
from vplus_bridge.protection.wall_time import LONGEST_WINDOW

DAYS = 7
SHOWN = timedelta(days=30)
DECIDED_WITHIN = timedelta(days=2)
"""After its window a run is settled within this, unless nobody could look for longer; then it is no news."""
DONE, FAILED, MISSED, NONE = "done", "failed", "missed", "none"
NEWEST_RUNS = Keyset("due", (Key("due_at", descending=True), Key("pk", descending=True)))
# A day's worst run decides; where no run was expected, one good backup makes the day good.
_RUN_MISSED, _RUN_FAILED, _RUN_DONE, _BACKUP_DONE, _BACKUP_FAILED = 5, 4, 3, 2, 1
_CELLS = {_RUN_MISSED: MISSED, _RUN_FAILED: FAILED, _RUN_DONE: DONE, _BACKUP_DONE: DONE, _BACKUP_FAILED: FAILED}

Strips = Mapping[str, Sequence[str]]


def days_until(now: datetime, zone: tzinfo) -> list[date]:
    """Return the last seven days of this zone, oldest first; today is the last."""
    today = now.astimezone(zone).date()
    return [today - timedelta(days=back) for back in reversed(range(DAYS))]


def strips(vm_guids: Iterable[str], now: datetime, zone: tzinfo) -> Strips:
    """Return by machine what each of the last seven days was: done, failed, missed or none, oldest first."""
    guids, days = list(vm_guids), days_until(now, zone)
    since = datetime.combine(days[0], time(), tzinfo=zone)
    runs = (
        ExpectedRun.objects.filter(virtual_machine_guid__in=guids, due_at__gte=since, due_at__lte=now)
        .annotate(day=TruncDate("due_at", tzinfo=zone))
        .order_by()
        .values("virtual_machine_guid", "day")
        .annotate(
            code=_worst({RunOutcome.MISSED: _RUN_MISSED, RunOutcome.FAILED: _RUN_FAILED, RunOutcome.STORED: _RUN_DONE})
        )
    )
    at = Coalesce("taken_at", "finished_at")
    backups = (
        Backup.objects.filter(virtual_machine_guid__in=guids)
        .annotate(at=at)
        .filter(at__gte=since, at__lte=now)
        .annotate(day=TruncDate(at, tzinfo=zone))
        .order_by()
        .values("virtual_machine_guid", "day")
        .annotate(
            code=Max(
                Case(
                    When(status__in=sorted(STORED), then=Value(_BACKUP_DONE)),
                    When(status="FAILED", then=Value(_BACKUP_FAILED)),
                    default=Value(0),
                    output_field=IntegerField(),
                )
            )
        )
    )
    columns = ("virtual_machine_guid", "day", "code")
    found: dict[tuple[str, date], int] = {}
    for guid, day, code in runs.values_list(*columns).union(backups.values_list(*columns), all=True):
        found[guid, day] = max(code, found.get((guid, day), 0))
    return {guid: [_CELLS.get(found.get((guid, day), 0), NONE) for day in days] for guid in guids}


def _worst(codes: Mapping[str, int]) -> Max:
    whens = [When(outcome=outcome, then=Value(code)) for outcome, code in codes.items()]
    return Max(Case(*whens, default=Value(0), output_field=IntegerField()))


def runs_of(actor: Actor, vm_guid: str) -> QuerySet[ExpectedRun]:
    """Return every expected run of a machine that the actor sees, newest first; raise NotVisible where they do not."""
    machine = visible.virtual_machine(actor, vm_guid)
    return ExpectedRun.objects.filter(virtual_machine_guid=machine.guid).order_by("-due_at", "-pk")


def missed_runs(actor: Actor, since: datetime) -> QuerySet[ExpectedRun]:
    """Return runs of which it was found since this instant that they did not happen, the newest finding first.

    Of machines that the actor sees; an index by when they were due is what finds them.
    """
    rows = ExpectedRun.objects.filter(
        outcome=RunOutcome.MISSED, due_at__gte=since - LONGEST_WINDOW - DECIDED_WITHIN, settled_at__gte=since
    )
    rows = rows if actor.sees_all else rows.filter(virtual_machine_guid__in=list(actor.grants))
    return rows.order_by("-settled_at", "-pk")


def missed_days(vm_guid: str, since: datetime, until: datetime, zone: tzinfo) -> dict[date, int]:
    """Return how many runs of a machine did not happen, by the day of this zone on which they were due."""
    rows = ExpectedRun.objects.filter(
        virtual_machine_guid=vm_guid, due_at__gte=since, due_at__lt=until, outcome=RunOutcome.MISSED
    )
    return dict(Counter(at.astimezone(zone).date() for at in rows.values_list("due_at", flat=True)))


def schedules_of(policy_guid: str) -> list[Timetable]:
    """Return the schedules that back up the tenant's machines in a policy of vPlus, in the tenant's open scope."""
    promise: Any = PolicyPromise.objects.filter(policy_guid=policy_guid).first() if policy_guid else None
    return [] if promise is None else timetables_of(promise)

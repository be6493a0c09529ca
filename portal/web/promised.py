"""What was promised to a machine against what was done: the Protection tab."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from portal.scoped_request import ScopedRequest
from portal.web.filters import FilterBar, pager
from portal.web.virtual_machines import detail
from portal.web.wording import operation_words
from portal.web.wording.badges import Badge, Word, run_badge
from vplus_bridge.keyset import page_of
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.ownership import visible
from vplus_bridge.protection import strip
from vplus_bridge.protection.ledger_models import ExpectedRun
from vplus_bridge.protection.schedule_words import sentence
from vplus_bridge.protection.timetable import Timetable, next_firing
from vplus_bridge.protection.words import because, length_words, run_words


@dataclass(frozen=True)
class RunRow:
    """One expected run, and what became of it."""

    due_at: datetime
    type_word: str
    badge: Badge
    said: Word
    next_step: Word
    started_at: datetime | None


@dataclass(frozen=True)
class ScheduleRow:
    """One schedule that backs up a machine."""

    words: str
    window_words: str
    next_run_at: datetime | None
    active: bool


@require_safe
def vm_protection(request: ScopedRequest, tenant_slug: str, guid: str) -> HttpResponse:
    """The promise, the next run, the schedules, and the last thirty days expected against actual."""
    del tenant_slug
    actor, now = request.actor, timezone.now()
    machine = visible.virtual_machine(actor, guid)
    bar = FilterBar(request)
    rows = strip.runs_of(actor, guid).filter(due_at__gt=now - strip.SHOWN, due_at__lte=now)
    page = page_of(rows.order_by(), strip.NEWEST_RUNS, bar.cursor, bar.size)
    why = because(machine, now)
    context = detail(actor, machine, "protection", now) | {
        "promise_words": "" if machine.promise_seconds is None else length_words(machine.promise_seconds),
        "newest_point_at": machine.newest_point_at if machine.newest_point_time_given else None,
        "next_run_at": None if machine.gone else machine.next_run_at,
        "why": why,
        "schedules": schedule_rows(machine, now),
        "runs": run_rows(page.rows),
    }
    context |= pager(bar, page, rows.count())
    return render(request, "web/virtual_machines/detail.html", context)


def schedule_rows(machine: VirtualMachine, now: datetime) -> list[ScheduleRow]:
    """Return the schedules of a machine's policy, in words."""
    return [_schedule_row(table, now) for table in strip.schedules_of(machine.policy_guid)]


def _schedule_row(table: Timetable, now: datetime) -> ScheduleRow:
    return ScheduleRow(
        words=sentence(table.fires),
        window_words=_("Starts within %(window)s.") % {"window": length_words(table.window.total_seconds())},
        next_run_at=next_firing([table], now),
        active=table.fires.active,
    )


def run_rows(runs: Sequence[ExpectedRun]) -> list[RunRow]:
    """Return expected runs as table rows."""
    rows = []
    for run in runs:
        words = run_words(run.outcome, run.why)
        rows.append(
            RunRow(
                due_at=run.due_at,
                type_word=operation_words.type_word(run.backup_type),
                badge=run_badge(run.outcome),
                said=words.sentence,
                next_step=words.next_step,
                started_at=run.started_at,
            )
        )
    return rows

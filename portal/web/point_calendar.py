"""The month calendar of a machine's restore points: the month, the points of one day, the nearest to a moment.

For a page: ``calendar = month_calendar(actor, machine, request.GET, link, now=now)`` and, in its template,
``{% include "components/calendar.html" %}`` with ``calendar`` in the context. That partial holds the month, the day's
points and "find a moment"; it takes ``choose`` ("point": each point is a radio of that name inside the form whose id is
``form``, else a card with its own [Restore]), ``chosen`` (guid of the point that is ticked or marked) and ``swap``
(selector of what htmx exchanges when another day is chosen; the calendar alone if empty). Its headings are h3.

The address says what is shown: ``?month=2026-11`` or ``?day=2026-11-22`` and ``?find=2026-11-20T02:00``; days and months
are links that ``link(day=.., month=.., find=.., point=..)`` makes, where None takes a name out (``FilterBar.url`` does).
All days are the reader's: a month begins at midnight in Django's current zone. It costs seven SQL statements at most,
however many points there are.
"""

import calendar
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from django.db.models import Count, F, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from portal.web import points, shown
from portal.web.wording import moments, operation_words
from portal.web.wording.badges import Word
from tenants.rights import Actor
from vplus_bridge.mirror.backups import RESTORABLE
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.ownership import visible
from vplus_bridge.protection import strip

Link = Callable[..., str]

MARKS_SHOWN = 3
UNDATED_SHOWN = 20
FIRST_YEAR, LAST_YEAR = 1970, 2200
FULL, INCREMENTAL, FAILED, MISSED = "full", "incremental", "failed", "missed"  # marks, in the order of drawing
_ORDER: Final = {FULL: 0, INCREMENTAL: 1, FAILED: 2, MISSED: 3}
WEEKDAYS: Final = (
    (gettext_lazy("Mo"), gettext_lazy("Monday")),
    (gettext_lazy("Tu"), gettext_lazy("Tuesday")),
    (gettext_lazy("We"), gettext_lazy("Wednesday")),
    (gettext_lazy("Th"), gettext_lazy("Thursday")),
    (gettext_lazy("Fr"), gettext_lazy("Friday")),
    (gettext_lazy("Sa"), gettext_lazy("Saturday")),
    (gettext_lazy("Su"), gettext_lazy("Sunday")),
)


@dataclass(frozen=True)
class Asked:
    """What the address says; what cannot be read counts as not said, save a moment to find, which is answered."""

    month: date | None = None  # its first day
    day: date | None = None
    moment: datetime | None = None  # aware
    moment_text: str = ""  # as typed
    moment_error: str = ""


@dataclass(frozen=True)
class Day:
    """One day of the grid. ``state``: "" (something there), "none" or "ahead"; ``url`` is "" where there is no link."""

    date: date
    state: str
    marks: tuple[str, ...]
    words: str  # "22 November, 1 restore point": what a screen reader says
    url: str
    current: bool

    @property
    def key(self) -> str:
        """Return what its element is called by: "2026-11-22"."""
        return self.date.isoformat()


@dataclass(frozen=True)
class Step:
    """A link to another month or day, by its words."""

    word: str
    url: str


@dataclass(frozen=True)
class Failure:
    """A backup of the chosen day that failed; why stands among the backups."""

    at: datetime
    type_word: str


@dataclass(frozen=True)
class Nearest:
    """What lies next to a moment without a restore point of its own: ``lead`` is "Nothing on Fri 20 Nov." or empty."""

    lead: str
    before: Step | None
    after: Step | None


@dataclass(frozen=True)
class MonthCalendar:
    """Everything that ``components/calendar.html`` shows."""

    title: str
    weeks: Sequence[Sequence[Day | None]]
    previous: Step | None
    following: Step | None
    day: date | None  # the chosen one
    day_title: str
    points: Sequence[shown.PointRow]  # of that day, newest first
    failures: Sequence[Failure]
    undated: Sequence[shown.PointRow]  # without a time: on no day of any month
    nearest: Nearest | None
    find_text: str
    find_error: str
    kept: Sequence[tuple[str, str]]  # what "find a moment" sends along
    empty: bool  # there is no restore point at all
    weekdays: Sequence[tuple[Word, Word]] = WEEKDAYS


def month_calendar(
    actor: Actor,
    machine: VirtualMachine,
    asked: Mapping[str, str],
    link: Link,
    *,
    now: datetime,
    at: datetime | None = None,
    restore: str = "",
) -> MonthCalendar:
    """Return the calendar of a visible machine; ``asked`` is ``request.GET``.

    Where the address names neither day nor month, the day of ``at`` is shown (a point that is chosen already), else the
    day of the newest restore point, else today's month without a chosen day. ``restore`` is the address of the machine's
    page [Restore], for points that are cards; empty where one may not.
    """
    zone = timezone.get_current_timezone()
    said = asked_of(asked, zone)
    restorable = visible.restore_points(actor, machine.guid)
    bounds = restorable.order_by().aggregate(
        oldest=Min("taken_at"),
        newest=Max("taken_at"),
        undated=Count("guid", filter=Q(taken_at=None)),
        all=Count("guid"),
    )
    before, after = _around(restorable, said.moment) if said.moment else (None, None)
    day = _shown_day(said, before, after, zone)
    if day is None and said.month is None and (start := at or bounds["newest"]):
        day = start.astimezone(zone).date()
    month = said.month if said.month and said.day is None and said.moment is None else None
    month = month or (day or now.astimezone(zone).date()).replace(day=1)
    records = _records(actor, machine.guid, month, zone)
    days = _by_day(records, zone)
    if day is None and (inside := [one for one, kept in days.items() if any(row.restorable for row in kept)]):
        day = max(inside)
    of_day = days.get(day, []) if day else []
    nearest = None
    if said.moment:
        found = any(row.restorable for row in days.get(said.moment.astimezone(zone).date(), []))
        nearest = _nearest(said.moment.astimezone(zone).date(), before, after, link, now, empty=not found)
    elif day and not any(row.restorable for row in of_day) and bounds["newest"]:
        before, after = _around(restorable, _midnight(day, zone))
        nearest = _nearest(day, before, after, link, now, empty=True)
    chains = points.chains(actor, machine.guid)
    undated = restorable.filter(taken_at=None)[:UNDATED_SHOWN] if bounds["undated"] else []

    def rows(backups: Iterable[Backup]) -> list[shown.PointRow]:
        found = list(backups)
        places = points.places(actor, found)
        return shown.point_rows(found, chains, places, machine.newest_point_guid, now, restore=restore)

    return MonthCalendar(
        title=date_format(month, "F Y"),
        weeks=weeks_of(
            month,
            days,
            day,
            link,
            today=now.astimezone(zone).date(),
            missed=strip.missed_days(machine.guid, _midnight(month, zone), _midnight(_months_on(month, 1), zone), zone),
        ),
        previous=_month_step(month, -1, bounds["oldest"], link, zone),
        following=_month_step(month, 1, now, link, zone),
        day=day,
        day_title=date_format(day, "l j F" if day.year == now.astimezone(zone).year else "l j F Y") if day else "",
        points=rows(row for row in of_day if row.restorable),
        failures=[Failure(_time_of(row), operation_words.type_word(row.type)) for row in of_day if not row.restorable],
        undated=rows(undated),
        nearest=nearest,
        find_text=said.moment_text,
        find_error=said.moment_error,
        kept=[(name, value) for name, value in asked.items() if value and name not in ("find", "month")],
        empty=not bounds["all"],
    )


def asked_of(address: Mapping[str, str], zone: tzinfo) -> Asked:
    """Return what the address says of the calendar, with wall times taken as the zone's."""
    text = address.get("find", "").strip()[:40]
    moment = _moment(text, zone) if text else None
    error = _("Write a day and a time, such as 2026-11-20 02:00.") if text and moment is None else ""
    return Asked(
        month=_date(f"{address.get('month', '')}-01"),
        day=_date(address.get("day", "")),
        moment=moment,
        moment_text=text,
        moment_error=error,
    )


def weeks_of(
    month: date,
    days: Mapping[date, Sequence[Backup]],
    chosen: date | None,
    link: Link,
    *,
    today: date,
    missed: Mapping[date, int] | None = None,
) -> list[list[Day | None]]:
    """Return the weeks of a month, Monday first; None stands for days of its neighbours. Days up to ``today`` are links.

    ``missed`` counts by day the runs that did not happen.
    """
    gaps = missed or {}
    return [
        [
            _day(one, days.get(one, ()), chosen, link, today=today, missed=gaps.get(one, 0))
            if one.month == month.month
            else None
            for one in week
        ]
        for week in calendar.Calendar().monthdatescalendar(month.year, month.month)
    ]


def _day(one: date, records: Sequence[Backup], chosen: date | None, link: Link, *, today: date, missed: int) -> Day:
    marks = sorted((_mark(row) for row in records), key=_ORDER.__getitem__)
    count = sum(mark != FAILED for mark in marks)
    words = [date_format(one, "j F")]
    if count:
        words.append(ngettext("%(n)d restore point", "%(n)d restore points", count) % {"n": count})
    if failed := len(marks) - count:
        words.append(_("%(n)d failed") % {"n": failed})
    if missed:
        words.append(ngettext("%(n)d did not happen", "%(n)d did not happen", missed) % {"n": missed})
        marks += [MISSED] * missed
    if not marks:
        words.append(_("nothing"))
    ahead = one > today and not marks
    return Day(
        date=one,
        state="ahead" if ahead else "" if count else "none",
        marks=tuple(marks[:MARKS_SHOWN]),
        words=", ".join(words),
        url="" if ahead else link(day=one.isoformat(), month=None, find=None, point=None),
        current=one == chosen,
    )


def _mark(row: Backup) -> str:
    if not row.restorable:
        return FAILED
    return INCREMENTAL if row.type == "INCREMENTAL" else FULL


def _records(actor: Actor, guid: str, month: date, zone: tzinfo) -> list[Backup]:
    """Return what stands on the month's days, newest first: restore points, and backups that failed.

    A failed record often has no time of its own; our first sight of it serves then, unless it came with the first
    reading of the history, when everything is seen at once.
    """
    start, end = _midnight(month, zone), _midnight(_months_on(month, 1), zone)
    rows = visible.backups(actor, guid)
    first_reading = rows.order_by("first_seen_at").values("first_seen_at")[:1]
    seen = rows.annotate(
        moment=Coalesce("taken_at", "finished_at", "first_seen_at"), first_reading=first_reading
    ).filter(moment__gte=start, moment__lt=end)
    timed = Q(taken_at__isnull=False) | Q(finished_at__isnull=False) | Q(first_seen_at__gt=F("first_reading"))
    restorable = Q(status__in=RESTORABLE, gone_at=None, taken_at__isnull=False)
    return list(seen.filter(restorable | (Q(status="FAILED") & timed)).order_by("-moment", "guid"))


def _time_of(row: Backup) -> datetime:
    return row.taken_at or row.finished_at or row.first_seen_at


def _by_day(records: Iterable[Backup], zone: tzinfo) -> dict[date, list[Backup]]:
    days: dict[date, list[Backup]] = {}
    for row in records:
        days.setdefault(_time_of(row).astimezone(zone).date(), []).append(row)
    return days


def _around(restorable: QuerySet[Backup], moment: datetime) -> tuple[Backup | None, Backup | None]:
    """Return the last point at or before a moment, and the first one after it."""
    before = restorable.filter(taken_at__lte=moment).order_by("-taken_at", "guid").first()
    after = restorable.filter(taken_at__gt=moment).order_by("taken_at", "guid").first()
    return before, after


def _shown_day(said: Asked, before: Backup | None, after: Backup | None, zone: tzinfo) -> date | None:
    """Return the day that the address chooses: a moment's own day where there is a point on it, else the day it names."""
    if said.moment:
        wanted = said.moment.astimezone(zone).date()
        for point in (before, after):
            if point and point.taken_at and point.taken_at.astimezone(zone).date() == wanted:
                return wanted
    return said.day


def _nearest(
    day: date, before: Backup | None, after: Backup | None, link: Link, now: datetime, *, empty: bool
) -> Nearest:
    pattern = "D j M" if day.year == now.year else "D j M Y"
    lead = _("Nothing on %(day)s.") % {"day": date_format(day, pattern)} if empty else ""
    return Nearest(lead, _point_step(before, link, now), _point_step(after, link, now))


def _point_step(point: Backup | None, link: Link, now: datetime) -> Step | None:
    if point is None or point.taken_at is None:
        return None
    zone = timezone.get_current_timezone()
    day = point.taken_at.astimezone(zone).date().isoformat()
    return Step(moments.said_words(point.taken_at, now, zone), link(day=day, point=point.guid, month=None, find=None))


def _month_step(month: date, by: int, edge: datetime | None, link: Link, zone: tzinfo) -> Step | None:
    """Return the link to a neighbouring month; None beyond the edge (the oldest point, or this month)."""
    there = _months_on(month, by)
    limit = edge.astimezone(zone).date().replace(day=1) if edge else month
    if (by < 0 and there < limit) or (by > 0 and there > limit) or not FIRST_YEAR <= there.year <= LAST_YEAR:
        return None
    return Step(date_format(there, "F Y"), link(month=f"{there:%Y-%m}", day=None, find=None, point=None))


def _months_on(month: date, by: int) -> date:
    years, index = divmod(month.month - 1 + by, 12)
    return date(month.year + years, index + 1, 1)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _date(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST_YEAR <= day.year <= LAST_YEAR else None


def _moment(text: str, zone: tzinfo) -> datetime | None:
    """Return a wall time; a day alone means its end, so that all of that day comes before it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        return None
    if _date(text):
        moment += timedelta(days=1, microseconds=-1)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)

"""Words for schedules: the sentence that says one, what is wrong with it and what to do, and what is odd about its runs.

Each piece is translated whole, in the language that is active when it is asked for.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from django.utils.dateformat import format as formatted
from django.utils.dates import MONTHS, WEEKDAYS
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from vplus_bridge.protection.carriers import MAX_CARRIERS, Deviation
from vplus_bridge.protection.promised_runs import Oddity, Run
from vplus_bridge.protection.rewriting import CannotCarry
from vplus_bridge.protection.wall_time import (
    BackupType,
    ExecutionType,
    Mistake,
    Month,
    Occurrence,
    Promise,
    Weekday,
    mistakes,
)

NIGHT_BEGINS, NIGHT_ENDS = 20, 6
"""Hours between which a note says night, not day."""

OCCURRENCES = {
    Occurrence.FIRST: gettext_lazy("first"),
    Occurrence.SECOND: gettext_lazy("second"),
    Occurrence.THIRD: gettext_lazy("third"),
    Occurrence.FOURTH: gettext_lazy("fourth"),
    Occurrence.LAST: gettext_lazy("last"),
}
KINDS = {BackupType.FULL: gettext_lazy("Full backup"), BackupType.INCREMENTAL: gettext_lazy("Incremental backup")}
TURNED = str.maketrans("+-", "-+")
WORKDAYS = frozenset(Weekday) - {Weekday.SATURDAY, Weekday.SUNDAY}


def sentence(promise: Promise) -> str:
    """Say a promise without mistakes in one sentence: `Full backup every Sunday at 02:00, Warsaw time.`"""
    return _("%(kind)s %(dates)s%(times)s, %(zone)s.") % {
        "kind": KINDS[promise.backup_type],
        "dates": _dates(promise),
        "times": _times(promise),
        "zone": zone_words(promise.zone),
    }


def zone_words(zone: str) -> str:
    """Name a zone for people: `Warsaw time`, `UTC`; `UTC-5` for Etc/GMT+5, whose sign is turned around."""
    area, _slash, place = zone.rpartition("/")
    if not area or area == "Etc":
        return place.translate(TURNED).replace("GMT", "UTC") if area and set(place) & {"+", "-"} else place
    return _("%(place)s time") % {"place": place.replace("_", " ")}


def _times(promise: Promise) -> str:
    if promise.execution_type is ExecutionType.TIME:
        return _(" at %(time)s") % {"time": f"{promise.time_of_day:%H:%M}"}
    minutes = promise.wall_seconds().step // 60
    return _(", every %(length)s from %(start)s to %(end)s") % {
        "length": _length(minutes),
        "start": f"{promise.start:%H:%M}",
        "end": f"{promise.end:%H:%M}",
    }


def _length(minutes: int) -> str:
    if minutes % 60:
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    hours = minutes // 60
    return ngettext("hour", "%(n)d hours", hours) % {"n": hours}


def _dates(promise: Promise) -> str:
    months = (
        "" if len(promise.months) in (0, len(Month)) else _listed(MONTHS[month] for month in sorted(promise.months))
    )
    days = promise.days_of_week
    names = _listed(WEEKDAYS[day] for day in sorted(days))
    if len(promise.occurrences) in (0, len(Occurrence)):
        if len(days) == len(Weekday):
            names = _("day")
        elif days == WORKDAYS:
            names = _("weekday (Monday to Friday)")
        if months:
            return _("every %(days)s in %(months)s") % {"days": names, "months": months}
        return _("every %(days)s") % {"days": names}
    said = {
        "which": _listed(OCCURRENCES[occurrence] for occurrence in sorted(promise.occurrences)),
        "days": names,
        "months": months or _("every month"),
    }
    if len(days) == len(Weekday):
        return _("on every day of the %(which)s seven days of %(months)s") % said
    return _("on the %(which)s %(days)s of %(months)s") % said


def _listed(words: Iterable[object]) -> str:
    *most, last = map(str, words)
    return _("%(most)s and %(last)s") % {"most": ", ".join(most), "last": last} if most else last


def errors(promise: Promise) -> dict[str, list[str]]:
    """Return what is wrong, by field of the promise, each with its remedy; empty when it can be kept at some time."""
    return {field: [_MISTAKES[mistake](promise)] for field, mistake in mistakes(promise).items()}


_MISTAKES: Mapping[Mistake, Callable[[Promise], str]] = {
    Mistake.UNKNOWN_ZONE: lambda promise: (
        _("“%(zone)s” is not a time zone. Choose one from the list, for example Europe/Warsaw.")
        % {"zone": promise.zone}
    ),
    Mistake.NO_DAYS: lambda _promise: _("Without a day it never runs. Choose at least one day of the week."),
    Mistake.NO_TIME: lambda _promise: _("Give a time of day, for example 02:00."),
    Mistake.SECONDS: lambda _promise: _(
        "Give hours and minutes of the chosen zone, for example 02:00; seconds are not kept."
    ),
    Mistake.NO_FREQUENCY: lambda _promise: _(
        "Give whole minutes between two runs, at least 15, for example 120 for every 2 hours."
    ),
    Mistake.END_BEFORE_START: lambda promise: (
        _(
            "The end, %(end)s, is before the start, %(start)s. "
            "For a night, make two schedules: %(start)s to 23:59, and 00:00 to %(end)s."
        )
        % {"start": f"{promise.start:%H:%M}", "end": f"{promise.end:%H:%M}"}
    ),
    Mistake.NEVER_AGAIN: lambda promise: (
        _(
            "Between %(start)s and %(end)s this never runs a second time. "
            "Choose a shorter frequency or a later end, or a schedule at one time of day."
        )
        % {"start": f"{promise.start:%H:%M}", "end": f"{promise.end:%H:%M}"}
    ),
    Mistake.START_WINDOW: lambda _promise: _(
        "A run must be allowed to start within 5 minutes to 20 hours. Choose a length between them, for example 6 hours."
    ),
}


def unknown_occurrence(name: str) -> str:
    """Return the error of the field `occurrences` for a word that is none, as a fifth, which would be 29 February only."""
    return _(
        "“%(name)s” is not first, second, third, fourth or last. Only some months have a fifth of a weekday, "
        "and February only on the 29th. Choose last: it is there in each month."
    ) % {"name": name}


def note(run: Run) -> str:
    """Say what is odd about a run: `no 02:00 that night`; empty for an ordinary one."""
    wall = run.promised
    said = {"time": f"{wall:%H:%M}", "day": formatted(wall, "D j M")}
    if run.oddity is None:
        return ""
    if run.oddity is Oddity.COMES_TWICE:
        return _("%(time)s comes twice; runs the first time") % said
    if run.oddity is Oddity.SKIPPED_DAY:
        return _("no %(day)s %(time)s in this zone") % said
    if NIGHT_ENDS <= wall.hour < NIGHT_BEGINS:
        return _("no %(time)s that day") % said
    return _("no %(time)s that night") % said


def refusal(refused: CannotCarry) -> str:
    """Say why vPlus cannot keep a promise; the nearest ones that it can are its `alternatives`."""
    if refused.shifts == {-1}:
        where = _("the day before")
    elif refused.shifts == {1}:
        where = _("the next day")
    else:
        where = _("another day")
    if refused.promise.execution_type is ExecutionType.TIME:
        what = f"{refused.promise.time_of_day:%H:%M} {zone_words(refused.promise.zone)}"
    else:
        what = _("a part of this interval")
    return _(
        "The backup system counts days in UTC, where %(what)s falls on %(where)s. "
        "Said that way, these weeks and months need more than the %(limit)d schedules that one may use there. "
        "Choose another time, fewer days, or leave weeks or months out."
    ) % {"what": what, "where": where, "limit": MAX_CARRIERS}


def told(deviation: Deviation, promise: Promise) -> str:
    """Say one run that is or was not as promised, in the promise's wall time."""

    def clock(at: datetime) -> str:
        return formatted(at.astimezone(promise.tzinfo), "D j M Y H:i")

    promised, actual = deviation.promised, deviation.actual
    if promised and actual:
        minutes = abs(int((actual - promised).total_seconds())) // 60
        said = {"when": clock(promised), "n": minutes}
        if actual > promised:
            return (
                ngettext(
                    "The run of %(when)s is %(n)d minute late.", "The run of %(when)s is %(n)d minutes late.", minutes
                )
                % said
            )
        return (
            ngettext(
                "The run of %(when)s is %(n)d minute early.", "The run of %(when)s is %(n)d minutes early.", minutes
            )
            % said
        )
    if promised:
        return _("The run of %(when)s does not happen.") % {"when": clock(promised)}
    return _("One run more than promised, %(when)s.") % {"when": clock(actual)} if actual else ""

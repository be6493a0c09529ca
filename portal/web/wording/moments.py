"""Times for people. Every function is given ``now`` (aware) and the reader's zone; none of them reads a clock."""

from datetime import UTC, datetime, timedelta, tzinfo

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

MINUTE, HOUR, DAY = 60, 3600, 86_400
RELATIVE_FOR = timedelta(hours=48)
HOURS_COUNT_UNTIL_DAYS = 10  # "9 days 8 h", then "10 days"


def relative_words(moment: datetime, now: datetime) -> str:
    """Return how long ago (or until) ``moment`` is: "12 s ago", "3 min ago", "8 h ago", "19 days ago", "in 4 min".

    The unit is rounded down, so that nothing looks older than it is before its time. What lies less than a second
    ahead is "now": clocks differ that much.
    """
    seconds = (now - moment).total_seconds()
    if -1 < seconds < 1:
        return _("now")
    amount = _amount(abs(seconds))
    return (_("%(amount)s ago") if seconds > 0 else _("in %(amount)s")) % {"amount": amount}


def _amount(seconds: float) -> str:
    """Return a length with one unit, rounded down."""
    if seconds < MINUTE:
        return _("%(n)d s") % {"n": seconds}
    if seconds < HOUR:
        return _("%(n)d min") % {"n": seconds // MINUTE}
    if seconds < RELATIVE_FOR.total_seconds():
        return _("%(n)d h") % {"n": seconds // HOUR}
    days = int(seconds // DAY)
    return ngettext("%(n)d day", "%(n)d days", days) % {"n": days}


def exact_words(moment: datetime, now: datetime, zone: tzinfo, *, weekday: bool = True) -> str:
    """Return the wall time in ``zone``: "Sun 22 Nov, 02:12", or "Today, 02:12"; another year is named.

    ``weekday=False`` leaves out the day of the week, for lines where room is short: "22 Nov, 02:12".
    """
    local, today = moment.astimezone(zone), now.astimezone(zone)
    clock = date_format(local, "H:i")
    if local.date() == today.date():
        return _("Today, %(time)s") % {"time": clock}
    pattern = ("D " if weekday else "") + "j M" + ("" if local.year == today.year else " Y")
    return _("%(day)s, %(time)s") % {"day": date_format(local, pattern), "time": clock}


def said_words(moment: datetime, now: datetime, zone: tzinfo, *, weekday: bool = True) -> str:
    """Return ``exact_words`` as they stand inside a sentence: "today, 02:12"."""
    local = moment.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return _("today, %(time)s") % {"time": date_format(local, "H:i")}
    return exact_words(moment, now, zone, weekday=weekday)


def clock_words(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """Return "09:52" for a moment of today in ``zone``, else the day too: "Sun 22 Nov, 02:12"."""
    local = moment.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return date_format(local, "H:i")
    return exact_words(moment, now, zone)


def utc_words(moment: datetime) -> str:
    """Return the time of day in UTC: "01:12 UTC"."""
    return f"{moment.astimezone(UTC):%H:%M} UTC"


def duration_words(seconds: float) -> str:
    """Return a length of time with at most two units: "45 s", "12 min", "5 h 10 min", "1 day 8 h"."""
    whole = max(int(seconds), 0)
    if whole < MINUTE:
        return _("%(n)d s") % {"n": whole}
    minutes, hours, days = whole // MINUTE, whole // HOUR, whole // DAY
    if not hours:
        return _("%(n)d min") % {"n": minutes}
    if days:
        main = ngettext("%(n)d day", "%(n)d days", days) % {"n": days}
        rest = _("%(n)d h") % {"n": hours % 24} if hours % 24 and days < HOURS_COUNT_UNTIL_DAYS else ""
    else:
        main = _("%(n)d h") % {"n": hours}
        rest = _("%(n)d min") % {"n": minutes % 60} if minutes % 60 else ""
    return f"{main} {rest}".strip()


def time_left_words(seconds: float | None) -> str:
    """Return "about 4 min left", or "time left not known" where there is no estimate."""
    if seconds is None:
        return _("time left not known")
    if seconds < MINUTE:
        return _("less than a minute left")
    return _("about %(duration)s left") % {"duration": duration_words(seconds)}

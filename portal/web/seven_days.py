"""The strip of seven days in list rows, for eyes and for screen readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.protection import strip


@dataclass(frozen=True)
class Strip:
    """Seven days of one machine: what each was, and the same in words for those who do not see it."""

    days: Sequence[str]
    words: str


def strips_of(machines: Sequence[VirtualMachine], now: datetime) -> dict[str, Strip]:
    """Return the strips of a page of machines, in one SQL statement."""
    zone = timezone.get_current_timezone()
    said = {
        strip.DONE: _("done"),
        strip.FAILED: _("failed"),
        strip.MISSED: _("did not happen"),
        strip.NONE: _("none planned"),
    }
    names = [date_format(day, "D") for day in strip.days_until(now, zone)]
    found = strip.strips([machine.guid for machine in machines], now, zone)
    return {
        guid: Strip(
            days,
            _("Last 7 days: %(days)s")
            % {"days": ", ".join(f"{name} {said[day]}" for name, day in zip(names, days, strict=True))},
        )
        for guid, days in found.items()
    }

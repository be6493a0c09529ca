"""What differs in vPlus from what was meant here, each in a sentence: for a page and for scripts.

What is not the tenant's is counted, never named.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import ngettext

from tenants.rights import Actor
from vplus_bridge.ownership import visible
from vplus_bridge.protection.shown_drift import Drift

_CLOCK_FIELDS = {"hour_ms", "interval.start_hour_ms", "interval.end_hour_ms"}
_DRIFT: Mapping[str, Promise] = {
    "policy": lazy("The policy was deleted there."),
    "rule": lazy("The policy's rule was deleted there, so nothing runs."),
    "schedule": lazy("A schedule was deleted there."),
    "rule_schedules": lazy("The policy's rule has other schedules."),
    "other_rules": lazy("The policy has a second rule."),
    "active": lazy("It was switched off or on there."),
    "auto_assign_mode": lazy("It takes in virtual machines by itself."),
    "name": lazy("A schedule was renamed."),
    "days_of_week": lazy("The days of a schedule were changed."),
    "months": lazy("The months of a schedule were changed."),
    "occurrences": lazy("The weeks of a schedule were changed."),
    "backup_type": lazy("The type of a schedule was changed."),
    "start_window_ms": lazy("How late a schedule may start was changed."),
}


def sentences(actor: Actor, drift: Drift) -> list[str]:
    """Return a sentence for each difference, in their order; what the actor does not see is counted in it."""
    named = {
        guid
        for one in drift
        if one["field"] == "virtual_machines"
        for guid in (*(one["ours"] or ()), *(one["theirs"] or ()))
    }
    machines = dict(visible.virtual_machines(actor).filter(guid__in=named).values_list("guid", "name"))
    places = {row.destination_guid: row.label for row in visible.destinations(actor)}
    return [_sentence(one, machines, places) for one in drift]


def _sentence(one: Mapping[str, Any], machines: Mapping[str, str], places: Mapping[str, str]) -> str:
    field, ours, theirs = one["field"], one["ours"], one["theirs"]
    if field == "virtual_machines":
        ours, theirs = set(ours or ()), set(theirs or ())
        others = one.get("others", 0)  # the row itself does not name what is somebody else's
        parts = [
            words % {"names": _listed(guids, machines, others=more)}
            for guids, more, words in (
                (theirs - ours, others, _("added %(names)s")),
                (ours - theirs, 0, _("taken out %(names)s")),
            )
            if guids or more
        ]
        return _("Virtual machines: %(what)s.") % {"what": "; ".join(parts)}
    if field == "destination":
        other = _("another one")
        names = [places.get(guid, other) for guid in theirs or ()] + [other] * bool(one.get("others"))
        return _("Backup destination: %(names)s.") % {"names": ", ".join(names) or other}
    if field == "priority":
        return _("Priority: %(ours)s here, %(theirs)s there.") % {"ours": ours, "theirs": theirs}
    if field == "auto_remove_gone":
        return (
            _("It takes out virtual machines that left the platform.")
            if theirs
            else _("It keeps virtual machines that left the platform.")
        )
    if field in _CLOCK_FIELDS and isinstance(ours, int) and isinstance(theirs, int):
        return _("A schedule runs at %(theirs)s UTC instead of %(ours)s UTC.") % {
            "ours": _clock(ours),
            "theirs": _clock(theirs),
        }
    return str(_DRIFT.get(field, _("A schedule was changed.")))


def _clock(milliseconds: int) -> str:
    hour, minute = divmod(milliseconds // 60_000, 60)
    return f"{hour:02d}:{minute:02d}"


def _listed(guids: Iterable[str], names: Mapping[str, str], *, others: int) -> str:
    known = sorted(names[guid] for guid in guids if guid in names)
    others += sum(guid not in names for guid in guids)
    if others:
        known.append(ngettext("%(n)d that is not yours", "%(n)d that are not yours", others) % {"n": others})
    return ", ".join(known)

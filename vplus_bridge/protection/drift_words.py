"""What differs in vPlus, in sentences for the tenant's people; what is others' is counted, never named. In the open scope."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.ownership.models import AllowedDestination
from vplus_bridge.protection import schedule_words
from vplus_bridge.protection.carrier_wire import promise_of
from vplus_bridge.protection.held import carriers_of
from vplus_bridge.protection.mirrored import schedule_records
from vplus_bridge.protection.models import Carrier, Policy
from vplus_bridge.protection.stored import promise_of as promise_of_row
from vplus_bridge.protection.wall_time import mistakes


def drift_said(policy: Policy) -> list[str]:
    """Return one sentence for each thing that differs; empty where nothing does."""
    found: list[str] = []
    carriers = {row.wire_name: row for row in carriers_of(policy)}
    records = schedule_records(row.vplus_guid for row in carriers.values())
    told = set[str]()
    for one in policy.drift:
        wire = one.get("schedule", "")
        if not wire:
            found += _of_policy(one)
        elif wire not in told and wire in carriers:
            told.add(wire)
            found.append(_of_schedule(policy, carriers[wire], one, records))
    return found


def without_others(differences: list[dict[str, Any]], own_machines: set[str]) -> list[dict[str, Any]]:
    """Return differences as a tenant's row may keep them: what is somebody else's is only counted."""
    kept = []
    for one in differences:
        if one["field"] == "virtual_machines":
            theirs = [guid for guid in one["theirs"] if guid in own_machines or guid in one["ours"]]
            kept.append({**one, "theirs": theirs, "others": len(one["theirs"]) - len(theirs)})
        elif one["field"] == "other_rules":
            kept.append({**one, "theirs": len(one["theirs"])})
        elif one["field"] == "name":
            kept.append({**one, "theirs": ""})
        else:
            kept.append(one)
    return kept


def _of_policy(one: Mapping[str, Any]) -> list[str]:
    field, ours, theirs = one["field"], one["ours"], one["theirs"]
    if field == "virtual_machines":
        return _of_machines(set(ours), set(theirs), one.get("others", 0))
    if field == "destination":
        labels = dict(AllowedDestination.objects.values_list("destination_guid", "label"))
        there = ", ".join(labels.get(guid, _("one that is not yours")) for guid in theirs)
        return [_("Backups go to another destination there: %(there)s.") % {"there": there}]
    if field == "priority":
        return [_("Priority is %(ours)s here, %(theirs)s there.") % {"ours": ours, "theirs": theirs}]
    words = {
        "policy": _("The policy was deleted there. Nothing is backed up by it."),
        "rule": _("Its rule was deleted there, so nothing runs."),
        "other_rules": _("It has another rule there, which your provider can see."),
        "rule_schedules": _("Other schedules run it there."),
        "auto_assign_mode": _("It takes in virtual machines by itself there."),
        "active": _("It is switched off there."),
        "auto_remove_gone": _("Whether virtual machines that are gone are taken out was changed there."),
    }
    return [words.get(field, _("Something else was changed there."))]


def _of_machines(ours: set[str], theirs: set[str], others: int) -> list[str]:
    names = dict(VirtualMachine.objects.filter(guid__in=ours ^ theirs).values_list("guid", "name"))
    came = sorted(names.get(guid, guid) for guid in theirs - ours)
    left = sorted(names.get(guid, guid) for guid in ours - theirs)
    said = []
    if came:
        said.append(_("Came in there: %(machines)s.") % {"machines": ", ".join(came)})
    if left:
        said.append(_("Left there: %(machines)s.") % {"machines": ", ".join(left)})
    if others:
        text = ngettext(
            "%(n)d virtual machine of somebody else came in there.",
            "%(n)d virtual machines of somebody else came in there.",
            others,
        )
        said.append(text % {"n": others})
    return said


def _of_schedule(policy: Policy, carrier: Carrier, one: Mapping[str, Any], records: Mapping[str, Any]) -> str:
    ours = schedule_words.sentence(promise_of_row(carrier.schedule, paused=policy.paused)).rstrip(".")
    if one["theirs"] is None:
        return _("%(schedule)s: it was deleted there, or no longer runs.") % {"schedule": ours}
    held = records.get(carrier.vplus_guid)
    there = promise_of(held) if held else None
    if there is None or mistakes(there):
        return _("%(schedule)s: it was changed there to what cannot be said here.") % {"schedule": ours}
    if not there.active and carrier.spec["active"]:
        return _("%(schedule)s: it was switched off there.") % {"schedule": ours}
    return _("%(schedule)s: a part of it runs otherwise there (%(there)s)") % {
        "schedule": ours,
        "there": schedule_words.sentence(there),
    }

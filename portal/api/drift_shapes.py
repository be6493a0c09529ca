"""How what somebody changed in vPlus is told in JSON: what a tenant may see of it, and the digest that settles just that."""

from collections.abc import Collection, Mapping
from typing import Any

from rest_framework import serializers

from portal.api.fields import Form, Moment, Text
from tenants.rights import Actor
from vplus_bridge.ownership import visible as owned
from vplus_bridge.protection.drift_words import sentences
from vplus_bridge.protection.held import carriers_of
from vplus_bridge.protection.models import Policy
from vplus_bridge.protection.shown_drift import Drift, digest_of, shown_drift

# Fields whose values are the tenant's to read. Of every other field only its name is told: its values are guids and
# generated names of vPlus's own objects.
_TOLD = {
    "priority",
    "auto_remove_gone",
    "auto_assign_mode",
    "active",
    "backup_type",
    "days_of_week",
    "months",
    "occurrences",
    "start_window_ms",
    "hour_ms",
    "interval.start_hour_ms",
    "interval.end_hour_ms",
    "interval.frequency_ms",
}
_LISTS = {"virtual_machines", "destination"}


class DifferenceShape(serializers.Serializer[Mapping[str, Any]]):
    """One field in which vPlus holds something else."""

    field = serializers.CharField(
        help_text="virtual_machines, destination, priority, auto_remove_gone and others; policy, rule or schedule: it "
        "was deleted there. Of a schedule, times are milliseconds of a day in UTC, as vPlus holds them."
    )
    ours = serializers.JSONField(allow_null=True, help_text="Guids are those that you see; null: not told")
    theirs = serializers.JSONField(allow_null=True, help_text="The same of what vPlus holds")
    others = serializers.IntegerField(help_text="How many vPlus holds besides that are not yours")
    schedule = serializers.UUIDField(allow_null=True, help_text="null: it is none of a schedule")
    sentence = serializers.CharField(help_text="The same for people, as the policy's page says it")


class DriftShape(serializers.Serializer[Mapping[str, Any]]):
    """What somebody changed in vPlus; nothing else can be changed before it is accepted or put back."""

    since = Moment(help_text="When it was first seen")
    digest = serializers.CharField(help_text="Of just these differences; give it back to accept or to put back.")
    differences = DifferenceShape(many=True, help_text="Empty where you do not see every virtual machine")


class SettleForm(Form):
    """Which differences are settled."""

    digest = Text(help_text="The policy's drift.digest, as it was read; if something else differs by now, 409.")


def drift_shape(actor: Actor, policy: Policy, places: Collection[str]) -> dict[str, Any]:
    """Return how a policy differs as DriftShape knows it; what is not the tenant's is counted, never named.

    `places` are the tenant's destinations.
    """
    drift = shown_drift(policy)
    differences = _differences(actor, policy, drift, places) if actor.sees_all else []
    return {"since": policy.differs_since, "digest": digest_of(drift), "differences": differences}


def _differences(actor: Actor, policy: Policy, drift: Drift, places: Collection[str]) -> list[dict[str, Any]]:
    schedules = {carrier.wire_name: carrier.schedule_id for carrier in carriers_of(policy)}
    named = {
        guid
        for one in drift
        if one["field"] == "virtual_machines"
        for guid in (*(one["ours"] or ()), *(one["theirs"] or ()))
    }
    machines = set(owned.virtual_machines(actor).filter(guid__in=named).values_list("guid", flat=True))
    return [
        {
            "field": one["field"],
            **_values(one, machines if one["field"] == "virtual_machines" else places),
            "schedule": schedules.get(one["schedule"]),
            "sentence": sentence,
        }
        for one, sentence in zip(drift, sentences(actor, drift), strict=True)
    ]


def _values(one: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    field, ours, theirs, others = one["field"], one["ours"], one["theirs"], one.get("others", 0)
    if field in _LISTS:
        told = [guid for guid in theirs or () if guid in known]
        others += len(theirs or ()) - len(told)
        return {"ours": [guid for guid in ours or () if guid in known], "theirs": told, "others": others}
    if field == "other_rules":
        return {"ours": None, "theirs": None, "others": theirs}  # the row itself keeps only how many they are
    values = {"ours": ours, "theirs": theirs} if field in _TOLD else {"ours": None, "theirs": None}
    return {**values, "others": others}

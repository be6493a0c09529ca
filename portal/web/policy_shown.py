"""What pages show of policies: badges, sentences, what changed and by whom, and what differs in vPlus."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from portal.web import shown
from portal.web.wording.badges import Badge, Word
from tenants.rights import Actor, Right
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind
from vplus_bridge.protection import schedule_words, visible
from vplus_bridge.protection.drift_words import sentences as drift_sentences
from vplus_bridge.protection.listing import Standing, next_run
from vplus_bridge.protection.models import Policy
from vplus_bridge.protection.shown_drift import Drift
from vplus_bridge.protection.wall_time import Promise

STANDING: Mapping[Standing, Badge] = {
    Standing.ACTIVE: Badge("idle", "player-play", lazy("Active")),
    Standing.PAUSED: Badge("idle", "clock-pause", lazy("Paused")),
    Standing.SAVING: Badge("run", "refresh", lazy("Being saved")),
    Standing.DIFFERS: Badge("warn", "alert-triangle", lazy("Differs in vPlus")),
    Standing.READ_ONLY: Badge("idle", "lock", lazy("Read-only")),
}
FIELDS: Mapping[str, Word] = {
    "name": lazy("Name"),
    "virtual_machines": lazy("Virtual machines"),
    "schedules": lazy("Schedules"),
    "destination": lazy("Backup destination"),
    "priority": lazy("Priority"),
    "auto_remove_gone": lazy("Takes out those that left the platform"),
    "paused": lazy("Paused"),
}
ACTIONS: Mapping[str, Word] = {
    "create": lazy("Made"),
    "change": lazy("Changed"),
    "delete": lazy("Deleted"),
    "put_back": lazy("Put back"),
    "rewrite": lazy("Schedules written anew, so that they go on at the same local times"),
    "remove": lazy("Tidied up in vPlus"),
    "take_out": lazy("Taken out because it no longer belongs to you"),
    "accept": lazy("Took over what was changed in vPlus"),
}
CHANGES_SHOWN = 20


@dataclass(frozen=True)
class PolicyRow:
    """One policy in the list."""

    id: UUID
    name: str
    url: str
    sentences: Sequence[str]
    machines: int
    next_run_at: datetime | None
    badge: Badge


@dataclass(frozen=True)
class ScheduleLine:
    """One schedule of a policy."""

    sentence: str
    next_run_at: datetime | None
    active: bool
    zone: str
    window_seconds: int


@dataclass(frozen=True)
class Change:
    """One change of a policy: who, when, what, and how it ended."""

    what: Word
    by: str
    at: datetime
    url: str
    badge: Badge
    reason: Word
    lines: Sequence[str]


def policy_url(name: str, slug: str, policy_id: UUID) -> str:
    """Return the address of one of a policy's pages."""
    return reverse(f"tenant:{name}", kwargs={"tenant_slug": slug, "policy_id": policy_id})


def urls_by_machine(actor: Actor, guids: Iterable[str]) -> dict[str, str]:
    """Return the address of each machine's policy, by the machine's guid, in one SQL statement."""
    rows = visible.memberships(actor, guids)
    pairs = rows.values_list("virtual_machine_guid", "policy")
    return {guid: policy_url("policy_detail", actor.tenant_slug, policy_id) for guid, policy_id in pairs}


def policy_row(
    actor: Actor, policy: Policy, standing: Standing, *, found: Sequence[Promise | None], machines: int, now: datetime
) -> PolicyRow:
    """Return a policy as a row of the list; `found` is what its schedules promise."""
    return PolicyRow(
        id=policy.pk,
        name=policy.name,
        url=policy_url("policy_detail", actor.tenant_slug, policy.pk),
        sentences=[sentence(promise) for promise in found],
        machines=machines,
        next_run_at=next_run(found, now),
        badge=STANDING[standing],
    )


def schedule_line(promise: Promise | None, now: datetime, *, active: bool) -> ScheduleLine:
    """Return a schedule as a line; `active` is its own switch, whatever the policy's is."""
    if promise is None:
        return ScheduleLine(sentence(None), None, active, "UTC", 0)
    window = int(promise.start_window.total_seconds())
    return ScheduleLine(sentence(promise), next_run([promise], now), active, promise.zone, window)


def sentence(promise: Promise | None) -> str:
    """Return what a schedule promises as a sentence."""
    return _("A schedule that has no words here.") if promise is None else schedule_words.sentence(promise)


def way_on(actor: Actor, operation: Operation) -> dict[str, str]:
    """Return the one button at the end of a change: to the policy, to the draft of one that was not made, or to the list."""
    slug = actor.tenant_slug
    name = operation.plan.get("name", "")
    if visible.policies(actor).filter(pk=operation.subject).exists():
        url = policy_url("policy_detail", slug, UUID(operation.subject))
        return {"url": url, "word": _("Open %(name)s") % {"name": name}, "icon_name": "calendar-time"}
    if operation.wish.get("action") == "create" and actor.may(Right.POLICIES):
        url = f"{reverse('tenant:policy_new', kwargs={'tenant_slug': slug})}?draft={operation.pk}"
        return {"url": url, "word": _("Open the draft"), "icon_name": "refresh"}
    url = reverse("tenant:policy_list", kwargs={"tenant_slug": slug})
    return {"url": url, "word": _("Policies"), "icon_name": "calendar-time"}


def operations_of(actor: Actor, policy: Policy) -> list[Operation]:
    """Return what was asked of a policy, newest first."""
    rows = operations.operations(actor).filter(kind=Kind.POLICY, subject=str(policy.pk))
    return list(rows.order_by("-requested_at", "pk")[:CHANGES_SHOWN])


def changes(actor: Actor, rows: Sequence[Operation]) -> list[Change]:
    """Return what was asked of a policy, in words."""
    return [
        Change(
            what=ACTIONS.get(row.wish.get("action", ""), _("Changed")),
            by=row.requested_by_name,
            at=row.requested_at,
            url=shown.operation_url(row, actor.tenant_slug),
            badge=shown.badge_of_operation(row),
            reason=shown.cause_in_short(row),
            lines=[change_words(change) for change in row.plan.get("changes", ())],
        )
        for row in rows
    ]


def change_words(change: Mapping[str, Any]) -> str:
    """Return one change of one field: "Priority: 50, now 60"; of machines, who came and who left."""
    label = FIELDS.get(change["field"], change["field"])
    if change["field"] == "virtual_machines":
        parts = [
            words % {"names": change[key]}
            for key, words in (("came", _("added %(names)s")), ("left", _("taken out %(names)s")))
            if change.get(key)
        ]
        return f"{label}: {'; '.join(parts)}"
    said = {"field": label, "before": change["before"] or "–", "after": change["after"] or "–"}
    return _("%(field)s: %(before)s → %(after)s") % said


def drift_words(actor: Actor, drift: Drift) -> list[str]:
    """Return what differs in vPlus, each sentence once; nothing to those who do not see every machine of the policy."""
    return list(dict.fromkeys(drift_sentences(actor, drift))) if actor.sees_all else []

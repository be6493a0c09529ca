"""The overview of a tenant: is everything protected, what is to do, what runs, what failed. Its heading is the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Count, F
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from portal.scoped_request import ScopedRequest
from portal.web import shown
from portal.web.frame import counts_of
from portal.web.runs_shown import run_rows
from portal.web.virtual_machines import age, coverage, no_machines_words, status_tiles
from portal.web.wording import moments
from portal.web.wording.badges import Badge, Word, operation_badge, run_badge
from tenants.rights import Actor
from vplus_bridge.mirror import listing
from vplus_bridge.mirror.models import ReadState, VirtualMachine
from vplus_bridge.mirror.read_state import CONTACT, INVENTORY, TASKS, states_of
from vplus_bridge.mirror.words import why_failed
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, State
from vplus_bridge.ownership import visible
from vplus_bridge.protection import strip
from vplus_bridge.protection.verdict import RANK

MOST_TO_DO = 3
MOST_SHOWN = 5
LOOKED_BACK: Final = timedelta(hours=24)


@dataclass(frozen=True)
class ToDo:
    """One thing to do next, with the button that does it; ``button_word`` is empty for who may not."""

    name: str
    url: str
    badge: Badge
    reason: Word
    button_word: str
    button_url: str
    icon_name: str
    in_dialog: bool = False


@dataclass(frozen=True)
class Failed:
    """Something that failed lately: what, of which machine, when, and why in a few words."""

    name: str
    what: str
    url: str
    at: datetime
    badge: Badge
    reason: Word


@require_safe
def overview(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """Answer the four questions from the mirror, with the age of each answer."""
    actor, now = request.actor, timezone.now()
    counts = counts_of(request, actor)
    states = states_of(INVENTORY, TASKS, CONTACT)
    running = list(_under_way(actor)[: MOST_SHOWN + 1])
    by_itself = list(operations.open_run_heads(actor).order_by("-shown_at", "guid")[: MOST_SHOWN + 1])
    failed_operations = list(_failed_operations(actor, now - LOOKED_BACK)[: MOST_SHOWN + 1])
    failed = _failures(actor, failed_operations, now)
    heading, lead = heading_words(counts, states[CONTACT], now)
    tasks_age = age(states[TASKS].succeeded_at, settings.VPLUS_POLL_IDLE_SECONDS, now)
    activity_url = reverse("tenant:activity", kwargs={"tenant_slug": tenant_slug})
    list_url = reverse("tenant:vm_list", kwargs={"tenant_slug": tenant_slug})
    context = {
        "heading": heading,
        "lead": lead or _granted(actor, counts),
        "age": age(states[INVENTORY].succeeded_at, settings.VPLUS_INVENTORY_SECONDS, now),
        "tasks_age": tasks_age,
        "segments": coverage(counts),
        "tiles": status_tiles(counts, lambda status: f"{list_url}?{urlencode({'status': status})}"),
        "empty_text": "" if counts["all"] else no_machines_words(states[INVENTORY].succeeded_at, now),
        "to_do": _to_do(actor, failed_operations, now),
        "more_to_do": max(0, counts["not_protected"] - MOST_TO_DO),
        "more_to_do_url": f"{list_url}?status=not_protected",
        "running": shown.operation_rows(actor, running[:MOST_SHOWN], now),
        "running_by_itself": run_rows(actor, by_itself[: max(0, MOST_SHOWN - len(running))]),
        "more_running": len(running) + len(by_itself) > MOST_SHOWN,
        "next_runs": _next_runs(actor, now),
        "failed": failed[:MOST_SHOWN],
        "more_failed": len(failed) > MOST_SHOWN,
        "activity_url": activity_url,
        "failed_url": f"{activity_url}?state=failed",
    }
    return render(request, "web/overview.html", context)


def heading_words(counts: Mapping[str, int], contact: ReadState, now: datetime) -> tuple[str, str]:
    """Return the heading and the sentence under it: how many are in the worst state there is, of all on the platform."""
    total = counts["all"] - counts["gone"]
    if counts["all"] == 0:
        return _("No virtual machines yet"), ""
    known = _state_words(counts, total)
    if contact.failing_since:
        since = moments.clock_words(contact.failing_since, now, timezone.get_current_timezone())
        return _("Not known since %(time)s: no contact") % {"time": since}, _("When last read: %(words)s.") % {
            "words": known[0]
        }
    return known


def _state_words(counts: Mapping[str, int], total: int) -> tuple[str, str]:
    figures = {"total": total}
    if total == 0:
        return _("No virtual machine is on the platform"), _("Those that are gone keep their restore points.")
    if count := counts["not_protected"]:
        words = ngettext(
            "%(n)d of %(total)d virtual machines is not protected",
            "%(n)d of %(total)d virtual machines are not protected",
            count,
        )
        lead = ngettext(
            "It has no restore point, or only one that is far older than promised.",
            "They have no restore point, or only ones that are far older than promised.",
            count,
        )
        return words % {**figures, "n": count}, lead
    if count := counts["at_risk"]:
        words = ngettext(
            "%(n)d of %(total)d virtual machines is at risk", "%(n)d of %(total)d virtual machines are at risk", count
        )
        return words % {**figures, "n": count}, _("They can be restored, but not from as recently as was promised.")
    if count := counts["unknown"]:
        words = ngettext(
            "%(n)d of %(total)d virtual machines is not judged yet",
            "%(n)d of %(total)d virtual machines are not judged yet",
            count,
        )
        return words % {**figures, "n": count}, _(
            "Nothing is called protected without evidence; what the backup system says stands beside each of them."
        )
    words = ngettext("The %(n)d virtual machine is protected", "All %(n)d virtual machines are protected", total)
    return words % {"n": total}, ""


def _granted(actor: Actor, counts: Mapping[str, int]) -> str:
    if actor.sees_all or not counts["all"]:
        return ""
    return _("This is about what is granted to you.")


def _under_way(actor: Actor) -> Any:
    return operations.operations(actor).filter(state__in=ACTIVE).order_by("-requested_at", "pk")


def _failed_operations(actor: Actor, since: datetime) -> Any:
    ended = {State.FAILED, State.NEEDS_ATTENTION}
    rows = operations.operations(actor).filter(state__in=ended, finished_at__gte=since)
    return rows.order_by("-finished_at", "pk")


def _to_do(actor: Actor, failed: Sequence[Operation], now: datetime) -> list[ToDo]:
    """Return at most three things, worst first: machines in a bad state, then operations that failed."""
    pressing = visible.virtual_machines(actor).filter(attention_rank__lt=RANK["unknown"])
    machines = listing.page_of(pressing, listing.DEFAULT_ORDERING, "", MOST_TO_DO).rows
    active = operations.active_by_machine(actor, [row.guid for row in machines])
    found = [_machine_to_do(row) for row in shown.machine_rows(machines, actor, active, now)]
    there = {row.guid for row in machines}
    for operation in failed:
        if operation.virtual_machine_guid not in there:
            there.add(operation.virtual_machine_guid)
            found.append(_operation_to_do(actor, operation, now))
    return found[:MOST_TO_DO]


def _machine_to_do(row: shown.MachineRow) -> ToDo:
    word, url, icon = "", "", ""
    if row.operation:
        word, url, icon = _("Watch"), row.operation.url, "activity"
    elif row.can_back_up:
        word, url, icon = _("Back up"), row.back_up_url, "cloud-up"
    return ToDo(row.name, row.url, row.badge, row.reason, word, url, icon, in_dialog=row.can_back_up)


def _operation_to_do(actor: Actor, operation: Operation, now: datetime) -> ToDo:
    [row] = shown.operation_rows(actor, [operation], now)
    if not row.vm_name:  # of a policy
        return ToDo(row.what, row.url, row.badge, row.reason, _("See why"), row.url, "info-circle")
    return ToDo(row.vm_name, row.vm_url, row.badge, f"{row.what}: {row.reason}", _("See why"), row.url, "info-circle")


def _failures(actor: Actor, failed: Sequence[Operation], now: datetime) -> list[Failed]:
    """Return what failed lately, newest first: operations, and machines whose newest backup failed without one."""
    slug = actor.tenant_slug
    known = {operation.virtual_machine_guid for operation in failed}
    lately = visible.virtual_machines(actor).filter(last_attempt_failed_at__gte=now - LOOKED_BACK)
    machines = list(lately.exclude(guid__in=known).order_by("-last_attempt_failed_at", "guid")[: MOST_SHOWN + 1])
    found = [
        Failed(
            row.vm_name or row.what,
            row.what if row.vm_name else "",
            row.url,
            operation.finished_at or row.started_at,
            row.badge,
            row.reason,
        )
        for operation, row in zip(failed, shown.operation_rows(actor, failed, now), strict=True)
    ]
    why = _why_failed(actor, [row.guid for row in machines])
    found += [_failed_backup(row, why.get(row.guid, ""), slug) for row in machines]
    return sorted([*found, *_missed(actor, now)], key=lambda one: one.at, reverse=True)


def _missed(actor: Actor, now: datetime) -> list[Failed]:
    """Return runs of schedules that did not happen, each with where the evidence is."""
    runs = list(strip.missed_runs(actor, now - LOOKED_BACK)[: MOST_SHOWN + 1])
    machines = visible.virtual_machines(actor).filter(guid__in={run.virtual_machine_guid for run in runs})
    names = dict(machines.values_list("guid", "name"))
    zone = timezone.get_current_timezone()
    return [
        Failed(
            names.get(run.virtual_machine_guid, run.virtual_machine_guid),
            _("Backup planned %(when)s") % {"when": moments.said_words(run.due_at, now, zone)},
            shown.machine_url("vm_protection", actor.tenant_slug, run.virtual_machine_guid),
            run.settled_at or run.due_at,
            run_badge(run.outcome),
            "",
        )
        for run in runs
    ]


def _why_failed(actor: Actor, guids: Sequence[str]) -> dict[str, Word]:
    """Return why the newest failed backup of each of these machines failed, in the words of its Backups tab."""
    rows = visible.backups(actor).filter(virtual_machine_guid__in=guids, status="FAILED")
    newest = rows.order_by("virtual_machine_guid", F("taken_at").desc(nulls_last=True), "guid")
    return {row.virtual_machine_guid: why_failed(row) for row in newest.distinct("virtual_machine_guid")}


def _next_runs(actor: Actor, now: datetime) -> Mapping[str, object] | None:
    """Return when schedules start backups next, and of how many virtual machines; None where no run is known."""
    coming = visible.virtual_machines(actor).filter(next_run_at__gt=now, absent_since=None)
    return coming.values("next_run_at").annotate(count=Count("pk")).order_by("next_run_at").first()


def _failed_backup(machine: VirtualMachine, why: Word, slug: str) -> Failed:
    at = machine.last_attempt_failed_at
    assert at is not None  # noqa: S101  # the filter has seen to it; this tells the type checker
    url = f"{shown.machine_url('vm_backups', slug, machine.guid)}?status=FAILED"
    return Failed(machine.name, _("Backup"), url, at, operation_badge(State.FAILED), why)

"""The list of virtual machines, and one with its tabs. A view fits a screen; what it shows comes from the mirror."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from portal.scoped_request import ScopedRequest
from portal.web import points, policy_shown, restored, runs_shown, shown, tasks_shown
from portal.web.filters import FilterBar, Select, pager
from portal.web.frame import counts_of
from portal.web.runs import latest_runs
from portal.web.seven_days import strips_of
from portal.web.wording import moments, numbers, operation_words
from portal.web.wording.platform_words import platform_word
from tenants.rights import Actor, Right
from vplus_bridge.mirror import listing
from vplus_bridge.mirror.backups import newest_first
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.mirror.read_state import INVENTORY, state_of
from vplus_bridge.operations import cancel
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.models import Operation
from vplus_bridge.ownership import visible

STALE_AFTER = 3
OVERVIEW_ROWS = 5
MOST_POLICIES = 200
"""How many names the filter offers."""


@require_safe
def vm_list(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """Find, select, act: the tenant's virtual machines that the person sees."""
    del tenant_slug
    actor, now = request.actor, timezone.now()
    seen = visible.virtual_machines(actor)
    bar = _list_bar(request, actor)
    order = bar.value("order") if bar.value("order") in listing.ORDERINGS else listing.DEFAULT_ORDERING
    yes_no = {"yes": True, "no": False}
    query = listing.VirtualMachineQuery(
        search=bar.value("search").replace("\0", ""),
        status=bar.value("status") if bar.value("status") in listing.STATUSES else "",
        present=yes_no.get(bar.value("presence")),
        policy=bar.value("policy"),
        has_restore_point=yes_no.get(bar.value("points")),
        ordering=order,
    )
    rows = listing.filtered(seen, query)
    page = listing.page_of(rows, order, bar.cursor, bar.size)
    active = operations.active_by_machine(actor, [row.guid for row in page.rows])
    counts, inventory = counts_of(request, actor), state_of(INVENTORY)
    policies = policy_shown.urls_by_machine(actor, [row.guid for row in page.rows])
    by_itself = runs_shown.running_by_itself(actor, page.rows)
    found = shown.machine_rows(page.rows, actor, active, now, strips_of(page.rows, now), by_itself=by_itself)
    context = {
        **pager(bar, page, rows.count()),
        "age": age(inventory.succeeded_at, settings.VPLUS_INVENTORY_SECONDS, now),
        "segments": coverage(counts),
        "tiles": _tiles(bar, counts),
        "filters": bar.context(),
        "columns": _columns(bar, order),
        "rows": [replace(row, policy_url=policies.get(row.guid, "")) for row in found],
        "can_pick_all": any(row.can_select for row in found),
        "can_select": actor.may_somewhere(Right.BACK_UP) and not actor.suspended,
        "back_up_url": reverse("tenant:backup_new", kwargs={"tenant_slug": actor.tenant_slug}),
        "empty_text": _empty_text(bar, counts, inventory.succeeded_at, now),
        "clear_url": bar.url(search=None, status=None, presence=None, policy=None, points=None)
        if counts["all"] and not page.rows
        else "",
        "granted_words": _granted_words(actor),
        "next_inventory_words": _next_inventory(inventory.started_at, now),
    }
    context["count_words"] = f"{context['count_words']}, {_order_word(order)}" if page.rows else context["count_words"]
    return render(request, "web/virtual_machines/list.html", context)


@require_safe
def vm_detail(request: ScopedRequest, tenant_slug: str, guid: str) -> HttpResponse:
    """Facts, the newest restore points, the last operations."""
    actor, now = request.actor, timezone.now()
    machine = visible.virtual_machine(actor, guid)
    newest = list(visible.restore_points(actor, guid)[:OVERVIEW_ROWS])
    full = newest_first(visible.restore_points(actor, guid).filter(type="FULL")).first()
    context = detail(actor, machine, "overview", now)
    context["vm"] |= {"last_backup": _fact(newest[0] if newest else None), "last_full": _fact(full)}
    context |= {
        "points": shown.point_rows(
            newest, {}, points.places(actor, newest), machine.newest_point_guid, now, restore=context["restore_url"]
        ),
        "operations": latest_runs(actor, guid, OVERVIEW_ROWS, now),
        "points_url": shown.machine_url("vm_restore_points", tenant_slug, guid),
        "activity_url": shown.machine_url("vm_activity", tenant_slug, guid),
        "origin": restored.origin_of(actor, machine, now),
    }
    return render(request, "web/virtual_machines/detail.html", context)


def age(at: datetime | None, interval_seconds: float, now: datetime) -> dict[str, Any]:
    """Return how old what is shown is, and whether that is older than three times its interval."""
    stale_after = STALE_AFTER * interval_seconds
    return {
        "at": at,
        "stale": at is not None and now - at > timedelta(seconds=stale_after),
        "stale_after": stale_after,
    }


def _list_bar(request: ScopedRequest, actor: Actor) -> FilterBar:
    names = visible.virtual_machines(actor).exclude(policy_label="").order_by("policy_label")
    labels = list(names.values_list("policy_label", flat=True).distinct()[:MOST_POLICIES])
    asked = request.GET.get("policy", "").replace("\0", "")
    if asked and asked not in labels and names.filter(policy_label=asked).exists():
        labels.append(asked)  # beyond those that fit, and linked to by its own page
    policies = [(name, name) for name in labels]
    others = [(listing.NO_POLICY, _("No policy")), (listing.OF_PROVIDER, _("A policy of your provider"))]
    return FilterBar(
        request,
        search=("search", _("Name or UUID"), _("Search virtual machines")),
        selects=[
            Select("presence", _("Presence"), [("", _("Any")), ("yes", _("On the platform")), ("no", _("Gone"))]),
            Select("policy", _("Policy"), [("", _("Any")), *others, *policies]),
            Select("points", _("Restore points"), [("", _("Any")), ("yes", _("Some")), ("no", _("None"))]),
        ],
        kept=("status", "order", "size"),
    )


def coverage(counts: Mapping[str, int]) -> list[numbers.Segment]:
    """Return the rectangles of the coverage bar, worst first."""
    fills = {"not_protected": "bad", "at_risk": "warn", "unknown": "idle", "protected": "ok", "gone": "track"}
    return numbers.coverage_segments([(fill, counts[status]) for status, fill in fills.items()])


def status_tiles(counts: Mapping[str, int], url: Callable[[str], str], chosen: str = "") -> list[dict[str, Any]]:
    """Return a tile for each state, worst first; states that nothing is in are left out, save the worst and the last."""
    words = [
        ("not_protected", _("Not protected"), "bad"),
        ("at_risk", _("At risk"), "warn"),
        ("unknown", _("Not judged"), ""),
        ("protected", _("Protected"), ""),
        ("gone", _("Gone"), ""),
    ]
    return [
        {"word": word, "count": counts[status], "url": url(status), "tone": tone, "current": chosen == status}
        for status, word, tone in words
        if counts[status] or status in ("not_protected", "gone", chosen)
    ]


def _tiles(bar: FilterBar, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    chosen = bar.value("status")
    everything = {
        "word": _("All"),
        "count": counts["all"],
        "url": bar.url(status=None),
        "tone": "",
        "current": not chosen,
    }
    return [everything, *status_tiles(counts, lambda status: bar.url(status=status), chosen)]


def _columns(bar: FilterBar, order: str) -> dict[str, dict[str, str]]:
    def column(word: str, ascending: str, descending: str) -> dict[str, str]:
        following = descending if order == ascending else ascending
        direction = {ascending: "ascending", descending: "descending"}.get(order, "")
        return {"word": word, "url": bar.url(order=following), "sorted": direction}

    worst_first = {
        "word": _("Protection"),
        "url": bar.url(order=None),
        "sorted": "descending" if order == listing.DEFAULT_ORDERING else "",
    }
    return {
        "name": column(_("Name"), "name", "-name"),
        "protection": worst_first,
        "last_backup": column(_("Last backup"), "-last_backup_at", "last_backup_at"),
    }


def _order_word(order: str) -> str:
    return {
        "attention": _("worst first"),
        "name": _("by name"),
        "-name": _("by name, last first"),
        "last_backup_at": _("oldest backup first"),
        "-last_backup_at": _("newest backup first"),
        "last_backup_size": _("smallest first"),
        "-last_backup_size": _("largest first"),
    }[order]


def _empty_text(bar: FilterBar, counts: Mapping[str, int], read_at: datetime | None, now: datetime) -> str:
    if counts["all"] == 0:
        return no_machines_words(read_at, now)
    only_tile = not any(bar.value(name) for name in ("search", "presence", "policy", "points"))
    if bar.value("status") == "not_protected" and only_tile:
        return _(
            "None. Every virtual machine on the platform has a restorable backup, or its history was not read yet."
        )
    return _("Nothing matches.")


def no_machines_words(read_at: datetime | None, now: datetime) -> str:
    """Return what is said where there is no virtual machine at all: when some will appear, and how fresh that is."""
    words = _("No virtual machines yet. They appear once your provider has assigned them.")
    if read_at is None:
        return words
    return f"{words} {_('Inventory was read %(ago)s.') % {'ago': moments.relative_words(read_at, now)}}"


def _granted_words(actor: Actor) -> str:
    if actor.sees_all:
        return ""
    count = len(actor.grants)
    words = ngettext(
        "You see the %(n)d virtual machine granted to you.", "You see the %(n)d virtual machines granted to you.", count
    )
    return words % {"n": count}


def _next_inventory(started_at: datetime | None, now: datetime) -> str:
    if started_at is None:
        return ""
    upcoming = started_at + timedelta(seconds=settings.VPLUS_INVENTORY_SECONDS)
    return moments.relative_words(upcoming, now) if upcoming > now else ""


def _cancel_url(actor: Actor, active: Sequence[Operation]) -> str:
    """Return where to ask for an end of what runs for a machine; "" where nothing does, or one may or can not."""
    if not active or not cancel.possible(actor, active[0], server_can=cancel.can_cancel()):
        return ""
    return shown.cancel_url(active[0], actor.tenant_slug)


def detail(actor: Actor, machine: VirtualMachine, tab: str, now: datetime) -> dict[str, Any]:
    """Return what every tab of a machine's page shows."""
    slug, guid = actor.tenant_slug, machine.guid
    active = operations.active_by_machine(actor, [guid]).get(guid, [])
    row = shown.machine_rows([machine], actor, {guid: active}, now)[0]
    run = None if active else operations.running_by_itself(actor, [guid]).get(guid)
    counts = visible.backup_counts(actor, guid)
    tabs = [
        ("overview", "vm_detail", _("Overview"), None),
        ("restore_points", "vm_restore_points", _("Restore points"), counts.restore_points),
        ("backups", "vm_backups", _("Backups"), counts.all),
        ("activity", "vm_activity", _("Activity"), None),
        ("protection", "vm_protection", _("Protection"), None),
    ]
    return {
        "vm": {
            "name": machine.name,
            "uuid": machine.uuid,
            "guid": guid,
            "platform_word": platform_word(machine.platform),
            "gone": machine.gone,
            "policy_name": shown.policy_words(machine),
            "policy_url": policy_shown.urls_by_machine(actor, [guid]).get(guid, ""),
            "new_policy_url": _new_policy_url(actor, machine),
            "badge": row.badge,
            "reason": shown.machine_reason(machine, now),
            "evidence_url": shown.machine_url("vm_protection", slug, guid),
        },
        "crumbs": [{"word": _("Virtual machines"), "url": reverse("tenant:vm_list", kwargs={"tenant_slug": slug})}],
        "here": machine.name,
        "age": age(machine.history_read_at, settings.VPLUS_HISTORY_MAX_AGE_SECONDS, now),
        "operation": row.operation,
        "live": runs_shown.of_machine(run, machine.name) if run else row.live,
        "cancel_url": tasks_shown.cancel_url(actor, run.last) if run else _cancel_url(actor, active),
        "can_back_up": row.can_back_up,
        "back_up_url": row.back_up_url,
        "can_restore": row.can_restore,
        "restore_url": row.restore_url if row.can_restore else "",
        "tab": tab,
        "tabs": [
            {"word": word, "url": shown.machine_url(name, slug, guid), "current": key == tab, "count": count}
            for key, name, word, count in tabs
        ],
    }


def _new_policy_url(actor: Actor, machine: VirtualMachine) -> str:
    """Return where a policy is made for a machine that is in none; empty for who may not, or where it cannot be."""
    if machine.gone or shown.policy_words(machine) or actor.suspended or not actor.may(Right.POLICIES):
        return ""
    new = reverse("tenant:policy_new", kwargs={"tenant_slug": actor.tenant_slug})
    return f"{new}?{urlencode({'vm': machine.guid})}"


def _fact(backup: Backup | None) -> dict[str, Any] | None:
    if backup is None or backup.taken_at is None:
        return None
    took = [part for part in (backup.export_seconds, backup.store_seconds) if part is not None]
    return {
        "at": backup.taken_at,
        "type_word": operation_words.type_word(backup.type),
        "size": backup.size,
        "seconds": sum(took) if took else None,
    }

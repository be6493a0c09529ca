"""The list of policies, one of them to read, what differs in vPlus, and its end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.scoped_request import ScopedRequest, refused
from portal.web import policy_shown, shown
from portal.web.filters import FilterBar, Select, pager
from portal.web.virtual_machines import age
from tenants.refusals import WrongState
from tenants.rights import Actor, Right
from vplus_bridge.keyset import page_of
from vplus_bridge.mirror.policies import POLICIES
from vplus_bridge.mirror.read_state import state_of
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.words import error_words
from vplus_bridge.ownership import visible as owned
from vplus_bridge.protection import drafts, listing, visible
from vplus_bridge.protection.accept import accept_drift
from vplus_bridge.protection.drafts import PolicyDraft
from vplus_bridge.protection.drift import shared_carriers
from vplus_bridge.protection.listing import Standing
from vplus_bridge.protection.models import Policy, PolicyState
from vplus_bridge.protection.request_policy import editable, request_policy_delete, request_put_back
from vplus_bridge.protection.shown_drift import digest_of, shown_drift

MACHINES_SHOWN = 50
"""vPlus's policies are read every ten seconds, or less often where there are many."""
UNMADE_SHOWN, UNMADE_FOR = 3, timedelta(days=7)


@require_safe
def policy_list(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """The tenant's policies that the person sees, by name, each with its runs and how it stands."""
    actor, now = request.actor, timezone.now()
    states = [(one.value, str(badge.word)) for one, badge in policy_shown.STANDING.items()]
    bar = FilterBar(
        request,
        search=("search", _("Name"), _("Search policies")),
        selects=[Select("state", _("State"), [("", _("Any")), *states])],
        kept=("size",),
    )
    changing = listing.being_changed()
    everything = visible.policies(actor)
    wanted = listing.filtered(
        everything, state=bar.value("state"), search=bar.value("search").replace("\0", ""), changing=changing
    )
    page = page_of(listing.counted(actor, wanted).prefetch_related("schedules"), listing.BY_NAME, bar.cursor, bar.size)
    promises = listing.promises(page.rows)
    can_change = may_change(actor)
    context = {
        **pager(bar, page, wanted.count()),
        "filters": bar.context(),
        "rows": [
            policy_shown.policy_row(
                actor,
                policy,
                listing.standing(policy, changing),
                found=promises[policy.pk],
                machines=policy.machines,  # type: ignore[attr-defined]  # annotated by counted()
                now=now,
            )
            for policy in page.rows
        ],
        "age": _age(now),
        "none_at_all": not page.rows and not bar.context()["chips"],
        "new_url": reverse("tenant:policy_new", kwargs={"tenant_slug": tenant_slug}) if can_change else "",
        "unmade": _unmade(actor) if can_change else [],
    }
    return render(request, "web/policies/list.html", context)


@require_safe
def policy_detail(request: ScopedRequest, tenant_slug: str, policy_id: UUID) -> HttpResponse:
    """One policy to read: what it does, what was changed by whom, and what differs in vPlus."""
    actor, now = request.actor, timezone.now()
    policy = visible.policy(actor, policy_id)
    asked = policy_shown.operations_of(actor, policy)
    running = visible.active_operation(policy.pk)
    standing = listing.standing(policy, listing.being_changed())
    draft = _shown_draft(policy, running)
    machines = owned.virtual_machines(actor).filter(guid__in=draft.virtual_machines).order_by("name", "guid")
    labels = {row.destination_guid: row.label for row in owned.destinations(actor)}
    failed = asked[0] if asked and asked[0].state == State.FAILED else None
    can_change = may_change(actor) and not policy.attached
    drift = shown_drift(policy) if standing == Standing.DIFFERS else []
    context = {
        "policy": policy,
        "badge": policy_shown.STANDING[standing],
        "lead": _lead(policy, actor),
        "age": _age(now),
        "schedules": _schedule_lines(policy, draft, now),
        "machines": [
            {"name": row.name, "url": shown.machine_url("vm_detail", tenant_slug, row.guid), "gone": row.gone}
            for row in machines[:MACHINES_SHOWN]
        ],
        "machine_count": machines.count(),
        "machines_url": f"{reverse('tenant:vm_list', kwargs={'tenant_slug': tenant_slug})}?{urlencode({'policy': policy.name})}",
        "destination": labels.get(draft.destination or "", ""),
        "draft": draft,
        "changes": policy_shown.changes(actor, asked),
        "saving_url": shown.operation_url(running, tenant_slug)
        if running and actor.sees_all and standing == Standing.SAVING
        else "",
        "not_saved": _not_saved(failed) if failed else "",
        "draft_url": _draft_url(actor, policy, failed) if failed and can_change else "",
        "drift": policy_shown.drift_words(actor, drift),
        "digest": digest_of(drift),
        "differs": standing == Standing.DIFFERS,
        "drift_url": policy_shown.policy_url("policy_drift", tenant_slug, policy.pk) if can_change else "",
        "shared": bool(not policy.attached and policy.state == PolicyState.KEPT and shared_carriers(policy)),
        "edit_url": policy_shown.policy_url("policy_edit", tenant_slug, policy.pk)
        if can_change and standing in (Standing.ACTIVE, Standing.PAUSED)
        else "",
        "delete_url": policy_shown.policy_url("policy_delete", tenant_slug, policy.pk)
        if can_change and standing not in (Standing.SAVING, Standing.READ_ONLY)
        else "",
        "crumbs": crumbs(tenant_slug),
        "here": policy.name,
    }
    return render(request, "web/policies/detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def policy_delete(request: ScopedRequest, tenant_slug: str, policy_id: UUID) -> HttpResponse:
    """Ask before the end of a policy, and on POST ask for it."""
    actor = request.actor
    policy = visible.policy(actor, policy_id)
    actor.require(Right.POLICIES)
    page = policy_shown.policy_url("policy_detail", tenant_slug, policy.pk)
    if request.method == "POST":
        try:
            operation = request_policy_delete(actor, policy_id, version=_version(request), now=timezone.now())
        except WrongState as problem:
            refused(request, problem)
            messages.warning(request, _told(problem))
            return redirect(page)
        return redirect(shown.operation_url(operation, tenant_slug))
    editable(actor, policy_id)  # what cannot be deleted is not asked about
    members = policy.members.values("virtual_machine_guid")
    count = owned.virtual_machines(actor).filter(guid__in=members).count()
    lost = ngettext(
        "%(n)d virtual machine loses its schedule. Restore points stay.",
        "%(n)d virtual machines lose their schedule. Restore points stay.",
        count,
    )
    context = {
        "question": _("Delete %(policy)s?") % {"policy": policy.name},
        "consequence": lost % {"n": count},
        "action_url": policy_shown.policy_url("policy_delete", tenant_slug, policy.pk),
        "fields": [("version", policy.version)],
        "verb": _("Delete policy"),
        "keep": _("Keep it"),
        "keep_url": page,
        "crumbs": [*crumbs(tenant_slug), {"word": policy.name, "url": page}],
        "here": _("Delete"),
    }
    return render(request, "web/policies/delete.html", context)


@require_POST
def policy_drift(request: ScopedRequest, tenant_slug: str, policy_id: UUID) -> HttpResponse:
    """Settle what differs in vPlus: take it over, or let ours be written again."""
    actor, now = request.actor, timezone.now()
    policy = visible.policy(actor, policy_id)
    actor.require(Right.POLICIES)
    page = policy_shown.policy_url("policy_detail", tenant_slug, policy.pk)
    shown_digest = request.POST.get("shown", "")  # a press that tells nothing of what it saw is refused
    try:
        if request.POST.get("do") == "accept":
            accept_drift(actor, policy_id, version=_version(request), now=now, shown=shown_digest)
            messages.success(request, _("Accepted: the policy is what vPlus holds."))
            policy.refresh_from_db()
            if not policy.living:
                return redirect("tenant:policy_list", tenant_slug=tenant_slug)
        else:
            request_put_back(actor, policy_id, version=_version(request), now=now, shown=shown_digest)
            messages.success(request, _("Yours is being put back."))
    except WrongState as problem:
        refused(request, problem)
        messages.warning(request, _told(problem))
    return redirect(page)


def may_change(actor: Actor) -> bool:
    """Tell whether the person may change policies as things stand."""
    return actor.may(Right.POLICIES) and not actor.suspended


def crumbs(slug: str) -> list[dict[str, str]]:
    """Return the way from the list."""
    return [{"word": _("Policies"), "url": reverse("tenant:policy_list", kwargs={"tenant_slug": slug})}]


def _age(now: datetime) -> dict[str, Any]:
    """Return how old our view of vPlus's policies is, by which differences are seen."""
    return age(state_of(POLICIES).succeeded_at, settings.VPLUS_INFRASTRUCTURE_SECONDS, now)


def _version(request: HttpRequest) -> int:
    text = request.POST.get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004  # no version at all


def _told(problem: WrongState) -> str:
    fields = [f"{policy_shown.FIELDS.get(name, name)}: {' '.join(texts)}" for name, texts in problem.errors.items()]
    return " ".join([problem.message, *fields])


def _lead(policy: Policy, actor: Actor) -> str:
    if policy.attached:
        return _("Your provider keeps this policy; it can only be read here.")
    return "" if actor.may(Right.POLICIES) else _("Admins can change it.")


def _shown_draft(policy: Policy, running: Operation | None) -> PolicyDraft:
    """Return what is shown: the rows, or for a policy that is being made, what was asked."""
    if policy.state == PolicyState.MAKING and running is not None and "draft" in running.wish:
        return drafts.of_json(running.wish["draft"])
    return drafts.draft_of(policy)


def _schedule_lines(policy: Policy, draft: PolicyDraft, now: datetime) -> list[policy_shown.ScheduleLine]:
    if policy.attached:
        found = listing.promises([policy])[policy.pk]
        return [policy_shown.schedule_line(one, now, active=one is None or one.active) for one in found]
    lines = []
    for one in draft.schedules:
        promise, _wrong = drafts.promise_of_draft(one, paused=policy.paused)
        lines.append(policy_shown.schedule_line(promise, now, active=one.active))
    return lines


def _not_saved(failed: Operation) -> str:
    return _("Not saved: %(reason)s") % {"reason": error_words(failed.error_code, failed.kind).cause}


def _draft_url(actor: Actor, policy: Policy, failed: Operation) -> str:
    if "draft" not in failed.wish or policy.state != PolicyState.KEPT:
        return ""
    return f"{policy_shown.policy_url('policy_edit', actor.tenant_slug, policy.pk)}?draft={failed.pk}"


def _unmade(actor: Actor) -> Sequence[dict[str, Any]]:
    """Return the newest policies that could not be made, so that their drafts are found again."""
    since = timezone.now() - UNMADE_FOR
    by_id = {str(row.pk): row for row in visible.not_made(actor, since)[:UNMADE_SHOWN]}
    rows = operations.operations(actor).filter(kind=Kind.POLICY, state=State.FAILED, subject__in=list(by_id))
    new = reverse("tenant:policy_new", kwargs={"tenant_slug": actor.tenant_slug})
    return [
        {
            "text": _("%(policy)s was not made. %(reason)s")
            % {"policy": by_id[row.subject].name, "reason": error_words(row.error_code, row.kind).cause},
            "url": f"{new}?draft={row.pk}",
            "name": by_id[row.subject].name,
        }
        for row in rows.order_by("-requested_at")
    ]

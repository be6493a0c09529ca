"""Policies of vPlus, and letting a tenant read one that was there before: it stays the provider's to change."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from portal.scoped_request import ScopedRequest, refused
from portal.web.filters import FilterBar, Select, pager
from tenants.refusals import Invalid
from tenants.rights import ProviderActor, Right
from vplus_bridge.keyset import page_of
from vplus_bridge.mirror.models import VplusPolicy
from vplus_bridge.mirror.policies import POLICIES
from vplus_bridge.mirror.read_state import state_of
from vplus_bridge.ownership.assignment import tenant_by_slug
from vplus_bridge.ownership.by_provider import tenants
from vplus_bridge.protection.attached import FREE_FIRST, attach_policy, detach_policy, holders, in_vplus
from vplus_bridge.protection.drafts import LONGEST_NAME
from vplus_bridge.protection.models import Policy

OWNED, NOBODYS = "owned", "nobody"


class AttachForm(forms.Form):
    """Which policy becomes readable to whom, and what they call it."""

    policy = forms.CharField(
        label=gettext_lazy("Policy"),
        max_length=200,
        error_messages={
            "required": gettext_lazy("Choose one in the list; those without a tenant have a button for it.")
        },
    )
    tenant = forms.CharField(
        label=gettext_lazy("Tenant"),
        max_length=63,
        error_messages={"required": gettext_lazy("Choose the tenant that may read it.")},
    )
    name = forms.CharField(
        label=gettext_lazy("What they call it"),
        required=False,
        max_length=LONGEST_NAME,
        help_text=gettext_lazy("Empty: the name that it has in vPlus, which can tell who else uses it."),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def policies(request: ScopedRequest) -> HttpResponse:
    """List them, and on POST attach one to a tenant, or take it back."""
    provider = request.provider
    provider.require(Right.PROVIDER_READ)
    form = AttachForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        provider.require(Right.PROVIDER_CHANGE)
        if guid := request.POST.get("detach", ""):
            return _detach(request, provider, guid.replace("\0", ""))
        if form.is_valid():
            try:
                return _attach(request, provider, form.cleaned_data)
            except Invalid as problem:
                refused(request, problem)
                for texts in problem.errors.values():
                    form.add_error(None, " ".join(texts))
    context = _context(request, provider, form)
    return render(request, "web/console/policies.html", context, status=400 if form.errors else 200)


def _attach(request: ScopedRequest, provider: ProviderActor, given: dict[str, str]) -> HttpResponse:
    tenant = tenant_by_slug(given["tenant"])
    policy = attach_policy(tenant_id=tenant.pk, guid=given["policy"], name=given["name"], actor=provider, via="console")
    messages.success(request, _("%(tenant)s can read %(policy)s now.") % {"tenant": tenant.name, "policy": policy.name})
    return redirect("console:policies")


def _detach(request: ScopedRequest, provider: ProviderActor, guid: str) -> HttpResponse:
    held = holders(provider, [guid]).get(guid)
    if held is None or not held.attached:
        messages.warning(request, _("This policy is attached to nobody any more."))
        return redirect("console:policies")
    detach_policy(tenant_id=held.tenant_id, guid=guid, actor=provider, via="console")
    said = {"tenant": held.tenant.name, "policy": held.name}
    messages.success(request, _("%(policy)s is no longer %(tenant)s’s to read. In vPlus nothing changed.") % said)
    return redirect("console:policies")


def _context(request: ScopedRequest, provider: ProviderActor, form: AttachForm) -> dict[str, Any]:
    bar = FilterBar(
        request,
        search=("search", _("Name"), _("Search policies")),
        selects=[
            Select("owner", _("Tenant"), [("", _("Any")), (NOBODYS, _("None")), (OWNED, _("Some"))]),
        ],
        kept=("size",),
    )
    rows = in_vplus(provider, search=bar.value("search").replace("\0", ""))
    if owner := bar.value("owner"):
        rows = rows.filter(tenant__isnull=owner == NOBODYS)
    page = page_of(rows, FREE_FIRST, bar.cursor, bar.size)
    ours = holders(provider, [row.guid for row in page.rows])
    return {
        "filters": bar.context(),
        "read_at": state_of(POLICIES).succeeded_at,
        "rows": [_row(row, ours.get(row.guid)) for row in page.rows],
        "tenants": [
            {"value": tenant.slug, "word": tenant.name} for tenant in tenants(provider).order_by("name", "slug")
        ],
        "can_change": provider.may(Right.PROVIDER_CHANGE),
        "action_url": reverse("console:policies"),
        "form": form,
        **pager(bar, page, rows.count()),
    }


def _row(row: VplusPolicy, held: Policy | None) -> dict[str, Any]:
    return {
        "guid": row.guid,
        "name": row.name,
        "machines": None if row.vm_guids is None else len(row.vm_guids),
        "tenant": held.tenant.name if held else "",
        "called": held.name if held else "",
        "attached": held is not None and held.attached,
    }

"""Virtual machines that nobody owns, and giving them to a tenant."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from portal.scoped_request import ScopedRequest, refused
from portal.web.filters import FilterBar, pager
from portal.web.virtual_machines import age
from portal.web.wording.platform_words import platform_word
from tenants.refusals import Invalid
from tenants.rights import ProviderActor, Right
from vplus_bridge.keyset import Key, Keyset, page_of
from vplus_bridge.mirror.infrastructure import PROJECTS
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.mirror.read_state import INVENTORY, state_of
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.new_machines import suggestions
from vplus_bridge.ownership.assignment import would_show
from vplus_bridge.ownership.by_provider import assign_to, searched, tenants
from vplus_bridge.ownership.unowned import unowned
from vplus_bridge.protection.verdict import judge

BY_NAME = Keyset("name", (Key("name"), Key("guid")))
MOST_AT_ONCE = 1000


class AssignForm(forms.Form):
    """Which machines become whose."""

    tenant = forms.CharField(label=gettext_lazy("Tenant"), max_length=63)


@require_http_methods(["GET", "HEAD", "POST"])
def inbox(request: ScopedRequest) -> HttpResponse:
    """List them, and on POST assign the chosen ones with their history."""
    provider = request.provider
    provider.require(Right.PROVIDER_READ)
    form = AssignForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        provider.require(Right.PROVIDER_CHANGE)
        if form.is_valid():
            try:
                return _assign(request, provider, form.cleaned_data["tenant"], request.POST.getlist("vm"))
            except Invalid as problem:
                refused(request, problem)
                for texts in problem.errors.values():
                    form.add_error(None, " ".join(texts))
    return render(
        request, "web/console/inbox.html", _context(request, provider, form), status=400 if form.errors else 200
    )


def _assign(request: ScopedRequest, provider: ProviderActor, slug: str, guids: Sequence[str]) -> HttpResponse:
    if len(guids) > MOST_AT_ONCE:
        raise Invalid({"virtual_machines": [_("Choose at most %(n)d at once.") % {"n": MOST_AT_ONCE}]})
    assigned = assign_to(provider, slug=slug, vm_guids=guids)
    shows = would_show(guids)  # only now: what is no guid was refused
    judge(assigned.changed)
    words = ngettext(
        "%(n)d virtual machine is now %(tenant)s’s, with %(backups)s.",
        "%(n)d virtual machines are now %(tenant)s’s, with %(backups)s.",
        shows.virtual_machines,
    )
    backups = ngettext("%(n)d backup", "%(n)d backups", shows.backups) % {"n": shows.backups}
    said = {"n": shows.virtual_machines, "tenant": assigned.tenant.name, "backups": backups}
    messages.success(request, words % said)
    return redirect("console:inbox")


def _context(request: ScopedRequest, provider: ProviderActor, form: AssignForm) -> dict[str, Any]:
    now = timezone.now()
    bar = FilterBar(request, search=("search", _("Name, UUID, project"), _("Search virtual machines")), kept=("size",))
    rows = searched(unowned(), bar.value("search").replace("\0", ""))
    page = page_of(rows, BY_NAME, bar.cursor, bar.size)
    total, everything = rows.count(), unowned().count()
    suggested = suggestions(provider, [row.guid for row in page.rows])
    inventory, projects = state_of(INVENTORY), state_of(PROJECTS)
    heading = ngettext("%(n)d virtual machine has no owner", "%(n)d virtual machines have no owner", everything)
    return {
        "heading": heading % {"n": everything} if everything else _("Every virtual machine has an owner."),
        "age": age(inventory.succeeded_at, settings.VPLUS_INVENTORY_SECONDS, now),
        "notice": _("Projects cannot be read; nothing is assigned by project.") if projects.failing_since else "",
        "tabs": [],
        "filters": bar.context(),
        "rows": [_row(row, suggested.get(row.guid, ())) for row in page.rows],
        "tenants": [
            {"value": tenant.slug, "word": tenant.name} for tenant in tenants(provider).order_by("name", "slug")
        ],
        "can_assign": provider.may(Right.PROVIDER_CHANGE),
        "action_url": reverse("console:inbox"),
        "form": form,
        "consequence": _("They and their backups become visible to the tenant."),
        **pager(bar, page, total),
    }


def _row(machine: VirtualMachine, restores: Sequence[Operation]) -> dict[str, Any]:
    return {
        "guid": machine.guid,
        "name": machine.name,
        "uuid": machine.uuid,
        "project": machine.project_name,
        "cluster": machine.cluster_name,
        "platform_word": platform_word(machine.platform),
        "seen_at": machine.first_seen_at,
        "gone": machine.gone,
        "backup_count": machine.backup_count,  # type: ignore[attr-defined]  # annotated by unowned()
        "suggestion": "; ".join(_suggestion(row) for row in restores),
    }


def _suggestion(restore: Operation) -> str:
    """Return whose a machine may be, and by which restore: never decided, since the name alone does not prove it."""
    words = _("%(tenant)s: restored from %(name)s by %(who)s")
    return words % {
        "tenant": restore.tenant.name,
        "name": restore.virtual_machine_name,
        "who": restore.requested_by_name,
    }

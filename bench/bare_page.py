"""The page that the list of virtual machines is held against: the same session, frame and row partial, one indexed query."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path
from django.utils import timezone

from portal.web import shown
from portal.web.frame_parts import Frame, PersonMark, Place
from portal.web.seven_days import Strip
from tenants.rights import Actor, Person
from tenants.scope import in_tenant
from vplus_bridge.models import VirtualMachine
from vplus_bridge.protection import strip

ROWS = 100
STRIP = Strip([strip.NONE] * 7, "Last 7 days: none planned")
"""The cells of a machine's week, as all of this mirror's have them."""
FRAME = Frame(
    brand="Bare",
    person=PersonMark("Vera", "vera@alpha.example", "Europe/Warsaw", account_url="/account/", sign_out_url="/"),
    place=Place("Alpha", "/t/alpha/virtual-machines/", "Operator", current=True),
    menu=[],
)


def bare_list(request: HttpRequest) -> HttpResponse:
    """Show a hundred machines of the signed-in person's tenant, whose id is in the address; nothing else is asked."""
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    tenant_id = UUID(request.GET["tenant"])
    actor = Actor(
        person=Person(tenant_id, "Vera", "vera@alpha.example"), tenant_id=tenant_id, tenant_slug="alpha",
        tenant_name="Alpha", tenant_time_zone="Europe/Warsaw", vplus_tenant_id="", membership_id=tenant_id, role="operator",
    )  # fmt: skip
    with in_tenant(tenant_id):
        found = list(VirtualMachine.objects.order_by("attention_rank", "newest_point_at", "guid")[:ROWS])
        strips = dict.fromkeys((row.guid for row in found), STRIP)
        rows = shown.machine_rows(found, actor, {}, timezone.now(), strips)
        return render(request, "bare_list.html", {"rows": rows, "frame": FRAME})


urlpatterns = [path("bare/", bare_list), path("", include("portal.urls"))]
handler404, handler500 = "portal.problems.not_found", "portal.problems.server_error"

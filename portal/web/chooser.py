"""Where to go: / leads to the tenant used last, /tenants/ lists them all."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.web.frame_parts import Place
from tenants import entrance
from tenants.models import Person
from tenants.models.membership import Role
from tenants.models.person import ProviderRole

SEARCH_FROM = 8


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Lead to the tenant used last, to the only one, to the console, or to the chooser."""
    person = _person(request)
    places = entrance.places_of(person.pk)
    slugs = [place.slug for place in places]
    if person.last_tenant_slug in slugs:
        return redirect("tenant:overview", tenant_slug=person.last_tenant_slug)
    if len(slugs) == 1 and not person.provider_role:
        return redirect("tenant:overview", tenant_slug=slugs[0])
    if not slugs and person.provider_role:
        return redirect("console:inbox")
    return redirect("chooser")


@login_required
def chooser(request: HttpRequest) -> HttpResponse:
    """List the person's tenants, and the console for the provider's people."""
    person = _person(request)
    search = request.GET.get("search", "").strip()[:200]
    places = [
        Place(place.name, reverse("tenant:overview", kwargs={"tenant_slug": place.slug}), Role(place.role).label)
        for place in entrance.places_of(person.pk)
    ]
    if person.provider_role:
        role = ProviderRole(person.provider_role).label
        places.append(Place(_("Provider console"), reverse("console:inbox"), role, is_console=True))
    shown = [place for place in places if search.lower() in place.name.lower()]
    context = {"places": shown, "search": search, "many": len(places) > SEARCH_FROM, "theme": person.theme}
    return render(request, "web/chooser.html", context)


def _person(request: HttpRequest) -> Person:
    person = request.user
    assert isinstance(person, Person)  # noqa: S101  # login_required has seen to it; this tells the type checker
    return person

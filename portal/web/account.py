"""One's own account: name, zone, theme; what signs one in is allauth's."""

from zoneinfo import available_timezones

from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from portal.web.frame_parts import Place
from tenants import entrance
from tenants.models import Person
from tenants.models.membership import Role
from tenants.models.person import ProviderRole

THEMES = [("", gettext_lazy("As the system")), ("light", gettext_lazy("Light")), ("dark", gettext_lazy("Dark"))]


class ProfileForm(forms.Form):
    """What a person may change about themselves."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=200, required=False)
    time_zone = forms.CharField(
        label=gettext_lazy("Time zone"),
        max_length=64,
        required=False,
        help_text=gettext_lazy("Such as Europe/Warsaw. Empty: the tenant’s."),
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off", "spellcheck": "false"}),
    )
    theme = forms.ChoiceField(label=gettext_lazy("Theme"), choices=THEMES, required=False)

    def clean_time_zone(self) -> str:
        """Accept IANA zones only."""
        zone = str(self.cleaned_data["time_zone"])
        if zone and zone not in available_timezones():
            raise forms.ValidationError(_("There is no such time zone; use one such as Europe/Warsaw."))
        return zone


@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Show and change one's profile."""
    person = _person(request)
    initial = {"name": person.name, "time_zone": person.time_zone, "theme": person.theme}
    form = ProfileForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        entrance.change_profile(person, **form.cleaned_data)
        messages.success(request, _("Your profile is changed."))
        return redirect("account")
    places = [
        Place(place.name, reverse("tenant:overview", kwargs={"tenant_slug": place.slug}), Role(place.role).label)
        for place in entrance.places_of(person.pk)
    ]
    if person.provider_role:
        places.append(Place(_("Provider console"), reverse("console:inbox"), ProviderRole(person.provider_role).label))
    context = {
        "person_email": person.email,
        "form": form,
        "action_url": reverse("account"),
        "has_password": person.has_usable_password(),
        "second_factor_words": _second_factor(person),
        "session_count": entrance.open_sessions(person.pk, timezone.now()),
        "places": places,
        "zones": sorted(available_timezones()),
        "theme": person.theme,
    }
    return render(request, "web/account.html", context, status=400 if form.errors else 200)


@login_required
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Change the theme and go back to the page that asked."""
    person, chosen = _person(request), request.POST.get("theme", "")
    if chosen in ("light", "dark", ""):
        entrance.change_profile(person, name=person.name, time_zone=person.time_zone, theme=chosen)
    back = request.POST.get("next", "/")
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return redirect(back if safe else "/")


def _second_factor(person: Person) -> str:
    kinds = list(Authenticator.objects.filter(user=person).values_list("type", flat=True))
    words = []
    if Authenticator.Type.TOTP in kinds:
        words.append(_("An app"))
    if keys := kinds.count(Authenticator.Type.WEBAUTHN):
        words.append(ngettext("%(n)d passkey", "%(n)d passkeys", keys) % {"n": keys})
    return ", ".join(words)


def _person(request: HttpRequest) -> Person:
    person = request.user
    assert isinstance(person, Person)  # noqa: S101  # login_required has seen to it; this tells the type checker
    return person

"""What stands round every page: a context processor that builds the frame once, and only if a template uses it."""

from typing import Any

from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from portal.web.frame_parts import Frame, GlobalBar, MenuEntry, PersonMark, Place, Tone
from portal.web.wording import moments
from tenants import entrance
from tenants.models.membership import Role
from tenants.models.person import ProviderRole
from tenants.rights import Actor, ProviderActor, Right
from vplus_bridge.mirror.listing import status_counts
from vplus_bridge.mirror.read_state import CONTACT, state_of
from vplus_bridge.operations import attention
from vplus_bridge.operations.moves import ACTIVE
from vplus_bridge.operations.visible import open_run_heads, operations
from vplus_bridge.ownership import visible
from vplus_bridge.ownership.unowned import unowned_count

BRAND = "vPlus Portal"
PLACES_SHOWN = 12


def frame(request: HttpRequest) -> dict[str, Any]:
    """Return ``frame``, ``brand``, ``now`` and ``zone`` for the templates; ``frame`` is None where no tenant is in scope."""
    actor, provider = getattr(request, "actor", None), getattr(request, "provider", None)
    context: dict[str, Any] = {"brand": BRAND, "now": timezone.now(), "zone": timezone.get_current_timezone()}
    if connection.needs_rollback:
        return {**context, "frame": None}  # the database takes no more questions in this transaction
    if isinstance(actor, Actor):
        return {**context, "frame": SimpleLazyObject(lambda: _tenant_frame(request, actor))}
    if isinstance(provider, ProviderActor):
        return {**context, "frame": SimpleLazyObject(lambda: _console_frame(request, provider))}
    return {**context, "frame": None}


def counts_of(request: HttpRequest, actor: Actor) -> dict[str, int]:
    """Return how many virtual machines have which verdict; asked once a request, by the page or by its frame."""
    known: dict[str, int] | None = getattr(request, "status_counts", None)
    if known is None:
        known = status_counts(visible.virtual_machines(actor))
        request.status_counts = known  # type: ignore[attr-defined]  # kept for the other asker
    return known


def _tenant_frame(request: HttpRequest, actor: Actor) -> Frame:
    slug = {"tenant_slug": actor.tenant_slug}
    here = request.resolver_match.view_name if request.resolver_match else ""
    unprotected = counts_of(request, actor)["not_protected"]
    under_way = operations(actor).filter(state__in=ACTIVE).count() + open_run_heads(actor).count()
    home, machines = reverse("tenant:overview", kwargs=slug), reverse("tenant:vm_list", kwargs=slug)
    menu = [
        MenuEntry(_("Overview"), "layout-dashboard", home, current=here == "tenant:overview"),
        MenuEntry(
            _("Virtual machines"),
            "server-2",
            machines,
            current=here.startswith(("tenant:vm", "tenant:backup", "tenant:restore")),
            short_word=_("VMs"),
            counter=unprotected,
            counter_tone="bad",
            counter_words=_("%(n)d not protected") % {"n": unprotected},
        ),
        MenuEntry(
            _("Activity"),
            "activity",
            reverse("tenant:activity", kwargs=slug),
            current=here in {"tenant:activity", "tenant:tasks", "tenant:operation"},
            counter=under_way,
            counter_tone="run",
            counter_words=_("%(n)d under way") % {"n": under_way},
        ),
        MenuEntry(
            _("Policies"),
            "calendar-time",
            reverse("tenant:policy_list", kwargs=slug),
            current=here.startswith("tenant:policy"),
        ),
    ]
    places = [
        Place(place.name, reverse("tenant:overview", kwargs={"tenant_slug": place.slug}), Role(place.role).label,
              current=place.slug == actor.tenant_slug)
        for place in entrance.places_of(actor.person.id)
    ]  # fmt: skip
    if actor.provider_role:
        places.append(_console_place(actor.provider_role, current=False))
    return Frame(
        brand=BRAND,
        person=_person(actor),
        place=Place(actor.tenant_name, home, Role(actor.role).label, current=True),
        menu=menu,
        manage=_manage(actor, here),
        places=places,
        chooser_url=reverse("chooser") if len(places) > PLACES_SHOWN else "",
        live_url=reverse("tenant:live", kwargs=slug),
        search_url=machines,
        bars=[*_suspended(actor), *_no_contact(can_start=not actor.suspended)],
        theme=_theme(actor.person.theme),
        theme_url=reverse("theme"),
    )


def _manage(actor: Actor, here: str) -> list[MenuEntry]:
    slug = {"tenant_slug": actor.tenant_slug}
    own = MenuEntry(
        _("API tokens"),
        "key",
        reverse("tenant:token_list", kwargs=slug),
        current=here.startswith("tenant:token"),
    )
    return [own] if actor.may(Right.TOKENS) else []


def _console_frame(request: HttpRequest, provider: ProviderActor) -> Frame:
    count, waiting = unowned_count(), attention.waiting().count()
    here = request.resolver_match.view_name if request.resolver_match else ""
    tone: Tone = "attn" if count else ""
    places = [
        Place(place.name, reverse("tenant:overview", kwargs={"tenant_slug": place.slug}), Role(place.role).label)
        for place in entrance.places_of(provider.person.id)
    ]
    console = _console_place(provider.role, current=True)
    return Frame(
        brand=BRAND,
        person=_person(provider),
        place=console,
        menu=[
            MenuEntry(
                _("Virtual machines"),
                "inbox",
                reverse("console:inbox"),
                current=here == "console:inbox",
                short_word=_("VMs"),
                counter=count,
                counter_tone=tone,
                counter_words=_("%(n)d without an owner") % {"n": count},
            ),
            MenuEntry(_("Policies"), "calendar-time", reverse("console:policies"), current=here == "console:policies"),
            MenuEntry(
                _("Needs attention"),
                "user-exclamation",
                reverse("console:operations"),
                current=here in {"console:operations", "console:operation"},
                short_word=_("Attention"),
                counter=waiting,
                counter_tone="attn",
                counter_words=_("%(n)d need attention") % {"n": waiting},
            ),
        ],
        places=[*places, console] if places else [],
        bars=_no_contact(),
        theme=_theme(provider.person.theme),
        theme_url=reverse("theme"),
    )


def _console_place(role: str, *, current: bool) -> Place:
    return Place(
        _("Provider console"), reverse("console:inbox"), ProviderRole(role).label, current=current, is_console=True
    )


def _person(actor: Actor | ProviderActor) -> PersonMark:
    zone = actor.time_zone if isinstance(actor, Actor) else actor.person.time_zone or "UTC"
    return PersonMark(
        actor.person.name,
        actor.person.email,
        zone,
        account_url=reverse("account"),
        sign_out_url=reverse("account_logout"),
    )


def _theme(theme: str) -> Any:
    return theme if theme in ("light", "dark") else ""


def _suspended(actor: Actor) -> list[GlobalBar]:
    if not actor.suspended:
        return []
    lead = _("%(tenant)s is suspended.") % {"tenant": actor.tenant_name}
    return [GlobalBar(lead, _("You can read, but start nothing new. Ask your provider."), tone="bad", icon="ban")]


def _no_contact(*, can_start: bool = True) -> list[GlobalBar]:
    """Return the bar that says since when vPlus is out of reach; no hosts, no accounts."""
    contact, now = state_of(CONTACT), timezone.now()
    if contact.failing_since is None:
        return []
    since = contact.failing_since
    seconds = (now - since).total_seconds()
    lead = _("No contact with the backup system since %(time)s.") % {
        "time": moments.clock_words(since, now, timezone.get_current_timezone())
    }
    text = _(
        "You see what we last knew. What you start now is kept, and sent when contact is back if its window is open."
    )
    return [
        GlobalBar(
            lead,
            text if can_start else _("You see what we last knew."),
            side=moments.duration_words(seconds) if seconds >= moments.MINUTE else "",
        )
    ]

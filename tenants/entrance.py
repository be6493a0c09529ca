"""What is known before a tenant is: who signed in, whose token this is, where they belong. The one reader of Person."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.contrib.sessions.models import Session
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from tenants import tokens
from tenants.models.grant import Grant
from tenants.models.membership import Membership, Role
from tenants.models.person import Person as PersonRow
from tenants.models.tenant import Tenant
from tenants.models.token import Token as TokenRow
from tenants.refusals import NotSignedIn, NotVisible, Refusal
from tenants.rights import Actor, Person, ProviderActor, Token, sees_all_of_tenant
from tenants.scope import every_tenant, in_tenant

SEEN_AFTER_SECONDS = 300
USED_AFTER_SECONDS = 60


@dataclass(frozen=True)
class Watcher:
    """Somebody who watches for longer than a request: as which member, and by which session of the browser."""

    membership_id: UUID
    session_key: str
    session_hash: str


@dataclass(frozen=True)
class Sight:
    """What a watcher may see at this moment: all of the tenant's virtual machines, or those granted."""

    sees_all: bool
    grants: frozenset[str]

    def shows(self, virtual_machine_guid: str) -> bool:
        """Tell whether something of this virtual machine may be seen; "" is of no machine, and for those who see all."""
        return self.sees_all or virtual_machine_guid in self.grants


@dataclass(frozen=True)
class Place:
    """A tenant that a person belongs to, for the switcher and the chooser."""

    slug: str
    name: str
    role: str


def member_of(person: PersonRow, slug: str, *, address: str | None = None) -> Actor | None:
    """Return the person as a member of the tenant with this slug, or None: no such tenant, or not theirs."""
    with every_tenant("entrance: membership of the person who asks"):
        membership = Membership.objects.select_related("tenant").filter(person_id=person.pk, tenant__slug=slug).first()
    return _let_in(person, membership, None, address) if membership else None


def places_of(person_id: UUID) -> Sequence[Place]:
    """Return the tenants of a person, by name."""
    with every_tenant("entrance: tenants of the person who asks"):
        rows = Membership.objects.filter(person_id=person_id).order_by("tenant__name", "tenant__slug")
        return [Place(*row) for row in rows.values_list("tenant__slug", "tenant__name", "role")]


def sights_of(watchers: Collection[Watcher]) -> dict[Watcher, Sight]:
    """Return what each of these still sees; who is left out may not watch any more. Few statements, however many watch.

    A watcher is out without a membership, with an account that is closed, signed out, or with another password since.
    """
    now = timezone.now()
    keys = {watcher.session_key for watcher in watchers}
    live = set(Session.objects.filter(session_key__in=keys, expire_date__gt=now).values_list("session_key", flat=True))
    granted = Q(grants__isnull=False, grants__ended_at=None)
    still_granted = granted & (Q(grants__until=None) | Q(grants__until__gt=now))
    with every_tenant("entrance: rights of those who watch"):
        rows = (
            Membership.objects.select_related("person", "tenant")
            .filter(pk__in={watcher.membership_id for watcher in watchers}, person__is_active=True)
            .annotate(granted=ArrayAgg("grants__virtual_machine_guid", filter=still_granted, default=[]))
        )
        members = {row.pk: row for row in rows}
    sights = {}
    for watcher in watchers:
        member = members.get(watcher.membership_id)
        if member is None or watcher.session_key not in live:
            continue
        if not constant_time_compare(member.person.get_session_auth_hash(), watcher.session_hash):
            continue
        sees_all = sees_all_of_tenant(member.tenant.visibility, member.role)
        sights[watcher] = Sight(sees_all, frozenset(member.granted))
    return sights


def admin_addresses(tenant_id: UUID) -> list[str]:
    """Return the e-mail addresses of a tenant's admins whose accounts are open, in the open wide scope."""
    rows = Membership.objects.filter(tenant=tenant_id, role=Role.ADMIN, person__is_active=True)
    return list(rows.order_by("email").values_list("email", flat=True))


def provider_of(person: PersonRow, *, address: str | None = None) -> ProviderActor | None:
    """Return the person as one of the provider's, or None."""
    if not person.provider_role:
        return None
    return ProviderActor(_as_person(person), person.provider_role, None, address)


def bearer_of(text: str, *, address: str | None = None) -> Actor | ProviderActor | None:
    """Return who a token speaks for, or None where it is unknown, expired, revoked, or its owner is gone."""
    now = timezone.now()
    with every_tenant("entrance: the token that was shown"):
        row = TokenRow.objects.select_related("person").filter(digest=tokens.digest_of(text), revoked_at=None).first()
        if row is None or (row.expires_at and row.expires_at <= now) or not row.person.is_active:
            return None
        _used(row, now)
        token = _as_token(row)
        if row.tenant_id is None:
            person = row.person
            return (
                ProviderActor(_as_person(person), person.provider_role, token, address)
                if person.provider_role
                else None
            )
        membership = (
            Membership.objects.select_related("tenant").filter(person_id=row.person_id, tenant_id=row.tenant_id).first()
        )
    return _let_in(row.person, membership, token, address) if membership else None


def still_member(actor: Actor) -> Actor:
    """Return a member as they stand at this moment, in the tenant's open scope: role, grants and token may be others by now.

    Raises what they would be told if they came only now: NotVisible, or NotSignedIn where they come with a token.
    """
    rows = Membership.objects.select_related("tenant", "person").filter(pk=actor.membership_id, person__is_active=True)
    membership = rows.first()
    if membership is None:
        raise _gone(actor)
    return _actor(membership.person, membership, _still_valid(actor.token), actor.address)


def still_provider(provider: ProviderActor) -> ProviderActor:
    """Return one of the provider's people as they stand at this moment, in the open wide scope. Raises as `still_member`."""
    person = PersonRow.objects.filter(pk=provider.person.id, is_active=True).exclude(provider_role="").first()
    if person is None:
        raise _gone(provider)
    token = _still_valid(provider.token)
    return ProviderActor(_as_person(person), person.provider_role, token, provider.address)


def _gone(who: Actor | ProviderActor) -> Refusal:
    return NotSignedIn() if who.token else NotVisible()


def _still_valid(token: Token | None) -> Token | None:
    """Return the token as it is now, None where none was shown. Raises NotSignedIn where it has ended."""
    if token is None:
        return None
    row = tokens.working(TokenRow.objects.filter(pk=token.id), timezone.now()).first()
    if row is None:
        raise NotSignedIn
    return _as_token(row)


def seen(actor: Actor, last_seen_at: datetime | None, now: datetime) -> None:
    """Note that a member was here, at most once in five minutes."""
    if _stale(last_seen_at, now):
        Membership.objects.filter(pk=actor.membership_id).update(last_seen_at=now)


def remember_place(person: PersonRow, slug: str) -> None:
    """Note the tenant that / leads to; writes only where it changed."""
    if person.last_tenant_slug != slug:
        PersonRow.objects.filter(pk=person.pk).update(last_tenant_slug=slug)


def change_profile(person: PersonRow, *, name: str, time_zone: str, theme: str) -> None:
    """Change what a person says about themselves; their name follows into each tenant."""
    PersonRow.objects.filter(pk=person.pk).update(name=name, time_zone=time_zone, theme=theme)
    if name != person.name:
        with every_tenant("entrance: a person's own name"):
            Membership.objects.filter(person_id=person.pk).update(name=name)


def open_sessions(person_id: UUID, now: datetime) -> int:
    """Return in how many browsers a person is signed in; a browser that was closed counts until its session ends by itself."""
    from allauth.usersessions.models import UserSession  # allauth's models need the apps to be ready

    live = Session.objects.filter(expire_date__gt=now).values("session_key")
    return int(UserSession.objects.filter(user=person_id, session_key__in=live).count())


def prune_sessions(now: datetime) -> None:
    """Remove sessions that are over, and what was kept beside them: from which address, with which browser."""
    from allauth.usersessions.models import UserSession  # allauth's models need the apps to be ready

    Session.objects.filter(expire_date__lte=now).delete()
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()


def invitation_path(person: PersonRow) -> str:
    """Return the path and query of a link with which a person sets a first password; it ends by itself (3 days)."""
    from allauth.account.forms import default_token_generator  # allauth's forms need the apps to be ready
    from allauth.account.utils import user_pk_to_url_str

    key = f"{user_pk_to_url_str(person)}-{default_token_generator.make_token(person)}"
    return f"/accounts/password/reset/key/{key}/"


def _let_in(person: PersonRow, membership: Membership, token: Token | None, address: str | None) -> Actor:
    with in_tenant(membership.tenant_id):
        actor = _actor(person, membership, token, address)
        seen(actor, membership.last_seen_at, timezone.now())
    return actor


def _actor(person: PersonRow, membership: Membership, token: Token | None, address: str | None) -> Actor:
    tenant: Tenant = membership.tenant
    now = timezone.now()
    with in_tenant(tenant.pk):
        open_grants = Grant.objects.filter(Q(until=None) | Q(until__gt=now), membership_id=membership.pk, ended_at=None)
        grants = dict(open_grants.values_list("virtual_machine_guid", "role"))
        return Actor(
            person=_as_person(person, membership),
            tenant_id=tenant.pk,
            tenant_slug=tenant.slug,
            tenant_name=tenant.name,
            tenant_time_zone=tenant.time_zone,
            vplus_tenant_id=tenant.vplus_tenant_id,
            membership_id=membership.pk,
            role=membership.role,
            visibility=tenant.visibility,
            suspended=tenant.suspended_at is not None,
            grants=grants,
            token=token,
            address=address,
            provider_role=person.provider_role,
        )


def _as_token(row: TokenRow) -> Token:
    return Token(row.pk, row.name, frozenset(row.scopes), row.expires_at)


def _as_person(person: PersonRow, membership: Membership | None = None) -> Person:
    return Person(
        id=person.pk,
        name=(membership.name if membership else "") or person.name,
        email=membership.email if membership else person.email,
        time_zone=person.time_zone,
        theme=person.theme,
    )


def _used(row: TokenRow, now: datetime) -> None:
    """Note that a token was used, at most once a minute; where another request is just noting it, nobody waits.

    The lock leaves the key free, so that rows that point at the token can be written meanwhile.
    """
    if _stale(row.last_used_at, now, USED_AFTER_SECONDS):
        free = TokenRow.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=row.pk)
        if free.values_list("pk").first():
            TokenRow.objects.filter(pk=row.pk).update(last_used_at=now)


def _stale(moment: datetime | None, now: datetime, after_seconds: float = SEEN_AFTER_SECONDS) -> bool:
    return moment is None or (now - moment).total_seconds() > after_seconds

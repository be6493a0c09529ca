"""Making tenants, people and their places; in the open wide scope, by the provider's commands and console."""

from uuid import UUID
from zoneinfo import available_timezones

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from tenants import audit
from tenants.models.membership import Membership
from tenants.models.person import Person
from tenants.models.tenant import Tenant, valid_slug
from tenants.refusals import Invalid
from tenants.turns import take_turn


def make_tenant(*, slug: str, name: str, vplus_tenant_id: str = "", time_zone: str = "UTC") -> Tenant:
    """Make a tenant; raise Invalid naming what is wrong or taken."""
    errors: dict[str, list[str]] = {}
    try:
        valid_slug(slug)
    except ValidationError as problem:
        errors["slug"] = problem.messages
    if not name.strip():
        errors["name"] = ["Give a name."]
    if (time_zone or "UTC") not in available_timezones():
        errors["time_zone"] = [f"{time_zone} is no IANA time zone; use one such as Europe/Warsaw."]
    if not errors.get("slug") and Tenant.objects.filter(slug=slug).exists():
        errors["slug"] = [f"{slug} is taken by another tenant."]
    if vplus_tenant_id and Tenant.objects.filter(vplus_tenant_id=vplus_tenant_id).exists():
        errors["vplus_tenant_id"] = [f"{vplus_tenant_id} belongs to another tenant."]
    if errors:
        raise Invalid(errors)
    tenant = Tenant.objects.create(
        slug=slug, name=name.strip(), vplus_tenant_id=vplus_tenant_id, time_zone=time_zone or "UTC"
    )
    audit.record(
        None,
        "tenant.create",
        tenant_id=tenant.pk,
        object_kind="tenant",
        object_id=str(tenant.pk),
        object_name=tenant.name,
    )
    return tenant


def make_person(
    *,
    email: str,
    name: str = "",
    password: str | None = None,
    tenant_slug: str | None = None,
    role: str | None = None,
    provider_role: str | None = None,
) -> Person:
    """Make a person, or find the one with this e-mail address, and give them a place in a tenant or at the provider.

    A password is set only for a new person: a command must not take over an account. Raises Invalid.
    """
    try:
        validate_email(email)
    except ValidationError:
        raise Invalid({"email": [f"{email} is no e-mail address."]}) from None
    tenant = None
    if tenant_slug is not None:
        tenant = Tenant.objects.filter(slug=tenant_slug).first()
        if tenant is None:
            raise Invalid({"tenant": [f"No tenant has the short name {tenant_slug}."]})
    person = Person.objects.filter(email=email.lower()).first()
    if person is None:
        person = Person(email=email.lower(), name=name)
        if password is not None:
            _check_password(password, person)
        person.set_password(password)
        person.save()
    elif password is not None:
        raise Invalid({"password": [f"{person.email} has an account already; only they can change its password."]})
    if provider_role is not None:
        person.provider_role = provider_role
        person.save(update_fields=["provider_role"])
    if tenant is not None and role is not None:
        _give_place(person, tenant, role)
    elif provider_role is not None:
        audit.record(
            None, "person.provider_role", object_kind="person", object_id=str(person.pk), object_name=person.email
        )
    return person


def member_for_token(email: str, slug: str) -> tuple[UUID, UUID, str]:
    """Return tenant, person and the owner's name for a token; raise Invalid where they are no member."""
    membership = Membership.objects.filter(email=email.lower(), tenant__slug=slug).first()
    if membership is None:
        raise Invalid({"email": [f"{email} is no member of a tenant with the short name {slug}."]})
    return membership.tenant_id, membership.person_id, membership.name or membership.email


def provider_person_for_token(email: str) -> tuple[UUID, str]:
    """Return person and owner's name for a provider's token; raise Invalid where they have no role at the provider."""
    person = Person.objects.filter(email=email.lower()).exclude(provider_role="").first()
    if person is None:
        raise Invalid({"email": [f"{email} has no role at the provider."]})
    return person.pk, person.name or person.email


def _check_password(password: str, person: Person) -> None:
    try:
        validate_password(password, person)
    except ValidationError as problem:
        raise Invalid({"password": problem.messages}) from None


def _give_place(person: Person, tenant: Tenant, role: str) -> None:
    membership, made = Membership.objects.get_or_create(
        tenant=tenant, person=person, defaults={"role": role, "name": person.name, "email": person.email}
    )
    before = membership.role
    if not made and before != role:
        membership.role = role
        membership.save(update_fields=["role"])
        take_turn(tenant.pk)
    audit.record(
        None,
        "member.add" if made else "member.change",
        tenant_id=tenant.pk,
        object_kind="member",
        object_id=str(membership.pk),
        object_name=person.name or person.email,
        detail={"role": role} if made else {"before": before, "after": role},
    )

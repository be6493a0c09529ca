"""What a role allows: one table, asked by pages and API alike, and the actor who asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tenants.models.membership import Role
from tenants.models.person import ProviderRole
from tenants.models.tenant import Visibility
from tenants.refusals import NotAllowed


class Right(StrEnum):
    """What one can be allowed to do; also the names of a token's scopes."""

    READ = "read"
    BACK_UP = "backup"
    RESTORE = "restore"
    CANCEL = "cancel"
    POLICIES = "policies"
    MEMBERS = "members"
    GRANTS = "grants"
    TOKENS = "tokens"
    ALL_TOKENS = "all_tokens"
    AUDIT = "audit"
    SETTINGS = "settings"
    PROVIDER_READ = "provider_read"
    PROVIDER_CHANGE = "provider_change"


_VIEWER = frozenset({Right.READ, Right.TOKENS})
_OPERATOR = _VIEWER | {Right.BACK_UP, Right.RESTORE, Right.CANCEL}
_ADMIN = _OPERATOR | {
    Right.POLICIES,
    Right.MEMBERS,
    Right.GRANTS,
    Right.ALL_TOKENS,
    Right.AUDIT,
    Right.SETTINGS,
}
TENANT_RIGHTS: Mapping[str, frozenset[Right]] = {Role.VIEWER: _VIEWER, Role.OPERATOR: _OPERATOR, Role.ADMIN: _ADMIN}
PROVIDER_RIGHTS: Mapping[str, frozenset[Right]] = {
    ProviderRole.AUDITOR: frozenset({Right.PROVIDER_READ, Right.TOKENS}),
    ProviderRole.OPERATOR: frozenset({Right.PROVIDER_READ, Right.PROVIDER_CHANGE, Right.TOKENS}),
}

# How a right reads after "can", and who has it, for the sentence of a 403.
DEEDS: Mapping[Right, str] = {
    Right.READ: "read this",
    Right.BACK_UP: "start backups",
    Right.RESTORE: "restore virtual machines",
    Right.CANCEL: "cancel operations",
    Right.POLICIES: "change policies",
    Right.MEMBERS: "manage members",
    Right.GRANTS: "manage access grants",
    Right.TOKENS: "make tokens",
    Right.ALL_TOKENS: "see everybody's tokens",
    Right.AUDIT: "read the audit",
    Right.SETTINGS: "change settings",
    Right.PROVIDER_READ: "see the provider's console",
    Right.PROVIDER_CHANGE: "change this",
}


def sees_all_of_tenant(visibility: str, role: str) -> bool:
    """Tell whether a role sees every virtual machine of its tenant; admins, who grant, see all in any case."""
    return visibility == Visibility.ALL or role == Role.ADMIN


def roles_with(right: Right) -> list[str]:
    """Return the names of the roles that have a right, in the plural, weakest first."""
    tenant = [Role(role).label + "s" for role, rights in TENANT_RIGHTS.items() if right in rights]
    provider = [
        f"provider {ProviderRole(r).label.lower()}s" for r, rights in PROVIDER_RIGHTS.items() if right in rights
    ]
    return tenant or provider


@dataclass(frozen=True)
class Person:
    """Who asks, as the rest of the code knows them: no row of the people's table."""

    id: UUID
    name: str
    email: str
    time_zone: str = ""
    theme: str = ""


@dataclass(frozen=True)
class Token:
    """The token that was shown, where one was; ``scopes`` empty means all that the person may."""

    id: UUID
    name: str
    scopes: frozenset[str]
    expires_at: datetime | None = None


@dataclass(frozen=True)
class ProviderActor:
    """One of the provider's people."""

    person: Person
    role: str
    token: Token | None = None
    address: str | None = None

    def may(self, right: Right) -> bool:
        """Tell whether the role, narrowed by the token, has the right."""
        return right in PROVIDER_RIGHTS[self.role] and _scoped(self.token, right)

    def require(self, right: Right) -> None:
        """Raise NotAllowed with the sentence for people."""
        if not self.may(right):
            raise _refusal(right, ProviderRole(self.role).label, self.token)


@dataclass(frozen=True)
class Actor:
    """A member of a tenant, with the grants that hold at this moment: guid of a virtual machine -> role."""

    person: Person
    tenant_id: UUID
    tenant_slug: str
    tenant_name: str
    tenant_time_zone: str
    vplus_tenant_id: str
    membership_id: UUID
    role: str
    visibility: str = Visibility.ALL
    suspended: bool = False
    grants: Mapping[str, str] = field(default_factory=dict)
    token: Token | None = None
    address: str | None = None
    provider_role: str = ""

    @property
    def sees_all(self) -> bool:
        """Tell whether every virtual machine of the tenant is visible."""
        return sees_all_of_tenant(self.visibility, self.role)

    @property
    def time_zone(self) -> str:
        """The IANA zone that times are shown in: the person's own, else the tenant's."""
        return self.person.time_zone or self.tenant_time_zone

    def may(self, right: Right, virtual_machine_guid: str | None = None) -> bool:
        """Tell whether the right is had, by role or, for one virtual machine, by a grant; a token narrows both."""
        if not _scoped(self.token, right):
            return False
        if right in TENANT_RIGHTS[self.role] and (virtual_machine_guid is None or self.sees(virtual_machine_guid)):
            return True
        granted = self.grants.get(virtual_machine_guid or "")
        return granted is not None and right in TENANT_RIGHTS[granted]

    def sees(self, virtual_machine_guid: str) -> bool:
        """Tell whether a virtual machine of the tenant is in the visible set."""
        return self.sees_all or virtual_machine_guid in self.grants

    def may_somewhere(self, right: Right) -> bool:
        """Tell whether the right is had on at least one virtual machine."""
        return self.may(right) or any(self.may(right, guid) for guid in self.grants)

    def require(self, right: Right, virtual_machine_guid: str | None = None) -> None:
        """Raise NotAllowed with the sentence for people."""
        if not self.may(right, virtual_machine_guid):
            raise _refusal(right, Role(self.role).label, self.token)


def _scoped(token: Token | None, right: Right) -> bool:
    return token is None or not token.scopes or right in token.scopes


def _refusal(right: Right, role: str, token: Token | None) -> NotAllowed:
    if token is not None and token.scopes and right not in token.scopes:
        return NotAllowed("scope_missing", f"This token cannot {DEEDS[right]}: it lacks the scope {right}.")
    who = roles_with(right)
    people = who[0] if len(who) == 1 else f"{', '.join(who[:-1])} and {who[-1].lower()}"
    return NotAllowed("role_too_low", f"Your role here is {role.lower()}. {people} can {DEEDS[right]}.")

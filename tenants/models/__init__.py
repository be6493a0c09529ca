"""Tables of who may."""

from tenants.models.audit import AuditEvent
from tenants.models.grant import Grant
from tenants.models.membership import Membership
from tenants.models.person import Person
from tenants.models.tenant import Tenant
from tenants.models.token import Token

__all__ = ["AuditEvent", "Grant", "Membership", "Person", "Tenant", "Token"]

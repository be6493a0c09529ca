"""Tables of who may."""

from tenants.models.audit import AuditEvent
from tenants.models.grant import Grant
from tenants.models.kept_answer import KeptAnswer
from tenants.models.membership import Membership
from tenants.models.person import Person
from tenants.models.tenant import Tenant
from tenants.models.token import Token

__all__ = ["AuditEvent", "Grant", "KeptAnswer", "Membership", "Person", "Tenant", "Token"]

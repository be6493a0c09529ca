"""What a request carries once the scope that its path asks for is open (`request_scope`)."""

from django.http import HttpRequest

from tenants.refusals import Refusal
from tenants.rights import Actor, ProviderActor


class ScopedRequest(HttpRequest):
    """What a request carries inside a scope; for annotations."""

    actor: Actor
    provider: ProviderActor
    reference: str
    failed: bool
    """Set by a view that answers all the same: nothing half done stays behind."""
    may_be_saved: bool
    """Whether what was asked may be in the database should that go away now: from the moment of the commit on."""
    refusal: Refusal | None

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
    """Set by who answers all the same: nothing half done stays behind."""
    may_be_saved: bool
    """Whether what was asked may be in the database should that go away now: from the moment of the commit on."""
    refusal: Refusal | None
    """A no that is to be audited once the request's transaction is gone."""


def refused(request: ScopedRequest, refusal: Refusal) -> None:
    """Note a refusal that a view shows itself, beside what was typed: nothing half done stays behind, but a trace of the no."""
    request.failed = True
    request.refusal = refusal

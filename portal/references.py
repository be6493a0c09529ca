"""The reference id of a request: the same on the page, in problem documents, in the log and in the audit."""

import secrets
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from structlog.contextvars import bind_contextvars, clear_contextvars

# No 0, 1, I, L, O: people read these aloud.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


def new_reference() -> str:
    """Return a reference such as 7F3K-29QD: 39 random bits, enough to find one event in a log."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


class ReferenceMiddleware:
    """Gives each request its reference and binds it to the log; first in the list, so that nothing goes without."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the reference in the header X-Reference."""
        clear_contextvars()
        reference = new_reference()
        request.reference = reference  # type: ignore[attr-defined]  # ours, beside Django's own
        bind_contextvars(reference=reference)
        response = self.get_response(request)
        response["X-Reference"] = reference
        return response

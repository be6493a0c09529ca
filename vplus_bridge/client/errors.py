"""What can go wrong when vPlus is read, sorted by what the caller does next.

A failed read raises one of these; a write never does, it answers with an `Outcome`.
"""

from __future__ import annotations


class VplusError(Exception):
    """A read from vPlus failed.

    `user_message` is our own sentence and is safe to show to the provider; `str()` gives the same
    text, so a log line holds no host, token, cookie or body. `status` is the HTTP status where one
    was received. `html` says that the answer was a web page, so it may come from something in front
    of vPlus. `retry_after_seconds` is what the server asked for, `cause` the class name of what lies
    underneath (for logs).
    """

    def __init__(
        self,
        user_message: str,
        status: int | None = None,
        *,
        html: bool = False,
        retry_after_seconds: float | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(user_message)
        self.user_message = user_message
        self.status = status
        self.html = html
        self.retry_after_seconds = retry_after_seconds
        self.cause = cause


class AuthFailed(VplusError):
    """vPlus does not accept the account: a person must look at name and password."""


class Forbidden(VplusError):
    """The account lacks a privilege for this call (403): a named gap, not an outage."""


class NotFound(VplusError):
    """vPlus does not know this object or path (404)."""


class Conflict(VplusError):
    """The object is in use or exists already (409)."""


class Invalid(VplusError):
    """vPlus refused the request as wrong (another 4xx): repeating it does not help."""


class Unavailable(VplusError):
    """vPlus could not be reached, was too slow, or failed (5xx, 408, 429): try again later."""


class TlsFailed(VplusError):
    """The server is not the one we were told to trust, or the secure connection is broken."""


class BadAnswer(VplusError):
    """An answer came that we cannot read: a web page, a redirect, broken or too much data."""

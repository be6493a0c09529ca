"""A refusal: the portal says no, in words that are safe to show, with what would work. Faces turn it into their own form."""

from collections.abc import Mapping, Sequence

Errors = Mapping[str, Sequence[str]]


class Refusal(Exception):
    """Base of every no. ``str()`` is the sentence for people; it never holds a secret, a host or another tenant's data."""

    status = 400
    title = "This cannot be done"
    retry_after: int | None = None
    """In how many seconds asking again makes sense."""

    def __init__(self, code: str, message: str, *, errors: Errors | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.errors: dict[str, list[str]] = {field: list(texts) for field, texts in (errors or {}).items()}

    def in_one_line(self) -> str:
        """Return the message with every field's text, for a command line or a log."""
        fields = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in self.errors.items())
        return fields or self.message


class NotVisible(Refusal):
    """It does not exist, or belongs to someone else; nobody learns which (404)."""

    status = 404
    title = "Not found"

    def __init__(
        self,
        message: str = "There is nothing here that you can see. It may be gone, or belong to someone else.",
        *,
        errors: Errors | None = None,
    ) -> None:
        super().__init__("not_found", message, errors=errors)


class NotSignedIn(Refusal):
    """Nobody is known behind the request, or not any more (401)."""

    status = 401
    title = "Not signed in"

    def __init__(self) -> None:
        super().__init__("not_authenticated", "Send a token that is valid: Authorization: Bearer <token>.")


class NotAllowed(Refusal):
    """Seen, but the role does not allow it (403)."""

    status = 403
    title = "Not allowed"


class WrongState(Refusal):
    """It could be done, but not as things stand (409)."""

    status = 409
    title = "Not now"


class Invalid(Refusal):
    """A field is wrong; ``errors`` names each with what is wrong and what works (400)."""

    status = 400
    title = "Please check what was sent"

    def __init__(self, errors: Errors, message: str = "Please check the fields that are named.") -> None:
        super().__init__("invalid", message, errors=errors)

"""API tokens: made once, shown once, kept as a digest."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from tenants.models.token import Token
from tenants.refusals import Invalid
from tenants.rights import Right

PREFIX = "vpp_"


def digest_of(token: str) -> str:
    """Return what is kept of a token; 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def make_token(
    *,
    tenant_id: UUID | None,
    person_id: UUID,
    owner_name: str,
    name: str,
    scopes: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """Make a token in the open scope and return its row and its text, which exists nowhere else; raise Invalid on a wrong scope."""
    if unknown := sorted(set(scopes) - set(Right)):
        raise Invalid({"scopes": [f"{', '.join(unknown)}: no such scope. Use some of {', '.join(Right)}."]})
    text = PREFIX + secrets.token_urlsafe(32)
    row = Token.objects.create(
        tenant_id=tenant_id,
        person_id=person_id,
        owner_name=owner_name,
        name=name,
        digest=digest_of(text),
        tail=text[-4:],
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    return row, text

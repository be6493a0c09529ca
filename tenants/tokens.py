"""API tokens: made once, shown once, kept as a digest. A token never does more than its person, nor makes a wider one."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from tenants import audit
from tenants.models.token import Token
from tenants.refusals import Invalid, NotVisible, WrongState
from tenants.rights import Actor, Right
from tenants.turns import take_turn

PREFIX = "vpp_"
LONGEST_NAME = 100
USUAL_LIFE = timedelta(days=90)
LONGEST_LIFE = timedelta(days=365)
MOST_TOKENS = 50  # that still work, of one person in one tenant


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


def visible_tokens(actor: Actor) -> QuerySet[Token]:
    """Return a person's own tokens, or for those who may see them all of the tenant's; also what has ended. Raises NotAllowed."""
    actor.require(Right.TOKENS)
    rows = Token.objects.all()
    return rows if actor.may(Right.ALL_TOKENS) else rows.filter(person_id=actor.person.id)


def working(rows: QuerySet[Token], now: datetime) -> QuerySet[Token]:
    """Return those that are neither revoked nor expired."""
    return rows.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


def offered_scopes(actor: Actor) -> list[Right]:
    """Return the scopes that a new token of this person can have: what they may, here or on a machine granted to them."""
    return [right for right in Right if actor.may_somewhere(right)]


def longest_life(actor: Actor, now: datetime) -> datetime:
    """Return the last moment at which a new token can end: a token makes none that outlives it."""
    own_end = actor.token.expires_at if actor.token else None
    return min(now + LONGEST_LIFE, own_end) if own_end else now + LONGEST_LIFE


def issue(
    actor: Actor, *, name: str, scopes: Sequence[str] = (), expires_at: datetime | None = None, now: datetime
) -> tuple[Token, str]:
    """Make a token for the person who asks, with an audit event; return its row and its text, which exists nowhere else.

    No scope means all that the person may; no end means the usual one. Raises NotAllowed, WrongState where there are too
    many already, or Invalid naming each field that is wrong.
    """
    actor.require(Right.TOKENS)
    latest = longest_life(actor, now)
    ends = expires_at or min(now + USUAL_LIFE, latest)
    errors = {
        "name": _wrong_name(name),
        "scopes": _wrong_scopes(actor, scopes),
        "expires_at": _wrong_end(ends, now, latest),
    }
    if wrong := {field: [text] for field, text in errors.items() if text}:
        raise Invalid(wrong)
    if working(Token.objects.filter(person_id=actor.person.id), now).count() >= MOST_TOKENS:
        raise WrongState("too_many_tokens", f"You have {MOST_TOKENS} tokens that work. Revoke one that is not used.")
    row, text = make_token(
        tenant_id=actor.tenant_id,
        person_id=actor.person.id,
        owner_name=actor.person.name or actor.person.email,
        name=name.strip(),
        scopes=scopes,
        expires_at=ends,
    )
    audit.record(
        actor,
        "token.create",
        object_kind="token",
        object_id=str(row.pk),
        object_name=row.name,
        detail={"scopes": row.scopes, "expires_at": ends.isoformat(), "tail": row.tail},
    )
    return row, text


def token(actor: Actor, token_id: UUID) -> Token:
    """Return one token that the person sees. Raises NotAllowed or NotVisible."""
    row = visible_tokens(actor).filter(pk=token_id).first()
    if row is None:
        raise NotVisible
    return row


def revoke(actor: Actor, token_id: UUID, *, now: datetime) -> Token:
    """End a token at once, with an audit event; one that has been revoked stays as it was. Raises NotAllowed or NotVisible."""
    row = token(actor, token_id)
    if working(Token.objects.filter(pk=row.pk), now).update(revoked_at=now):
        row.revoked_at = now
        take_turn(actor.tenant_id)
        audit.record(
            actor,
            "token.revoke",
            object_kind="token",
            object_id=str(row.pk),
            object_name=row.name,
            detail={"owner": row.owner_name, "tail": row.tail},
        )
    return row


def _wrong_name(name: str) -> str:
    kept = name.strip()
    if not kept:
        return "Give it a name that tells what it is for."
    if len(kept) > LONGEST_NAME:
        return f"Use at most {LONGEST_NAME} characters."
    return "" if kept.isprintable() else "Use characters that can be seen."


def _wrong_scopes(actor: Actor, scopes: Sequence[str]) -> str:
    offered = offered_scopes(actor)
    if beyond := sorted(set(scopes) - set(offered)):
        return f"{', '.join(beyond)}: not yours to give. Use some of {', '.join(offered)}."
    if not scopes and actor.token is not None and actor.token.scopes:
        return f"The token that asks is narrowed itself. Name some of its scopes: {', '.join(offered)}."
    return ""


def _wrong_end(ends: datetime, now: datetime, latest: datetime) -> str:
    if ends <= now:
        return "Use a time that is still to come."
    if ends > latest:
        return f"It can work until {latest.isoformat(timespec='seconds')} at the latest."
    return ""

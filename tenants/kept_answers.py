"""Idempotency keys: what a script asks twice with one key is done once, and answered twice in the same words.

The row is written in the transaction of the request: deed and key stand or fall together. Whoever comes second with a
key waits until the first has committed, for a moment; PostgreSQL's unique index is the queue.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet
from django.db import OperationalError, connection
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from tenants.models.kept_answer import KeptAnswer
from tenants.refusals import Invalid, Refusal, WrongState
from tenants.rights import Actor, ProviderActor

KEPT_FOR = timedelta(hours=24)
LONGEST_KEY = 255
WAIT_SECONDS = 5


class KeyUsedOtherwise(Refusal):
    """The key came before, with something else asked (422)."""

    status = 422
    title = "Another request has this key"

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key_reused",
            "This Idempotency-Key was sent before with another request. Use a new key for each deed, "
            "and the same one only to send the same again.",
        )


class KeyInUse(WrongState):
    """The first request with the key is still being answered (409)."""

    retry_after = WAIT_SECONDS

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key_in_use",
            "The first request with this Idempotency-Key is still being answered. Ask again in a few seconds.",
        )


@dataclass(frozen=True)
class Answer:
    """What was answered before."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Claim:
    """The right to answer under a key: to be redeemed by ``keep`` in the same transaction."""

    row_id: UUID
    secret: str

    def keep(self, answer: Answer) -> None:
        """Keep the answer, sealed with what the token says: nobody reads it without the token."""
        plain = json.dumps([answer.content_type, answer.body.decode()])
        sealed = _seal(self.secret).encrypt(plain.encode())
        KeptAnswer.objects.filter(pk=self.row_id).update(status=answer.status, body=sealed)


def claim(
    actor: Actor | ProviderActor, *, key: str, secret: str, method: str, address: str, asked: Any
) -> Claim | Answer:
    """Return the answer that was given to this key before, or the right to give one, in the open transaction.

    ``secret`` is what the token says, ``asked`` the body as JSON. Raises Invalid on a key of another form,
    KeyUsedOtherwise, or KeyInUse where the first request takes longer than one waits.
    """
    if not 1 <= len(key) <= LONGEST_KEY or any(not "!" <= letter <= "~" for letter in key):
        raise Invalid({"Idempotency-Key": [f"Use 1 to {LONGEST_KEY} visible ASCII characters, such as a UUID."]})
    now = timezone.now()
    token = actor.token
    if token is None:
        raise RuntimeError("a key was sent without a token")
    told = json.dumps([method, address, asked], sort_keys=True, separators=(",", ":"))
    fingerprint = hashlib.sha256(told.encode()).hexdigest()
    KeptAnswer.objects.filter(token_id=token.id, key=key, created_at__lte=now - KEPT_FOR).delete()
    row = KeptAnswer(
        tenant_id=actor.tenant_id if isinstance(actor, Actor) else None,
        token_id=token.id,
        key=key,
        fingerprint=fingerprint,
        created_at=now,
    )
    _insert_or_wait(row)
    kept = KeptAnswer.objects.get(token_id=token.id, key=key)
    if kept.pk == row.pk:
        return Claim(row.pk, secret)
    if kept.fingerprint != fingerprint:
        raise KeyUsedOtherwise
    if kept.status is None:
        raise RuntimeError("a key was committed without its answer")
    content_type, body = json.loads(_seal(secret).decrypt(bytes(kept.body)))
    return Answer(kept.status, content_type, body.encode())


def prune(now: datetime) -> int:
    """Remove the answers that have been kept long enough, in the open scope; return how many."""
    removed, _ = KeptAnswer.objects.filter(created_at__lte=now - KEPT_FOR).delete()
    return removed


def _insert_or_wait(row: KeptAnswer) -> None:
    """Insert the row unless one with its key is there; wait for whoever is just inserting that one."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")
        try:
            KeptAnswer.objects.bulk_create([row], ignore_conflicts=True)
        except OperationalError as problem:
            if isinstance(problem.__cause__, LockNotAvailable):
                raise KeyInUse from None
            raise
        cursor.execute("SET LOCAL lock_timeout = DEFAULT")


def _seal(secret: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"kept answer:" + secret.encode()).digest()))

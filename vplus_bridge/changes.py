"""Tells Redis which object changed, so that open pages show it. A hint, never a promise: what counts is in PostgreSQL.

One message for each change, after the commit; pages that missed one are told to read again. The lowest room of the
bridge: it knows no tables, and every other room may call it.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
import redis
import structlog
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

log = structlog.get_logger(__name__)
# What follows the prefix in a channel's name: the id of a tenant, or one of these.
RIGHTS = "rights"
EVERYBODY = "everybody"
# The kind of a message that names no object: pages read again what they show.
AGAIN = "again"
# Beyond so many changes of one tenant at once, one "read again" says it in fewer words.
MOST_NAMED = 300
PATIENCE = 1.0
SILENT_SECONDS = 2.0  # after Redis did not answer: what is asked for meanwhile is not held up once more


@dataclass(frozen=True)
class Change:
    """What changed: the public state of one object, as members of its tenant may see it.

    ``virtual_machine_guid`` decides who else has to be granted to see it; empty: only those who see all of the tenant.
    """

    kind: str
    id: str
    tenant_id: UUID
    virtual_machine_guid: str = ""
    public: Mapping[str, Any] = field(default_factory=dict)


@cache
def prefix(url: str) -> str:
    """Return how every channel's name begins. Channels are of a whole server, so that the number of our database is in it."""
    number = redis.ConnectionPool.from_url(url).connection_kwargs.get("db") or 0
    return f"vplus-portal:{number}:"


def tell(changes: Iterable[Change]) -> None:
    """Tell of these changes once the open transaction is committed; at once where none is open. Never raises."""
    told = list(changes)
    counts = Counter(change.tenant_id for change in told)
    messages = [(str(tenant), {"kind": AGAIN}) for tenant, count in counts.items() if count > MOST_NAMED]
    messages += [
        (
            str(change.tenant_id),
            {"kind": change.kind, "id": change.id, "vm": change.virtual_machine_guid, **change.public},
        )
        for change in told
        if counts[change.tenant_id] <= MOST_NAMED
    ]
    _after_commit(messages)


def tell_again(tenant_ids: Iterable[UUID]) -> None:
    """Tell everybody of these tenants that more changed than can be named: their pages read again. Never raises."""
    _after_commit([(str(tenant_id), {"kind": AGAIN}) for tenant_id in tenant_ids])


def tell_rights() -> None:
    """Tell that somebody's rights changed: every web process looks again at who may watch."""
    _after_commit([(RIGHTS, {})])


def tell_reading(name: str, at: float) -> None:
    """Tell everybody that a reading of vPlus worked, and when (seconds since 1970): the ages on pages start anew."""
    _after_commit([(EVERYBODY, {"kind": "reading", "id": name, "at": at})])


def _after_commit(messages: list[tuple[str, dict[str, Any]]]) -> None:
    if messages:
        ready = [(name, msgspec.json.encode(message)) for name, message in messages]
        transaction.on_commit(partial(_voice().publish, ready), robust=True)


class _Voice:
    """This process's way to Redis. Where it is away, nobody waits for it, and pages read again when it is back."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=PATIENCE,
            socket_timeout=PATIENCE,
            # Once more, since a connection that lay idle may be gone without a word.
            retry=Retry(NoBackoff(), 1),
        )
        self._prefix = prefix(url)
        self._lock = threading.Lock()
        self._silent_until = 0.0
        self._missed = False

    def publish(self, messages: list[tuple[str, bytes]]) -> None:
        """Publish, or log that it did not work; never raises."""
        with self._lock:
            if monotonic() < self._silent_until:
                self._missed = True
                return
            missed = self._missed
        if missed:
            messages = [(EVERYBODY, msgspec.json.encode({"kind": AGAIN})), *messages]
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for name, body in messages:
                    pipe.publish(f"{self._prefix}{name}", body)
                pipe.execute()
        except (redis.RedisError, OSError) as problem:
            log.warning("could not tell pages of a change", problem=type(problem).__name__, messages=len(messages))
            with self._lock:
                self._missed, self._silent_until = True, monotonic() + SILENT_SECONDS
        else:
            if missed:
                with self._lock:
                    self._missed = False


@cache
def _voice_to(url: str) -> _Voice:
    return _Voice(url)


def _voice() -> _Voice:
    return _voice_to(settings.REDIS_URL)

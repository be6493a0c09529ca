"""A write to vPlus and what became of it (the four outcomes)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from vplus_bridge.client.records import TaskRecord


class Expectation(enum.StrEnum):
    """What a 2xx must hold before a write counts as accepted."""

    TASK = "task"
    """Exactly one task is named: for the calls that create one."""
    OBJECT = "object"
    """Any 2xx; the new object's guid and name are read from the answer where they stand there (vplus-api.md 1.8)."""
    ANYTHING = "anything"
    """Any 2xx, also an empty one: for cancel, delete and replace."""


class OutcomeKind(enum.StrEnum):
    """What is known about a write after its one attempt."""

    NOT_ACCEPTED = "not_accepted"
    """It certainly did not run: it may be sent again."""
    REFUSED = "refused"
    """vPlus said no: sending the same again does not help."""
    ACCEPTED = "accepted"
    UNCERTAIN = "uncertain"
    """It may have run. Only looking can tell; it must not be sent again before."""


@dataclass(frozen=True)
class WriteRequest:
    """One call that changes vPlus.

    `path` is relative to the base address and already escaped; `body` is the JSON text exactly as it
    will be sent, or "" for none; `template` is the path without ids, for logs. `headers` are added to those
    that every write has, and replace none of them.
    """

    method: str
    path: str
    body: str = ""
    expects: Expectation = Expectation.ANYTHING
    template: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one write.

    `reason` is in our words, without hosts and secrets. `vendor_text` is vPlus's own, at most 2,000
    characters; it can name hosts and paths and is for the provider only. `tasks` are the tasks that the
    answer names, `named` the (guid, name) pairs of `successful` or of the object created.
    `needs_sign_in` says that the session was not accepted: sign in once before the next attempt.
    """

    kind: OutcomeKind
    status: int | None
    reason: str
    vendor_text: str | None = field(default=None, repr=False)
    tasks: tuple[TaskRecord, ...] = ()
    named: tuple[tuple[str, str | None], ...] = ()
    needs_sign_in: bool = False
    retry_after_seconds: float | None = None

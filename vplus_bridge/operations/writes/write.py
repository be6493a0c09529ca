"""What every write has in common: what it looks at before the mark, what it sends, what its answer means."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from vplus_bridge.client import Dialect, OutcomeKind, VplusClient, WriteRequest
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.operations.models import Attempt, Operation
from vplus_bridge.operations.moves import State

# What may still be sent: the wish, and an attempt after one that was shown to have come to nothing.
SENDABLE = frozenset({State.REQUESTED, State.SUBMITTED})


@dataclass(frozen=True)
class Claim:
    """The right to send one attempt, until it ends by itself or a newer claim takes over."""

    tenant_id: UUID
    attempt_id: UUID
    fence: int
    operation_id: UUID
    virtual_machine_guid: str
    plan: dict[str, Any]
    send_until: datetime
    action: str = "export"
    target_guid: str = ""
    object_name: str = ""


@dataclass(frozen=True)
class Prepared:
    """What was found out before the mark. ``facts`` are the write's own, such as a record as it was read just now."""

    baseline_tasks: list[str]
    baseline_backups: list[str]
    clock_offset: timedelta
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """Exactly what will be sent, and the stamp by which it can be found again, where the write has one."""

    request: WriteRequest
    stamp: datetime | None = None


class WorldChanged(Exception):
    """What was asked for can no longer be done, or need not be; ``code`` says why. Nothing was sent."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AlreadyDone(Exception):
    """vPlus holds already what this write would bring about, so nothing is sent; ``guid`` is the object's, where known."""

    def __init__(self, guid: str = "") -> None:
        super().__init__(guid)
        self.guid = guid


class Write(ABC):
    """One kind of write. It keeps nothing between calls; `operations.writes.register` makes it known by its action."""

    action: ClassVar[str]
    """The name under which steps ask for it."""
    sendable: ClassVar[frozenset[State]] = SENDABLE
    """States of the operation in which it may be sent; empty: in every state, the attempt alone decides."""
    has_deadline: ClassVar[bool] = True
    """Whether nothing is sent any more after the operation's ``send_until``."""

    @abstractmethod
    def prepare(self, client: VplusClient, claim: Claim) -> Prepared:
        """Look at the world once more, reads only; no transaction is open.

        Raises WorldChanged, AlreadyDone, or VplusError, which is as good as not accepted: it is tried again later.
        """

    @abstractmethod
    def ready(self, dialect: Dialect, claim: Claim, prepared: Prepared, now: datetime) -> Ready | None:
        """Return what to send, in the mark's own transaction; None where it is too late. Raises client.Invalid."""

    def look_again(self, client: VplusClient, claim: Claim, answer: Answer) -> Answer:
        """Return the answer, or what it turns out to mean after one more read; no transaction is open."""
        del client, claim
        return answer

    @abstractmethod
    def recorded(
        self, operation: Operation, attempt: Attempt, kind: OutcomeKind, answer: Answer, now: datetime
    ) -> OutcomeKind:
        """Move operation and attempt on, in memory; both are locked and saved afterwards.

        Returns the outcome that stands: the given one, or "uncertain" where the answer does not tell what it seems to.
        NOT_ACCEPTED needs nothing here but the operation's state: the next attempt is made by the caller.
        """

    @abstractmethod
    def given_up(self, operation: Operation, attempt: Attempt, code: str, now: datetime) -> None:
        """Move on after WorldChanged or a request that cannot be worded, in memory: nothing was sent."""

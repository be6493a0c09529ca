"""How each reading of vPlus goes, for the ages on pages and the bar that says since when there is no contact."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import structlog
from django.db import connection
from django.db.models.functions import Coalesce
from django.utils import timezone

from vplus_bridge.client import AuthFailed, BadAnswer, Forbidden, NotFound, TlsFailed, Unavailable, VplusError
from vplus_bridge.mirror.models import ReadState

log = structlog.get_logger(__name__)

INVENTORY, TASKS, TASKS_FULL, BACKUPS, CONTACT = "inventory", "tasks", "tasks_full", "backups", "contact"


@dataclass
class Reading:
    """What the block that reads fills in."""

    counts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def recorded(name: str) -> Iterator[Reading]:
    """Record when a reading began and how it ended; lets VplusError pass on after it was written down."""
    reading, began, clock = Reading(), timezone.now(), monotonic()
    ReadState.objects.update_or_create(name=name, defaults={"started_at": began})
    try:
        yield reading
    except VplusError as problem:
        _failed(name, problem, monotonic() - clock)
        raise
    ReadState.objects.filter(name=name).update(
        # What was read is as old as the beginning of the reading, not its end.
        succeeded_at=began,
        duration_seconds=monotonic() - clock,
        failing_since=None,
        problem="",
        problem_text="",
        counts=reading.counts,
    )
    _contact_good(began)


def took(name: str, duration: float) -> None:
    """Note that all of a cycle took this many seconds, not only the reading that it began with; see ``due``."""
    ReadState.objects.filter(name=name, duration_seconds__lt=duration).update(duration_seconds=duration)


def state_of(name: str) -> ReadState:
    """Return the state of a reading; a new one for a reading that never was."""
    return ReadState.objects.filter(name=name).first() or ReadState(name=name)


def read_at(*names: str) -> dict[str, datetime | None]:
    """Return when each of these readings last worked (UTC; None: never), in one SQL statement: the age of figures."""
    known = dict(ReadState.objects.filter(name__in=names).values_list("name", "succeeded_at"))
    return {name: known.get(name) for name in names}


def states_of(*names: str) -> dict[str, ReadState]:
    """Return the states of these readings, in one SQL statement; a new one for a reading that never was."""
    known = {row.name: row for row in ReadState.objects.filter(name__in=names)}
    return {name: known.get(name) or ReadState(name=name) for name in names}


def all_states() -> list[ReadState]:
    """Return the state of every reading there has been, by name."""
    return list(ReadState.objects.order_by("name"))


def note_gap(name: str, problem: str, text: str) -> None:
    """Note that vPlus lacks something that is not a reading, such as a call; ``text`` is for the provider."""
    now = timezone.now()
    ReadState.objects.get_or_create(name=name)
    ReadState.objects.filter(name=name).update(
        started_at=now, failing_since=Coalesce("failing_since", now), problem=problem, problem_text=text[:500]
    )


def close_gap(name: str) -> None:
    """Note that what was missing is there."""
    ReadState.objects.filter(name=name).delete()


def gap_open(name: str, *, believed_for: timedelta) -> bool:
    """Tell whether a gap was noted within this time and not closed since: servers are upgraded, proxies mended."""
    lately = timezone.now() - believed_for
    return ReadState.objects.filter(name=name, failing_since__isnull=False, started_at__gt=lately).exists()


def problem_code(problem: VplusError) -> str:
    """Return the code under which the trouble is known on pages."""
    for kind, code in (
        (AuthFailed, "sign_in_refused"),
        (TlsFailed, "certificate_not_trusted"),
        (Forbidden, "forbidden"),
        (NotFound, "not_there"),
        (BadAnswer, "unreadable_answer"),
        (Unavailable, "unreachable"),
    ):
        if isinstance(problem, kind):
            return code
    return "failed"


def contact_lost(problem: VplusError) -> bool:
    """Tell whether the trouble is with vPlus as a whole, so that asking for something else is no use."""
    if isinstance(problem, AuthFailed | TlsFailed):
        return True
    if isinstance(problem, Unavailable) and problem.status is None:
        return True
    # A web page in vPlus's place; with 403 and 404 it is only how some servers word these.
    return isinstance(problem, BadAnswer | Unavailable) and problem.html


class Patience:
    """For many things asked one by one: trouble with one leaves the others alone, trouble with vPlus ends it.

    After several in a row that vPlus answers with a failure of its own it is worn out: the rest is for another time.
    """

    MOST_IN_A_ROW = 3

    def __init__(self) -> None:
        self._in_a_row = 0

    @property
    def worn_out(self) -> bool:
        """Whether asking on would only burden a vPlus that is in trouble."""
        return self._in_a_row >= self.MOST_IN_A_ROW

    def fine(self) -> None:
        """Note that one was answered."""
        self._in_a_row = 0

    def bear(self, problem: VplusError, **what: str) -> None:
        """Log the trouble with one, named by ``what``; raise it where it is everybody's."""
        if isinstance(problem, Unavailable):
            self._in_a_row += 1
        if contact_lost(problem):
            raise problem
        log.warning("one could not be read", problem=problem_code(problem), text=problem.user_message, **what)


def due(name: str, every_seconds: float, now: datetime, *, rest: float = 5) -> bool:
    """Tell whether a reading is due: its interval is over, and so is ``rest`` times what the last one took."""
    state = state_of(name)
    if state.started_at is None:
        return True
    pause = max(every_seconds, rest * state.duration_seconds)
    # Beat's ticks wander a little; half a second early is on time.
    return now >= state.started_at + timedelta(seconds=pause) - timedelta(seconds=min(0.5, pause / 4))


def _failed(name: str, problem: VplusError, duration: float) -> None:
    code = problem_code(problem)
    log.warning("reading failed", reading=name, problem=code, text=problem.user_message, status=problem.status)
    now = timezone.now()
    facts = {"problem": code, "problem_text": problem.user_message[:500]}
    ReadState.objects.filter(name=name).update(
        failing_since=Coalesce("failing_since", now), duration_seconds=duration, **facts
    )
    if contact_lost(problem) or isinstance(problem, Unavailable):
        ReadState.objects.get_or_create(name=CONTACT)
        ReadState.objects.filter(name=CONTACT).update(
            failing_since=Coalesce("failing_since", "succeeded_at", now), **facts
        )


def _contact_good(when: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO vplus_bridge_readstate (name, started_at, succeeded_at, duration_seconds, problem, problem_text, counts)
            VALUES (%s, %s, %s, 0, '', '', '{}')
            -- A long reading ends after shorter ones that began later: the age of the contact never runs backwards.
            ON CONFLICT (name) DO UPDATE SET failing_since = NULL, problem = '', problem_text = '',
                succeeded_at = greatest(vplus_bridge_readstate.succeeded_at, excluded.succeeded_at)
            """,
            [CONTACT, when, when],
        )

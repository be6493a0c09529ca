"""What schedules come to: the next runs, local and UTC, what is odd about them, and what works where one cannot be kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from django.utils.dateformat import format as formatted
from django.utils.translation import gettext as _

from vplus_bridge.protection import schedule_words
from vplus_bridge.protection.drafts import ScheduleDraft, promise_of_draft
from vplus_bridge.protection.promised_runs import Run, next_runs
from vplus_bridge.protection.rewriting import CannotCarry, admit
from vplus_bridge.protection.stored import columns_of, row_values
from vplus_bridge.protection.wall_time import Promise

RUNS_SHOWN = 20
OPEN_ON_A_PHONE = 5


@dataclass(frozen=True)
class RunLine:
    """One run of the preview."""

    local: str
    utc: str
    note: str
    type_word: str
    zone: str


@dataclass(frozen=True)
class Way:
    """A schedule near the one that cannot be kept, which can."""

    value: str
    words: str


@dataclass(frozen=True)
class Outlook:
    """One schedule as it would be: a sentence, or what is wrong with it."""

    number: int
    sentence: str = ""
    wrong: Sequence[str] = ()
    refused: str = ""
    ways: Sequence[Way] = ()
    inactive: bool = False


@dataclass(frozen=True)
class Preview:
    """All schedules of a policy together."""

    outlooks: Sequence[Outlook]
    runs: Sequence[RunLine] = field(default_factory=list)
    next_words: str = ""

    @property
    def mixed(self) -> bool:
        """Tell whether runs are of several kinds or zones, so that each has to name its own."""
        return len({(run.type_word, run.zone) for run in self.runs}) > 1


def preview(drafts: Sequence[ScheduleDraft], held: Mapping[UUID, Promise], *, paused: bool, now: datetime) -> Preview:
    """Return what these schedules come to from now on; `held` are those that are kept already, by id."""
    outlooks, runs = [], []
    for number, draft in enumerate(drafts):
        promise, wrong = promise_of_draft(draft)
        if promise is None or wrong:
            outlooks.append(Outlook(number, wrong=[text for texts in wrong.values() for text in texts]))
            continue
        refused = refusal_of(promise, held.get(draft.id) if draft.id else None, now)
        if refused is None:
            if draft.active and not paused:
                runs += [(run, promise) for run in next_runs(promise, RUNS_SHOWN, now)]
            outlooks.append(Outlook(number, schedule_words.sentence(promise), inactive=not draft.active))
            continue
        ways = [
            Way(f"use-{number}-{position}", schedule_words.sentence(other))
            for position, other in enumerate(refused.alternatives)
        ]
        outlooks.append(
            Outlook(number, schedule_words.sentence(promise), refused=schedule_words.refusal(refused), ways=ways)
        )
    runs.sort(key=lambda one: one[0].utc)
    lines = [run_line(run, promise) for run, promise in runs[:RUNS_SHOWN]]
    return Preview(outlooks, lines, _next_words(lines, paused=paused))


def _next_words(lines: Sequence[RunLine], *, paused: bool) -> str:
    if lines:
        return _("Next run %(when)s, %(zone)s.") % {
            "when": lines[0].local,
            "zone": schedule_words.zone_words(lines[0].zone),
        }
    return _("Paused: nothing runs.") if paused else _("No run yet.")


def refusal_of(promise: Promise, before: Promise | None, now: datetime) -> CannotCarry | None:
    """Return why vPlus cannot keep a promise; one that is kept already is not judged again."""
    if before is not None and promise == replace(before, active=promise.active):
        return None
    plan = admit(promise, now)
    return plan if isinstance(plan, CannotCarry) else None


def run_line(run: Run, promise: Promise) -> RunLine:
    """Return one run in words: what the clock of its zone shows, and UTC."""
    utc = run.utc.astimezone(UTC)
    same_day = utc.date() == run.local.date()
    return RunLine(
        local=formatted(run.local, "D j M H:i"),
        utc=formatted(utc, "H:i" if same_day else "D H:i"),
        note=schedule_words.note(run),
        type_word=str(schedule_words.KINDS[promise.backup_type]),
        zone=promise.zone,
    )


def draft_like(draft: ScheduleDraft, promise: Promise) -> ScheduleDraft:
    """Return a draft that says what a promise does; its id and whether it is active stay."""
    columns = row_values(columns_of(promise))
    columns["start"], columns["end"] = columns.pop("start_time"), columns.pop("end_time")
    return replace(draft, **columns)

"""Which tasks of one machine are told to be of one run, on histories of which the truth is known: nothing is ever mixed up."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vplus_bridge.models import Task
from vplus_bridge.operations.run_stitch import joined
from vplus_bridge.operations.runs import SECOND, runs_of

T0 = datetime(2026, 11, 24, 0, 0, 0, tzinfo=UTC)
SEEN_EVERY = 3
"""Minutes between two looks at vPlus."""


def at(minute: float) -> datetime:
    return T0 + timedelta(minutes=minute)


def task(guid: str, kind: str = "EXPORT", state: str = "FINISHED", *, seen: float = 0, **facts: Any) -> Task:
    live = state in {"QUEUED", "RUNNING"}
    ended = None if live else at(seen + 1)
    known = {"first_seen_at": at(seen), "changed_at": at(seen), "ended_seen_at": ended, "live": live, **facts}
    return Task(guid=guid, type=kind, state=state, virtual_machine_guid="vm", **known)


@pytest.mark.parametrize("names", [{"parent_guid": "e"}, {"backup_guid": "b"}, {}])
def test_a_store_goes_on_with_the_export_that_it_names_or_the_only_one_that_it_can_be(names: dict[str, str]) -> None:
    export = task("e", backup_guid="b" if "backup_guid" in names else "")
    assert joined([task("s", "STORE", "QUEUED", seen=3, **names), export], {}) == {"s": "e"}


@pytest.mark.parametrize(
    "other",
    [
        task("e2", seen=1),  # either may be the one
        task("s2", "STORE", "QUEUED", seen=3),  # so may either of these
    ],
)
def test_what_cannot_be_told_is_left_open(other: Task) -> None:
    assert joined([task("e"), task("s", "STORE", "QUEUED", seen=3), other], {}) == {}


def test_a_nameless_store_may_be_that_of_an_operation_whose_own_is_not_known() -> None:
    tasks = [task("e"), task("ours", seen=1), task("s", "STORE", "QUEUED", seen=3)]
    assert joined(tasks, {"ours": "operation"}) == {}
    tasks.append(task("s-ours", "STORE", "QUEUED", seen=3))
    assert joined(tasks, {"ours": "operation", "s-ours": "operation"}) == {"s": "e"}


@pytest.mark.parametrize(
    ("export", "store"),
    [
        ({"state": "RUNNING"}, {}),  # nothing is stored before it was read
        ({"state": "FAILED"}, {}),
        ({"state": "CANCELLED"}, {}),
        ({"finished_at": at(9)}, {"started_at": at(4)}),
        ({"run_ended": True}, {}),
        ({"tenant_id": "00000000-0000-0000-0000-000000000001"}, {}),
        ({}, {"parent_guid": "of-nobody-known"}),
        ({}, {"backup_guid": "another"}),
    ],
)
def test_a_store_is_not_taken_for_what_it_cannot_be(export: dict[str, Any], store: dict[str, Any]) -> None:
    assert joined([task("e", **export), task("s", "STORE", "QUEUED", seen=3, **store)], {}) == {}


def test_copies_are_known_by_window_or_record_and_two_schedules_that_fire_together_are_not_copies() -> None:
    failed = task("e", state="FAILED", window_start=at(0), backup_guid="b")
    assert joined([failed, task("e2", state="QUEUED", seen=3, window_start=at(0))], {}) == {"e2": "e"}
    assert joined([failed, task("e2", state="QUEUED", seen=3, backup_guid="b")], {}) == {"e2": "e"}
    assert joined([failed, task("e2", state="QUEUED", window_start=at(0))], {}) == {}
    assert joined([failed, task("e2", state="QUEUED", seen=3, window_start=at(0), schedule_guid="s-2")], {}) == {
        "e2": "e"
    }
    other = task("e2", state="QUEUED", seen=3, window_start=at(0), schedule_guid="s-2")
    failed.schedule_guid = "s-1"
    assert joined([failed, other], {}) == {}


def test_restores_and_imports_are_told_alike() -> None:
    restore = task("r", "RESTORE", backup_guid="point")
    assert joined([restore, task("i", "IMPORT", "QUEUED", seen=3)], {}) == {"i": "r"}
    assert joined([restore, task("i", "IMPORT", "QUEUED", seen=3, backup_guid="other-point")], {}) == {}
    two = [restore, task("r2", "RESTORE", backup_guid="point"), task("i", "IMPORT", "QUEUED", seen=3, parent_guid="r2")]
    assert joined(two, {}) == {"i": "r2"}
    assert joined([restore, task("s", "STORE", "QUEUED", seen=3)], {}) == {}


# ---- Histories of which the truth is known


@dataclass
class Truth:
    """One task as vPlus has it: of which run, and when it was made, began and ended (minutes)."""

    run: int
    guid: str
    kind: str
    made: int
    began: int
    ended: int
    end: str
    window: int
    parent: str = ""


@dataclass
class History:
    """All that vPlus did for one machine, some of it for operations; ``named``: it tells parents and records."""

    named: bool
    operations: set[int]
    tasks: list[Truth] = field(default_factory=list)

    def seen(self, minute: int) -> dict[str, Task]:
        """Return the tasks as a look at this minute shows them, with when each was seen first."""
        return {truth.guid: self._seen(truth, minute) for truth in self.tasks if truth.made <= minute}

    def _seen(self, truth: Truth, minute: int) -> Task:
        first = -(-truth.made // SEEN_EVERY) * SEEN_EVERY
        state = "QUEUED" if minute < truth.began else "RUNNING" if minute < truth.ended else truth.end
        ended = at(-(-truth.ended // SEEN_EVERY) * SEEN_EVERY) if minute >= truth.ended else None
        row = task(truth.guid, truth.kind, state, seen=first)
        row.ended_seen_at, row.live, row.window_start = ended, ended is None, at(truth.window)
        if minute >= truth.began:
            row.started_at = at(truth.began)
        row.finished_at = at(truth.ended) if ended else None
        if self.named:
            row.backup_guid, row.parent_guid = f"b-{truth.run}", truth.parent
        return row


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Return up to three backups of one machine, tried again where they fail, beside or after each other."""
    history = History(draw(st.booleans()), set())
    for run in range(draw(st.integers(1, 3))):
        if draw(st.booleans()) and draw(st.booleans()):
            history.operations.add(run)
        minute = draw(st.sampled_from([0, 0, 10, 25, 60]))
        export = _stage(draw, history, run, kind="EXPORT", minute=minute)
        if export.end == "FINISHED":
            _stage(draw, history, run, kind="STORE", minute=export.ended, parent=export.guid)
    return history


def _stage(draw: st.DrawFn, history: History, run: int, *, kind: str, minute: int, parent: str = "") -> Truth:
    spans, window = st.integers(1, 8), minute
    for number in range(draw(st.integers(1, 3))):
        began = minute + draw(spans)
        ended = began + draw(spans)
        # Names in chance order, so that none tells by its place.
        guid = f"{draw(st.integers(0, 99)):02}-{kind}-{run}-{number}"
        made = Truth(run, guid, kind, minute, began, ended, "FAILED", window, parent)
        history.tasks.append(made)
        minute = ended + draw(spans)
    made.end = draw(st.sampled_from(["FINISHED", "FINISHED", "FAILED", "CANCELLED"]))
    return made


def told(history: History) -> dict[str, str]:
    """Return what a poll every few minutes joins, from the first task to the last end."""
    run_of = {truth.guid: truth.run for truth in history.tasks}
    held = {guid: run for guid, run in run_of.items() if run in history.operations}
    joins: dict[str, str] = {}
    for minute in range(0, max(truth.ended for truth in history.tasks) + 2 * SEEN_EVERY, SEEN_EVERY):
        seen = history.seen(minute)
        for guid, row in seen.items():
            row.run_guid = joins.get(guid, "")
        new = joined(seen.values(), held)
        assert new == joined(reversed(list(seen.values())), held), "in whichever order they are read"
        assert not new.keys() & joins.keys()
        joins |= new
    return joins


@settings(max_examples=200, deadline=None)
@given(histories())
def test_tasks_of_two_backups_are_never_joined_and_named_ones_all_are(history: History) -> None:
    joins = told(history)
    by_guid = {truth.guid: truth for truth in history.tasks}
    for guid, head in joins.items():
        assert by_guid[guid].run == by_guid[head].run
        assert by_guid[guid].run not in history.operations
        assert head not in joins, "a run begins with a task that goes on with none"
    if history.named:
        heads = defaultdict(set)
        for truth in history.tasks:
            if truth.run not in history.operations:
                heads[truth.run].add(joins.get(truth.guid, truth.guid))
        assert all(len(found) == 1 for found in heads.values())


@settings(max_examples=100, deadline=None)
@given(histories())
def test_the_bar_of_a_run_never_goes_back_and_ends_below_a_hundred(history: History) -> None:
    history.named, history.operations = True, set()
    joins, percents = told(history), defaultdict(list)
    for minute in range(0, max(truth.ended for truth in history.tasks) + 1):
        seen = history.seen(minute)
        for guid, row in seen.items():
            row.run_guid = joins.get(guid, "")
            truth = next(one for one in history.tasks if one.guid == guid)
            done = min(max(minute - truth.began, 0), truth.ended - truth.began)
            row.progress = 100.0 * done / (truth.ended - truth.began)
        heads = [row for row in seen.values() if not row.run_guid]
        for run in runs_of(heads, [row for row in seen.values() if row.run_guid in {head.guid for head in heads}]):
            assert run.head.type in SECOND
            if (percent := run.progress.percent) is not None:
                percents[run.head.guid].append(percent)
    for rising in percents.values():
        assert rising == sorted(rising)
        assert rising[-1] < 100

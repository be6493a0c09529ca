"""Runs: what vPlus does one after the other that nobody here asked for, such as EXPORT and STORE of a schedule's backup.

A run is told by its tasks alone; the first of them bears what became of it (operations/run_follow.py). One that has no
further task is its only one: a house-keeping task, or a stage of which the other cannot be told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from vplus_bridge.mirror.instants import to_ms
from vplus_bridge.mirror.models import Task
from vplus_bridge.operations.one_bar import EXPORT_SHARE, RESTORE_SHARE, progress_of

SECOND: Final = {"EXPORT": "STORE", "RESTORE": "IMPORT"}
"""By type of the first task, the type of the one that vPlus makes of it."""
FIRST: Final = {second: first for first, second in SECOND.items()}
DATA_TASKS: Final = ("EXPORT", "STORE", "RESTORE", "IMPORT")
"""Types of tasks that carry a machine's data; what else vPlus does with one is house-keeping."""
_SHARES: Final = {"EXPORT": EXPORT_SHARE, "RESTORE": RESTORE_SHARE}
_FAR: Final = datetime.max.replace(tzinfo=UTC)


class RunState(StrEnum):
    """Where a run stands. DONE is said on evidence alone: a stored record, or a machine that was made."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    IN_PART = "in_part"
    FINISHED = "finished"  # its last task is; what came of it vPlus does not tell
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Progress:
    """How far a run is, as members of its tenant may see it."""

    state: str
    ended: bool
    first_type: str
    second: bool  # it is at its second stage, or before its beginning
    task_type: str
    task_state: str
    type_description: str
    state_description: str
    backup_type: str
    percent: float | None


@dataclass(frozen=True)
class Run:
    """A run with its tasks in their order, copies of those that failed among them."""

    head: Task
    tasks: Sequence[Task]

    @property
    def firsts(self) -> list[Task]:
        """The tasks of its first stage."""
        return [task for task in self.tasks if task.type == self.head.type]

    @property
    def seconds(self) -> list[Task]:
        """The tasks of its second stage."""
        return [task for task in self.tasks if task.type == SECOND.get(self.head.type)]

    @cached_property
    def last(self) -> Task:
        """The task that tells how far it is: the newest copy of its last stage."""
        return (self.seconds or self.firsts)[-1]

    @property
    def state(self) -> RunState:
        """Where it stands; one that nobody has judged yet goes on."""
        return RunState(self.head.run_state) if self.head.run_state else self.state_while_open

    @property
    def state_while_open(self) -> RunState:
        """Where it stands as long as its end is not known; what has begun never waits again."""
        waits = all(task.state == "QUEUED" for task in self.tasks)
        return RunState.QUEUED if waits and self.last.live else RunState.RUNNING

    @property
    def backup_names(self) -> set[str]:
        """The records that its tasks name, or that is known to be made by it."""
        return {guid for guid in (self.head.run_backup_guid, *(task.backup_guid for task in self.tasks)) if guid}

    @property
    def news_number(self) -> int:
        """A number that grows with each change, so that a page never takes an older message for news."""
        moments = [task.changed_at for task in self.tasks]
        return to_ms(max([*moments, self.head.run_changed_at] if self.head.run_changed_at else moments))

    @property
    def progress(self) -> Progress:
        """How far it is."""
        last, share = self.last, _SHARES.get(self.head.type)
        return Progress(
            state=self.state,
            ended=self.head.run_ended,
            first_type=self.head.type,
            second=bool(self.seconds) or (self.head.type in SECOND and last.state == "FINISHED"),
            task_type=last.type,
            task_state=last.state,
            type_description=last.type_description,
            state_description=last.state_description,
            backup_type=next((task.backup_type for task in reversed(self.tasks) if task.backup_type), ""),
            percent=last.progress if share is None else progress_of(self.firsts, self.seconds, share),
        )

    @property
    def told(self) -> Mapping[str, Any]:
        """What is told of it to open pages."""
        return {**asdict(self.progress), "news": self.news_number}


def order(task: Task) -> tuple[Any, ...]:
    """Return a key that sorts tasks of one stage as vPlus made them: what follows a copy that failed comes after it."""
    started, ended = task.started_at, task.finished_at
    return (
        task.first_seen_at,
        task.live,
        task.state == "FINISHED",
        (started is None, started or _FAR),
        (ended is None, ended or _FAR),
        task.guid,
    )


def runs_of(heads: Sequence[Task], further: Iterable[Task]) -> list[Run]:
    """Return the runs that these tasks begin, in their order; ``further``: what goes on with any of them."""
    found: dict[str, list[Task]] = {head.guid: [head] for head in heads}
    for task in further:
        found[task.run_guid].append(task)
    return [Run(head, sorted(found[head.guid], key=order)) for head in heads]

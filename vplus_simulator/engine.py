"""What happens as time passes: tasks wait, run and end (vplus-api.md 3.1, 3.5, 3.7); inventory and retention follow.

Time is an input. `advance(now)` plays every event up to `now` at its own instant and in order, so that an hour in one
step, an hour in many, and an hour while the process was down all end in the same world; only schedules do not fire
while the process is down (`firing`). What a task of a type does is told by its `work.Work`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from . import inventory, retention
from .backup_chain import Export, Store
from .entities import ENDED, LIVE, Origin, Task
from .firing import Firing
from .node import Node
from .restore_chain import Import, Restore
from .settings import Settings
from .work import Work, ms
from .world import World

UTC_DAY = 86_400_000
CLEANUP_HOUR = 3 * 3_600_000
BY_ITSELF = {"sync", "cleanup", "forget"}
"""Events that depend on switches and are planned anew when one changes."""


class Engine:
    """Moves one world through time. Whoever calls it holds the world's lock."""

    def __init__(self, world: World, settings: Settings, now: int) -> None:
        self.world = world
        self.settings = settings
        self.exports = Export(self)
        self.restores = Restore(self)
        self.work: dict[str, Work] = {
            "EXPORT": self.exports,
            "STORE": Store(self),
            "RESTORE": self.restores,
            "IMPORT": Import(self),
        }
        self._handlers: dict[str, Callable[[str, int], None]] = {
            "window_open": self._window_opens,
            "window_end": self._window_ends,
            "hold": self._stands_still,
            "task_end": self._task_ends,
            "thread_free": self._thread_free,
            "forget": self._forget,
            "sync": self._sync_due,
            "cleanup": self._cleanup_due,
        }
        for work in self.work.values():
            self._handlers |= work.events()
        self.firing = Firing(self)
        self.resume(now)

    def on(self, kind: str, handler: Callable[[str, int], None]) -> None:
        """Let `handler` act on events of a kind, each with its key and instant."""
        self._handlers[kind] = handler

    # Time.

    def resume(self, now: int) -> None:
        """Read from the world what is still to happen; used at start and after the world was replaced."""
        self._events: list[tuple[int, int, str, str]] = []
        self._count = 0
        self.playing_until = now
        """The instant that the events being played lead up to."""
        self._node = Node()
        for task in self.world.tasks.values():
            if task.state == "QUEUED":
                self._plan_waiting(task)
            elif task.state == "RUNNING":
                self._node.take(task)
                self._plan_run(task)
            else:
                if task.thread_until is not None:
                    self._node.take(task)
                    self.plan(task.thread_until, "thread_free", task.guid)
                self._plan_forgetting(task)
            if task.type in self.work:
                self.work[task.type].resumed(task)
        for call in self.world.late.values():
            self.plan(call.at, "late", str(call.number))
        self.firing.resume(now)
        self._plan_sync(now)
        self._plan_cleanup(now)

    def apply(self, settings: Settings, now: int) -> None:
        """Use other switches from now on; what runs keeps the duration it began with."""
        self.settings = settings
        self._events = [event for event in self._events if event[2] not in BY_ITSELF]
        heapq.heapify(self._events)
        for state in ENDED:
            for guid in self.world.tasks_in.get(state, {}):
                self._plan_forgetting(self.world.tasks[guid])
        self._plan_sync(now)
        self._plan_cleanup(now)

    def advance(self, now: int) -> None:
        """Play everything that is due up to and including `now`."""
        self.playing_until = now
        while self._events and self._events[0][0] <= now:
            at, _, kind, key = heapq.heappop(self._events)
            self._handlers[kind](key, at)
            if not self._events or self._events[0][0] > at:
                self._start_ready(at)
        self._start_ready(now)

    def plan(self, at: int, kind: str, key: str) -> None:
        """Let something happen to the object `key` at an instant."""
        self._count += 1
        heapq.heappush(self._events, (at, self._count, kind, key))

    # Waiting.

    def enqueue(self, task: Task) -> Task:
        """Keep a new task; it starts when its window, its priority and the node allow."""
        self.world.add_task(task)
        self._plan_waiting(task)
        return task

    def _plan_waiting(self, task: Task) -> None:
        """A task can start once its window is open and the node has seen it, and must start before the window ends."""
        seen = task.created + ms(self.settings.pickup_seconds)
        self.plan(max(task.window_start, seen), "window_open", task.guid)
        self.plan(task.window_end + 1, "window_end", task.guid)

    def _window_opens(self, guid: str, at: int) -> None:
        if (task := self._waiting(guid)) is not None and at <= task.window_end:
            self._node.offer(task)

    def _window_ends(self, guid: str, at: int) -> None:
        if (task := self._waiting(guid)) is not None:
            self.fail(task, at, "Task was not started within its time window")

    def _waiting(self, guid: str) -> Task | None:
        task = self.world.tasks.get(guid)
        return task if task is not None and task.state == "QUEUED" else None

    # Running.

    def _start_ready(self, at: int) -> None:
        self._node.start_ready(self._waiting, lambda task: self._start(task, at), self.settings)

    def _start(self, task: Task, at: int) -> None:
        work = self.work[task.type]
        if (obstacle := work.obstacle(task)) is not None:
            self.fail(task, at, obstacle)
            return
        self.world.move_task(task, "RUNNING")
        self._node.take(task)
        task.started = task.moving_since = at
        self._choose_fate(task, work)
        work.started(task, at)
        self._plan_run(task)

    def _choose_fate(self, task: Task, work: Work) -> None:
        chance = self.world.chance("fate", task.guid)
        task.duration = max(1, ms(chance.uniform(*work.seconds())))
        if chance.random() < work.failure_rate():
            task.fail_at = round(chance.uniform(5, 95), 1)
            task.fail_reason = chance.choice(work.reasons)
        order = self.world.take_outcome(task)
        if order is None:
            return
        task.fail_at = None
        if order.outcome == "hold":
            task.hold_at = order.progress
        elif order.outcome == "partial":
            task.partial = True
        elif order.outcome == "fail":
            task.fail_at = order.progress
            task.fail_reason = order.reason or work.reasons[0]

    def _plan_run(self, task: Task) -> None:
        """Plan how far a moving task gets: to a hold, to its failure, or to its end."""
        if task.moving_since is None:
            return
        stops = [stop for stop in (task.hold_at, task.fail_at) if stop is not None]
        stop = max(min(stops, default=100.0), task.done)
        at = task.moving_since + round((stop - task.done) * task.duration / 100)
        self.plan(at, "hold" if task.hold_at == stop else "task_end", task.guid)

    def _stands_still(self, guid: str, at: int) -> None:
        task = self._moving(guid)
        if task is not None and task.hold_at is not None:
            task.done, task.moving_since = task.hold_at, None
            self.world.changed()
        del at

    def _moving(self, guid: str) -> Task | None:
        task = self.world.tasks.get(guid)
        return task if task is not None and task.state == "RUNNING" and task.moving_since is not None else None

    def release(self, task: Task, now: int, *, fail_reason: str | None = None) -> None:
        """Let a held task go on, or fail it where it stands."""
        task.hold_at = None
        task.done, task.moving_since = task.progress(now), now
        if fail_reason is not None:
            task.fail_at, task.fail_reason = task.done, fail_reason
        self.world.changed()
        self._plan_run(task)

    # Ending.

    def _task_ends(self, guid: str, at: int) -> None:
        task = self._moving(guid)
        if task is None or task.hold_at is not None:
            return
        work = self.work[task.type]
        late = work.late_obstacle(task) if task.fail_at is None else task.fail_reason
        if task.fail_at is not None or late is not None:
            task.done, task.moving_since = task.progress(at), None
            self.fail(task, at, late or work.reasons[0])
            return
        task.done, task.moving_since = 100.0, None
        self._node.give_back(task)
        self._end(task, "FINISHED", at)
        work.finished(task, at)

    def fail(self, task: Task, at: int, reason: str) -> None:
        """End a live task as FAILED, for a reason in vPlus's own words."""
        if task.state == "RUNNING":
            self._node.give_back(task)
        task.status_info = reason
        self._end(task, "FAILED", at)
        self._give_up(task, reason)

    def _end(self, task: Task, state: str, at: int) -> None:
        self.world.move_task(task, state)
        task.finished = at
        self._plan_forgetting(task)

    def _give_up(self, task: Task, reason: str) -> None:
        if task.type in self.work:
            self.work[task.type].gave_up(task, reason)

    def cancel(self, task: Task, now: int, reason: str) -> None:
        """Cancel a live task: a queued one at once, a running one in name at once and in deed after a delay (3.7)."""
        running = task.state == "RUNNING"
        if running:
            task.done, task.moving_since = task.progress(now), None
            task.thread_until = now + ms(self.settings.cancel_seconds)
            self.plan(task.thread_until, "thread_free", task.guid)
        task.status_info = reason
        self._end(task, "CANCELLED", now)
        if not running:
            self._give_up(task, reason)

    def _thread_free(self, guid: str, at: int) -> None:
        task = self.world.tasks.get(guid)
        if task is not None and task.thread_until == at:
            task.thread_until = None
            self._node.give_back(task)
            self._give_up(task, task.status_info or "Canceled by user")

    def remove(self, task: Task, now: int) -> None:
        """Take a task off the list; a live one, or one still stopping, leaves a failed backup behind (3.7)."""
        stopping = task.thread_until is not None
        if stopping or task.state == "RUNNING":
            self._node.give_back(task)
        if stopping or task.state in LIVE:
            self._give_up(task, task.status_info or "The task was removed")
        elif task.type in self.work:
            self.work[task.type].removed(task, now)
        self.world.remove_task(task)

    # What happens by itself.

    def _plan_forgetting(self, task: Task) -> None:
        if self.settings.task_retention_seconds > 0 and task.finished is not None:
            self.plan(task.finished + ms(self.settings.task_retention_seconds), "forget", task.guid)

    def _forget(self, guid: str, at: int) -> None:
        task = self.world.tasks.get(guid)
        if task is not None and task.state in ENDED:
            self.remove(task, at)

    def _plan_sync(self, now: int) -> None:
        if self.settings.inventory_sync_seconds > 0:
            last = now if self.world.last_sync is None else self.world.last_sync
            self.plan(max(now, last + ms(self.settings.inventory_sync_seconds)), "sync", "")

    def _sync_due(self, key: str, at: int) -> None:
        """Synchronize; where nothing else happens for long, the syncs that would find nothing are left out."""
        del key
        inventory.synchronize(self.world, at)
        every = ms(self.settings.inventory_sync_seconds)
        quiet_until = min(self._events[0][0], self.playing_until) if self._events else self.playing_until
        self.plan(at + every * max(1, (quiet_until - at - 1) // every), "sync", "")

    def _plan_cleanup(self, now: int) -> None:
        if self.settings.daily_cleanup:
            last = now if self.world.last_cleanup is None else self.world.last_cleanup
            day = (last - CLEANUP_HOUR) // UTC_DAY + 1
            self.plan(max(now, day * UTC_DAY + CLEANUP_HOUR), "cleanup", "")

    def _cleanup_due(self, key: str, at: int) -> None:
        del key
        self.clean_up(at)
        self._plan_cleanup(at)

    def clean_up(self, at: int) -> list[str]:
        """Remove what retention no longer keeps, as a task without a VM; return the guids of the backups removed."""
        removed = retention.expire(self.world)
        self.world.last_cleanup = at
        task = Task(
            guid=self.world.new_guid("task"),
            type="BACKUP_CLEANUP" if self.settings.current else "OLD_BACKUPS_REMOVAL",
            state="FINISHED",
            created=at,
            number=self.world.number("task order"),
            priority=50,
            window_start=at,
            window_end=at + UTC_DAY,
            window_shown=at,
            origin=Origin("SYSTEM_SCHEDULE"),
            started=at,
            finished=at,
            done=100.0,
        )
        self.world.add_task(task)
        self._plan_forgetting(task)
        return removed

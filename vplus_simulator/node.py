"""The one node that does the work: which waiting task is next, and how many run at once (vplus-api.md 3.1)."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from .entities import Task
from .settings import Settings


class Node:
    """Waiting tasks by priority and age, and the threads that running ones take."""

    def __init__(self) -> None:
        self._ready: dict[str, list[tuple[int, int, str]]] = {}
        self._running: dict[str, int] = {}
        self._exports_from: dict[str | None, int] = {}

    def offer(self, task: Task) -> None:
        """Note that a task may start."""
        heapq.heappush(self._ready.setdefault(task.type, []), (-task.priority, task.number, task.guid))

    def start_ready(
        self, find: Callable[[str], Task | None], start: Callable[[Task], None], settings: Settings
    ) -> None:
        """Start what may start: highest priority first, then oldest, within the limits.

        `find` returns a task that still waits, or None; `start` starts it, and takes a thread if it really runs.
        """
        limits = {
            "EXPORT": settings.export_threads,
            "STORE": settings.store_threads,
            "RESTORE": settings.restore_threads,
            "IMPORT": settings.import_threads,
        }
        for kind, heap in self._ready.items():
            blocked: list[tuple[int, int, str]] = []
            while heap and (kind not in limits or self._running.get(kind, 0) < limits[kind]):
                entry = heapq.heappop(heap)
                task = find(entry[2])
                if task is None:
                    continue
                if self._source_is_busy(task, settings.export_threads_per_source):
                    blocked.append(entry)
                else:
                    start(task)
            for entry in blocked:
                heapq.heappush(heap, entry)

    def take(self, task: Task) -> None:
        """Note that a task runs."""
        self._running[task.type] = self._running.get(task.type, 0) + 1
        if task.type == "EXPORT":
            self._exports_from[task.manager] = self._exports_from.get(task.manager, 0) + 1

    def give_back(self, task: Task) -> None:
        """Note that a task no longer runs."""
        self._running[task.type] -= 1
        if task.type == "EXPORT":
            self._exports_from[task.manager] -= 1

    def _source_is_busy(self, task: Task, limit: int) -> bool:
        return task.type == "EXPORT" and limit > 0 and self._exports_from.get(task.manager, 0) >= limit

"""Four months of backups for the demo: schedules that ran, some that failed, some that somebody asked for."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..backup_chain import FAILURES, USER, keeps_snapshots, remember_success
from ..entities import DAYS, Backup, Origin, Schedule, Task, Times, VirtualMachine
from ..retention import expire
from ..world import World

MINUTE = 60_000
DAY = 86_400_000
MONDAY = 4 * DAY
"""1970-01-05 was a Monday."""
DAYS_BACK = 118
TASKS_SHOWN = 36 * 3_600_000
WINDOW = 6 * 3_600_000
FAILURE_SHARE = 0.025
ASKED_ONCE = 0.35
FATES = (70, 24, 3, 3)
"""Out of 100 VMs: old, young, new, failing."""
EXPORT_BANDWIDTH = 180 * 2**20
STORE_BANDWIDTH = 300 * 2**20
"""Bytes a second."""


@dataclass
class Past:
    """One VM's past: from when to when it was backed up, and since when every backup failed."""

    vm: VirtualMachine
    first: int
    last: int
    fails_since: int | None


@dataclass
class Run:
    """One backup as it went."""

    vm: VirtualMachine
    fired: int
    asked: str
    origin: Origin
    base: Backup | None
    size: int
    times: Times
    failed_phase: str | None
    reason: int

    @property
    def started(self) -> int:
        """When the export began, ms."""
        return self.fired + self.times.queued_export

    @property
    def ended(self) -> int:
        """When the store ended, ms."""
        return self.started + self.times.export + self.times.queued_store + self.times.store


def write_history(world: World, now: int, chance: random.Random) -> None:
    """Give every VM its past. VMs without a policy have none, or a backup somebody once asked for."""
    for vm in world.vms.values():
        if vm.policy is None:
            if chance.random() < ASKED_ONCE or not vm.present:
                fired = now - chance.randrange(2, 60) * DAY - chance.randrange(DAY)
                _write(world, _drawn_run(world, vm, fired, chance, asked="FULL", origin=USER), now)
        else:
            _scheduled(world, _drawn_past(vm, now, chance), now, chance)
    expire(world)


def _drawn_past(vm: VirtualMachine, now: int, chance: random.Random) -> Past:
    """Most VMs are as old as the history; some are young, a few have just been made or have failed for days."""
    fate = chance.choices(("old", "young", "new", "failing"), weights=FATES)[0] if vm.present else "old"
    gone = 0 if vm.present else chance.randrange(5, 50)
    days = {"young": chance.randrange(10, DAYS_BACK), "new": 0}.get(fate, DAYS_BACK)
    fails_since = now - chance.randrange(3, 12) * DAY if fate == "failing" else None
    return Past(vm, now - days * DAY, now - gone * DAY, fails_since)


def _scheduled(world: World, past: Past, now: int, chance: random.Random) -> None:
    """Write one backup for every firing of the VM's schedules in its past."""
    by_day: dict[str, Schedule] = {}
    for schedule in world.schedules_of(past.vm.policy or ""):
        for day in schedule.days:
            by_day[day] = schedule
    origins = {s.guid: Origin("SCHEDULE", s.guid, s.name) for s in by_day.values()}
    for midnight in range(past.first // DAY * DAY, past.last + 1, DAY):
        due = by_day.get(DAYS[(midnight - MONDAY) // DAY % len(DAYS)])
        if due is None or not past.first <= midnight + due.hour <= past.last:
            continue
        fired = midnight + due.hour
        run = _drawn_run(world, past.vm, fired, chance, asked=due.backup_type, origin=origins[due.guid])
        if past.fails_since is not None and fired >= past.fails_since:
            run.failed_phase = run.failed_phase or "EXPORT"
        _write(world, run, now)
        due.last_run = max(due.last_run or 0, fired)


def _drawn_run(
    world: World, vm: VirtualMachine, fired: int, chance: random.Random, *, asked: str, origin: Origin
) -> Run:
    """Draw how one backup went."""
    base = world.backups.get(vm.base or "") if asked == "INCREMENTAL" and vm.incremental else None
    size = int(vm.size * (chance.uniform(0.004, 0.03) if base else chance.uniform(0.42, 0.46)))
    export, store = 45_000 + size * 1000 // EXPORT_BANDWIDTH, 20_000 + size * 1000 // STORE_BANDWIDTH
    return Run(
        vm=vm,
        fired=fired,
        asked=asked,
        origin=origin,
        base=base,
        size=size,
        times=Times(chance.randrange(2000, 40 * MINUTE), export, chance.randrange(1000, 5 * MINUTE), store),
        failed_phase=chance.choice(("EXPORT", "STORE")) if chance.random() < FAILURE_SHARE else None,
        reason=chance.randrange(3),
    )


def _write(world: World, run: Run, now: int) -> None:
    """Write one backup with, when it is recent, its tasks. One that would not have ended by `now` is left out."""
    if run.ended > now - MINUTE:
        return
    vm, base, failed = run.vm, run.base, run.failed_phase
    rules = world.rules_of(vm.policy) if vm.policy else []
    backup = world.add_backup(
        Backup(
            guid=world.new_guid("backup"),
            vm=vm.guid,
            vm_name=vm.name,
            status="FAILED" if failed else "SUCCESS",
            type="INCREMENTAL" if base else "FULL",
            created=run.fired,
            destination=world.guid_of("destination", "Primary storage"),
            status_info=FAILURES[failed][run.reason] if failed else None,
            snapshot_time=None if failed == "EXPORT" else run.started + 4000,
            backup_time=None if failed else run.ended,
            size=0 if failed == "EXPORT" else run.size,
            parent=base.guid if base else None,
            root=(base.root or base.guid) if base else None,
            policy=vm.policy,
            rule=rules[0].guid if rules else None,
            project=vm.project,
            origin=run.origin,
            times=Times(run.times.queued_export, run.times.export) if failed else run.times,
        )
    )
    if not failed:
        remember_success(vm, backup, keeps_snapshot=keeps_snapshots(world, vm))
    if run.ended > now - TASKS_SHOWN:
        _write_tasks(world, run, backup)


def _write_tasks(world: World, run: Run, backup: Backup) -> None:
    exported = run.started + run.times.export
    phases = [("EXPORT", run.fired, run.started, exported)]
    if run.failed_phase != "EXPORT":
        phases.append(("STORE", exported, exported + run.times.queued_store, run.ended))
    parent = None
    for kind, created, started, ended in phases:
        failed = kind == run.failed_phase
        task = Task(
            guid=world.new_guid("task"),
            type=kind,
            state="FAILED" if failed else "FINISHED",
            created=created,
            number=world.number("task order"),
            priority=world.policies[run.vm.policy].priority if run.vm.policy else 50,
            window_start=created,
            window_end=created + WINDOW,
            window_shown=created,
            vm=run.vm.guid,
            vm_name=run.vm.name,
            backup=backup.guid,
            parent=parent,
            backup_type=run.asked,
            destination=backup.destination,
            manager=run.vm.manager,
            origin=backup.origin,
            status_info=backup.status_info if failed else None,
            started=started,
            finished=ended,
            done=60.0 if failed else 100.0,
        )
        parent = world.add_task(task).guid

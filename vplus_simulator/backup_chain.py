"""A backup: EXPORT, a moment without a task, STORE (vplus-api.md 3.2), and the fallback to a full one (3.6)."""

from __future__ import annotations

from collections.abc import Callable

from .entities import Backup, Origin, Task, VirtualMachine
from .work import Work, ms
from .world import World

USER = Origin("USER", "1", "portal")
MINUTE = 60_000


class _Phase(Work):
    """What both phases of a backup share."""

    threshold: str
    """The member of a policy that says at how many percent of failures it gives up the rest."""

    def backup_of(self, task: Task) -> Backup | None:
        """Return the backup record of a task."""
        return self.world.backups.get(task.backup or "")

    def destination_obstacle(self, task: Task) -> str | None:
        """Return why the backup cannot go where it should: a matter for the task, not for the POST (2.9)."""
        destination = self.world.destinations.get(task.destination or "")
        vm = self.world.vms.get(task.vm or "")
        if destination is None:
            return "No backup destination is assigned"
        if not destination.enabled:
            return f"Backup destination {destination.name} is not assigned to the node configuration"
        if vm is not None and not self.world.usable(destination, vm):
            return f"Backup destination {destination.name} is not available for the project of {vm.name}"
        return None

    def failed_here(self, backup: Backup) -> bool:
        """Return whether a backup came to its end in this phase, without success."""
        raise NotImplementedError

    def given_up(self, task: Task) -> str | None:
        """Return why the rest of a policy's run is failed: more of its tasks failed than the policy bears (3.9).

        A run is what one firing asked for; the rest is what has not started yet [inferred].
        """
        backup = self.backup_of(task)
        policy = self.world.policies.get(backup.policy or "") if backup is not None else None
        borne = policy.others.get(self.threshold) if policy is not None else None
        if backup is None or backup.origin.type != "SCHEDULE" or type(borne) is not int:
            return None
        run = [
            other
            for other in self.world.backups.values()
            if (other.policy, other.origin, other.created) == (backup.policy, backup.origin, backup.created)
        ]
        if sum(map(self.failed_here, run)) * 100 <= borne * len(run):
            return None
        return f"More than {borne} % of the tasks of the backup policy failed, so the remaining ones are failed"

    def events(self) -> dict[str, Callable[[str, int], None]]:
        """Return the birth of a copy of a failed task."""
        return {f"retry_{type(self).__name__.lower()}": self._retry_due}

    def gave_up(self, task: Task, reason: str) -> None:
        """Mark the backup as failed, unless a copy of the failed task is to try again (3.2, step 6)."""
        if self._tries_again(task):
            self._plan_retry(task)
            return
        backup = self.backup_of(task)
        if backup is not None and backup.status in {"QUEUED", "INPROGRESS"}:
            backup.status, backup.status_info = "FAILED", reason
            self.world.changed()

    def resumed(self, task: Task) -> None:
        """Plan the copy that was still to come."""
        if self._tries_again(task):
            self._plan_retry(task)

    def removed(self, task: Task, now: int) -> None:
        """Somebody tidied up before the copy was made: it comes all the same."""
        if self._tries_again(task):
            self._retry_due(task.guid, now)

    def _tries_again(self, task: Task) -> bool:
        """Return whether a copy of a failed task is still to be made; a window that has passed allows none."""
        return (
            task.state == "FAILED"
            and task.retry_count > 0
            and not task.retried
            and task.finished is not None
            and task.finished + ms(self.engine.settings.retry_gap_seconds) <= task.window_end
        )

    def _plan_retry(self, task: Task) -> None:
        at = (task.finished or task.created) + ms(self.engine.settings.retry_gap_seconds)
        self.engine.plan(at, f"retry_{type(self).__name__.lower()}", task.guid)

    def _retry_due(self, guid: str, at: int) -> None:
        """Make the copy: the same task under a new guid, with one try less. The backup record stays the same."""
        task = self.world.tasks.get(guid)
        backup = self.backup_of(task) if task is not None else None
        if task is None or backup is None or task.retried or backup.status not in {"QUEUED", "INPROGRESS"}:
            return
        task.retried = True
        self.before_retry(backup)
        self.engine.enqueue(
            Task(
                guid=self.world.new_guid("task"),
                type=task.type,
                state="QUEUED",
                created=at,
                number=self.world.number("task order"),
                priority=task.priority,
                window_start=task.window_start,
                window_end=task.window_end,
                window_shown=task.window_shown,
                vm=task.vm,
                vm_name=task.vm_name,
                backup=task.backup,
                parent=task.parent,
                backup_type=task.backup_type,
                destination=task.destination,
                manager=task.manager,
                origin=task.origin,
                retry_count=task.retry_count - 1,
            )
        )

    def before_retry(self, backup: Backup) -> None:
        """Put the backup record back to where the copy begins."""


class Export(_Phase):
    """Reads the VM's data from the platform."""

    threshold = "failRemainingBackupTasksExportThreshold"
    reasons = (
        "Export failed: snapshot of the virtual machine could not be created (timeout after 600 s)",
        "Connection to hypervisor manager https://keystone.waw1.cloud.internal:5000/v3 refused",
        "Not enough space in the staging area /vprotect_data on node node-1",
        "Quota exceeded: hard limit of backup size for the project was reached",
    )
    """They name hosts and paths on purpose: a portal must not show them to tenants."""

    def ask(
        self,
        vm: VirtualMachine,
        *,
        backup_type: str,
        now: int,
        priority: int,
        window_start: int | None = None,
        window_end: int | None = None,
        destination: str | None = None,
        retry_count: int | None = None,
        origin: Origin = USER,
        rule: str | None = None,
    ) -> Task:
        """Create the EXPORT task of one VM, QUEUED, and its backup record (3.2). Missing windows as in 2.2.3.

        Without `retry_count` the server's own policy counts; without `rule` the first one of the VM's policy.
        """
        settings = self.engine.settings
        start = now if window_start is None else window_start
        end = start + ms(settings.export_window_seconds) if window_end is None else window_end
        if destination is None:
            destination = self.world.default_destination(vm)
        if rule is None and vm.policy:
            rule = next((own.guid for own in self.world.rules_of(vm.policy)), None)
        backup = self.world.add_backup(
            Backup(
                guid=self.world.new_guid("backup"),
                vm=vm.guid,
                vm_name=vm.name,
                status="QUEUED",
                type=backup_type,
                created=now,
                destination=destination,
                policy=vm.policy,
                rule=rule,
                project=vm.project,
                origin=origin,
            )
        )
        task = Task(
            guid=self.world.new_guid("task"),
            type="EXPORT",
            state="QUEUED",
            created=now,
            number=self.world.number("task order"),
            priority=priority,
            window_start=start,
            window_end=end,
            window_shown={"exact": start, "server_time": now, "minute": start - start % MINUTE}[settings.window_start],
            vm=vm.guid,
            vm_name=vm.name,
            backup=backup.guid,
            backup_type=backup_type,
            destination=destination,
            manager=vm.manager,
            origin=origin,
            retry_count=settings.auto_retry if retry_count is None else retry_count,
        )
        return self.engine.enqueue(task)

    def seconds(self) -> tuple[float, float]:
        """Return the shortest and the longest run."""
        return self.engine.settings.export_seconds

    def failure_rate(self) -> float:
        """Return the chance of failure."""
        return self.engine.settings.export_failure_rate

    def events(self) -> dict[str, Callable[[str, int], None]]:
        """Return the snapshot and the birth of the store task."""
        return super().events() | {"snapshot": self._snapshot_taken, "store_due": self._store_due}

    def failed_here(self, backup: Backup) -> bool:
        """Return whether it was never exported."""
        return backup.status == "FAILED" and not backup.times.export

    def before_retry(self, backup: Backup) -> None:
        """The whole export is repeated, with a snapshot of its own."""
        backup.status, backup.snapshot_time = "QUEUED", None

    def obstacle(self, task: Task) -> str | None:
        """A VM that is gone, from the inventory or only from the platform, cannot be exported (3.10)."""
        vm = self.world.vms.get(task.vm or "")
        if vm is None or not vm.present:
            return "Virtual machine is not present on the hypervisor"
        if vm.uuid not in self.world.platform:
            return f"Virtual machine {vm.name} ({vm.uuid}) was not found on the hypervisor manager"
        return self.given_up(task) or self.destination_obstacle(task)

    def late_obstacle(self, task: Task) -> str | None:
        """A VM may disappear while it is read."""
        vm = self.world.vms.get(task.vm or "")
        if vm is None or vm.uuid not in self.world.platform:
            return "Virtual machine disappeared while it was exported"
        return None

    def started(self, task: Task, at: int) -> None:
        """Begin the backup, choose what kind it will really be, and plan its snapshot."""
        backup = self.backup_of(task)
        if backup is None:
            return
        backup.status = "INPROGRESS"
        vm = self.world.vms[backup.vm]
        base = self.world.backups.get(vm.base or "")
        if (
            task.backup_type == "INCREMENTAL"
            and vm.incremental
            and base is not None
            and keeps_snapshots(self.world, vm)
        ):
            backup.type, backup.parent, backup.root = "INCREMENTAL", base.guid, base.root or base.guid
        else:
            backup.type, backup.parent, backup.root = "FULL", None, None
        self._plan_snapshot(task, at)

    def resumed(self, task: Task) -> None:
        """Plan the snapshot, the store task or the copy that was still to come."""
        super().resumed(task)
        if task.state == "RUNNING" and task.started is not None:
            self._plan_snapshot(task, task.started)
        elif task.state == "FINISHED" and task.finished is not None:
            self._plan_store(task, task.finished)

    def _plan_snapshot(self, task: Task, started: int) -> None:
        early = min(ms(self.engine.settings.snapshot_seconds), task.duration // 5)
        self.engine.plan(started + early, "snapshot", task.guid)

    def _snapshot_taken(self, guid: str, at: int) -> None:
        task = self.world.tasks.get(guid)
        backup = self.backup_of(task) if task is not None and task.state == "RUNNING" else None
        if backup is not None and backup.snapshot_time is None:
            backup.snapshot_time = at
            self.world.changed()

    def finished(self, task: Task, at: int) -> None:
        """Measure what was read; the store task comes a moment later. Nothing is stored yet."""
        backup = self.backup_of(task)
        if backup is None:
            return
        chance = self.world.chance("size", backup.guid)
        share = chance.uniform(0.35, 0.6) if backup.type == "FULL" else chance.uniform(0.005, 0.04)
        backup.size = int(self.world.vms[backup.vm].size * share)
        started = task.started or at
        backup.times.queued_export = max(0, started - max(task.created, task.window_start))
        backup.times.export = at - started
        self._plan_store(task, at)

    def _plan_store(self, task: Task, finished: int) -> None:
        self.engine.plan(finished + ms(self.engine.settings.store_gap_seconds), "store_due", task.guid)

    def removed(self, task: Task, now: int) -> None:
        """Somebody tidied up between the two tasks: the backup goes on all the same."""
        super().removed(task, now)
        if task.state == "FINISHED":
            self._store_due(task.guid, now)

    def _store_due(self, guid: str, at: int) -> None:
        """The server itself creates the STORE task of a finished export, once (3.2)."""
        export = self.world.tasks.get(guid)
        backup = self.backup_of(export) if export is not None else None
        if export is None or backup is None or backup.status != "INPROGRESS":
            return
        siblings = (self.world.tasks[other] for other in self.world.tasks_of.get(backup.vm, {}))
        if any(task.type == "STORE" and task.backup == backup.guid for task in siblings):
            return
        self.engine.enqueue(
            Task(
                guid=self.world.new_guid("task"),
                type="STORE",
                state="QUEUED",
                created=at,
                number=self.world.number("task order"),
                priority=export.priority,
                window_start=at,
                window_end=at + ms(self.engine.settings.store_window_seconds),
                window_shown=at,
                vm=export.vm,
                vm_name=export.vm_name,
                backup=backup.guid,
                parent=export.guid,
                backup_type=export.backup_type,
                destination=export.destination,
                manager=export.manager,
                origin=export.origin,
                retry_count=export.retry_count,
            )
        )


class Store(_Phase):
    """Writes the data to the backup destination; only its end makes a backup."""

    threshold = "failRemainingBackupTasksStoreThreshold"
    reasons = (
        "Store failed: No space left on device (/backupdestination/main)",
        "Backup destination did not answer within 300 s",
        "Store failed: checksum of the written file does not match",
    )

    def seconds(self) -> tuple[float, float]:
        """Return the shortest and the longest run."""
        return self.engine.settings.store_seconds

    def failure_rate(self) -> float:
        """Return the chance of failure."""
        return self.engine.settings.store_failure_rate

    def failed_here(self, backup: Backup) -> bool:
        """Return whether it was exported, and not stored."""
        return backup.status == "FAILED" and backup.times.export > 0

    def obstacle(self, task: Task) -> str | None:
        """The destination must be there; the VM need not be any more."""
        return self.given_up(task) or self.destination_obstacle(task)

    def late_obstacle(self, task: Task) -> str | None:
        """A destination may be switched off while it is written to."""
        return self.destination_obstacle(task)

    def finished(self, task: Task, at: int) -> None:
        """The backup is made (3.2, step 4)."""
        backup = self.backup_of(task)
        if backup is None:
            return
        started = task.started or at
        backup.status = "PARTIAL_SUCCESS" if task.partial else "SUCCESS"
        if task.partial:
            backup.warnings.append("A copy could not be written to the secondary backup destination")
        backup.backup_time = at
        backup.times.queued_store = max(0, started - task.created)
        backup.times.store = at - started
        vm = self.world.vms[backup.vm]
        remember_success(vm, backup, keeps_snapshot=keeps_snapshots(self.world, vm))
        self.world.touch_vm(vm)


def keeps_snapshots(world: World, vm: VirtualMachine) -> bool:
    """Return whether the VM's policy has a schedule that needs the last snapshot kept (3.6)."""
    schedules = world.schedules_of(vm.policy) if vm.policy else []
    return any(schedule.backup_type == "INCREMENTAL" for schedule in schedules)


def remember_success(vm: VirtualMachine, backup: Backup, *, keeps_snapshot: bool) -> None:
    """Note on the VM that `backup` was stored (3.2, step 4)."""
    vm.last_backup = backup.backup_time
    vm.last_success_size = backup.size
    if backup.type == "FULL":
        vm.last_full, vm.last_full_size = backup.guid, backup.size
    else:
        vm.last_incremental = backup.guid
    vm.base = backup.guid if keeps_snapshot else None


FAILURES = {"EXPORT": Export.reasons, "STORE": Store.reasons}
"""Why backups fail, by phase."""

"""A restore: RESTORE brings the data back, IMPORT makes a new VM of it on the platform (vplus-api.md 3.3).

vPlus itself learns of the new VM only at its next inventory sync, and no record names it (2.2.2).
"""

from __future__ import annotations

from collections.abc import Callable

from .backup_chain import USER
from .entities import Backup, PlatformVm, RestoreJob, Task
from .platform import Place, Refused, find_place, refuse_name, refuse_room, same_name
from .retention import STORED
from .work import Work, ms


class _Phase(Work):
    """What both phases of a restore share."""

    def job_of(self, task: Task) -> RestoreJob | None:
        """Return the restore job of a task."""
        return self.world.restore_jobs.get(task.restore_job or "")

    def gave_up(self, task: Task, reason: str) -> None:
        """Mark the restore as failed; nothing is left on the platform."""
        job = self.job_of(task)
        if job is not None and job.status != "SUCCESS":
            job.status, job.status_info = "FAILED", reason
            self.world.changed()

    def place(self, job: RestoreJob) -> Place:
        """Return where the new VM goes; raises Refused."""
        return find_place(self.world, job, self.engine.settings)


class Restore(_Phase):
    """Reads a backup from its destination into the node's staging area."""

    reasons = (
        "Restore failed: backup file /backupdestination/main/vm.qcow2 cannot be read",
        "Not enough space in the staging area /vprotect_data on node node-1",
        "Backup destination did not answer within 300 s",
    )

    def ask(self, job: RestoreJob, backup: Backup, *, now: int, priority: int = 50) -> Task:
        """Create the RESTORE task and keep its restore job."""
        self.world.add_restore_job(job)
        vm = self.world.vms[backup.vm]
        return self.engine.enqueue(
            Task(
                guid=self.world.new_guid("task"),
                type="RESTORE",
                state="QUEUED",
                created=now,
                number=self.world.number("task order"),
                priority=priority,
                window_start=now,
                window_end=now + ms(self.engine.settings.restore_window_seconds),
                window_shown=now,
                vm=vm.guid,
                vm_name=vm.name,
                backup=backup.guid,
                destination=backup.destination,
                manager=job.manager,
                restore_job=job.guid,
                origin=USER,
            )
        )

    def seconds(self) -> tuple[float, float]:
        """Return the shortest and the longest run."""
        return self.engine.settings.restore_seconds

    def failure_rate(self) -> float:
        """Return the chance of failure."""
        return self.engine.settings.restore_failure_rate

    def events(self) -> dict[str, Callable[[str, int], None]]:
        """Return the birth of the import task."""
        return {"import_due": self._import_due}

    def obstacle(self, task: Task) -> str | None:
        """The backup, and all that it builds on, must still be on a destination that the node can use."""
        backup = self.world.backups.get(task.backup or "")
        if backup is None:
            return "Backup does not exist"
        part: Backup | None = backup
        while part is not None:
            if part.status not in STORED:
                return f"Backup of VM {backup.vm_name} is not available on the backup destination ({part.status})"
            part = self.world.backups.get(part.parent or "")
        destination = self.world.destinations.get(backup.destination or "")
        if destination is None or not destination.enabled:
            name = destination.name if destination is not None else backup.destination
            return f"Backup destination {name} is not assigned to the node configuration"
        return None

    def late_obstacle(self, task: Task) -> str | None:
        """Retention may take the backup while it is read."""
        return self.obstacle(task)

    def started(self, task: Task, at: int) -> None:
        """Note that the restore goes on."""
        job = self.job_of(task)
        if job is not None:
            job.status = "INPROGRESS"
            job.times.queued_restore = at - task.created

    def resumed(self, task: Task) -> None:
        """Plan the import that was still to come."""
        if task.state == "FINISHED" and task.finished is not None:
            self._plan_import(task, task.finished)

    def finished(self, task: Task, at: int) -> None:
        """The data are there; the import task comes a moment later. No VM exists yet."""
        job = self.job_of(task)
        if job is not None:
            job.times.restore = at - (task.started or at)
            self._plan_import(task, at)

    def removed(self, task: Task, now: int) -> None:
        """Somebody tidied up between the two tasks: the restore goes on all the same."""
        if task.state == "FINISHED":
            self._import_due(task.guid, now)

    def _plan_import(self, task: Task, finished: int) -> None:
        self.engine.plan(finished + ms(self.engine.settings.import_gap_seconds), "import_due", task.guid)

    def _import_due(self, guid: str, at: int) -> None:
        """The server itself creates the IMPORT task of a finished restore, once (3.3)."""
        restore = self.world.tasks.get(guid)
        job = self.job_of(restore) if restore is not None else None
        if restore is None or job is None or job.status != "INPROGRESS" or job.import_made:
            return
        job.import_made = True
        self.engine.enqueue(
            Task(
                guid=self.world.new_guid("task"),
                type="IMPORT",
                state="QUEUED",
                created=at,
                number=self.world.number("task order"),
                priority=restore.priority,
                window_start=at,
                window_end=at + ms(self.engine.settings.import_window_seconds),
                window_shown=at,
                vm=restore.vm,
                vm_name=restore.vm_name,
                backup=restore.backup,
                parent=restore.guid,
                destination=restore.destination,
                manager=restore.manager,
                restore_job=restore.restore_job,
                origin=restore.origin,
            )
        )


class Import(_Phase):
    """Makes the new VM on the platform; the platform may refuse it."""

    reasons = (
        "Import failed: the hypervisor manager https://keystone.internal:5000/v3 answered 500",
        "Import failed: image conversion on node node-1 ended with exit code 1",
        "Connection to the hypervisor was lost during the transfer of disk 1",
    )

    def seconds(self) -> tuple[float, float]:
        """Return the shortest and the longest run."""
        return self.engine.settings.import_seconds

    def failure_rate(self) -> float:
        """Return the chance of failure."""
        return self.engine.settings.import_failure_rate

    def obstacle(self, task: Task) -> str | None:
        """The platform refuses a place that is not there, a name, or a VM that does not fit."""
        job = self.job_of(task)
        if job is None:
            return "Restore job does not exist"
        try:
            place = self.place(job)
            refuse_name(self.world, job, place, taken=self.engine.settings.taken_name)
            refuse_room(self.world, job, place)
        except Refused as refused:
            return str(refused)
        return None

    def late_obstacle(self, task: Task) -> str | None:
        """The name may be taken, and the room be filled, while the disks are written."""
        return self.obstacle(task)

    def started(self, task: Task, at: int) -> None:
        """Note how long it waited."""
        job = self.job_of(task)
        if job is not None:
            job.times.queued_import = at - task.created

    def finished(self, task: Task, at: int) -> None:
        """The new VM is on the platform; with `overwrite` every other of its name in that place is gone."""
        job = self.job_of(task)
        if job is None:
            return
        place = self.place(job)
        if job.overwrite:
            for other in same_name(self.world, job, place):
                del self.world.platform[other.uuid]
        source = self.world.vms[job.vm]
        machine = PlatformVm(
            uuid=self.world.guid_of("restored", job.guid),
            name=job.name,
            manager=place.manager.guid,
            project=place.project,
            cluster=place.cluster,
            hypervisor=place.hypervisor,
            size=source.size,
            incremental=source.incremental,
        )
        self.world.platform[machine.uuid] = machine
        place.storage.take(machine.size)
        job.new_uuid = machine.uuid
        job.times.import_ = at - (task.started or at)
        seconds = (job.times.restore + job.times.import_) // 1000
        backup = self.world.backups.get(job.backup)
        size = 0 if backup is None else backup.size
        job.status = "SUCCESS"
        job.status_info = (
            f"Backups of VM: {source.name} (size: {size / 2**30:.2f} GB) imported in: {seconds // 60}m {seconds % 60}s."
        )
        self.world.changed()

"""What a test may do to the simulator: the same methods in-process and, through `control_api`, over HTTPS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import inventory
from .clock import SteppedClock
from .control_protection import ProtectionControl
from .entities import BACKUP_STATUSES, ENDED, TASK_STATES, PlatformVm, SeedTenant, Storage, Task, VirtualMachine
from .fault_drawing import FaultEntry
from .faults import Fault, FaultPlan
from .messages import Refusal, bad_request, not_found
from .seed import plant
from .seed.plan import SeedPlan
from .service import Counters
from .settings import Settings, changed
from .tls import CertificateKind
from .world import JournalEntry, Outcome

if TYPE_CHECKING:
    from .http import SimulatorServer

OUTCOMES = ("fail", "hold", "partial", "succeed")
KINDS = (
    "projects",
    "managers",
    "clusters",
    "hypervisors",
    "storages",
    "destinations",
    "schedules",
    "rules",
    "policies",
    "platform",
    "vms",
    "backups",
    "tasks",
    "restore_jobs",
)


class TaskChoice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Ended tasks: one by guid, those of a VM, those of a type, or all."""

    task: str | None = None
    vm: str | None = None
    type: str | None = None


class Summary(msgspec.Struct, kw_only=True):
    """The world in numbers. `now` is simulated ms."""

    now: int
    vms: int
    vms_present: int
    platform: int
    backups: dict[str, int]
    tasks: dict[str, int]
    sessions: int
    journal: int
    last_sync: int | None


class Control:
    """Every method takes the world's lock, plays what is due, then acts; it refuses by raising `messages.Refusal`."""

    def __init__(self, server: SimulatorServer) -> None:
        self._server = server
        self._world = server.world
        self.protection = ProtectionControl(server)
        """Policies, rules and schedules as somebody in vPlus itself changes them."""

    # The whole.

    def reset(self) -> Summary:
        """Go back to the start: seed, switches, counters, journal, faults and sessions (not the clock)."""
        with self._world.lock:
            self.seed(self._server.options.seed, settings=self._server.options.settings)
            self._server.arm_start_faults()
            return self.summary()

    def seed(self, plan: SeedPlan, *, settings: Settings | None = None) -> Summary:
        """Replace the world by another seed; counters, journal, faults and sessions start again."""
        server = self._server
        with self._world.lock:
            now = server.clock.now()
            plant(self._world, plan, now)
            server.engine.settings = settings or server.engine.settings
            server.engine.resume(now)
            server.sessions.end_all()
            server.service.counters = Counters()
            server.faults.disarm()
            server.faults.clear_journal()
            return self.summary()

    def summary(self) -> Summary:
        """Count what there is."""
        with self._world.lock:
            self._advance()
            world = self._world
            backups = dict.fromkeys(BACKUP_STATUSES, 0)
            for backup in world.backups.values():
                backups[backup.status] += 1
            return Summary(
                now=self._server.clock.now(),
                vms=len(world.vms),
                vms_present=sum(vm.present for vm in world.vms.values()),
                platform=len(world.platform),
                backups=backups,
                tasks={state: len(world.tasks_in.get(state, {})) for state in TASK_STATES},
                sessions=len(self._server.sessions),
                journal=len(world.journal),
                last_sync=world.last_sync,
            )

    def step(self, seconds: float) -> int:
        """Move a stepped clock forward, play what happens, return the new instant (ms); 409 on a running clock."""
        clock = self._server.clock
        if not isinstance(clock, SteppedClock):
            raise Refusal(409, "Only a stepped clock can be moved; start the server with --stepped")
        if seconds < 0:
            raise bad_request("seconds must not be negative")
        with self._world.lock:
            clock.step(round(seconds * 1000))
            return self._advance()

    def settings(self) -> Settings:
        """Return the switches in force."""
        return self._server.engine.settings

    def change(self, **changes: Any) -> Settings:
        """Change switches; 400 for an unknown one or a wrong value, and then none is changed."""
        with self._world.lock:
            now = self._advance()
            try:
                settings = changed(self.settings(), changes)
            except msgspec.ValidationError as error:
                raise bad_request(str(error)) from error
            self._world.rendered.clear()
            self._world.orders.clear()
            self._server.engine.apply(settings, now)
            return settings

    # Looking.

    def journal(self, after: int = 0) -> list[JournalEntry]:
        """Return the accepted changes numbered above `after`, in order."""
        with self._world.lock:
            return [entry for entry in self._world.journal if entry.number > after]

    def counters(self) -> Counters:
        """Return a copy of what was counted."""
        with self._world.lock:
            return msgspec.convert(msgspec.to_builtins(self._server.service.counters), Counters)

    def clear_counters(self) -> None:
        """Count from 0 again."""
        with self._world.lock:
            self._server.service.counters = Counters()

    def objects(self, kind: str) -> list[Any]:
        """Return every object of a kind (`KINDS`) with all its members, the engine's own included."""
        if kind not in KINDS:
            raise Refusal(404, f"There is no kind {kind}; there are {', '.join(KINDS)}")
        with self._world.lock:
            self._advance()
            return list(getattr(self._world, kind).values())

    def tenants(self) -> list[SeedTenant]:
        """Return whose VMs are whose in the seeded world."""
        with self._world.lock:
            return list(self._world.tenants)

    def unowned(self) -> list[str]:
        """Return the guids of the VMs that the seed gave to nobody."""
        with self._world.lock:
            owned = {guid for tenant in self._world.tenants for guid in tenant.vm_guids}
            return [guid for guid in self._world.vms if guid not in owned]

    # The platform.

    def add_vm(
        self,
        name: str,
        *,
        project: str | None = None,
        manager: str | None = None,
        uuid: str | None = None,
        size: int | None = None,
        incremental: bool = True,
    ) -> PlatformVm:
        """Create a VM on the platform; vPlus knows it after the next sync. `project`: guid or uuid; `manager`: guid."""
        with self._world.lock:
            self._advance()
            world = self._world
            owner = next((p for p in world.projects.values() if project in (p.guid, p.uuid)), None)
            if project is not None and owner is None:
                raise not_found("Project", project)
            kind = "OPENSTACK" if owner is not None else "VCENTER"
            home = manager or next((m.guid for m in world.managers.values() if m.type == kind), None)
            if home is None or home not in world.managers:
                raise not_found("Hypervisor manager", str(manager))
            machine = PlatformVm(
                uuid=uuid or world.new_guid("platform"),
                name=name,
                manager=home,
                project=owner.guid if owner is not None else None,
                cluster=next((c.guid for c in world.clusters.values() if c.manager == home), None),
                hypervisor=next((h.guid for h in world.hypervisors.values() if h.manager == home), None),
                size=40 * 2**30 if size is None else size,
                incremental=incremental,
            )
            if machine.uuid in world.platform:
                raise Refusal(409, f"The platform has a VM {machine.uuid} already")
            world.platform[machine.uuid] = machine
            world.changed()
            return machine

    def remove_vm(self, vm: str) -> PlatformVm:
        """Delete a VM on the platform, by guid or uuid; vPlus notices at the next sync."""
        with self._world.lock:
            self._advance()
            machine = self._machine(vm)
            del self._world.platform[machine.uuid]
            self._world.changed()
            return machine

    def rename_vm(self, vm: str, name: str) -> PlatformVm:
        """Rename a VM on the platform, by guid or uuid."""
        with self._world.lock:
            self._advance()
            machine = self._machine(vm)
            machine.name = name
            self._world.changed()
            return machine

    def move_vm(self, vm: str, project: str | None) -> PlatformVm:
        """Give a VM on the platform to another project (guid or uuid), or to none."""
        with self._world.lock:
            self._advance()
            owner = next((p for p in self._world.projects.values() if project in (p.guid, p.uuid)), None)
            if project is not None and owner is None:
                raise not_found("Project", project)
            machine = self._machine(vm)
            machine.project = owner.guid if owner is not None else None
            self._world.changed()
            return machine

    def fill_storage(self, storage: str, free: int) -> Storage:
        """Let a storage (guid or uuid) really have `free` bytes; the statistics show it after the next sync only."""
        with self._world.lock:
            self._advance()
            found = next((s for s in self._world.storages.values() if storage in (s.guid, s.uuid)), None)
            if found is None:
                raise not_found("Storage", storage)
            if not 0 <= free <= found.total:
                raise bad_request(f"free must be between 0 and {found.total}")
            found.really_used = found.total - free
            self._world.changed()
            return found

    def sync(self) -> inventory.Changes:
        """Bring the inventory up to date now."""
        with self._world.lock:
            return inventory.synchronize(self._world, self._advance())

    def clean_up(self) -> list[str]:
        """Run the daily cleanup now; return the guids of the backups that lost their data."""
        with self._world.lock:
            return self._server.engine.clean_up(self._advance())

    def _machine(self, vm: str) -> PlatformVm:
        known = self._world.vms.get(vm)
        machine = self._world.platform.get(known.uuid if known is not None else vm)
        if machine is None:
            raise not_found("Virtual machine on the platform", vm)
        return machine

    # What becomes of tasks.

    def next_outcome(self, outcome: Outcome) -> list[Outcome]:
        """Order what happens to the next task of a type (of one VM, or of any); return all open orders."""
        if outcome.outcome not in OUTCOMES:
            raise bad_request(f"outcome must be one of {', '.join(OUTCOMES)}")
        if outcome.type not in self._server.engine.work:
            raise bad_request(f"type must be one of {', '.join(self._server.engine.work)}")
        with self._world.lock:
            self._world.outcomes.append(outcome)
            self._world.changed()
            return list(self._world.outcomes)

    def outcomes(self) -> list[Outcome]:
        """Return the open orders."""
        with self._world.lock:
            return list(self._world.outcomes)

    def clear_outcomes(self) -> None:
        """Forget the open orders."""
        with self._world.lock:
            self._world.outcomes.clear()
            self._world.changed()

    def release(self, task: str, *, fail_reason: str | None = None) -> Task:
        """Let a held task go on, or fail it where it stands."""
        with self._world.lock:
            now = self._advance()
            found = self._world.tasks.get(task)
            if found is None:
                raise not_found("Task", task)
            if found.state != "RUNNING":
                raise Refusal(409, f"Task {task} is {found.state}")
            self._server.engine.release(found, now, fail_reason=fail_reason)
            self._server.engine.advance(now)
            return found

    def forget_tasks(self, wanted: TaskChoice) -> list[str]:
        """Take ended tasks off the list now, as retention or a click would; return their guids.

        409 for a single task that has not ended.
        """
        with self._world.lock:
            now = self._advance()
            if wanted.task is not None:
                task = self._world.tasks.get(wanted.task)
                if task is None:
                    raise not_found("Task", wanted.task)
                if task.state not in ENDED:
                    raise Refusal(409, f"Task {task.guid} is {task.state}")
            chosen = [
                task
                for task in self._world.tasks.values()
                if task.state in ENDED
                and wanted.task in (None, task.guid)
                and wanted.vm in (None, task.vm)
                and wanted.type in (None, task.type)
            ]
            for task in chosen:
                self._server.engine.remove(task, now)
            self._server.engine.advance(now)
            return [task.guid for task in chosen]

    def end_sessions(self) -> int:
        """End every session; return how many there were."""
        with self._world.lock:
            return self._server.sessions.end_all()

    # Faults.

    def arm(self, fault: Fault) -> list[Fault]:
        """Arm a fault; return all that are armed."""
        try:
            self._server.faults.arm(fault)
        except ValueError as error:
            raise bad_request(str(error)) from error
        return self._server.faults.armed()

    def arm_plan(self, plan: FaultPlan) -> list[Fault]:
        """Arm the faults of a chaos run; return all that are armed."""
        try:
            self._server.faults.arm_plan(plan)
        except ValueError as error:
            raise bad_request(str(error)) from error
        return self._server.faults.armed()

    def fault_journal(self, after: int = 0) -> list[FaultEntry]:
        """Return the faults that hit a call, numbered above `after`, in order."""
        return self._server.faults.journal(after)

    def faults(self) -> list[Fault]:
        """Return the faults that can still hit."""
        return self._server.faults.armed()

    def disarm(self) -> None:
        """Disarm all faults."""
        self._server.faults.disarm()

    def refuse_connections(self, seconds: float) -> None:
        """Be unreachable for some wall-clock seconds, the control API included."""
        self._server.refuse_connections(seconds)

    def show_certificate(self, kind: CertificateKind) -> str:
        """Show the simulator's own authority's certificate, or one like vPlus's; return the file that clients trust then.

        It counts for new connections; a reset leaves it as it is.
        """
        self._server.show_certificate(kind)
        return str(self._server.ca_path)

    def vm(self, guid: str) -> VirtualMachine:
        """Return one VM of the inventory."""
        with self._world.lock:
            self._advance()
            if guid not in self._world.vms:
                raise not_found("Virtual machine", guid)
            return self._world.vms[guid]

    def _advance(self) -> int:
        now = self._server.clock.now()
        self._server.engine.advance(now)
        return now

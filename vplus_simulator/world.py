"""The state of the simulated vPlus: its objects, their indexes, the journal, and the rules that need no time."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

import msgspec

from .entities import (
    Backup,
    Cluster,
    Destination,
    Hypervisor,
    Manager,
    PlatformVm,
    Policy,
    Project,
    RestoreJob,
    Rule,
    Schedule,
    SeedTenant,
    Storage,
    Task,
    VirtualMachine,
)


class HasGuid(Protocol):
    """Anything with a guid."""

    guid: str


T = TypeVar("T", bound=HasGuid)


class JournalEntry(msgspec.Struct, kw_only=True):
    """One accepted change: what was asked, by whom, and what came of it. `at` is simulated ms."""

    number: int
    at: int
    call: str
    guid: str | None
    """Of the object in the path, or of the one that the call made."""
    asked: Any
    tasks: list[str]
    backups: list[str]
    status: int
    session: int
    """The number of the sign-in that asked, counted from 1."""
    client: str
    user_agent: str
    request_id: str


class LateCall(msgspec.Struct, kw_only=True):
    """A change that the server has taken and will make at `at` (simulated ms)."""

    number: int
    at: int
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    client: str
    session: int


class Outcome(msgspec.Struct, kw_only=True):
    """What a test ordered for the next task of a type: fail, hold or partial."""

    outcome: str
    type: str = "EXPORT"
    vm: str | None = None
    """None: whichever VM comes first."""
    progress: float = 50.0
    reason: str | None = None


class Snapshot(msgspec.Struct, kw_only=True):
    """Everything that a state file keeps, except the clock."""

    random_seed: int
    numbers: dict[str, int]
    projects: list[Project]
    managers: list[Manager]
    clusters: list[Cluster]
    hypervisors: list[Hypervisor]
    storages: list[Storage]
    destinations: list[Destination]
    schedules: list[Schedule]
    rules: list[Rule]
    policies: list[Policy]
    platform: list[PlatformVm]
    vms: list[VirtualMachine]
    backups: list[Backup]
    tasks: list[Task]
    tenants: list[SeedTenant]
    outcomes: list[Outcome]
    journal: list[JournalEntry]
    last_sync: int | None
    last_cleanup: int | None
    late: list[LateCall] = msgspec.field(default_factory=list)
    restore_jobs: list[RestoreJob] = msgspec.field(default_factory=list)


class World:
    """All objects by guid, in order of birth. Whoever touches it holds `lock`."""

    def __init__(self, *, random_seed: int = 1) -> None:
        self.lock = threading.RLock()
        self.revision = 0
        """Counts every change; the state file is written when it moved."""
        self.inventory_revision = 0
        """Counts changes of which VMs exist and what they are called."""
        self.clear(random_seed)

    def clear(self, random_seed: int | None = None) -> None:
        """Forget everything; ids and chances start again from `random_seed`."""
        if random_seed is not None:
            self.random_seed = random_seed
        self.numbers: dict[str, int] = {}
        self.projects: dict[str, Project] = {}
        self.managers: dict[str, Manager] = {}
        self.clusters: dict[str, Cluster] = {}
        self.hypervisors: dict[str, Hypervisor] = {}
        self.storages: dict[str, Storage] = {}
        self.destinations: dict[str, Destination] = {}
        self.schedules: dict[str, Schedule] = {}
        self.rules: dict[str, Rule] = {}
        self.policies: dict[str, Policy] = {}
        self.platform: dict[str, PlatformVm] = {}
        self.vms: dict[str, VirtualMachine] = {}
        self.backups: dict[str, Backup] = {}
        self.tasks: dict[str, Task] = {}
        self.restore_jobs: dict[str, RestoreJob] = {}
        self.tenants: list[SeedTenant] = []
        self.outcomes: list[Outcome] = []
        self.journal: list[JournalEntry] = []
        self.late: dict[int, LateCall] = {}
        self.last_sync: int | None = None
        self.last_cleanup: int | None = None
        self.vm_by_uuid: dict[str, str] = {}
        self.backups_of: dict[str, list[str]] = {}
        self.tasks_of: dict[str, dict[str, None]] = {}
        self.tasks_in: dict[str, dict[str, None]] = {}
        self.members_of: dict[str, dict[str, None]] = {}
        self.rendered: dict[str, bytes] = {}
        """VMs already encoded for a list; an entry goes when its VM changes, all go when a switch does."""
        self.orders: dict[str, tuple[int, list[VirtualMachine]]] = {}
        """All VMs in orders that lists asked for, each with the revision it was made at."""
        self.inventory_revision += 1
        self.changed()

    # Numbers and chances: the same seed gives the same world.

    def number(self, kind: str) -> int:
        """Return the next number of `kind`, from 1."""
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return self.numbers[kind]

    def new_guid(self, kind: str) -> str:
        """Return the next guid of `kind`: looks random, is not."""
        return self.guid_of(kind, str(self.number(kind)))

    def guid_of(self, kind: str, key: str) -> str:
        """Return the guid that `key` of `kind` has under this seed."""
        text = f"{self.random_seed}|{kind}|{key}".encode()
        digest = hashlib.blake2b(text, digest_size=16).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"

    def chance(self, *key: str) -> random.Random:
        """Return the source of chance for one purpose; it depends on the seed and `key`, not on what ran before."""
        return random.Random("|".join((str(self.random_seed), *key)))  # noqa: S311 - a simulation that must repeat itself, nothing secret

    def changed(self) -> None:
        """Note that something changed."""
        self.revision += 1

    # Adding, with the indexes.

    def add_vm(self, vm: VirtualMachine) -> VirtualMachine:
        """Put a VM into the inventory."""
        self.vms[vm.guid] = vm
        self.vm_by_uuid[vm.uuid] = vm.guid
        if vm.policy is not None:
            self.members_of.setdefault(vm.policy, {})[vm.guid] = None
        self.inventory_revision += 1
        self.changed()
        return vm

    def touch_vm(self, vm: VirtualMachine, *, listed: bool = False) -> None:
        """Note that a VM changed; `listed` when its name or presence did."""
        self.rendered.pop(vm.guid, None)
        if listed:
            self.inventory_revision += 1
        self.changed()

    def assign_policy(self, vm: VirtualMachine, policy: str | None) -> None:
        """Put the VM under a policy, or under none; it leaves the one it had (3.8)."""
        if vm.policy is not None:
            self.members_of.get(vm.policy, {}).pop(vm.guid, None)
        vm.policy = policy
        if policy is not None:
            self.members_of.setdefault(policy, {})[vm.guid] = None
        self.touch_vm(vm)

    def add_backup(self, backup: Backup) -> Backup:
        """Keep a backup record."""
        self.backups[backup.guid] = backup
        self.backups_of.setdefault(backup.vm, []).append(backup.guid)
        self.changed()
        return backup

    def add_restore_job(self, job: RestoreJob) -> RestoreJob:
        """Keep a restore job."""
        self.restore_jobs[job.guid] = job
        self.changed()
        return job

    def add_task(self, task: Task) -> Task:
        """Keep a task."""
        self.tasks[task.guid] = task
        self.tasks_in.setdefault(task.state, {})[task.guid] = None
        if task.vm is not None:
            self.tasks_of.setdefault(task.vm, {})[task.guid] = None
        self.changed()
        return task

    def move_task(self, task: Task, state: str) -> None:
        """Give a task another state."""
        self.tasks_in.get(task.state, {}).pop(task.guid, None)
        task.state = state
        self.tasks_in.setdefault(state, {})[task.guid] = None
        self.changed()

    def remove_task(self, task: Task) -> None:
        """Forget a task; its backup record stays."""
        del self.tasks[task.guid]
        self.tasks_in.get(task.state, {}).pop(task.guid, None)
        if task.vm is not None:
            self.tasks_of.get(task.vm, {}).pop(task.guid, None)
        self.changed()

    # Questions.

    def members(self, policy: str) -> list[VirtualMachine]:
        """Return the VMs of a policy, in order of assignment."""
        return [self.vms[guid] for guid in self.members_of.get(policy, {})]

    def rules_of(self, policy: str) -> list[Rule]:
        """Return the rules of a policy, in order of birth."""
        return [rule for rule in self.rules.values() if rule.policy == policy]

    def schedules_of(self, policy: str) -> list[Schedule]:
        """Return the schedules that fire for a policy."""
        wanted = dict.fromkeys(guid for rule in self.rules_of(policy) for guid in rule.schedules)
        return [self.schedules[guid] for guid in wanted if guid in self.schedules]

    def rules_with(self, schedule: str) -> list[Rule]:
        """Return the rules that a schedule fires."""
        return [rule for rule in self.rules.values() if schedule in rule.schedules]

    def usable(self, destination: Destination, vm: VirtualMachine) -> bool:
        """Return whether backups of `vm` may go to `destination` (2.9)."""
        return destination.projects is None or vm.project in destination.projects

    def default_destination(self, vm: VirtualMachine) -> str | None:
        """Return where a backup goes when nobody says: the first destination of the policy's rules, else the default."""
        for rule in self.rules_of(vm.policy) if vm.policy is not None else ():
            if rule.active_destinations():
                return rule.active_destinations()[0]
        return self._destination_for_all(vm)

    def destination_of(self, rule: Rule, vm: VirtualMachine) -> str | None:
        """Return where backups of a rule go: its own destination, else the default one, else nowhere (4.10)."""
        own = rule.active_destinations()
        return own[0] if own else self._destination_for_all(vm)

    def _destination_for_all(self, vm: VirtualMachine) -> str | None:
        return next((d.guid for d in self.destinations.values() if d.default and self.usable(d, vm)), None)

    def take_outcome(self, task: Task) -> Outcome | None:
        """Return and forget what a test ordered for this task, if anything."""
        for position, order in enumerate(self.outcomes):
            if order.type == task.type and order.vm in (None, task.vm):
                return self.outcomes.pop(position)
        return None

    # Saving.

    def snapshot(self) -> Snapshot:
        """Return the whole state; it shares the objects, so encode it before letting go of the lock."""
        return Snapshot(
            random_seed=self.random_seed,
            numbers=self.numbers,
            projects=list(self.projects.values()),
            managers=list(self.managers.values()),
            clusters=list(self.clusters.values()),
            hypervisors=list(self.hypervisors.values()),
            storages=list(self.storages.values()),
            destinations=list(self.destinations.values()),
            schedules=list(self.schedules.values()),
            rules=list(self.rules.values()),
            policies=list(self.policies.values()),
            platform=list(self.platform.values()),
            vms=list(self.vms.values()),
            backups=list(self.backups.values()),
            tasks=list(self.tasks.values()),
            tenants=self.tenants,
            outcomes=self.outcomes,
            journal=self.journal,
            last_sync=self.last_sync,
            last_cleanup=self.last_cleanup,
            late=list(self.late.values()),
            restore_jobs=list(self.restore_jobs.values()),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Become what `snapshot` says."""
        self.clear(snapshot.random_seed)
        self.numbers = dict(snapshot.numbers)
        self.projects = by_guid(snapshot.projects)
        self.managers = by_guid(snapshot.managers)
        self.clusters = by_guid(snapshot.clusters)
        self.hypervisors = by_guid(snapshot.hypervisors)
        self.storages = by_guid(snapshot.storages)
        self.destinations = by_guid(snapshot.destinations)
        self.schedules = by_guid(snapshot.schedules)
        self.rules = by_guid(snapshot.rules)
        self.policies = by_guid(snapshot.policies)
        self.platform = {vm.uuid: vm for vm in snapshot.platform}
        for vm in snapshot.vms:
            self.add_vm(vm)
        for backup in snapshot.backups:
            self.add_backup(backup)
        for task in snapshot.tasks:
            self.add_task(task)
        self.tenants = list(snapshot.tenants)
        self.outcomes = list(snapshot.outcomes)
        self.journal = list(snapshot.journal)
        self.last_sync = snapshot.last_sync
        self.last_cleanup = snapshot.last_cleanup
        self.late = {call.number: call for call in snapshot.late}
        self.restore_jobs = by_guid(snapshot.restore_jobs)


def by_guid(objects: Iterable[T]) -> dict[str, T]:
    """Index objects by their guid, keeping their order."""
    return {item.guid: item for item in objects}

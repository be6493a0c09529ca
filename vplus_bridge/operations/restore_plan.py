"""The plan of a restore: what is created, from which point, where, what it costs, what stays. The plan shown is the plan sent.

A plan has a digest, part by part, that a page gives back with the press: where a part is another by then, nothing is sent
and the difference is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tenants.rights import Actor
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.models import Backup, InfrastructureItem, InfrastructureKind, VirtualMachine
from vplus_bridge.mirror.read_state import state_of
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind, State
from vplus_bridge.operations.shown_parts import changed_parts, digest_of
from vplus_bridge.operations.visible import operations
from vplus_bridge.operations.writes.restore import PLACES
from vplus_bridge.ownership import visible
from vplus_bridge.ownership.models import AllowedRestoreTarget
from vplus_bridge.ownership.restored import LONGEST_NAME, carries, code_for, default_name

PAST_RUNS = 3
LISTED_WITHIN = timedelta(days=30)
"""A machine that a restore made and that no inventory has shown for so long is not waited for any more."""
CODES_BACK = 4  # a page may have been open while others restored the same machine
LONGEST_NAMES = {"OPENSTACK": 255, "VCENTER": 80}
"""How long a name the platforms take, as far as known, by vPlus's word for the platform."""
STORAGES = f"{InfrastructureKind.STORAGE}s"  # the name of their reading


@dataclass(frozen=True)
class Estimate:
    """How long earlier restores of the same machine took, in seconds; ``runs`` of them."""

    seconds: float
    shortest: float
    longest: float
    runs: int


@dataclass(frozen=True)
class Plan:
    """What will happen. ``code`` is the portal's code where the name carries it, else empty."""

    machine: VirtualMachine
    point: Backup
    target: AllowedRestoreTarget
    name: str
    code: str
    name_taken: bool
    estimate: Estimate | None

    def parts(self) -> dict[str, str]:
        """Return, by part, the text that is another one when that part has changed."""
        place = "|".join([str(self.target.pk), self.target.label, *(getattr(self.target, name) for name in PLACES)])
        return {
            "restore_point": f"{self.point.guid}|{self.point.restorable}|{self.point.taken_at}",
            "target": place,
            "restored_name": f"{self.name}|{self.name_taken}",
            "virtual_machine": f"{self.machine.guid}|{self.machine.name}|{self.machine.gone}",
        }

    @property
    def digest(self) -> str:
        """The plan in a few letters, to be given back with the press."""
        return digest_of(self.parts())

    def changed_since(self, digest: str) -> list[str]:
        """Return which parts are not what they were when this digest was made; all of them for one that is none."""
        return changed_parts(self.parts(), digest)

    def said(self, part: str) -> str:
        """Return the sentence that tells how a part of the plan is now."""
        gone = "is no longer on the platform" if self.machine.gone else "is on the platform"
        called = f"You have {self.name} by now, or it is being made." if self.name_taken else ""
        return {
            "restore_point": "Another restore point is meant now.",
            "target": f"The new virtual machine goes to {self.target.label}, as that is set up now.",
            "restored_name": called or f"The new virtual machine is called {self.name}.",
            "virtual_machine": f"{self.machine.name} {gone} now.",
        }[part]

    def to_send(self) -> dict[str, Any]:
        """Return what the operation keeps, and its write sends, of the plan."""
        return {
            "restore_point": self.point.guid,
            "restored_name": self.name,
            "code": self.code,
            "target": str(self.target.pk),
            "target_label": self.target.label,
            **{place: getattr(self.target, place) for place in PLACES},
        }


def make_plan(
    actor: Actor, machine: VirtualMachine, point: Backup, target: AllowedRestoreTarget, name: str | None
) -> Plan:
    """Return the plan as the mirror has the world now; ``name`` None or empty is the portal's default."""
    codes = _codes(actor, machine)
    chosen = name or default_name(machine.name, codes[0], longest=longest_name(machine, target))
    return Plan(
        machine=machine,
        point=point,
        target=target,
        name=chosen,
        code=next((code for code in codes if carries(chosen, code)), ""),
        name_taken=_taken(actor, chosen),
        estimate=estimate_of(machine),
    )


def _taken(actor: Actor, name: str) -> bool:
    """Tell whether a machine of theirs bears the name, or a restore has made or may make one that is not listed yet.

    So a plan that is pressed once more after its restore has ended is another plan, and not carried out twice unasked.
    """
    if visible.virtual_machines(actor).filter(name=name, present=True, absent_since=None).exists():
        return True
    asked = operations(actor).filter(kind=Kind.RESTORE, restored_name=name, restored_vm_guid="")
    coming = asked.filter(state__in=(*ACTIVE, State.SUCCEEDED, State.NEEDS_ATTENTION))
    return coming.filter(requested_at__gte=database_now() - LISTED_WITHIN).exists()


def proposed_name(actor: Actor, machine: VirtualMachine, target: AllowedRestoreTarget | None = None) -> str:
    """Return the name that a form begins with."""
    return default_name(machine.name, _codes(actor, machine)[0], longest=longest_name(machine, target))


def longest_name(machine: VirtualMachine, target: AllowedRestoreTarget | None) -> int:
    """Return how many characters a name may have there, as far as that is known."""
    platform = machine.platform if target is None else platform_of(target) or machine.platform
    return LONGEST_NAMES.get(platform.upper(), LONGEST_NAME)


def platform_of(target: AllowedRestoreTarget) -> str:
    """Return vPlus's word for the platform that a target is on; empty where vPlus does not tell."""
    places = InfrastructureItem.objects.exclude(platform="")
    guid = target.manager_guid
    if not guid:
        host = places.model.objects.filter(kind=InfrastructureKind.HYPERVISOR, guid=target.hypervisor_guid)
        guid = host.values_list("parent_guid", flat=True).first() or ""
    manager = places.filter(kind=InfrastructureKind.MANAGER, guid=guid)
    return manager.values_list("platform", flat=True).first() or ""


def default_target(machine: VirtualMachine, targets: Sequence[AllowedRestoreTarget]) -> AllowedRestoreTarget | None:
    """Return where the machine was, if that is allowed; else the only target; else None: then a person has to choose."""
    there = where_it_was(machine, targets)
    return there or (targets[0] if len(targets) == 1 else None)


def where_it_was(machine: VirtualMachine, targets: Sequence[AllowedRestoreTarget]) -> AllowedRestoreTarget | None:
    """Return the target that is the machine's own place, where vPlus tells that place and one alone fits it best."""
    managers = dict(
        InfrastructureItem.objects.filter(
            kind=InfrastructureKind.HYPERVISOR, guid__in=[t.hypervisor_guid for t in targets if t.hypervisor_guid]
        ).values_list("guid", "parent_guid")
    )
    clusters = dict(
        InfrastructureItem.objects.filter(
            kind=InfrastructureKind.CLUSTER, uuid__in=[t.cluster_uuid for t in targets if t.cluster_uuid]
        ).values_list("uuid", "name")
    )

    def fits(target: AllowedRestoreTarget) -> int:
        """How many parts of the place agree; below 0 where one is another's."""
        manager = target.manager_guid or managers.get(target.hypervisor_guid, "")
        if not manager or not machine.manager_guid or manager != machine.manager_guid:
            return -1
        agreeing = 0
        for theirs, its in (
            (target.hypervisor_guid, machine.hypervisor_guid),
            (target.project, machine.project_name),
            (clusters.get(target.cluster_uuid, ""), machine.cluster_name),
        ):
            if theirs and its:
                if theirs != its:
                    return -1
                agreeing += 1
        return agreeing

    scored = sorted(((fits(target), place) for place, target in enumerate(targets)), reverse=True)
    best = [place for score, place in scored if score >= 0 and score == scored[0][0]]
    return targets[best[0]] if len(best) == 1 else None


def estimate_of(machine: VirtualMachine) -> Estimate | None:
    """Return how long the last restores of this machine took, or None where there was none."""
    past = Operation.objects.filter(
        kind=Kind.RESTORE,
        state=State.SUCCEEDED,
        virtual_machine_guid=machine.guid,
        started_at__isnull=False,
        finished_at__isnull=False,
    ).order_by("-finished_at", "pk")[:PAST_RUNS]
    runs = [(row.finished_at - row.started_at).total_seconds() for row in past if row.finished_at and row.started_at]
    if not runs:
        return None
    return Estimate(sum(runs) / len(runs), min(runs), max(runs), len(runs))


def nearest_point(points: Sequence[Backup], to: datetime | None) -> Backup | None:
    """Return the point that is nearest in time; where a time is not known, the newest."""
    timed = [point for point in points if point.taken_at is not None]
    if to is None or not timed:
        return points[0] if points else None
    return min(timed, key=lambda point: abs((point.taken_at or to) - to))


def _codes(actor: Actor, machine: VirtualMachine) -> list[str]:
    """Return the code of the next restore of this machine, then those of the last few, newest first."""
    number = Operation.objects.filter(kind=Kind.RESTORE, subject=machine.guid).count()
    return [code_for(actor.tenant_id, machine.guid, n) for n in range(number, max(number - CODES_BACK, 0) - 1, -1)]


@dataclass(frozen=True)
class Room:
    """How much room a target's storage had when it was last read."""

    bytes: int
    read_at: datetime


def room_at(targets: Sequence[AllowedRestoreTarget]) -> dict[UUID, Room]:
    """Return the room of those targets that name a storage whose room vPlus tells, by target."""
    storages = InfrastructureItem.objects.filter(
        kind=InfrastructureKind.STORAGE,
        uuid__in=[target.storage_uuid for target in targets if target.storage_uuid],
        total_space__isnull=False,
        used_space__isnull=False,
    )
    read_at = state_of(STORAGES).succeeded_at
    if read_at is None:
        return {}
    free = {row.uuid: max(0, (row.total_space or 0) - (row.used_space or 0)) for row in storages}
    return {target.pk: Room(free[target.storage_uuid], read_at) for target in targets if target.storage_uuid in free}

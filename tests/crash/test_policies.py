"""The same for policies, whose operations have many steps: a worker killed at each step of making, changing and deleting.

One worker carries many operations at once, each to another step, and is killed when all of them are there. A fresh one
finishes them, or turns back; then vPlus's own records are exactly what the portal shows: no orphan, nothing double.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from itertools import count
from uuid import UUID

import pytest

from tenants.scope import every_tenant, in_tenant
from tests.bridge.policy_scenes import (
    HOURLY,
    NIGHTLY,
    asked_to_change,
    asked_to_create,
    asked_to_delete,
    draft,
    policy_of,
    same_in_both,
)
from tests.crash.conftest import Gate, Point, Scene, owner
from tests.end_to_end.conftest import Portal
from tests.processes import eventually
from vplus_bridge.models import Attempt, Carrier, Operation, Policy, PolicyMember, Schedule, Step, VirtualMachine
from vplus_bridge.operations.moves import ACTIVE
from vplus_bridge.ownership.assignment import assign
from vplus_bridge.protection import drafts
from vplus_bridge.protection.drafts import ScheduleDraft
from vplus_simulator.faults import Fault

MACHINES, THREADS = 36, 24
GATHERING = {
    "VPLUS_SEND_CLAIM_SECONDS": "60",
    "VPLUS_SEND_MARK_SECONDS": "50",
    "VPLUS_SEND_TOTAL_SECONDS": "3",
}
"""What is claimed and marked while the others are on their way to their steps is not given up meanwhile."""
MAKING = ["schedule_create", "policy_create", "rule_create", "policy_check"]
CHANGING = [
    "policy_update",  # the machine leaves its old policy
    "schedule_update",
    "schedule_create",
    "policy_update",
    "rule_update",
    "schedule_delete",
    "policy_check",
]
DELETING = ["policy_delete", "schedule_delete", "policy_check"]
UNDOING = ["policy_delete", "schedule_delete"]
MOMENTS: dict[str, tuple[Point, set[tuple[bool, str]] | None]] = {
    "between claim and mark": ("mark", {(False, "")}),
    "after the mark before a byte": ("mark", {(True, "")}),
    "while sending, before vPlus has acted": ("mark", None),
    "while sending, after vPlus has acted": ("mark", None),
    "before the record": ("record", {(True, ""), (False, "")}),
    "between two steps": ("recorded", {(True, "accepted")}),
}
"""Where a worker is held, and killed; what stands of its attempts then: whether they are marked, and their outcome.

While sending it is vPlus that tells how far they came.
"""
MakeGate = Callable[..., Gate]


@dataclass
class Field:
    """Policies of alpha, and what people ask of them."""

    scene: Scene
    pairs: list[tuple[str, Policy, Policy]] = field(default_factory=list)
    """A machine, and two policies between which it goes to and fro."""
    number: Iterator[int] = field(default_factory=lambda: count(1))

    def free(self) -> Iterator[str]:
        """Yield machines that are in no policy, nor about to be."""
        with every_tenant("test"):
            taken = set(PolicyMember.objects.values_list("virtual_machine_guid", flat=True))
            for running in Operation.objects.filter(state__in=ACTIVE):
                taken.update(running.plan["machines"])
            rows = VirtualMachine.objects.filter(name__startswith="field-").exclude(guid__in=taken)
            return iter(list(rows.order_by("guid").values_list("guid", flat=True)))

    def spare(self) -> Iterator[Policy]:
        """Yield policies that may be deleted."""
        kept = {policy.pk for _mover, *both in self.pairs for policy in both}
        with every_tenant("test"):
            return iter(list(Policy.objects.filter(state="kept").exclude(pk__in=kept)))

    def make(self, *machines: str, schedules: Sequence[ScheduleDraft] = (NIGHTLY,)) -> Operation:
        wanted = draft(name=f"Policy {next(self.number)}", virtual_machines=machines, schedules=schedules)
        return asked_to_create(self.scene.portal.cast.alice, wanted)

    def delete(self, policy: Policy) -> Operation:
        return asked_to_delete(self.scene.portal.cast.alice, policy)

    def change(self, mover: str, one: Policy, other: Policy) -> Operation:
        """Ask for the machine to move, a schedule to run at another time, and one to be replaced by another."""
        with every_tenant("test"):
            there = PolicyMember.objects.get(virtual_machine_guid=mover).policy_id
            target = other if there == one.pk else one
            schedules = list(Schedule.objects.filter(policy=target).order_by("position"))
            members = list(target.members.values_list("virtual_machine_guid", flat=True))
        turn = next(self.number)
        return asked_to_change(
            self.scene.portal.cast.alice,
            target,
            virtual_machines=(*members, mover),
            moves=(mover,),
            schedules=(
                replace(drafts.schedule_draft(schedules[0]), time_of_day=time(turn % 20, turn % 60)),
                replace(HOURLY, frequency_minutes=60 + turn),
            ),
        )

    def stock(self) -> None:
        """Have as many policies as a round needs."""
        free, asked, made = self.free(), [], []
        with in_tenant(self.scene.portal.cast.alpha.pk):
            for _ in CHANGING[len(self.pairs) :]:
                mover = next(free)
                both = [
                    self.make(*machines, schedules=(NIGHTLY, HOURLY))
                    for machines in ((mover, next(free)), (next(free),))
                ]
                asked.append((mover, *both))
            made = [self.make(next(free)) for _ in DELETING[len(list(self.spare())) :]]
        self.ended(*made, *(operation for _mover, *both in asked for operation in both))
        self.pairs += [(mover, policy_of(one), policy_of(other)) for mover, one, other in asked]

    def ask_for_all(self, gate: Gate, *, checks: bool) -> list[Operation]:
        """Ask for each kind of operation once for each of its steps, and have it held there.

        ``checks``: also at the last step of each, which never sends.
        """
        last = None if checks else -1
        free, spare, asked = self.free(), self.spare(), []

        def hold(operation: Operation, actions: list[str], position: int) -> None:
            assert actions_of(operation) == actions
            gate.hold(operation.pk, position)
            asked.append(operation)

        with in_tenant(self.scene.portal.cast.alpha.pk):  # one transaction: workers see all of it at once
            for position, _action in enumerate(MAKING[:last], 1):
                hold(self.make(next(free)), MAKING, position)
            for position, _action in enumerate(CHANGING[:last], 1):
                hold(self.change(*self.pairs[position - 1]), CHANGING, position)
            for position, _action in enumerate(DELETING[:last], 1):
                hold(self.delete(next(spare)), DELETING, position)
        return asked

    def ask_for_refused(self, gate: Gate, *, ends: bool) -> list[Operation]:
        """Ask for policies whose rules vPlus refuses, and wait until each is held at another step of turning back.

        ``ends``: also at the last one.
        """
        free, asked = self.free(), []
        steps = UNDOING if ends else UNDOING[:-1]
        refusing = Fault(kind="status", method="POST", path="/rules/vm-backup", status=400, count=len(steps))
        self.scene.control.arm(refusing)
        with in_tenant(self.scene.portal.cast.alpha.pk):
            for position, _action in enumerate(steps, len(MAKING) + 1):
                asked.append(self.make(next(free)))
                gate.hold(asked[-1].pk, position)
        gate.wait_for_somebody(len(asked))
        return asked

    def kill_at(self, moment: str, gate: Gate, many: int) -> None:
        """Kill the worker at a moment at which so many of its threads are."""
        gate.wait_for_somebody(many)
        control, before = self.scene.control, len(self.scene.control.fault_journal())
        if moment.startswith("while sending"):
            control.arm(
                Fault(kind="latency", calls="write", phase="after" if "after" in moment else "before", seconds=1.5)
            )
            gate.open()
            eventually("vPlus has all of them", lambda: len(control.fault_journal()) >= before + many)
        self.scene.portal.kill("victim")
        control.disarm()
        if moment == "between claim and mark":
            gate.end_connections()
        gate.open()
        # The claims of the dead end by themselves; nobody waits for that here.
        owner("UPDATE vplus_bridge_attempt SET claimed_until = now() WHERE claimed_until > now()")
        eventually("what was held has come to its end", lambda: not gate.somebody())
        expected = MOMENTS[moment][1]
        assert expected is None or left_of(gate.held()) == expected

    def ended(self, *operations: Operation, state: str = "succeeded", code: str = "") -> None:
        """See that these end so, that nothing is left to be done, and that vPlus holds exactly what the portal says."""
        for row in self.scene.wait_for_the_end(*(operation.pk for operation in operations)):
            assert (row.state, row.error_code, row.warnings) == (state, code, []), actions_of(row)
        with every_tenant("test"):
            assert not Policy.objects.filter(state="making").exists()
            repairs = list(Operation.objects.filter(wish__action="remove"))
            held = set(Carrier.objects.values_list("wire_name", flat=True))
        self.scene.wait_for_the_end(*(repair.pk for repair in repairs))
        assert not held.intersection(name for repair in repairs for name in repair.wish["names"])
        same_in_both(self.scene)


def actions_of(operation: Operation) -> list[str]:
    with every_tenant("test"):
        return list(Step.objects.filter(operation=operation).order_by("position").values_list("action", flat=True))


def left_of(held: set[tuple[UUID, int]]) -> set[tuple[bool, str]]:
    """What stands of the attempts that were held: whether they are marked, and their outcome."""
    with every_tenant("test"):
        rows = Attempt.objects.filter(step__operation__in=[operation for operation, _position in held], number=1)
        told = rows.values_list("step__operation", "step__position", "sent_at", "outcome")
        return {(sent is not None, outcome) for *which, sent, outcome in told if tuple(which) in held}


@pytest.fixture(scope="module")
def field_of_alpha(portal: Portal) -> Field:
    """Machines that are in no policy."""
    portal.environment.update(GATHERING)
    portal.vplus.control.change(show=[])
    for number in range(MACHINES):
        portal.vplus.control.add_vm(f"field-{number:02}", project="project-alpha")
    portal.vplus.control.sync()

    def read() -> list[str]:
        with every_tenant("test"):
            rows = VirtualMachine.objects.filter(name__startswith="field-").values_list("guid", flat=True)
            return list(rows) if len(rows) == MACHINES else []

    eventually("the machines are read", read)
    with every_tenant("test"):
        assign(tenant_id=portal.cast.alpha.pk, vm_guids=read(), by="test")
    return Field(Scene(portal))


@pytest.fixture
def policies(field_of_alpha: Field, portal: Portal) -> Iterator[Field]:
    """The poorest vPlus, a worker with a thread for each operation of a round, and policies to be changed."""
    field_of_alpha.scene.worker(threads=THREADS)
    field_of_alpha.stock()
    yield field_of_alpha
    portal.vplus.control.disarm()


def test_before_the_claim(policies: Field) -> None:
    """The wishes are in PostgreSQL, and nobody has begun with them."""
    policies.scene.portal.kill("victim")
    asked = [policies.make(next(policies.free())), policies.change(*policies.pairs[0])]
    asked.append(policies.delete(next(policies.spare())))
    policies.scene.portal.wipe_redis()
    policies.scene.worker(threads=THREADS)
    policies.ended(*asked)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_each_step(moment: str, policies: Field, gate: MakeGate) -> None:
    """Whatever was sent is looked for before it is sent again, on the way back too."""
    where, _left = MOMENTS[moment]
    point = gate(where, only_held=True)
    refused = policies.ask_for_refused(point, ends=where != "recorded")
    asked = policies.ask_for_all(point, checks=where == "record")
    policies.kill_at(moment, point, len(asked) + len(refused))
    policies.scene.worker(threads=THREADS)
    policies.ended(*asked)
    policies.ended(*refused, state="failed", code="policy_refused")
    assert [actions_of(one) for one in refused] == len(refused) * [MAKING + UNDOING]

"""Making, changing and deleting a policy while calls fail and workers die: vPlus holds exactly what the portal says."""

from dataclasses import replace
from datetime import time
from typing import Any

import pytest

from tenants.scope import every_tenant
from tests.bridge.policy_scenes import (
    HOURLY,
    asked_to_change,
    asked_to_create,
    asked_to_delete,
    carried_out,
    hurry,
    made,
    policy_of,
    same_in_both,
    upstream,
)
from tests.conftest import Bridge, Cast
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.client import OutcomeKind, WriteChannel, WriteRequest
from vplus_bridge.jobs import sweep_policies
from vplus_bridge.models import Attempt, Operation, Policy, Schedule
from vplus_bridge.operations import send, settle
from vplus_bridge.protection import drafts
from vplus_bridge.protection.drafts import ScheduleDraft
from vplus_simulator.faults import Fault

SCHEDULES, POLICIES, RULES = "/schedules", "/policies/vm-backup", "/rules/vm-backup"

ONCE = {
    "cut before": {"kind": "cut", "phase": "before"},
    "cut while reading": {"kind": "cut", "phase": "reading"},
    "cut while processing": {"kind": "cut", "phase": "processing"},
    "cut after": {"kind": "cut", "phase": "after"},
    "cut in the answer": {"kind": "cut", "phase": "answering", "bytes": 120},
    "500 before": {"kind": "status", "phase": "before", "status": 500},
    "500 after": {"kind": "status", "phase": "after", "status": 500},
    "400 after": {"kind": "status", "phase": "after", "status": 400},
    "409 after": {"kind": "status", "phase": "after", "status": 409},
    "HTML 503 after": {"kind": "html", "phase": "after"},
    "HTML 200 after": {"kind": "html", "phase": "after", "status": 200},
    "empty 2xx": {"kind": "empty", "phase": "after", "status": 200},
    "session lost": {"kind": "unauthorized", "phase": "before"},
    "429": {"kind": "status", "phase": "before", "status": 429},
}
"""Faults after which the work can still be done, at whatever call they come."""


def arm(bridge: Bridge, method: str, path: str, *, count: int = 1, **fault: Any) -> None:
    bridge.simulator.control.arm(Fault(method=method, path=path, count=count, **fault))


@pytest.mark.parametrize("path", [SCHEDULES, POLICIES, RULES])
def test_making_goes_on_after_one_fault(path: str, cast: Cast, mirrored: Bridge) -> None:
    for name, fault in ONCE.items():
        arm(mirrored, "POST", path, **fault)
        operation = carried_out(mirrored, asked_to_create(cast.alice))
        mirrored.simulator.control.disarm()
        assert (operation.state, operation.error_code, operation.warnings) == ("succeeded", "", []), name
        same_in_both(mirrored)
        assert len(upstream(mirrored)) == 3
        carried_out(mirrored, asked_to_delete(cast.alice, policy_of(operation)))


@pytest.mark.parametrize("path", [SCHEDULES, POLICIES, RULES])
def test_making_turns_back_where_vplus_refuses(path: str, cast: Cast, mirrored: Bridge) -> None:
    for status in (400, 409, 500):
        arm(mirrored, "POST", path, count=50, kind="status", phase="before", status=status)
        operation = carried_out(mirrored, asked_to_create(cast.alice))
        mirrored.simulator.control.disarm()
        assert operation.state == "failed"
        assert operation.error_code == ("policy_no_answer" if status == 500 else "policy_refused")
        assert policy_of(operation).state == "not_made"
        assert operation.vendor_text, "the provider reads vPlus's own words"
        assert operation.wish["draft"]["name"] == "Gold"
        assert upstream(mirrored) == {}
        same_in_both(mirrored)
    assert carried_out(mirrored, asked_to_create(cast.alice)).state == "succeeded"


def changed(bridge: Bridge, cast: Cast, policy: Policy, round_: int) -> Operation:
    """Every kind of call at once: a schedule at another time, one replaced, another priority."""
    hour = time(1 + round_ % 20, 30)
    schedules = (replace(first_schedule(policy), time_of_day=hour), replace(HOURLY, frequency_minutes=60 + round_))
    return asked_to_change(cast.alice, policy, schedules=schedules, priority=51 + round_ % 40)


def first_schedule(policy: Policy) -> ScheduleDraft:
    with every_tenant("test"):
        return drafts.schedule_draft(Schedule.objects.filter(policy=policy).order_by("position")[0])


CHANGING = [
    ("PUT", "/schedules/{guid}"),
    ("POST", "/schedules"),
    ("PUT", "/policies/vm-backup/{guid}"),
    ("PUT", "/rules/vm-backup/{guid}"),
    ("DELETE", "/schedules/{guid}"),
]


@pytest.mark.parametrize(("method", "path"), CHANGING)
def test_a_change_goes_on_after_one_fault(method: str, path: str, cast: Cast, mirrored: Bridge) -> None:
    policy = made(mirrored, cast.alice)
    for round_, (name, fault) in enumerate(ONCE.items()):
        if path.startswith(("/rules", "/policies")) and name in ("400 after", "409 after"):
            continue  # this server tells neither what a rule says nor a priority, so a no is believed, and undone
        arm(mirrored, method, path, **fault)
        operation = carried_out(mirrored, changed(mirrored, cast, policy, round_))
        assert (operation.state, operation.error_code, operation.warnings) == ("succeeded", "", []), name
        mirrored.simulator.control.disarm()
        same_in_both(mirrored)


@pytest.mark.parametrize(("method", "path"), CHANGING[:4])
def test_a_change_turns_back_where_vplus_refuses(method: str, path: str, cast: Cast, mirrored: Bridge) -> None:
    policy = made(mirrored, cast.alice)
    before = upstream(mirrored)
    for round_, status in enumerate([400, 409, 500]):
        count = 20 if status == 500 else 1
        arm(mirrored, method, path, kind="status", phase="before", status=status, count=count)
        operation = carried_out(mirrored, changed(mirrored, cast, policy, round_))
        mirrored.simulator.control.disarm()
        assert operation.state == "failed", status
        assert operation.error_code == ("policy_no_answer" if status == 500 else "policy_refused")
        assert upstream(mirrored) == before
        same_in_both(mirrored)
    assert policy_of(operation).version == 1


@pytest.mark.parametrize("path", ["/policies/vm-backup/{guid}", "/rules/vm-backup/{guid}"])
def test_a_change_that_was_refused_and_done_is_undone(path: str, cast: Cast, mirrored: Bridge) -> None:
    """The poorest server tells neither what a rule says nor a priority, so its no is believed."""
    policy = made(mirrored, cast.alice)
    before = upstream(mirrored)
    arm(mirrored, "PUT", path, kind="status", phase="after", status=400)
    operation = carried_out(mirrored, changed(mirrored, cast, policy, 0))
    assert (operation.state, operation.error_code, operation.warnings) == ("failed", "policy_refused", [])
    assert upstream(mirrored) == before
    same_in_both(mirrored)


@pytest.mark.parametrize("path", ["/policies/vm-backup/{guid}", "/schedules/{guid}"])
def test_deleting_goes_on_after_one_fault(path: str, cast: Cast, mirrored: Bridge) -> None:
    for name, fault in ONCE.items():
        policy = made(mirrored, cast.alice)
        arm(mirrored, "DELETE", path, **fault)
        operation = carried_out(mirrored, asked_to_delete(cast.alice, policy))
        mirrored.simulator.control.disarm()
        assert (operation.state, operation.error_code) == ("succeeded", ""), name
        assert policy_of(operation).state == "deleted"
        assert upstream(mirrored) == {}, name
        same_in_both(mirrored)


def test_a_policy_that_vplus_does_not_delete_runs_as_before(cast: Cast, mirrored: Bridge) -> None:
    policy = made(mirrored, cast.alice)
    arm(mirrored, "DELETE", "/policies/vm-backup/{guid}", kind="status", phase="before", status=409)
    operation = carried_out(mirrored, asked_to_delete(cast.alice, policy))
    assert (operation.state, operation.error_code) == ("failed", "policy_refused")
    assert policy_of(operation).state == "kept"
    same_in_both(mirrored)


class Died(BaseException):
    """A worker was killed."""


class Deaths:
    """Kills the worker at the n-th call of one moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.left = 0
        self.happened = 0

    def arm(self, owner: Any, name: str, after: int, *, before_it: bool) -> None:
        """``before_it``: the call itself does not happen any more."""
        real, self.left = getattr(owner, name), after

        def dying(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and before_it:
                self.happened += 1
                raise Died
            given = real(*args, **kwargs)
            if self.left == 0:
                self.happened += 1
                raise Died
            return given

        self.monkeypatch.setattr(owner, name, dying)


MOMENTS: dict[str, tuple[Any, str, bool]] = {
    "claimed, not marked": (send, "_mark", True),
    "marked, not sent": (WriteChannel, "send", True),
    "sent, not recorded": (WriteChannel, "send", False),
    "recorded": (send, "record", False),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_may_die_at_each_step(
    moment: str, cast: Cast, mirrored: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, before_it = MOMENTS[moment]

    def dies_at(step: int, operation: Operation) -> Operation:
        with monkeypatch.context() as patch:
            deaths = Deaths(patch)
            deaths.arm(owner, name, step, before_it=before_it)
            while True:
                try:
                    ended = carried_out(mirrored, operation)
                except Died:
                    continue
                assert deaths.happened == 1
                return ended

    for step in (1, 2, 3, 4):
        assert dies_at(step, asked_to_create(cast.alice)).state == "succeeded"
        same_in_both(mirrored)
        with every_tenant("test"):
            policy = Policy.objects.get(state="kept")
        for change in (1, 2, 3, 4, 5) if step == 1 else ():
            assert dies_at(change, changed(mirrored, cast, policy, change)).state == "succeeded"
            same_in_both(mirrored)
        assert dies_at(min(step, 3), asked_to_delete(cast.alice, policy)).state == "succeeded"
        assert upstream(mirrored) == {}


LATE = {
    "refused": Answer(OutcomeKind.REFUSED, 409, "it has that name already", vendor_text="name is taken"),
    "accepted": Answer(OutcomeKind.ACCEPTED, 200, "accepted"),
    "uncertain": Answer(OutcomeKind.UNCERTAIN, None, "timed out"),
    "not accepted": Answer(OutcomeKind.NOT_ACCEPTED, 429, "too many requests"),
}
"""What a sender hears who was taken for dead, when others have gone on from its step."""


@pytest.mark.parametrize("how_far", ["the step was taken up", "the operation has ended"])
@pytest.mark.parametrize("late", LATE)
def test_a_sender_that_is_slower_than_its_death_turns_nothing_back(
    late: str, how_far: str, cast: Cast, mirrored: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sent, and was held up until it counted as dead; its answer comes when a later attempt is at the step, or was."""
    operation = asked_to_create(cast.alice)
    real, others = WriteChannel.send, []

    def slow(channel: WriteChannel, request: WriteRequest, **limits: Any) -> Answer:
        answer = real(channel, request, **limits)
        if others:
            return answer
        others.append(request)
        if how_far == "the operation has ended":
            assert carried_out(mirrored, operation).state == "succeeded"
        else:
            hurry()
            with every_tenant("test"):
                assert settle.note_deaths() == 1
            sweep_policies()
        return LATE[late]

    monkeypatch.setattr(WriteChannel, "send", slow)
    mirrored.send()
    assert len(others) == 1
    ended = carried_out(mirrored, operation)
    assert (ended.state, ended.error_code, ended.warnings) == ("succeeded", "", [])
    assert "stopped" not in ended.plan
    same_in_both(mirrored)
    with every_tenant("test"):
        attempts = Attempt.objects.filter(step__operation=operation.pk).order_by("step__position", "number")
        numbers = list(attempts.values_list("step__position", "number"))
        outcomes = list(attempts.values_list("outcome", flat=True))
    assert outcomes == ["uncertain"] + ["accepted"] * (len(outcomes) - 1), "the later attempt tells"
    assert numbers == [(1, 1), (1, 2), *((position, 1) for position in range(2, len(numbers)))], "each step once"

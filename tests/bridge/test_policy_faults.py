"""Making, changing and deleting a policy while calls fail and workers die: vPlus holds exactly what the portal says."""

from typing import Any

import pytest

from tests.bridge.policy_scenes import (
    asked_to_create,
    carried_out,
    policy_of,
    same_in_both,
    upstream,
)
from tests.conftest import Bridge, Cast
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
REFUSALS = {"400": 400, "409": 409, "500": 500}


def arm(bridge: Bridge, method: str, path: str, *, count: int = 1, **fault: Any) -> None:
    bridge.simulator.control.arm(Fault(method=method, path=path, count=count, **fault))


@pytest.mark.parametrize("fault", ONCE)
@pytest.mark.parametrize("path", [SCHEDULES, POLICIES, RULES])
def test_making_goes_on_after_one_fault(path: str, fault: str, cast: Cast, mirrored: Bridge) -> None:
    arm(mirrored, "POST", path, **ONCE[fault])
    operation = carried_out(mirrored, asked_to_create(cast.alice))
    assert (operation.state, operation.error_code) == ("succeeded", "")
    same_in_both(mirrored)
    assert len(upstream(mirrored)) == 3


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("path", [SCHEDULES, POLICIES, RULES])
def test_making_turns_back_where_vplus_refuses(path: str, status: str, cast: Cast, mirrored: Bridge) -> None:
    arm(mirrored, "POST", path, count=50, kind="status", phase="before", status=REFUSALS[status])
    operation = carried_out(mirrored, asked_to_create(cast.alice))
    assert operation.state == "failed"
    assert operation.error_code == ("policy_no_answer" if status == "500" else "policy_refused")
    assert policy_of(operation).state == "not_made"
    assert operation.wish["draft"]["name"] == "Gold"
    assert upstream(mirrored) == {}
    same_in_both(mirrored)
    mirrored.simulator.control.disarm()
    assert carried_out(mirrored, asked_to_create(cast.alice)).state == "succeeded"

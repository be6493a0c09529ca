"""Cancelling by script, and the provider's exits of what needs attention."""

from typing import Any

import pytest

from tests.api.conftest import Rows, Script
from tests.conftest import Cast


@pytest.fixture
def waiting(cast: Cast, rows: Rows) -> Any:
    rows.machine("vm-1", cast.alpha)
    return rows.operation("vm-1", cast.alpha, state="requested")


def test_what_was_not_sent_is_cancelled_at_once(waiting: Any, oscar: Script) -> None:
    answer = oscar.post(f"operations/{waiting.pk}/cancel/", {})
    assert (answer.status_code, answer.data["state"]) == (202, "cancelled")
    assert answer.data["cancel"]["asked_by"] == "Oscar"
    assert answer.data["cancel"]["possible"] is False
    assert answer.data["error"]["code"] == "cancelled_before_sending"


def test_who_may_not_is_told_so_and_who_sees_nothing_learns_nothing(
    waiting: Any, vera: Script, mallory: Script
) -> None:
    assert vera.post(f"operations/{waiting.pk}/cancel/", {}).status_code == 403
    assert mallory.post(f"operations/{waiting.pk}/cancel/", {}).status_code == 404
    assert vera.get(f"operations/{waiting.pk}/").data["cancel"] == {
        "asked_at": None,
        "asked_by": None,
        "possible": False,
    }


def test_what_has_ended_is_a_problem_that_says_so(cast: Cast, rows: Rows, oscar: Script) -> None:
    rows.machine("vm-1", cast.alpha)
    ended = rows.operation("vm-1", cast.alpha, state="succeeded")
    answer = oscar.post(f"operations/{ended.pk}/cancel/", {})
    assert (answer.status_code, answer.data["code"]) == (409, "ended")


def test_a_task_that_nobody_here_asked_for_is_cancelled_by_an_operation(cast: Cast, rows: Rows, oscar: Script) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.task("t-1", "vm-1", cast.alpha, state="RUNNING", live=True)
    first = oscar.post("operations/", {"kind": "cancel_task", "task": "t-1"})
    assert first.status_code == 202, first.data
    [operation] = first.data["operations"]
    assert (operation["kind"], operation["subject"], operation["already_active"]) == ("cancel_task", "t-1", False)
    [again] = oscar.post("operations/", {"kind": "cancel_task", "task": "t-1"}).data["operations"]
    assert (again["id"], again["already_active"]) == (operation["id"], True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "explode"}, "kind"),
        ({"kind": ["backup"]}, "kind"),
        ({"kind": "cancel_task"}, "task"),
        ({"kind": "cancel_task", "task": 5}, "task"),
        ({"kind": "cancel_task", "task": "t", "priority": 5}, "priority"),
    ],
)
def test_what_is_wrong_with_a_wish_is_named(body: Any, field: str, oscar: Script) -> None:
    answer = oscar.post("operations/", body)
    assert (answer.status_code, list(answer.data["errors"])) == (400, [field])


def test_the_provider_sees_what_needs_attention_and_leaves_by_an_exit(cast: Cast, rows: Rows, paula: Script) -> None:
    rows.machine("vm-1", cast.alpha)
    row = rows.operation("vm-1", cast.alpha, state="needs_attention", error_code="arrival_unknown")
    [listed] = paula.all("operator/operations/")
    assert (listed["id"], listed["tenant"]["slug"], listed["code"]) == (str(row.pk), "alpha", "arrival_unknown")
    known = paula.get(f"operator/operations/{row.pk}/").data
    assert known["candidates"] == []
    wrong = paula.post(f"operator/operations/{row.pk}/abandon/", {"reason": ""})
    assert (wrong.status_code, list(wrong.data["errors"])) == (400, ["reason"])
    done = paula.post(f"operator/operations/{row.pk}/abandon/", {"reason": "seen in vPlus: nothing there"})
    assert (done.status_code, done.data["state"], done.data["code"]) == (200, "failed", "abandoned")
    assert paula.all("operator/operations/") == []

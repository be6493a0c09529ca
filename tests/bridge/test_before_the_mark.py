"""Sending, the first half of the protocol: claim, prepare, mark (docs/decisions/0003-sending.md).

Each test that closes a crash point names it.
"""

import json
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tenants.scope import every_tenant
from tests.bridge.scenes import (
    WEB,
    ask,
    attempts,
    backup_row,
    exports_sent,
    ms,
    operation,
    task_row,
)
from tests.bridge.sending_scenes import (
    change,
    change_operation,
    claim,
    claimed,
    from_now,
    in_threads,
    prepared,
    set_mark,
)
from tests.conftest import Bridge, Cast
from vplus_bridge.client import Unavailable
from vplus_bridge.models import AllowedDestination, Operation
from vplus_bridge.operations import send, settle
from vplus_simulator.faults import Fault

# Claim


def test_only_one_of_many_workers_gets_the_claim(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    got = in_threads(6, lambda: claim(asked))
    assert [one.fence for one in got if one is not None] == [1]


def test_many_workers_send_one_export(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    attempt = attempts(asked)[0]
    in_threads(4, lambda: send.send_attempt(mirrored.client, attempt.tenant_id, attempt.pk))
    assert len(exports_sent(mirrored.simulator)) == 1
    assert operation(asked).state == "submitted"


@pytest.mark.parametrize(
    ("attempt", "asked_for"),
    [
        ({"sent_at": timedelta()}, {}),
        ({"outcome": "refused"}, {}),
        ({"due_at": timedelta(minutes=1)}, {}),
        ({"claimed_until": timedelta(minutes=1)}, {}),
        ({}, {"state": "failed"}),
        ({}, {"state": "cancelled"}),
        ({}, {"state": "needs_attention"}),
        ({}, {"send_until": timedelta(minutes=-1)}),
    ],
)
def test_what_is_not_to_be_sent_cannot_be_claimed(
    attempt: dict[str, Any], asked_for: dict[str, Any], cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    change(asked, **from_now(attempt))
    change_operation(asked, **from_now(asked_for))
    assert claim(asked) is None
    with every_tenant("test"):
        assert settle.due_attempts(10) == [], "the sweeper and the claim agree"


def test_a_dead_workers_claim_is_taken_over_and_it_can_do_nothing_any_more(cast: Cast, mirrored: Bridge) -> None:
    """Crash point: a worker stops between claim and mark, another takes over, and then the first wakes up."""
    asked = ask(cast.oscar)
    first = claimed(asked)
    assert claim(asked) is None
    change(asked, claimed_until=timezone.now() - timedelta(seconds=1))
    second = claimed(asked)
    assert second.fence == first.fence + 1
    assert set_mark(first, prepared()) is None
    send._give_up(first, "vm_gone")
    assert operation(asked).state == "requested"
    send._release(first, Unavailable("away", 503))
    assert attempts(asked)[0].setbacks == 0
    assert set_mark(second, prepared()) is not None


# Prepare


def test_the_baseline_is_what_was_there_before(cast: Cast, mirrored: Bridge) -> None:
    first = ask(cast.oscar)
    mirrored.send()
    mirrored.run(steps=30)
    assert operation(first).state == "succeeded"
    task_row("t-known", state="FINISHED", tenant_id=cast.alpha.pk)
    backup_row("b-known", tenant_id=cast.alpha.pk)
    second = ask(cast.oscar)
    mirrored.send()
    attempt = attempts(second)[0]
    listed = {task.guid for task in mirrored.simulator.control.objects("tasks") if task.vm == WEB}
    assert len(attempt.baseline_tasks) == 3
    assert set(attempt.baseline_tasks) - listed == {"t-known"}, "what only the mirror still knows is old too"
    assert {"b-known", "backup-web-full", operation(first).backup_guid} == set(attempt.baseline_backups)


def test_trouble_while_preparing_is_not_accepted_and_tried_later(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="html", method="GET", path="/tasks", status=200, count=1))
    mirrored.send()
    [attempt] = attempts(asked)
    assert (attempt.sent_at, attempt.outcome, attempt.claimed_until, attempt.setbacks) == (None, "", None, 1)
    assert attempt.due_at > timezone.now()
    change(asked, due_at=timezone.now())
    mirrored.send()
    assert len(exports_sent(mirrored.simulator)) == 1


def test_a_machine_that_vplus_knows_no_history_of_is_backed_up_all_the_same(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="status", method="GET", path="/backups", status=404))
    mirrored.send()
    assert operation(asked).state == "submitted"


def test_a_destination_that_was_taken_away_is_not_used(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    with every_tenant("test"):
        AllowedDestination.objects.all().delete()
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "destination_not_allowed")
    assert exports_sent(mirrored.simulator) == []


def test_a_machine_that_went_meanwhile_is_not_asked_for(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.remove_vm(WEB)
    mirrored.simulator.control.sync()
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "vm_gone")


# Mark


@pytest.mark.parametrize(
    ("attempt", "asked_for"),
    [
        ({"claimed_until": timedelta(seconds=-1)}, {}),
        ({"fence": 7}, {}),
        ({"sent_at": timedelta()}, {}),
        ({}, {"send_until": timedelta(seconds=-1)}),
        ({}, {"state": "cancelled"}),
    ],
)
def test_no_mark_without_a_living_claim_before_the_deadline(
    attempt: dict[str, Any], asked_for: dict[str, Any], cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    change(asked, **from_now(attempt))
    change_operation(asked, **from_now(asked_for))
    assert set_mark(mine, prepared()) is None
    assert attempts(asked)[0].stamp is None


def test_whoever_ends_an_operation_and_whoever_marks_it_take_turns(cast: Cast, mirrored: Bridge) -> None:
    """Race: the sweeper ends it in the moment in which a worker marks it; then nothing may be sent."""
    asked = ask(cast.oscar)
    mine = claimed(asked)
    marked: list[Any] = []

    def mark() -> None:
        try:
            marked.append(set_mark(mine, prepared()))
        finally:
            connection.close()

    thread = threading.Thread(target=mark)
    with every_tenant("test"):
        row = Operation.objects.select_for_update().get(pk=asked.operations[0].pk)
        thread.start()
        thread.join(0.5)
        assert marked == [], "it waits"
        row.state = "failed"
        row.save()
    thread.join(30)
    assert marked == [None]


def test_an_operation_that_is_being_marked_is_not_ended_by_its_deadline(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    change_operation(asked, send_until=timezone.now() - timedelta(seconds=1))
    done: list[int] = []

    def expire() -> None:
        try:
            with every_tenant("test"):
                done.append(settle.expire_unsent())
        finally:
            connection.close()

    with every_tenant("test"):
        Operation.objects.select_for_update(no_key=True).get(pk=asked.operations[0].pk)
        thread = threading.Thread(target=expire)
        thread.start()
        thread.join(30)
    assert done == [0]


def test_the_mark_is_committed_with_exactly_what_is_sent(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar, priority=70)
    mirrored.send()
    [attempt], [sent] = attempts(asked), exports_sent(mirrored.simulator)
    assert json.loads(attempt.body) == sent.asked
    assert sent.asked["windowStart"] == ms(attempt.stamp)
    assert sent.asked["priority"] == 70


def test_a_worker_that_was_paused_after_its_mark_stays_silent(
    cast: Cast, mirrored: Bridge, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crash point: paused between mark and send, longer than others may take it for alive."""
    settings.VPLUS_SEND_MARK_SECONDS = 0.1
    real = send._mark

    def slow(*arguments: Any) -> Any:
        request = real(*arguments)
        time.sleep(0.2)
        return request

    monkeypatch.setattr(send, "_mark", slow)
    asked = ask(cast.oscar)
    mirrored.send()
    assert exports_sent(mirrored.simulator) == []
    first, second = attempts(asked)
    assert (first.outcome, first.outcome_reason) == ("not_accepted", "not sent: the worker was held up")
    assert first.sent_at is not None, "a mark is never cleared"
    assert second.sent_at is None
    assert operation(asked).state == "requested"

"""An answer that names, by its guid alone, a task that is another's: the link does not stand once the task was read."""

from typing import Any

import pytest
from django.utils import timezone

from tenants.scope import every_tenant, in_tenant
from tests.bridge.conftest import Teller
from tests.bridge.scenes import (
    WEB,
    ask,
    ask_restore,
    attempts,
    export,
    exports_sent,
    operation,
    restores_sent,
    sent_operation,
    task_record,
    tasks,
    vm_row,
)
from tests.conftest import Bridge, Cast
from vplus_bridge.jobs import poll_once
from vplus_bridge.mirror.tasks import expect
from vplus_bridge.models import Attempt, ChainTask, Operation, Task
from vplus_bridge.operations.cancel import request_cancel
from vplus_simulator.faults import Fault


def chained(row: Operation) -> set[str]:
    with every_tenant("test"):
        return set(ChainTask.objects.filter(attempt__step__operation=row.pk).values_list("task_guid", flat=True))


def answer_naming(bridge: Bridge, path: str, guid: str) -> None:
    """Let the next write of this kind be answered with a guid that a proxy took from another's answer."""
    bridge.simulator.control.arm(
        Fault(kind="body", phase="after", method="POST", path=path, count=1, status=201, body=f'[{{"guid": "{guid}"}}]')
    )


def somebody_elses(bridge: Bridge) -> str:
    """Return a task of beta's machine that vPlus works at and that the mirror does not know yet."""
    export(bridge.simulator, "vm-beta-web")
    [sent] = exports_sent(bridge.simulator)
    return str(sent.tasks[0])


def test_another_tenants_task_is_neither_followed_nor_shown_and_ours_is_found(cast: Cast, mirrored: Bridge) -> None:
    theirs = somebody_elses(mirrored)
    asked = ask(cast.oscar)
    answer_naming(mirrored, "/tasks/export", theirs)
    mirrored.send()
    assert attempts(asked)[0].task_guid == theirs, "nothing said otherwise yet"
    mirrored.poll()
    row = operation(asked)
    assert theirs not in chained(row)
    assert tasks()[theirs].tenant_id == cast.beta.pk
    assert not tasks()[theirs].of_operation
    mirrored.run(steps=40)
    done = operation(asked)
    assert done.state == "succeeded", done.error_code
    [attempt] = attempts(asked)
    ours = {entry.tasks[0] for entry in exports_sent(mirrored.simulator)} - {theirs}
    assert {attempt.task_guid} == ours
    assert len(exports_sent(mirrored.simulator)) == 2, "nothing was sent again"
    with every_tenant("test"):
        assert {task.virtual_machine_guid for task in Task.objects.filter(guid__in=chained(done))} == {WEB}


def test_a_cancel_never_ends_another_tenants_task(cast: Cast, mirrored: Bridge) -> None:
    theirs = somebody_elses(mirrored)
    asked = ask(cast.oscar)
    answer_naming(mirrored, "/tasks/export", theirs)
    mirrored.send()
    actor = cast.oscar.actor
    with in_tenant(actor.tenant_id):
        request_cancel(actor, asked.operations[0].pk, now=timezone.now())
    mirrored.send()
    asked_of_vplus = [entry.call for entry in mirrored.simulator.control.journal() if theirs in str(entry)]
    assert not [call for call in asked_of_vplus if call.startswith(("PUT", "DELETE"))]
    mirrored.run(steps=20)
    assert tasks()[theirs].state == "FINISHED"
    assert theirs not in chained(operation(asked))


def test_a_restore_that_was_answered_with_anothers_task_is_looked_for(cast: Cast, mirrored: Bridge) -> None:
    theirs = somebody_elses(mirrored)
    asked = ask_restore(cast.oscar)
    answer_naming(mirrored, "/tasks/restore-and-import", theirs)
    mirrored.send()
    mirrored.poll()
    assert theirs not in chained(operation(asked))
    mirrored.run(steps=60)
    assert operation(asked).state == "succeeded"
    assert len(restores_sent(mirrored.simulator)) == 1


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("export", {"vm": "vm-alpha-db"}),
        ("export", {"type": {"name": "STORE"}}),
        ("restore", {"type": {"name": "EXPORT"}}),
        ("restore", {"type": {"name": "RESTORE"}, "vm": "vm-beta-web"}),
        ("restore", {"type": {"name": "RESTORE"}, "backup": {"guid": "another-point"}}),
    ],
)
def test_what_the_reading_contradicts_is_undone(kind: str, members: dict[str, Any], cast: Cast, vplus: Teller) -> None:
    row = named(cast, kind)
    vplus.tasks(task_record("t-named", **members))
    poll_once(vplus.client)
    with every_tenant("test"):
        attempt = Attempt.objects.get(step__operation=row.pk)
    assert (attempt.task_guid, attempt.outcome, chained(row)) == (None, "uncertain", set())
    assert tasks()["t-named"].tenant_id != cast.alpha.pk or members.get("vm") != "vm-beta-web"


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("export", {}),
        ("export", {"vm": None}),
        ("restore", {"type": {"name": "RESTORE"}}),
        ("restore", {"type": {"name": "RESTORE"}, "vm": "vm-that-it-makes"}),
        ("restore", {"type": {"name": "RESTORE"}, "backup": {"guid": "b-1"}}),
    ],
)
def test_what_nothing_contradicts_stands(kind: str, members: dict[str, Any], cast: Cast, vplus: Teller) -> None:
    row = named(cast, kind)
    vm_row("vm-that-it-makes")
    vplus.tasks(task_record("t-named", **members))
    poll_once(vplus.client)
    assert chained(row) == {"t-named"}
    assert tasks()["t-named"].tenant_id == cast.alpha.pk


def named(cast: Cast, kind: str) -> Operation:
    """An operation whose write was answered with nothing but the guid t-named."""
    vm_row(WEB, tenant=cast.alpha)
    vm_row("vm-alpha-db", tenant=cast.alpha)
    vm_row("vm-beta-web", tenant=cast.beta)
    is_restore = kind == "restore"
    facts = {"kind": "restore", "restore_point_guid": "b-1"} if is_restore else {}
    row = sent_operation(cast.alpha, task="t-named", **facts)
    with every_tenant("test"):
        if is_restore:
            row.steps.update(action="restore")
            ChainTask.objects.update(stage="restore")
        expect("t-named", type=kind.upper(), machine=WEB, tenant_id=cast.alpha.pk)
    return row

"""Restores under faults: never sent twice, never said to be what they are not; and a chain told by little."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.scope import every_tenant
from tests.bridge.conftest import Teller
from tests.bridge.scenes import (
    WEB,
    ask_restore,
    attempts,
    followed,
    operation,
    restores_sent,
    task_record,
    task_row,
    tasks,
    vm_row,
)
from tests.client.scripted_server import answer
from tests.conftest import Bridge, Cast
from vplus_bridge.client import RestoreJobRecord
from vplus_bridge.mirror import tasks as mirror_tasks
from vplus_bridge.mirror.restore_jobs import read_restore_jobs
from vplus_bridge.models import Attempt, ChainTask, Operation, Step
from vplus_bridge.operations import follow, settle
from vplus_bridge.operations.restore_follow import refusal_in
from vplus_bridge.ownership.assignment import attribute_tasks
from vplus_simulator.control import TaskChoice
from vplus_simulator.faults import Fault

SENT = timezone.now() - timedelta(minutes=10)
POST = {"method": "POST", "path": "/tasks/restore-and-import"}


def restores_made(bridge: Bridge) -> int:
    return sum(task.type == "RESTORE" for task in bridge.simulator.control.objects("tasks"))


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        (Fault(kind="cut", phase="processing", **POST), True),
        (Fault(kind="cut", phase="answering", bytes=0, **POST), True),
        (Fault(kind="reset", phase="answering", bytes=0, **POST), True),
        (Fault(kind="status", phase="after", status=500, **POST), True),
        (Fault(kind="html", phase="after", status=200, **POST), True),
        (Fault(kind="cut", phase="before", **POST), False),
        (Fault(kind="status", phase="before", status=500, **POST), False),
    ],
    ids=lambda value: f"{value.kind}-{value.phase}" if isinstance(value, Fault) else None,
)
def test_whatever_happens_to_the_answer_it_is_sent_once(
    fault: Fault, arrives: bool, cast: Cast, mirrored: Bridge, settings: Any
) -> None:
    settings.VPLUS_SEND_TOTAL_SECONDS = 2
    settings.VPLUS_SETTLE_ABSENT_SECONDS = settings.VPLUS_SETTLE_READS_APART_SECONDS = 0
    mirrored.simulator.control.arm(fault)
    asked = ask_restore(cast.oscar)
    mirrored.send()
    mirrored.simulator.control.disarm()
    with every_tenant("test"):
        Attempt.objects.filter(sent_at__isnull=False).update(sent_at=timezone.now() - timedelta(seconds=5))
    for _ in range(20):
        mirrored.send()
        mirrored.simulator.control.step(2)
        mirrored.poll()
    assert restores_made(mirrored) == arrives
    assert len(attempts(asked)) == 1, "never sent again by itself"
    done = operation(asked)
    if arrives:
        assert (done.state, done.warnings) == ("succeeded", ["identified_by_absence_of_others"])
    else:
        assert (done.state, done.error_code) == ("needs_attention", "arrival_unknown")


def test_one_that_was_refused_before_it_arrived_is_sent_again(cast: Cast, mirrored: Bridge) -> None:
    """429 says that nothing was done; the next attempt is the first that vPlus takes."""
    mirrored.simulator.control.arm(Fault(kind="status", phase="before", status=429, count=1, **POST))
    asked = ask_restore(cast.oscar)
    mirrored.send()
    with every_tenant("test"):
        Attempt.objects.filter(sent_at=None).update(due_at=timezone.now())
    mirrored.send()
    assert [attempt.outcome for attempt in attempts(asked)] == ["not_accepted", "uncertain"]
    assert restores_made(mirrored) == 1
    assert len(restores_sent(mirrored.simulator)) == 1, "vPlus took the second"


def test_tasks_that_vplus_forgot_leave_the_end_to_a_person(cast: Cast, mirrored: Bridge, settings: Any) -> None:
    settings.VPLUS_SEND_TOTAL_SECONDS = settings.VPLUS_SETTLE_ABSENT_SECONDS = 0
    asked = ask_restore(cast.oscar)
    mirrored.send()
    mirrored.run(steps=3)
    assert operation(asked).state == "running"
    mirrored.simulator.control.step(60)
    mirrored.simulator.control.forget_tasks(TaskChoice())
    mirrored.poll()
    mirrored.poll()
    done = operation(asked)
    assert (done.state, done.error_code) == ("needs_attention", "restore_end_unknown")
    assert restores_made(mirrored) == 0
    assert len(restores_sent(mirrored.simulator)) == 1


# A chain by what the mirror holds.


@pytest.fixture
def restore(cast: Cast) -> Operation:
    """A restore that was sent ten minutes ago and accepted as the task "r-1"."""
    vm_row(tenant_id=cast.alpha.pk)
    return sent_restore(cast.alpha)


def sent_restore(tenant: Any, *, task: str | None = "r-1", **facts: Any) -> Operation:
    usual: dict[str, Any] = {
        "kind": "restore",
        "state": "submitted",
        "subject": WEB,
        "virtual_machine_guid": WEB,
        "requested_by_id": tenant.pk,
        "requested_by_name": "Oscar",
        "send_until": timezone.now() + timedelta(hours=6),
        "restore_point_guid": "backup-1",
        "restored_name": "web-02",
        "plan": {"code": ""},
    }
    with every_tenant("test"):
        row = Operation.objects.create(tenant=tenant, **{**usual, **facts})
        step = Step.objects.create(tenant=tenant, operation=row, position=1, action="restore")
        attempt = Attempt.objects.create(
            tenant=tenant,
            step=step,
            sent_at=SENT,
            outcome="accepted" if task else "uncertain",
            task_guid=task,
            baseline_tasks=["t-old"],
        )
        if task:
            ChainTask.objects.create(
                tenant=tenant, attempt=attempt, task_guid=task, stage="restore", linked_by="answer"
            )
    return row


def with_jobs(row: Operation, *jobs: RestoreJobRecord) -> Operation:
    with every_tenant("test"):
        follow.follow([row.pk], {WEB: jobs})
        return Operation.objects.get(pk=row.pk)


def stages(row: Operation) -> dict[str, str]:
    with every_tenant("test"):
        return dict(ChainTask.objects.filter(attempt__step__operation=row).values_list("task_guid", "stage"))


def test_the_import_is_the_one_that_names_it(restore: Operation) -> None:
    task_row("r-1", "RESTORE", "FINISHED")
    task_row("i-other", "IMPORT", parent_guid="r-9")
    task_row("i-1", "IMPORT", parent_guid="r-1")
    followed(restore)
    assert stages(restore) == {"r-1": "restore", "i-1": "import"}


def test_else_it_is_the_first_new_one_after_it(restore: Operation) -> None:
    task_row("r-1", "RESTORE", "FINISHED", first_seen_at=SENT)
    task_row("i-1", "IMPORT", first_seen_at=SENT + timedelta(minutes=1))
    task_row("i-2", "IMPORT", first_seen_at=SENT + timedelta(minutes=2))
    assert followed(restore).stage == "import"
    assert stages(restore) == {"r-1": "restore", "i-1": "import"}


@pytest.mark.parametrize(
    "facts",
    [
        {"guid": "t-old"},
        {"backup_guid": "backup-2"},
        {"origin_type": "SCHEDULE"},
        {"virtual_machine_guid": "vm-alpha-db"},
        {"first_seen_at": SENT - timedelta(hours=1)},
    ],
)
def test_what_something_contradicts_is_not_its_import(facts: dict[str, Any], restore: Operation) -> None:
    task_row("r-1", "RESTORE", "FINISHED", first_seen_at=SENT)
    task_row(kind="IMPORT", **{"guid": "i-1", **facts})
    followed(restore)
    assert stages(restore) == {"r-1": "restore"}


def test_with_another_restore_of_the_machine_nothing_is_guessed(restore: Operation) -> None:
    task_row("r-1", "RESTORE", "FINISHED", first_seen_at=SENT)
    task_row("r-2", "RESTORE", "FINISHED", first_seen_at=SENT)
    task_row("i-1", "IMPORT")
    followed(restore)
    assert stages(restore) == {"r-1": "restore"}


def test_an_import_that_names_the_machine_as_destination_alone_is_its_own(cast: Cast, restore: Operation) -> None:
    task_row("r-1", "RESTORE", "FINISHED", first_seen_at=SENT)
    task_row("i-1", "IMPORT", "FINISHED", virtual_machine_guid="", destination_vm_guid=WEB)
    assert followed(restore).state == "succeeded"
    assert tasks()["i-1"].tenant_id == cast.alpha.pk, "the tenant who asked sees it"


def job(**members: Any) -> RestoreJobRecord:
    began = round((SENT + timedelta(seconds=1)).timestamp() * 1000)
    return RestoreJobRecord(**{"guid": "j-1", "restore_ms": began, "status": "SUCCESS", **members})


def forgotten() -> None:
    task_row("r-1", "RESTORE", "RUNNING", vanished_at=SENT + timedelta(minutes=2))


def test_a_restore_job_tells_the_end_where_tasks_are_gone(restore: Operation) -> None:
    forgotten()
    assert with_jobs(restore, job()).state == "succeeded"


def test_a_failed_job_tells_why(restore: Operation) -> None:
    forgotten()
    failed = with_jobs(restore, job(status="FAILED", status_info="Not enough space on storage x"))
    assert (failed.state, failed.error_code) == ("failed", "no_room")


@pytest.mark.parametrize(
    "members",
    [
        {"restore_ms": None},
        {"restore_ms": round((SENT - timedelta(hours=1)).timestamp() * 1000)},
        {"backup_guid": "backup-2"},
        {"restored_name": "db-02"},
        {"status": "INPROGRESS"},
    ],
)
def test_a_job_that_something_contradicts_tells_nothing(members: dict[str, Any], restore: Operation) -> None:
    forgotten()
    assert with_jobs(restore, job(**members)).state in ("running", "needs_attention")


def test_two_jobs_that_fit_tell_nothing(restore: Operation) -> None:
    forgotten()
    assert with_jobs(restore, job(), job(guid="j-2", status="FAILED")).state in ("running", "needs_attention")


@pytest.mark.parametrize(
    ("minutes", "state"), [(1, "succeeded"), (-10, "needs_attention")], ids=["its own", "an older one"]
)
def test_jobs_are_told_apart_by_our_clock(minutes: int, state: str, restore: Operation, vplus: Teller) -> None:
    """vPlus is an hour ahead: by its clock, each of its jobs began after we sent."""
    ahead = timedelta(hours=1)
    began = round((SENT + timedelta(minutes=minutes) + ahead).timestamp() * 1000)
    told = [{"guid": "j-1", "status": "SUCCESS", "restoreTime": began}]
    date = (timezone.now() + ahead).strftime("%a, %d %b %Y %H:%M:%S GMT")
    vplus.server.on("GET /restore-jobs", answer(told, headers=[("Date", date)]))
    forgotten()
    read = read_restore_jobs(vplus.client, WEB)
    assert with_jobs(restore, *read).state == state


def test_an_uncertain_restore_is_adopted_only_after_a_whole_read_and_by_absence_of_others(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_restore(cast.alpha, task=None)
    with every_tenant("test"):
        attempt = Attempt.objects.get()
    task_row("r-other-point", "RESTORE", backup_guid="backup-2")
    task_row("r-1", "RESTORE", virtual_machine_guid="", destination_vm_guid=WEB)
    with every_tenant("test"):
        settle.settle(attempt.pk, whole=False)
        assert not ChainTask.objects.exists()
        settle.settle(attempt.pk, whole=True)
    assert stages(row) == {"r-1": "restore"}


def test_an_import_that_is_all_that_is_left_is_adopted_as_one(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_restore(cast.alpha, task=None)
    task_row("i-1", "IMPORT", "FINISHED")
    with every_tenant("test"):
        settle.settle(Attempt.objects.get().pk, whole=True)
    assert stages(row) == {"i-1": "import"}
    assert followed(row).state == "succeeded"


def test_two_that_fit_are_for_a_person(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_restore(cast.alpha, task=None)
    task_row("r-1", "RESTORE")
    task_row("r-2", "RESTORE")
    with every_tenant("test"):
        settle.settle(Attempt.objects.get().pk, whole=True)
        assert Operation.objects.get(pk=row.pk).error_code == "several_tasks_fit"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Not enough space on storage fast-ssd: 1 bytes needed, 0 free", "no_room"),
        ("No valid host was found. There are not enough hosts available.", "no_room"),
        ("Quota exceeded for instances", "no_room"),
        ("Invalid VM name: longer than 80 characters", "name_refused"),
        ("Virtual machine with name web-01 already exists", "name_refused"),
        ("The name 'web-01' already exists.", "name_refused"),
        ("Import failed: the hypervisor manager answered 500", None),
        ("", None),
    ],
)
def test_reasons_of_platforms_are_told_by_a_reviewed_table(text: str, code: str | None) -> None:
    assert refusal_in(text) == code


# The mirror.


def read_tasks(vplus: Teller) -> None:
    mirror_tasks.read_all_tasks(vplus.client, attribute_tasks)


def test_a_restore_that_names_its_machine_as_destination_alone_is_that_tenants(cast: Cast, vplus: Teller) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    vplus.tasks(
        task_record("r-1", vm=None, type={"name": "RESTORE"}, dstProtectedEntity={"guid": WEB}),
        task_record("i-1", vm="vm-not-known-yet", type={"name": "IMPORT"}, dstProtectedEntity={"guid": WEB}),
        task_record("m-1", vm=None, type={"name": "MOUNT"}, dstProtectedEntity={"guid": WEB}),
    )
    read_tasks(vplus)
    assert {guid: row.tenant_id for guid, row in tasks().items()} == {
        "r-1": cast.alpha.pk, "i-1": cast.alpha.pk, "m-1": None,
    }  # fmt: skip
    vm_row("vm-not-known-yet", tenant_id=cast.beta.pk)
    vplus.tasks(
        task_record("i-1", "FINISHED", vm="vm-not-known-yet", type={"name": "IMPORT"}, dstProtectedEntity={"guid": WEB})
    )
    read_tasks(vplus)
    assert (tasks()["i-1"].virtual_machine_guid, tasks()["i-1"].tenant_id) == (WEB, cast.alpha.pk)


def test_the_machine_of_a_restore_goes_before_its_destination(cast: Cast, vplus: Teller) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    vm_row("vm-b", tenant_id=cast.beta.pk)
    vplus.tasks(task_record("r-1", vm=WEB, type={"name": "RESTORE"}, dstProtectedEntity={"guid": "vm-b"}))
    read_tasks(vplus)
    assert (tasks()["r-1"].virtual_machine_guid, tasks()["r-1"].tenant_id) == (WEB, cast.alpha.pk)

"""Stitching and following on rows as the mirror may hold them: which task and which record belong to an operation."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants.scope import every_tenant
from tests.bridge.scenes import (
    WEB,
    backup_row,
    followed,
    history_read,
    machine,
    ms,
    sent_operation,
    task_row,
    vm_row,
)
from tests.conftest import Cast
from vplus_bridge.models import Backup, ChainTask, Operation, Task, VirtualMachine
from vplus_bridge.operations import follow

NOW = timezone.now()
SENT = NOW - timedelta(minutes=10)


def ago(minutes: float) -> Any:
    return NOW - timedelta(minutes=minutes)


@pytest.fixture(autouse=True)
def patient(settings: Any) -> None:
    """Half an hour until an end counts as overdue: the minutes of these rows never do, an hour always does."""
    settings.VPLUS_SETTLE_ABSENT_SECONDS = 1800


@pytest.fixture
def row(cast: Cast) -> Operation:
    """An operation whose export was sent ten minutes ago and made the task export-1."""
    vm_row(tenant_id=cast.alpha.pk)
    return sent_operation(cast.alpha, sent_at=SENT, stamp=SENT, baseline_tasks=["t-old"], baseline_backups=["b-old"])


def export(state: str = "FINISHED", **facts: Any) -> Task:
    return task_row("export-1", "EXPORT", state, **{"first_seen_at": ago(9), "ended_seen_at": ago(5), **facts})


def store(guid: str = "store-1", state: str = "QUEUED", **facts: Any) -> Task:
    return task_row(guid, "STORE", state, **{"first_seen_at": ago(4.9), **facts})


def links() -> dict[str, tuple[str, str]]:
    with every_tenant("test"):
        return {link.task_guid: (link.stage, link.linked_by) for link in ChainTask.objects.all()}


def overdue(*guids: str) -> None:
    """Let these tasks have ended an hour ago."""
    with every_tenant("test"):
        Task.objects.filter(guid__in=guids).update(ended_seen_at=ago(60))


# The store


@pytest.mark.parametrize(
    ("facts", "by"),
    [({"parent_guid": "export-1"}, "parent"), ({"backup_guid": "b-1"}, "backup"), ({}, "order")],
)
def test_a_store_is_told_by_parent_else_by_record_else_by_order(facts: dict[str, Any], by: str, row: Operation) -> None:
    export(backup_guid="b-1")
    store(**facts)
    done = followed(row)
    assert links()["store-1"] == ("store", by)
    assert (done.state, done.stage, done.progress) == ("running", "store", 60)


@pytest.mark.parametrize(
    "facts",
    [
        {"parent_guid": "another-export"},
        {"backup_guid": "another-backup"},
        {"origin_type": "SCHEDULE"},
        {"guid": "t-old"},
        {"virtual_machine_guid": "vm-alpha-db"},
        {"first_seen_at": NOW - timedelta(hours=2)},
        {"started_at": NOW - timedelta(minutes=8), "state": "RUNNING"},
    ],
)
def test_a_store_that_something_contradicts_is_not_taken(facts: dict[str, Any], row: Operation) -> None:
    export(finished_at=ago(5))
    store(**facts)
    followed(row)
    assert set(links()) == {"export-1"}


def test_of_two_stores_that_fit_none_is_guessed(row: Operation) -> None:
    export()
    store("store-1")
    store("store-2")
    assert followed(row).state == "running"
    assert set(links()) == {"export-1"}


def test_the_store_of_an_export_that_ran_before_ours_is_not_taken_for_ours(row: Operation) -> None:
    """A foreign export of the same machine that was there when we sent, and ended since: its store looks like ours."""
    task_row("t-old", "EXPORT", "FINISHED", first_seen_at=ago(60), ended_seen_at=ago(7))
    export()
    store(state="FAILED")
    history_read()
    done = followed(row)
    assert set(links()) == {"export-1"}
    assert done.state == "running", "somebody else's failure is not ours"


def test_a_foreign_export_that_failed_or_still_works_makes_no_store(row: Operation) -> None:
    task_row("t-failed", "EXPORT", "FAILED", first_seen_at=ago(8))
    task_row("t-live", "EXPORT", "RUNNING", first_seen_at=ago(8))
    export()
    store()
    followed(row)
    assert links()["store-1"] == ("store", "order")


def test_two_chains_of_one_machine_are_not_mixed_up(cast: Cast, row: Operation) -> None:
    """The first needs attention and is long done; the second is a new wish for the same machine."""
    export()
    store(parent_guid="export-1")
    followed(row)
    with every_tenant("test"):
        Operation.objects.filter(pk=row.pk).update(state="needs_attention", error_code="end_unknown")
    second = sent_operation(cast.alpha, task="export-2", sent_at=ago(4), stamp=ago(4))
    task_row("export-2", "EXPORT", "FINISHED", first_seen_at=ago(3.9), ended_seen_at=ago(2))
    store("store-2", first_seen_at=ago(1.9))
    followed([row, second])
    with every_tenant("test"):
        of_second = ChainTask.objects.filter(attempt__step__operation=second)
        assert set(of_second.values_list("task_guid", flat=True)) == {"export-2", "store-2"}


def test_a_failed_export_is_followed_to_its_copy(row: Operation) -> None:
    window = {"window_start": SENT}
    export("FAILED", **window)
    task_row("export-2", "EXPORT", "RUNNING", first_seen_at=ago(4), progress=10.0, **window)
    history_read()
    done = followed(row)
    assert links()["export-2"] == ("export", "retry")
    assert (done.state, done.stage, done.progress) == ("running", "export", 6)


def test_a_failed_store_is_followed_to_its_copy(row: Operation) -> None:
    export()
    store("store-1", "FAILED", parent_guid="export-1")
    store("store-2", "RUNNING", parent_guid="export-1", first_seen_at=ago(2))
    history_read(at=ago(20))
    followed(row)
    done = followed(row)
    assert links()["store-2"] == ("store", "retry")
    assert done.state == "running"


# The record


def test_the_named_record_decides(row: Operation) -> None:
    export("RUNNING", backup_guid="b-1", ended_seen_at=None)
    backup_row("b-1", "INPROGRESS")
    assert followed(row).state == "running"
    backup_row("b-1", "SUCCESS")
    done = followed(row)
    assert (done.state, done.backup_guid, done.progress, done.warnings) == ("succeeded", "b-1", 100, [])
    assert done.finished_at is not None


def test_a_stored_record_of_somebody_else_is_no_success_while_our_export_waits(row: Operation) -> None:
    """A success without evidence: a foreign backup of the same machine is stored while ours is still queued."""
    export("QUEUED", ended_seen_at=None)
    backup_row("b-foreign", "SUCCESS", first_seen_at=ago(8.9))
    history_read()
    waiting = followed(row)
    assert (waiting.state, waiting.backup_guid) == ("submitted", "")
    export("RUNNING", ended_seen_at=None)
    assert (followed(row).state, followed(row).backup_guid) == ("running", "")


def test_an_unnamed_record_is_told_only_when_the_history_was_read_after_the_export(row: Operation) -> None:
    export(ended_seen_at=ago(5))
    backup_row("b-foreign", "SUCCESS", first_seen_at=ago(6))
    history_read(at=ago(6))
    assert (followed(row).state, followed(row).backup_guid) == ("running", ""), "ours may still be missing"
    backup_row("b-ours", "INPROGRESS", first_seen_at=ago(4.5))
    history_read()
    assert followed(row).backup_guid == "", "two fit: not told apart"
    with every_tenant("test"):
        Backup.objects.filter(guid="b-foreign").delete()
    done = followed(row)
    assert (done.backup_guid, done.state) == ("b-ours", "running")


@pytest.mark.parametrize(
    "facts",
    [
        {"guid": "b-old"},
        {"first_seen_at": NOW - timedelta(hours=2)},
        {"virtual_machine_guid": "vm-alpha-db"},
        {"finished_at": NOW - timedelta(minutes=9)},
        {"taken_at": NOW - timedelta(minutes=30), "taken_at_source": "snapshot"},
        {"taken_at": NOW + timedelta(minutes=30), "taken_at_source": "snapshot"},
    ],
)
def test_a_record_that_cannot_be_ours_is_not_taken(facts: dict[str, Any], row: Operation) -> None:
    export(started_at=ago(8), finished_at=ago(5))
    backup_row(**{"guid": "b-1", "first_seen_at": ago(6), **facts})
    history_read()
    assert followed(row).backup_guid == ""


def test_a_record_that_another_task_names_is_not_taken(row: Operation) -> None:
    export()
    task_row("t-foreign", "EXPORT", "RUNNING", backup_guid="b-1", first_seen_at=ago(8))
    backup_row("b-1", first_seen_at=ago(6))
    history_read()
    assert followed(row).backup_guid == ""


def test_a_record_that_another_operation_made_is_not_taken(cast: Cast, row: Operation) -> None:
    sent_operation(cast.alpha, task="t-2", state="succeeded", backup_guid="b-1")
    export()
    backup_row("b-1", first_seen_at=ago(6))
    history_read()
    assert followed(row).backup_guid == ""


def test_a_record_by_its_snapshot_time_is_told_whenever_it_was_first_seen(row: Operation) -> None:
    export(started_at=ago(8), finished_at=ago(5))
    backup_row("b-1", "SUCCESS", first_seen_at=NOW, taken_at=ago(7), taken_at_source="snapshot")
    history_read()
    assert (followed(row).state, followed(row).backup_guid) == ("succeeded", "b-1")


@pytest.mark.parametrize(
    ("status", "facts", "asked", "warnings"),
    [
        ("PARTIAL_SUCCESS", {}, "FULL", ["stored_in_part"]),
        ("SUCCESS_REMOVED", {}, "FULL", ["removed_since"]),
        ("SUCCESS", {"type": "FULL"}, "INCREMENTAL", ["full_instead_of_incremental"]),
        ("SUCCESS", {"type": "INCREMENTAL"}, "INCREMENTAL", []),
        ("SUCCESS", {"warnings_present": True}, "FULL", ["vplus_warnings"]),
    ],
)
def test_a_success_says_what_was_not_as_asked(
    status: str, facts: dict[str, Any], asked: str, warnings: list[str], row: Operation
) -> None:
    with every_tenant("test"):
        Operation.objects.update(plan={**row.plan, "backup_type": asked})
    export(backup_guid="b-1")
    store(state="FINISHED", parent_guid="export-1")
    backup_row("b-1", status, **facts)
    done = followed(row)
    assert (done.state, done.warnings) == ("succeeded", warnings)


# The end


def test_stored_by_the_tasks_but_the_record_cannot_be_told_apart(row: Operation) -> None:
    export()
    store(state="FINISHED", ended_seen_at=ago(1))
    backup_row("b-1", first_seen_at=ago(6))
    backup_row("b-2", first_seen_at=ago(6))
    assert followed(row).state == "running", "the record may still say better"
    history_read()
    done = followed(row)
    assert (done.state, done.warnings, done.backup_guid, done.progress) == (
        "succeeded", ["restore_point_unknown"], "", 100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tasks", "code", "state"),
    [
        ({"export": {"state": "FAILED"}}, "could_not_read", "failed"),
        ({"export": {"state": "CANCELLED"}}, "cancelled_in_vplus", "cancelled"),
        ({"export": {}, "store": {"state": "FAILED"}}, "could_not_store", "failed"),
        ({"export": {}, "store": {"state": "CANCELLED"}}, "cancelled_in_vplus", "cancelled"),
        ({"export": {"state": "RUNNING", "vanished_at": ago(5)}}, "task_vanished", "failed"),
        ({"export": {"state": "QUEUED", "vanished_at": ago(5)}}, "task_vanished", "failed"),
    ],
)
def test_a_bad_end_is_told_once_the_record_had_its_chance(
    tasks: dict[str, dict[str, Any]], code: str, state: str, row: Operation
) -> None:
    export(**tasks["export"])
    if "store" in tasks:
        store(ended_seen_at=ago(4), parent_guid="export-1", **tasks["store"])
    assert followed(row).active
    history_read()
    done = followed(row)
    assert (done.state, done.error_code) == (state, code)


def test_what_failed_before_it_began_never_counts_as_begun(row: Operation) -> None:
    export("FAILED")
    history_read()
    assert followed(row).started_at is None


def test_a_window_that_passed_is_told_as_such(row: Operation) -> None:
    export("FAILED", window_end=ago(6), finished_at=ago(6))
    history_read()
    assert followed(row).error_code == "window_passed"


@pytest.mark.parametrize(("minutes", "code"), [(6, "window_passed"), (-60, "could_not_read")])
def test_a_window_that_passed_is_told_also_where_the_task_says_nothing(
    minutes: float, code: str, row: Operation
) -> None:
    with every_tenant("test"):
        Operation.objects.update(plan={**row.plan, "window_end": ms(ago(minutes))})
    export("FAILED")
    history_read()
    assert followed(row).error_code == code


def test_what_was_seen_running_did_not_miss_its_window(row: Operation) -> None:
    with every_tenant("test"):
        Operation.objects.update(plan={**row.plan, "window_end": ms(ago(6))})
    export("RUNNING", ended_seen_at=None)
    followed(row)
    export("FAILED")
    history_read()
    assert followed(row).error_code == "could_not_read"


@pytest.mark.parametrize(
    ("status", "state"), [("SUCCESS", "succeeded"), ("FAILED", "failed"), ("INPROGRESS", "running")]
)
def test_where_tasks_vanish_half_way_the_record_decides(status: str, state: str, row: Operation) -> None:
    export("RUNNING", vanished_at=ago(5), backup_guid="b-1")
    backup_row("b-1", status)
    history_read()
    assert followed(row).state == state


def test_a_record_that_disappears_with_its_tasks_is_a_failure(row: Operation) -> None:
    export("RUNNING", vanished_at=ago(5), backup_guid="b-1")
    backup_row("b-1", "INPROGRESS", gone_at=ago(1))
    history_read()
    assert followed(row).error_code == "task_vanished"


def test_vanished_with_a_new_record_that_may_be_ours_is_not_called_failed(row: Operation) -> None:
    export("RUNNING", vanished_at=ago(5))
    backup_row("b-1", first_seen_at=ago(8))
    backup_row("b-2", first_seen_at=ago(8))
    history_read()
    overdue("export-1")
    done = followed(row)
    assert (done.state, done.error_code) == ("needs_attention", "end_unknown")


def test_a_history_that_nobody_may_read_does_not_hold_up_the_end(row: Operation) -> None:
    """403 for the backups of this machine: its task is all that is ever known."""
    export("FAILED")
    assert followed(row).active
    overdue("export-1")
    assert (followed(row).state, followed(row).error_code) == ("failed", "could_not_read")


def test_stores_that_all_ended_well_are_a_success_whichever_is_ours(row: Operation) -> None:
    export()
    store("store-1", "FINISHED")
    store("store-2", "FINISHED")
    history_read()
    assert followed(row).state == "running"
    overdue("export-1")
    assert (followed(row).state, followed(row).warnings) == ("succeeded", ["restore_point_unknown"])


def test_stores_of_which_one_failed_are_for_a_person(row: Operation) -> None:
    export()
    store("store-1", "FINISHED")
    store("store-2", "FAILED")
    overdue("export-1")
    history_read()
    assert followed(row).error_code == "end_unknown"


def test_nobody_gives_up_while_vplus_works_for_the_machine(row: Operation) -> None:
    export()
    store("store-1", "FINISHED")
    store("store-2", "RUNNING")
    overdue("export-1")
    history_read()
    assert followed(row).state == "running"


def test_an_export_after_which_nothing_came_is_a_failure(row: Operation) -> None:
    export()
    overdue("export-1")
    assert followed(row).error_code == "end_unknown", "nothing was read that could tell"


def test_an_export_after_which_nothing_came_by_a_whole_history_is_a_failure(row: Operation) -> None:
    export()
    overdue("export-1")
    history_read()
    assert (followed(row).state, followed(row).error_code) == ("failed", "task_vanished")


def test_a_record_of_ours_that_vplus_is_still_at_is_waited_for(row: Operation) -> None:
    export(backup_guid="b-1")
    backup_row("b-1", "INPROGRESS")
    overdue("export-1")
    history_read()
    assert followed(row).state == "running"
    with every_tenant("test"):
        Task.objects.update(ended_seen_at=NOW - timedelta(hours=25))
    assert followed(row).error_code == "end_unknown"


@pytest.mark.parametrize(
    ("status", "state", "code"), [("SUCCESS", "succeeded", ""), ("FAILED", "failed", "could_not_store")]
)
def test_a_record_that_tells_late_settles_what_needed_attention(
    status: str, state: str, code: str, row: Operation
) -> None:
    export(backup_guid="b-1")
    store(state="FINISHED", parent_guid="export-1")
    backup_row("b-1", "INPROGRESS")
    overdue("export-1", "store-1")
    history_read()
    assert followed(row).error_code == "end_unknown"
    assert followed(row).state == "needs_attention"
    backup_row("b-1", status)
    done = followed(row)
    assert (done.state, done.error_code) == (state, code)


def test_what_needs_attention_for_another_reason_is_left_to_the_person(row: Operation) -> None:
    with every_tenant("test"):
        Operation.objects.update(state="needs_attention", error_code="several_tasks_fit")
    export("FAILED")
    history_read()
    assert followed(row).error_code == "several_tasks_fit"


def test_nothing_began_before_it_was_sent_whatever_vpluss_clock_says(row: Operation) -> None:
    export("RUNNING", ended_seen_at=None, started_at=SENT - timedelta(hours=2))
    assert followed(row).started_at == SENT


# Progress


def test_one_bar_over_both_stages(row: Operation) -> None:
    shown = []
    for make in (
        lambda: export("QUEUED", ended_seen_at=None),
        lambda: export("RUNNING", ended_seen_at=None),
        lambda: export("RUNNING", ended_seen_at=None, progress=50.0),
        lambda: export("FINISHED", progress=100.0),
        lambda: store(parent_guid="export-1"),
        lambda: store(state="RUNNING", parent_guid="export-1", progress=50.0),
        lambda: store(state="FINISHED", parent_guid="export-1", progress=100.0),
    ):
        make()
        done = followed(row)
        shown.append((done.state, done.stage, done.progress))
    assert shown == [
        ("submitted", "export", None),
        ("running", "export", None),
        ("running", "export", 30.0),
        ("running", "store", 60.0),
        ("running", "store", 60.0),
        ("running", "store", 80.0),
        ("running", "store", 99.0),
    ]


def test_the_estimate_comes_from_the_machines_own_history(row: Operation) -> None:
    for number, (asked, minutes) in enumerate([("FULL", 6), ("FULL", 2), ("INCREMENTAL", 60), ("FULL", 4)]):
        backup_row(
            f"past-{number}", type=asked, taken_at=ago(1000 + number), first_seen_at=ago(2000),
            export_seconds=minutes * 45.0, store_seconds=minutes * 15.0,
        )  # fmt: skip
    backup_row("past-failed", "FAILED", type="FULL", export_seconds=9999.0, store_seconds=1.0, first_seen_at=ago(2000))
    export("RUNNING", ended_seen_at=None, progress=50.0)
    done = followed(row)
    assert (done.estimate_seconds, done.estimate_basis) == (240.0, "last_3")
    assert done.progress == pytest.approx(37.5), "three quarters of the work are the export"


def test_without_a_history_there_is_no_estimate(row: Operation) -> None:
    export("RUNNING", ended_seen_at=None)
    assert (followed(row).estimate_seconds, followed(row).estimate_basis) == (None, "unknown")


# What a cycle costs


def many(cast: Cast, count: int) -> list[Operation]:
    rows = []
    for number in range(count):
        guid = f"vm-{number:03}"
        vm_row(guid, tenant_id=cast.alpha.pk)
        rows.append(
            sent_operation(cast.alpha, task=f"export-{guid}", subject=guid, sent_at=SENT, estimate_basis="unknown")
        )
        task_row(f"export-{guid}", state="RUNNING", virtual_machine_guid=guid, first_seen_at=ago(9), progress=10.0)
    return rows


@pytest.mark.parametrize("progress", [10.0, 20.0])
def test_the_statements_of_a_cycle_do_not_grow_with_the_operations(progress: float, cast: Cast) -> None:
    rows = many(cast, 60)
    counted = []
    for chosen in (rows[:3], rows[3:]):
        with every_tenant("test"), CaptureQueriesContext(connection) as queries:
            assert len(follow.follow([row.pk for row in chosen])) == len(chosen)
        counted.append(len(queries))
    assert counted[0] == counted[1] <= 12
    with every_tenant("test"):
        Task.objects.update(progress=progress)
    with every_tenant("test"), CaptureQueriesContext(connection) as queries:
        changed = follow.follow([row.pk for row in rows])
    assert len(changed) == (60 if progress > 10 else 0)
    assert len(queries) <= 12


def test_the_statements_for_what_is_to_be_watched_do_not_grow_either(cast: Cast) -> None:
    many(cast, 3)
    with every_tenant("test"), CaptureQueriesContext(connection) as few:
        assert len(follow.watches()) == 3
    with every_tenant("test"):
        Operation.objects.all().delete()
        VirtualMachine.objects.all().delete()
    many(cast, 40)
    with every_tenant("test"), CaptureQueriesContext(connection) as queries:
        assert len(follow.watches()) == 40
    assert len(queries) == len(few) <= 5


def test_what_nothing_is_new_of_is_not_written(cast: Cast) -> None:
    rows = many(cast, 5)
    with every_tenant("test"):
        follow.follow([row.pk for row in rows])

    def versions() -> list[Any]:
        with every_tenant("test"), connection.cursor() as cursor:
            cursor.execute(
                "SELECT xmin::text FROM vplus_bridge_operation UNION ALL SELECT xmin::text FROM vplus_bridge_attempt"
            )
            return sorted(cursor.fetchall())

    before = versions()
    with every_tenant("test"):
        assert follow.follow([row.pk for row in rows]) == []
    assert versions() == before


# What is to be watched


def watched() -> list[tuple[str, bool, bool]]:
    with every_tenant("test"):
        return [(watch.virtual_machine_guid, watch.tasks, watch.backups) for watch in follow.watches()]


def test_between_two_tasks_the_machines_own_are_read(row: Operation) -> None:
    assert watched() == [(WEB, True, True)], "its task was never listed yet"
    export("QUEUED", ended_seen_at=None)
    assert watched() == []
    export("FINISHED", backup_guid="b-1")
    assert watched() == [(WEB, True, True)]
    store(parent_guid="export-1", state="RUNNING")
    followed(row)
    assert watched() == [(WEB, False, True)] or machine() is None


def test_a_record_without_a_name_is_looked_for_until_it_shows_up(row: Operation) -> None:
    export("RUNNING", ended_seen_at=None)
    assert watched() == [(WEB, False, True)]
    backup_row("b-old", first_seen_at=NOW)
    assert watched() == [(WEB, False, True)], "that one was there before"
    backup_row("b-1", "INPROGRESS", first_seen_at=ago(1))
    assert watched() == [], "then its first sight is known"

"""Promises, expected runs and verdicts in the database: from rows as the mirror would hold them; the instant is given."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.scope import every_tenant, in_tenant
from tests.conftest import Cast
from vplus_bridge.mirror import listing
from vplus_bridge.mirror.policies import POLICIES
from vplus_bridge.mirror.read_state import CONTACT, TASKS_FULL
from vplus_bridge.models import (
    Backup,
    ContactOutage,
    ExpectedRun,
    PolicyPromise,
    ReadState,
    Task,
    VirtualMachine,
    VplusPolicy,
    VplusSchedule,
)
from vplus_bridge.protection import expected, ledger, promises, verdict

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
EVENING = NIGHT - 6 * HOUR
EVERY_DAY = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
GRACE = HOUR
ALLOWED = DAY + 6 * HOUR + GRACE


@pytest.fixture
def wide(database: None) -> Iterator[None]:
    with every_tenant("test"):
        yield


def policy(guid: str = "p-1", *, schedules: tuple[str, ...] = ("s-1",), **facts: Any) -> VplusPolicy:
    rule = {
        "guid": f"r-{guid}",
        "name": "Default",
        "active": None,
        "marked_for_deletion": False,
        "schedule_guids": list(schedules),
        "destination_guids": [],
    }
    known = {"name": guid, "digest": b"", "vm_guids": [], "rules": [rule], **facts}
    return VplusPolicy.objects.create(guid=guid, **known)


def schedule(guid: str = "s-1", **facts: Any) -> VplusSchedule:
    known = {
        "name": guid,
        "digest": b"",
        "type": "VM_BACKUP",
        "execution_type": "TIME",
        "backup_type": "FULL",
        "hour_ms": 7_200_000,
        "start_window_ms": 21_600_000,
        "days_of_week": EVERY_DAY,
        **facts,
    }
    return VplusSchedule.objects.create(guid=guid, **known)


def machine(guid: str = "vm-1", tenant: Any = None, **facts: Any) -> VirtualMachine:
    known = {
        "name": guid,
        "digest": b"",
        "present": True,
        "policy_guid": "p-1",
        "policy_since": EVENING - 30 * DAY,
        "history_read_at": EVENING,
        **facts,
    }
    return VirtualMachine.objects.create(guid=guid, tenant=tenant, **known)


def with_point(age: timedelta, now: datetime, guid: str = "vm-1", tenant: Any = None, **facts: Any) -> VirtualMachine:
    at = now - age
    return machine(
        guid, tenant, restore_point_count=1, newest_point_at=at, newest_point_guid="b", last_backup_at=at, **facts
    )


def read_all(now: datetime) -> None:
    """Every reading of vPlus worked at this instant."""
    for name in (POLICIES, TASKS_FULL, CONTACT):
        ReadState.objects.update_or_create(name=name, defaults={"succeeded_at": now, "failing_since": None})
    VirtualMachine.objects.update(history_read_at=now)


def promise() -> PolicyPromise:
    return PolicyPromise.objects.get()


def runs() -> list[tuple[str, datetime, str, str]]:
    rows = ExpectedRun.objects.order_by("virtual_machine_guid", "due_at")
    return [(row.virtual_machine_guid, row.due_at, row.outcome, row.why) for row in rows]


def judged(now: datetime, guid: str = "vm-1") -> tuple[str, str]:
    verdict.judge(now=now)
    row = VirtualMachine.objects.get(guid=guid)
    return row.protection_status, row.protection_reason


# Promises


def test_a_policy_of_the_mirror_promises_what_its_schedules_do(cast: Cast, wide: None) -> None:
    policy(), schedule(), machine(tenant=cast.alpha)
    promises.refresh(EVENING)
    row = promise()
    assert (row.state, row.next_run_at, row.gap_seconds) == ("known", NIGHT, DAY.total_seconds())
    assert row.allowance_seconds == (DAY + 6 * HOUR).total_seconds()
    assert row.tenant_id == cast.alpha.pk


@pytest.mark.parametrize(
    ("of_policy", "of_schedule", "state"),
    [
        ({"active": False}, {}, "none"),
        ({}, {"active": False}, "none"),
        ({}, {"type": "SNAPSHOT"}, "none"),
        ({"rules": []}, {}, "none"),
        ({"rules": None}, {}, "cannot_tell"),
        ({}, {"hour_ms": None}, "cannot_tell"),
        ({}, {"days_of_week": ["SOMEDAY"]}, "cannot_tell"),
        ({}, {"guid": "s-9"}, "cannot_tell"),
    ],
)
def test_what_does_not_run_and_what_cannot_be_told(
    of_policy: dict[str, Any], of_schedule: dict[str, Any], state: str, cast: Cast, wide: None
) -> None:
    policy(**of_policy)
    schedule(**{"guid": "s-1", **of_schedule})
    machine(tenant=cast.alpha)
    promises.refresh(EVENING)
    assert (promise().state, promise().next_run_at) == (state, None)


def test_each_tenant_of_a_shared_policy_has_the_promise_and_sees_its_own(cast: Cast, database: None) -> None:
    with every_tenant("test"):
        policy(), schedule(), machine("vm-1", cast.alpha), machine("vm-2", cast.beta), machine("vm-3", None)
        promises.refresh(EVENING)
        assert PolicyPromise.objects.count() == 3
    with in_tenant(cast.alpha):
        assert PolicyPromise.objects.count() == 1
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid="vm-2").update(policy_guid="")
        promises.refresh(EVENING)
        assert PolicyPromise.objects.count() == 2


def test_an_unchanged_promise_is_not_computed_again_before_a_day_is_over(cast: Cast, wide: None) -> None:
    policy(), schedule(), machine(tenant=cast.alpha)
    promises.refresh(EVENING)
    promises.refresh(EVENING + HOUR)
    assert promise().computed_at == EVENING
    VplusSchedule.objects.update(hour_ms=10_800_000)
    promises.refresh(EVENING + 2 * HOUR)
    assert (promise().computed_at, promise().next_run_at) == (EVENING + 2 * HOUR, NIGHT + HOUR)


# The ledger


def test_a_run_is_written_once_when_it_is_due(cast: Cast, wide: None) -> None:
    policy(), schedule(), machine("vm-1", cast.alpha), machine("vm-2", cast.alpha), machine("vm-3", None)
    promises.refresh(EVENING)
    assert expected.write_what_is_due(NIGHT - HOUR) == 0
    assert expected.write_what_is_due(NIGHT) == 2, "what is nobody's has no ledger"
    assert expected.write_what_is_due(NIGHT) == 0
    assert [(guid, due, outcome) for guid, due, outcome, _ in runs()] == [
        ("vm-1", NIGHT, "waiting"),
        ("vm-2", NIGHT, "waiting"),
    ]
    assert {row.next_run_at for row in PolicyPromise.objects.all()} == {NIGHT + DAY}
    assert VirtualMachine.objects.get(guid="vm-1").next_run_at == NIGHT + DAY


def test_a_machine_that_came_later_or_is_gone_expects_nothing(cast: Cast, wide: None) -> None:
    policy(), schedule()
    machine("vm-late", cast.alpha, policy_since=NIGHT + timedelta(seconds=1))
    machine("vm-gone", cast.alpha, present=False)
    machine("vm-lost", cast.alpha, absent_since=EVENING)
    machine("vm-there", cast.alpha, policy_since=NIGHT)
    promises.refresh(EVENING)
    expected.write_what_is_due(NIGHT + HOUR)
    assert [run[0] for run in runs()] == ["vm-there"]


def test_what_was_due_while_no_worker_was_there_is_written_for_a_week(cast: Cast, wide: None) -> None:
    policy(), schedule(), machine(tenant=cast.alpha)
    promises.refresh(EVENING)
    expected.write_what_is_due(EVENING + 20 * DAY)
    assert [due for _, due, _, _ in runs()] == [NIGHT + number * DAY for number in range(13, 20)]


def test_a_changed_schedule_is_held_to_what_it_was_until_then(cast: Cast, wide: None) -> None:
    policy(), schedule(), machine(tenant=cast.alpha)
    promises.refresh(EVENING)
    VplusSchedule.objects.update(hour_ms=18_000_000)
    promises.refresh(NIGHT + HOUR)
    expected.write_what_is_due(NIGHT + 4 * HOUR)
    assert [due for _, due, _, _ in runs()] == [NIGHT, NIGHT + 3 * HOUR]


def task(guid: str, state: str, at: datetime, **facts: Any) -> None:
    live = state in {"QUEUED", "RUNNING"}
    known = {"type": "EXPORT", "live": live, "virtual_machine_guid": "vm-1", "digest": b"", "first_seen_at": at}
    Task.objects.create(guid=guid, state=state, **{**known, **facts})


def backup(guid: str, status: str, at: datetime | None, **facts: Any) -> None:
    known = {"virtual_machine_guid": "vm-1", "digest": b"", "taken_at_source": "snapshot", "first_seen_at": at or NIGHT}
    Backup.objects.create(guid=guid, status=status, taken_at=at, **{**known, **facts})


@pytest.fixture
def due(cast: Cast, wide: None) -> Cast:
    """One machine whose run has just become due."""
    policy(), schedule(), machine(tenant=cast.alpha)
    promises.refresh(EVENING)
    expected.write_what_is_due(NIGHT)
    return cast


def test_a_run_is_followed_to_its_backup(due: Cast) -> None:
    task("t-1", "RUNNING", NIGHT + HOUR, window_start=NIGHT, schedule_guid="s-1", started_at=NIGHT + HOUR)
    assert ledger.settle_of(["vm-1"], NIGHT + HOUR) == {"vm-1"}
    assert runs()[0][2:] == ("running", "")
    Task.objects.update(state="FINISHED", live=False)
    backup("b-1", "SUCCESS", NIGHT + HOUR, origin_type="SCHEDULE", origin_guid="s-1")
    assert ledger.settle_of(["vm-1"], NIGHT + 2 * HOUR) == {"vm-1"}
    row = ExpectedRun.objects.get()
    assert (row.outcome, row.task_guid, row.backup_guid, row.look_at) == ("stored", "t-1", "b-1", None)
    assert row.started_at == NIGHT + HOUR
    assert ledger.settle_of(["vm-1"], NIGHT + 3 * HOUR) == set(), "what is settled is not looked at again"


def test_tasks_of_a_run_are_known_as_their_schedules_where_vplus_names_none(due: Cast) -> None:
    task("export", "FINISHED", NIGHT + MINUTE, window_start=NIGHT)
    task("store", "RUNNING", NIGHT + HOUR, type="STORE")
    task("by hand", "RUNNING", NIGHT + HOUR, window_start=NIGHT + HOUR)
    ledger.settle_of(["vm-1"], NIGHT + 2 * HOUR)
    born = dict(Task.objects.values_list("guid", "schedule_guid"))
    assert born == {"export": "s-1", "store": "s-1", "by hand": ""}


def test_likeness_alone_makes_no_task_a_schedules(due: Cast) -> None:
    """The poorest answer tells no window: it may be the run, and may be somebody in vPlus."""
    task("t-1", "RUNNING", NIGHT + HOUR)
    ledger.settle_of(["vm-1"], NIGHT + HOUR)
    assert runs()[0][2:] == ("running", "")
    assert Task.objects.get().schedule_guid == ""


def test_nothing_ran_is_known_only_after_everything_was_read(due: Cast) -> None:
    deadline = NIGHT + 6 * HOUR + GRACE
    read_all(deadline - HOUR)
    ledger.settle_due(deadline)
    assert runs()[0][2:] == ("excused", "history_not_read")
    assert VirtualMachine.objects.get().history_wanted_at == deadline, "so its history is asked for"
    read_all(deadline + HOUR)
    ledger.settle_due(deadline + HOUR)
    assert runs()[0][2:] == ("missed", "")
    assert ExpectedRun.objects.get().look_at is None


def test_what_was_due_without_contact_is_excused_until_something_of_it_is_seen(due: Cast) -> None:
    ReadState.objects.create(name=CONTACT, succeeded_at=NIGHT - HOUR, failing_since=NIGHT - HOUR)
    assert ledger.note_outages(NIGHT) is False
    read_all(NIGHT + 12 * HOUR)
    assert ledger.note_outages(NIGHT + 12 * HOUR) is True
    assert ledger.note_outages(NIGHT + 13 * HOUR) is False
    outage = ContactOutage.objects.get()
    assert (outage.began_at, outage.ended_at) == (NIGHT - HOUR, NIGHT + 12 * HOUR)
    ledger.settle_due(NIGHT + 12 * HOUR)
    assert runs()[0][2:] == ("excused", "no_contact")


def test_an_operation_of_a_person_is_no_run(due: Cast) -> None:
    from tests.bridge.scenes import sent_operation

    task("t-9", "FINISHED", NIGHT + HOUR, tenant=due.alpha)
    sent_operation(due.alpha, stamp=NIGHT + HOUR, state="succeeded", subject="vm-1", task="t-9")
    read_all(NIGHT + DAY)
    ledger.settle_due(NIGHT + DAY)
    assert runs()[0][2:] == ("missed", "")


def test_a_machine_that_left_the_policy_is_not_held_against_it(due: Cast) -> None:
    VirtualMachine.objects.update(policy_guid="")
    read_all(NIGHT + DAY)
    ledger.settle_due(NIGHT + DAY)
    assert runs()[0][2:] == ("excused", "left_policy")


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("left_at", "outcome"),
    [(NIGHT + HOUR, "excused"), (NIGHT + 6 * HOUR + MINUTE, "excused"), (NIGHT + 6 * HOUR + 20 * MINUTE, "missed")],
)
def test_who_leaves_the_policy_after_the_window_is_told_of_the_run_before(
    left_at: datetime, outcome: str, *, alone: bool, due: Cast
) -> None:
    """Also the last one to go, with whom the promise goes; one that leaves within the window may have gone in time."""
    if not alone:
        machine("vm-stays", due.alpha, policy_since=NIGHT + HOUR)
    VirtualMachine.objects.filter(guid="vm-1").update(policy_guid="", policy_since=left_at)
    promises.refresh(left_at)
    assert PolicyPromise.objects.exists() is not alone
    read_all(NIGHT + DAY)
    ledger.settle_due(NIGHT + DAY)
    assert runs()[0][2] == outcome


def test_a_machine_that_is_somebody_elses_by_now_is_not_held_against_its_policy(due: Cast) -> None:
    VirtualMachine.objects.update(policy_guid="", policy_since=NIGHT + 7 * HOUR, tenant=due.beta)
    read_all(NIGHT + DAY)
    ledger.settle_due(NIGHT + DAY)
    assert runs()[0][2:] == ("excused", "left_policy")


def test_a_night_of_many_machines_costs_the_same_number_of_statements(
    cast: Cast, wide: None, django_assert_max_num_queries: Any
) -> None:
    policy(), schedule()
    for number in range(60):
        machine(f"vm-{number}", cast.alpha)
    promises.refresh(EVENING)
    with django_assert_max_num_queries(8):
        expected.write_what_is_due(NIGHT)
    read_all(NIGHT + DAY)
    with django_assert_max_num_queries(16):
        ledger.settle_due(NIGHT + 8 * HOUR)
    assert ExpectedRun.objects.filter(outcome="missed").count() == 60


def test_old_runs_are_removed(due: Cast, settings: Any) -> None:
    settings.LEDGER_KEEP_DAYS = 31
    assert ledger.prune(NIGHT + 31 * DAY) == 0
    assert ledger.prune(NIGHT + 31 * DAY + HOUR) == 1
    assert runs() == []


# The verdict


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (HOUR, ("protected", "within_promise")),
        (ALLOWED, ("protected", "within_promise")),
        (ALLOWED + timedelta(seconds=1), ("at_risk", "older_than_promise")),
        (3 * ALLOWED, ("at_risk", "older_than_promise")),
        (3 * ALLOWED + timedelta(seconds=1), ("not_protected", "promise_lost")),
    ],
)
def test_a_point_is_held_against_the_promise(age: timedelta, said: tuple[str, str], cast: Cast, wide: None) -> None:
    policy(), schedule(), with_point(age, NIGHT, tenant=cast.alpha)
    promises.refresh(NIGHT)
    assert judged(NIGHT) == said


def test_worst_is_what_has_no_point_then_what_has_an_old_one(cast: Cast, wide: None) -> None:
    policy(), schedule()
    with_point(HOUR, NIGHT, "vm-fine", cast.alpha)
    with_point(2 * ALLOWED, NIGHT, "vm-late", cast.alpha)
    for days in (20, 30):
        with_point(timedelta(days=days), NIGHT, f"vm-old-{days}", cast.alpha)
    machine("vm-never", cast.alpha, restore_point_count=0, newest_point_at=None)
    promises.refresh(NIGHT)
    verdict.judge(now=NIGHT)
    page = listing.page_of(VirtualMachine.objects.all(), "attention", "", 10)
    assert [row.guid for row in page.rows] == ["vm-never", "vm-old-30", "vm-old-20", "vm-late", "vm-fine"]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"history_read_at": None}, ("unknown", "history_not_read")),
        ({"restore_point_count": 0, "newest_point_at": None}, ("not_protected", "never_backed_up")),
        ({"newest_point_at": None, "newest_point_time_given": False}, ("unknown", "time_not_given")),
        ({"policy_guid": ""}, ("at_risk", "no_policy")),
        ({"policy_guid": "p-none"}, ("at_risk", "no_schedule")),
        ({"policy_guid": "p-unknown"}, ("unknown", "promise_not_known")),
    ],
)
def test_without_a_promise_or_a_history_nothing_is_called_protected(
    facts: dict[str, Any], said: tuple[str, str], cast: Cast, wide: None
) -> None:
    policy(), schedule(), policy("p-none", schedules=())
    with_point(HOUR, NIGHT, tenant=cast.alpha)
    VirtualMachine.objects.update(**facts)
    ReadState.objects.create(name=POLICIES, succeeded_at=NIGHT)
    promises.refresh(NIGHT)
    assert judged(NIGHT) == said


@pytest.mark.parametrize("told", [(True, "vplus_up_to_date"), (False, "vplus_outdated"), (None, "vplus_no_schedule")])
def test_where_policies_cannot_be_read_vplus_has_the_word(told: tuple[Any, str], cast: Cast, wide: None) -> None:
    with_point(HOUR, NIGHT, tenant=cast.alpha, policy_guid="", up_to_date=told[0])
    assert judged(NIGHT) == ("unknown", told[1])
    ReadState.objects.create(name=POLICIES, succeeded_at=NIGHT)
    policy(vm_guids=None)
    assert judged(NIGHT)[1] == told[1], "one whose members are not known yet may hold it"
    VplusPolicy.objects.update(vm_guids=[])
    assert judged(NIGHT) == ("at_risk", "no_policy")


def test_a_verdict_turns_when_its_time_has_come_and_not_before(cast: Cast, wide: None) -> None:
    policy(), schedule(), with_point(timedelta(), NIGHT, tenant=cast.alpha)
    promises.refresh(NIGHT)
    verdict.judge(now=NIGHT)
    assert VirtualMachine.objects.get().turns_at == NIGHT + ALLOWED
    assert verdict.turn_due(NIGHT + ALLOWED - HOUR) == []
    assert verdict.turn_due(NIGHT + ALLOWED + HOUR) == ["vm-1"]
    assert VirtualMachine.objects.get().protection_status == "at_risk"
    assert VirtualMachine.objects.get().turns_at == NIGHT + 3 * ALLOWED
    assert verdict.turn_due(NIGHT + 3 * ALLOWED + HOUR) == ["vm-1"]
    row = VirtualMachine.objects.get()
    assert (row.protection_status, row.turns_at) == ("not_protected", None)


def test_where_evidence_ended_a_verdict_is_not_known_until_contact_is_back(cast: Cast, wide: None) -> None:
    policy(), schedule(), with_point(timedelta(), NIGHT, tenant=cast.alpha)
    promises.refresh(NIGHT)
    ReadState.objects.create(name=CONTACT, succeeded_at=NIGHT + HOUR, failing_since=NIGHT + HOUR)
    assert judged(NIGHT + ALLOWED - HOUR) == ("protected", "within_promise"), (
        "it is young enough whatever happened since"
    )
    late = NIGHT + ALLOWED + HOUR
    verdict.turn_due(late)
    assert VirtualMachine.objects.get().protection_reason == "evidence_ended"
    read_all(late)
    assert verdict.judge_waiting(late) == ["vm-1"]
    assert VirtualMachine.objects.get().protection_status == "at_risk"


def test_a_history_that_cannot_be_read_is_no_evidence_of_what_did_not_happen(cast: Cast, wide: None) -> None:
    """vPlus told of something new, and what that is cannot be read."""
    policy(), schedule(), with_point(timedelta(), NIGHT, tenant=cast.alpha)
    promises.refresh(NIGHT)
    late = NIGHT + 4 * ALLOWED
    read_all(late)
    assert judged(late) == ("not_protected", "promise_lost"), "all was read, and nothing was there"
    unread = {"history_wanted_at": late - 2 * HOUR, "history_tried_at": late - HOUR}
    VirtualMachine.objects.update(history_read_at=NIGHT + DAY, **unread)
    assert judged(late) == ("unknown", "history_not_read_since")
    VirtualMachine.objects.update(history_read_at=NIGHT + 2 * ALLOWED)
    assert judged(late) == ("at_risk", "older_than_promise"), "so old it was when its history was last read"
    VirtualMachine.objects.update(restore_point_count=0, newest_point_at=None)
    assert judged(late) == ("unknown", "history_not_read_since")
    read_all(late)
    assert judged(late) == ("not_protected", "never_backed_up")


def test_a_young_point_is_enough_whatever_cannot_be_read(cast: Cast, wide: None) -> None:
    policy(), schedule(), with_point(timedelta(), NIGHT, tenant=cast.alpha)
    promises.refresh(NIGHT)
    unread = {"history_wanted_at": NIGHT + HOUR, "history_tried_at": NIGHT + 2 * HOUR}
    VirtualMachine.objects.update(history_read_at=NIGHT, **unread)
    assert judged(NIGHT + DAY) == ("protected", "within_promise")


def test_a_point_of_the_future_is_no_evidence(cast: Cast, wide: None) -> None:
    policy(), schedule(), with_point(-2 * DAY, NIGHT, tenant=cast.alpha)
    promises.refresh(NIGHT)
    assert judged(NIGHT) == ("unknown", "time_not_given")


def test_an_unchanged_verdict_writes_no_row(cast: Cast, wide: None) -> None:
    policy(), schedule(), with_point(HOUR, NIGHT, tenant=cast.alpha)
    promises.refresh(NIGHT)
    verdict.judge(now=NIGHT)

    def version() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT ctid::text FROM vplus_bridge_virtualmachine")
            return str(cursor.fetchone()[0])

    before = version()
    assert verdict.judge(now=NIGHT + HOUR) == []
    assert version() == before


ORDER = ["protected", "at_risk", "not_protected"]


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hours=st.lists(st.integers(0, 24 * 20), min_size=2, max_size=5))
def test_with_nothing_new_a_verdict_only_gets_worse(hours: list[int], database: None) -> None:
    with every_tenant("test"):
        for model in (VirtualMachine, VplusPolicy, VplusSchedule, PolicyPromise):
            model.objects.all().delete()  # type: ignore[attr-defined]  # each of them has one
        policy(), schedule(), with_point(timedelta(), NIGHT)
        promises.refresh(NIGHT)
        said = [ORDER.index(judged(NIGHT + hour * HOUR)[0]) for hour in sorted(hours)]
    assert said == sorted(said)

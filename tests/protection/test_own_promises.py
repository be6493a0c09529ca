"""Policies that were made here: promised in wall times, in force for the ledger and the verdict before the mirror reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenants.scope import every_tenant
from tests.conftest import Cast
from tests.protection.test_ledger import EVERY_DAY, HOUR, NIGHT, machine, policy, read_all, runs, schedule
from vplus_bridge import protection_jobs
from vplus_bridge.models import Carrier, Policy, PolicyMember, PolicyPromise, Schedule, Task, VirtualMachine
from vplus_bridge.protection import ledger, own_members, policy_names, promises

# Two in the morning in Warsaw is one in UTC in winter, and midnight in summer.
RUN = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
EVENING, MINUTE = RUN - 6 * HOUR, timedelta(minutes=1)


def own_policy(tenant: Any, *members: str, **facts: Any) -> Policy:
    known = {"name": "Gold", "state": "kept", "vplus_guid": "p-own", "wire_name": "t-7f3a-gold", "changed_at": EVENING}
    row = Policy.objects.create(tenant=tenant, **{**known, **facts})
    for guid in members:
        PolicyMember.objects.create(tenant=tenant, policy=row, virtual_machine_guid=guid)
    planned = Schedule.objects.create(
        tenant=tenant,
        policy=row,
        backup_type="FULL",
        execution_type="TIME",
        zone="Europe/Warsaw",
        time_of_day="02:00",
        days_of_week=EVERY_DAY,
        start_window_minutes=120,
    )
    Carrier.objects.create(
        tenant=tenant,
        schedule=planned,
        position=1,
        wire_name="t-7f3a-gold-1",
        vplus_guid="s-own",
        spec={},
        valid_from=EVENING,
        valid_until=EVENING + timedelta(days=300),
    )
    row.refresh_from_db()
    return row


@pytest.fixture
def alpha(cast: Cast) -> Any:
    return cast.alpha


def status(guid: str = "vm-1") -> tuple[str, str, str]:
    with every_tenant("test"):
        row = VirtualMachine.objects.get(guid=guid)
        return row.policy_label, row.protection_status, row.protection_reason


def test_a_policy_made_here_promises_the_wall_time_of_its_zone(alpha: Any) -> None:
    with every_tenant("test"):
        own_policy(alpha, "vm-1")
        machine("vm-1", alpha, policy_guid="p-own")
        promises.refresh(EVENING)
        row = PolicyPromise.objects.get()
        assert (row.state, row.next_run_at) == ("known", RUN)
        # The night in which the clock goes back is an hour longer.
        assert (row.gap_seconds, row.allowance_seconds) == (25 * 3600, 27 * 3600)


@pytest.mark.parametrize("owner", ["nobody", "beta"])
def test_a_member_that_is_somebody_elses_by_now_is_in_the_policy_until_it_was_taken_out(
    owner: str, cast: Cast, alpha: Any
) -> None:
    with every_tenant("test"):
        row = own_policy(alpha, "vm-1")
        machine("vm-1", {"nobody": None, "beta": cast.beta}[owner], policy_guid="p-own")
        assert own_members.tell_members(EVENING + MINUTE) == []
        row.members.all().delete()
        assert own_members.tell_members(EVENING + MINUTE) == ["vm-1"]


def test_a_run_of_ours_is_known_by_the_schedules_that_carry_it(alpha: Any) -> None:
    with every_tenant("test"):
        own_policy(alpha, "vm-1")
        machine("vm-1", alpha, policy_guid="p-own")
        promises.refresh(EVENING)
    protection_jobs.ledger_once(RUN)
    with every_tenant("test"):
        for guid, named in (("t-1", "s-own"), ("t-2", "s-other")):
            Task.objects.create(
                guid=guid,
                type="EXPORT",
                state="RUNNING",
                digest=b"",
                virtual_machine_guid="vm-1",
                window_start=RUN,
                schedule_guid=named,
                first_seen_at=RUN,
            )
        read_all(RUN)
        assert ledger.settle_of(["vm-1"], RUN + HOUR) == {"vm-1"}
        assert runs() == [("vm-1", RUN, "running", "")]


def test_what_was_just_written_is_in_force_before_the_mirror_reads_it(alpha: Any) -> None:
    with every_tenant("test"):
        machine("vm-1", alpha, policy_guid="", restore_point_count=1, newest_point_at=EVENING - HOUR)
        read_all(EVENING)
        own_policy(alpha, "vm-1")
    protection_jobs.ledger_once(EVENING + MINUTE)
    assert status() == ("Gold", "protected", "within_promise")
    with every_tenant("test"):
        row = VirtualMachine.objects.get()
        assert (row.policy_guid, row.next_run_at, row.policy_since) == ("p-own", RUN, EVENING + MINUTE)
        PolicyMember.objects.all().delete()
        Policy.objects.update(changed_at=EVENING + HOUR)
    protection_jobs.ledger_once(EVENING + HOUR + MINUTE)
    assert status() == ("", "at_risk", "no_policy")


def test_what_the_mirror_read_since_is_the_newer_word(alpha: Any) -> None:
    with every_tenant("test"):
        machine("vm-1", alpha, policy_guid="p-1")
        policy("p-own", schedules=(), detail_read_at=EVENING + MINUTE)
        policy(), schedule()
        own_policy(alpha, "vm-1")
    protection_jobs.ledger_once(EVENING + 2 * MINUTE)
    with every_tenant("test"):
        assert VirtualMachine.objects.get().policy_guid == "p-1"


def test_a_paused_policy_promises_nothing(alpha: Any) -> None:
    with every_tenant("test"):
        own_policy(alpha, "vm-1", paused=True)
        machine("vm-1", alpha, policy_guid="p-own", restore_point_count=1, newest_point_at=NIGHT - HOUR)
        promises.refresh(EVENING)
        assert PolicyPromise.objects.get().state == "none"


def test_only_a_tenants_own_policies_bear_their_name(cast: Cast) -> None:
    with every_tenant("test"):
        own_policy(cast.alpha, "vm-1")
        machine("vm-1", cast.alpha, policy_guid="p-own")
        machine("vm-2", cast.beta, policy_guid="p-own")
        machine("vm-3", cast.alpha, policy_guid="p-9", policy_name="somebody's")
        policy_names.name_policies()
    assert [status(guid)[0] for guid in ("vm-1", "vm-2", "vm-3")] == ["Gold", "", ""]

"""Policies, members, rules and schedules in the mirror: everybody's, nobody's until attached, and never gone by mistake."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from tenants.scope import every_tenant, in_tenant
from tests.bridge.conftest import Teller
from tests.bridge.scenes import machine, machines, vm_record
from tests.client.scripted_server import answer
from tests.conftest import Bridge, Cast, StartSimulator
from vplus_bridge import jobs
from vplus_bridge.client import Unavailable
from vplus_bridge.mirror import policies
from vplus_bridge.mirror.inventory import read_inventory
from vplus_bridge.mirror.policies import POLICIES, POLICY_DETAILS, SCHEDULES, read_policies
from vplus_bridge.mirror.read_state import state_of
from vplus_bridge.models import VirtualMachine, VplusPolicy, VplusSchedule

ALPHA_MEMBERS = ["vm-alpha-db", "vm-alpha-gone", "vm-alpha-web"]


def mirrored() -> dict[str, VplusPolicy]:
    with every_tenant("test"):
        return {row.guid: row for row in VplusPolicy.objects.all()}


def schedules() -> dict[str, VplusSchedule]:
    with every_tenant("test"):
        return {row.guid: row for row in VplusSchedule.objects.all()}


def versions(*tables: str) -> list[tuple[str, str]]:
    """The transaction that last wrote each row: it changes with every write, also one that changes nothing."""
    found = []
    with every_tenant("test"), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT guid, xmin::text FROM vplus_bridge_{table}")  # a name given below
            found += cursor.fetchall()
    return sorted(found)


def tell(vplus: Teller, *records: dict[str, Any], announced: int | None = None, **status: Any) -> None:
    """Policies as they come in a list, each with a detail of its own; no schedules."""
    headers = None if announced is None else [("X-Total-Count", str(announced))]
    brief = [{key: value for key, value in record.items() if key not in {"vms", "rules"}} for record in records]
    vplus.server.on("GET /policies/vm-backup", answer(brief, headers=headers, **status))
    for record in records:
        vplus.server.on(f"GET /policies/vm-backup/{record['guid']}", answer(record))
    vplus.server.on("GET /schedules", answer([]))


@pytest.mark.parametrize("richness", ["poorest", "plain", "generous"])
def test_policies_come_with_members_rules_and_schedules(
    richness: str, database: None, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(richness=richness))
    read_inventory(bridge.client)
    read_policies(bridge.client)
    gold = mirrored()["policy-alpha"]
    assert (gold.name, gold.tenant_id, gold.gone_at) == ("alpha gold", None, None)
    assert gold.vm_guids == ALPHA_MEMBERS
    assert gold.rules is not None
    assert [rule["guid"] for rule in gold.rules] == ["rule-alpha"]
    told = schedules()
    full, incremental = told["schedule-alpha-full"], told["schedule-alpha-inc"]
    assert (full.days_of_week, full.backup_type, full.execution_type, full.hour_ms) == (
        ["SUNDAY"],
        "FULL",
        "TIME",
        3_600_000,
    )
    assert incremental.rule_guids == ["rule-alpha"]
    assert {row.tenant_id for row in [*mirrored().values(), *told.values()]} == {None}


@pytest.mark.parametrize("richness", ["poorest", "generous"])
def test_a_machine_has_the_policy_that_lists_it(richness: str, database: None, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(richness=richness))
    bridge.sync()
    known = machines()
    assert {guid for guid, vm in known.items() if vm.policy_guid == "policy-alpha"} == set(ALPHA_MEMBERS)
    assert known["vm-alpha-web"].policy_by_members is (richness == "poorest")
    assert (known["vm-alpha-new"].policy_guid, known["vm-alpha-new"].policy_name) == ("", "")
    bridge.simulator.control.protection.change("policies", "policy-alpha", vms=["vm-alpha-web", "vm-alpha-new"])
    bridge.sync()
    assert {guid for guid, vm in machines().items() if vm.policy_guid == "policy-alpha"} == {
        "vm-alpha-web",
        "vm-alpha-new",
    }


def test_a_changed_record_that_names_no_policy_keeps_what_the_members_told(database: None, vplus: Teller) -> None:
    vplus.machines(vm_record("vm-1"))
    tell(vplus, {"guid": "p-1", "name": "gold", "vms": [{"guid": "vm-1"}]})
    read_inventory(vplus.client)
    read_policies(vplus.client)
    vplus.machines(vm_record("vm-1", name="another name"))
    read_inventory(vplus.client)
    assert (machine("vm-1").name, machine("vm-1").policy_guid) == ("another name", "p-1")
    vplus.machines(vm_record("vm-1", vmBackupPolicy={"guid": "p-9", "name": "silver"}))
    read_inventory(vplus.client)
    assert (machine("vm-1").policy_guid, machine("vm-1").policy_by_members) == ("p-9", False)
    read_policies(vplus.client)
    assert machine("vm-1").policy_guid == "p-9", "the machine's own record is the better word"


def test_an_unchanged_reading_writes_nothing_but_when_it_was(database: None, bridge: Bridge) -> None:
    bridge.sync()
    before, read_at = versions("vplusschedule", "virtualmachine"), mirrored()["policy-alpha"]
    read_policies(bridge.client)
    assert versions("vplusschedule", "virtualmachine") == before
    again = mirrored()["policy-alpha"]
    assert again.changed_at == read_at.changed_at
    assert again.detail_read_at > read_at.detail_read_at


def test_details_are_capped_the_changed_ones_first(
    database: None, vplus: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "MOST_DETAILS", 2)
    records = [{"guid": f"p-{number}", "name": f"policy {number}", "vms": [], "rules": []} for number in range(5)]
    tell(vplus, *records)
    for expected in (2, 4, 5):
        read_policies(vplus.client)
        assert sum(row.detail_read_at is not None for row in mirrored().values()) == expected
    records[1]["name"] = "renamed"
    tell(vplus, *records)
    asked = vplus.asked("GET /policies/vm-backup/p-1")
    read_policies(vplus.client)
    assert vplus.asked("GET /policies/vm-backup/p-1") == asked + 1


def test_a_short_or_failed_list_marks_nothing_gone(database: None, vplus: Teller) -> None:
    gold, silver = ({"guid": guid, "name": guid, "vms": [], "rules": []} for guid in ("gold", "silver"))
    tell(vplus, gold, silver)
    read_policies(vplus.client)
    tell(vplus, gold, announced=2)
    read_policies(vplus.client)
    assert mirrored()["silver"].gone_at is None
    vplus.server.on("GET /policies/vm-backup", answer({"message": "boom"}, 500))
    read_policies_quietly(vplus)
    assert mirrored()["silver"].gone_at is None
    assert state_of(POLICIES).failing_since is not None
    tell(vplus, gold)
    read_policies(vplus.client)
    assert mirrored()["silver"].gone_at is not None
    assert state_of(POLICIES).failing_since is None


def read_policies_quietly(vplus: Teller) -> None:
    try:
        read_policies(vplus.client)
    except Unavailable:
        return


def test_a_policy_that_is_gone_no_longer_tells_machines(database: None, vplus: Teller) -> None:
    vplus.machines(vm_record("vm-1"))
    gold = {"guid": "gold", "name": "gold", "vms": [{"guid": "vm-1"}]}
    tell(vplus, gold)
    read_inventory(vplus.client)
    read_policies(vplus.client)
    assert machine("vm-1").policy_guid == "gold"
    tell(vplus)
    read_policies(vplus.client)
    assert (machine("vm-1").policy_guid, machine("vm-1").policy_by_members) == ("", False)


@pytest.mark.parametrize("status", [403, 404])
def test_what_cannot_be_read_is_a_named_gap_and_the_rest_is_read(status: int, database: None, vplus: Teller) -> None:
    vplus.server.on("GET /policies/vm-backup", answer({"message": "no"}, status))
    vplus.server.on("GET /schedules", answer([{"guid": "s-1", "name": "nightly"}]))
    read_policies(vplus.client)
    assert state_of(POLICIES).problem == {403: "forbidden", 404: "not_there"}[status]
    assert list(schedules()) == ["s-1"]
    tell(vplus, {"guid": "gold", "name": "gold"})
    vplus.server.on("GET /policies/vm-backup/gold", answer({"message": "no"}, status))
    vplus.server.on("GET /schedules", answer({"message": "no"}, status))
    read_policies(vplus.client)
    assert state_of(SCHEDULES).failing_since is not None
    assert schedules()["s-1"].gone_at is None
    assert state_of(POLICY_DETAILS).problem == ("forbidden" if status == 403 else "")
    assert mirrored()["gold"].vm_guids is None, "not told is not the same as empty"


def test_a_detail_that_leaves_members_out_does_not_empty_the_policy(database: None, vplus: Teller) -> None:
    tell(vplus, {"guid": "gold", "name": "gold", "vms": [{"guid": "vm-1"}], "rules": [{"guid": "r-1"}]})
    read_policies(vplus.client)
    tell(vplus, {"guid": "gold", "name": "gold", "priority": 7})
    read_policies(vplus.client)
    gold = mirrored()["gold"]
    assert (gold.vm_guids, gold.priority) == (["vm-1"], 7)
    tell(vplus, {"guid": "gold", "name": "gold", "priority": 7, "vms": []})
    read_policies(vplus.client)
    assert mirrored()["gold"].vm_guids == []


def test_no_tenant_sees_a_policy_that_is_not_attached(cast: Cast, bridge: Bridge) -> None:
    bridge.sync()
    with in_tenant(cast.alpha):
        assert VplusPolicy.objects.count() == VplusSchedule.objects.count() == 0
    with every_tenant("test"):
        VplusPolicy.objects.filter(guid="policy-alpha").update(tenant=cast.alpha)
    read_policies(bridge.client)
    with in_tenant(cast.alpha):
        assert [row.guid for row in VplusPolicy.objects.all()] == ["policy-alpha"]
    with in_tenant(cast.beta):
        assert VplusPolicy.objects.count() == 0


def test_the_job_reads_them_and_the_check_names_them(
    database: None, bridge: Bridge, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.inventory_once(bridge.client)
    jobs.read_infrastructure()
    assert "policy-alpha" in mirrored()
    with every_tenant("test"):
        assert VirtualMachine.objects.get(guid="vm-alpha-web").policy_guid == "policy-alpha"
    call_command("vplus_check")
    assert "schedules" in capsys.readouterr().out

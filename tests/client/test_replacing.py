"""A PUT replaces the whole object: what is not changed comes back, also what nobody here understands."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vplus_bridge.client import AtInterval, AtTime, Expectation, Invalid, WriteRequest, decoding
from vplus_bridge.client.dialect import DIALECTS

GUIDE, CURRENT = DIALECTS["guide"], DIALECTS["current"]

SCHEDULE: dict[str, Any] = {
    "guid": "s/1",
    "name": "nightly",
    "backupType": {"name": "FULL", "description": "Full"},
    "type": "VM_BACKUP",
    "executionType": {"name": "TIME", "description": "Time"},
    "hour": 3600000.0,
    "startWindowLength": 21600000,
    "active": True,
    "daysOfWeek": [{"name": "MONDAY", "shortName": "Mon"}, "THURSDAY"],
    "months": [],
    "dayOfWeekOccurrences": [],
    "rules": [{"guid": "ru-1", "name": "Default"}, "ru-2"],
    "tenantId": "0f5c",
    "lastRun": 1795600800000,
}
POLICY: dict[str, Any] = {
    "guid": "p-1",
    "name": "t-gold",
    "active": True,
    "priority": "50",
    "autoRemoveNonPresent": False,
    "autoAssignSettings": {"mode": {"name": "ASSIGN_ONLY"}, "includeTags": ["prod"]},
    "vms": [{"guid": "vm-1", "name": "web-01", "uuid": "u-1", "present": True}, {"guid": "vm-2"}],
    "rules": [
        {
            "guid": "ru-1",
            "name": "Default",
            "vmCount": 2,
            "active": False,
            "position": 3,
            "schedules": [{"guid": "s-1"}],
            "ruleBackupDestinations": [
                {
                    "backupDestination": {"guid": "bd-1"},
                    "roleType": {"name": "PRIMARY"},
                    "backupRetentionSettings": {"retentionKeepLastNFull": "9"},
                    "daysToKeepRetentionLock": 2,
                    "active": False,
                },
                {"roleType": "SECONDARY"},
            ],
        }
    ],
    "backupRetryCount": 3,
    "dailyReportEnabled": True,
    "tenantId": "0f5c",
}
RULE: dict[str, Any] = {
    "guid": "ru-1",
    "name": "Default",
    "active": True,
    "position": 1,
    "policy": {"guid": "p-1", "name": "t-gold"},
    "schedules": [{"guid": "s-1", "name": "nightly"}],
    "backupDestinations": ["bd-1"],
    "ruleBackupDestinations": [
        {
            "guid": "rd-1",
            "type": {"name": "FILESYSTEM"},
            "backupDestination": {"guid": "bd-1", "name": "main"},
            "roleType": {"name": "PRIMARY"},
            "backupRetentionSettings": {"retentionKeepLastNFull": "9"},
            "daysToKeepRetentionLock": 2,
            "active": True,
        },
        {"roleType": "SECONDARY"},
    ],
}


def body(request: WriteRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)
    return found


STRANGE = st.dictionaries(
    st.text(min_size=1, max_size=6).map(lambda name: f"x{name}"),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=80, deadline=None, derandomize=True)
@given(strange=STRANGE)
def test_what_is_not_understood_goes_back_as_it_came(name: Any, strange: dict[str, Any]) -> None:
    dialect = DIALECTS[name]
    for whole, shape, update in (
        (SCHEDULE, decoding.SCHEDULE, dialect.update_schedule_request),
        (POLICY, decoding.POLICY, dialect.update_policy_request),
        (RULE, decoding.RULE, dialect.update_rule_request),
    ):
        current = shape.detail(json.dumps(whole | strange).replace("\\u0000", " ").encode()).raw
        before = copy.deepcopy(current)
        sent = body(update(current, name="new name"))
        assert set(sent) >= set(current)
        assert {member: sent[member] for member in current if member.startswith("x")} == {
            member: value for member, value in current.items() if member.startswith("x")
        }
        assert sent["name"] == "new name"
        assert current == before, "what was read is not touched"


def test_a_schedule_keeps_everything_but_its_change() -> None:
    request = GUIDE.update_schedule_request(SCHEDULE, active=False)
    assert (request.method, request.path, request.template) == ("PUT", "/schedules/s%2F1", "/schedules/{guid}")
    assert request.expects is Expectation.ANYTHING
    assert body(request) == SCHEDULE | {
        "active": False,
        "backupType": {"name": "FULL"},
        "type": {"name": "VM_BACKUP"},
        "executionType": {"name": "TIME"},
        "daysOfWeek": [{"name": "MONDAY"}, {"name": "THURSDAY"}],
        "rules": [{"guid": "ru-1"}, {"guid": "ru-2"}],
    }


def test_a_schedule_that_changes_its_kind_loses_the_figures_of_the_other() -> None:
    every = AtInterval(start_hour_ms=0, end_hour_ms=79140000, frequency_ms=7200000)
    sent = body(GUIDE.update_schedule_request(SCHEDULE, timing=every))
    assert (sent["executionType"], sent["interval"]["frequency"]) == ({"name": "INTERVAL"}, 7200000)
    assert not {"hour", "startWindowLength"} & set(sent)
    back = body(GUIDE.update_schedule_request(sent, timing=AtTime(hour_ms=0, start_window_ms=60_000)))
    assert (back["hour"], back["startWindowLength"], "interval" in back) == (0, 60_000, False)


@pytest.mark.parametrize(
    "member",
    [
        "name",
        "backupType",
        "type",
        "executionType",
        "hour",
        "startWindowLength",
        "active",
        "daysOfWeek",
        "months",
        "dayOfWeekOccurrences",
        "rules",
        "tenantId",
    ],
)
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "null"])
def test_a_member_that_neither_side_tells_stops_the_change_of_a_schedule(member: str, *, absent: bool) -> None:
    current = {name: value for name, value in SCHEDULE.items() if name != member}
    with pytest.raises(Invalid, match=member):
        GUIDE.update_schedule_request(current if absent else current | {member: None})


def test_an_interval_that_is_not_told_stops_the_change() -> None:
    with pytest.raises(Invalid, match="interval"):
        GUIDE.update_schedule_request(SCHEDULE | {"executionType": "INTERVAL"}, name="n")


def test_a_policy_keeps_everything_but_its_change_and_never_takes_in_vms_by_itself() -> None:
    request = GUIDE.update_policy_request(POLICY, vm_guids=["vm-2", "vm-3"])
    assert (request.method, request.path) == ("PUT", "/policies/vm-backup/p-1")
    assert body(request) == POLICY | {
        "vms": [{"guid": "vm-2"}, {"guid": "vm-3"}],
        "autoAssignSettings": {"mode": {"name": "DISABLED"}, "includeTags": ["prod"]},
    }
    assert body(GUIDE.update_policy_request(POLICY))["vms"] == [{"guid": "vm-1"}, {"guid": "vm-2"}]
    assert body(GUIDE.update_policy_request(POLICY, vm_guids=[]))["vms"] == []


def test_the_poorest_policy_needs_its_figures_from_us() -> None:
    poor = {"guid": "p-1", "name": "t-gold", "rules": [{"guid": "ru-1"}], "vms": [{"guid": "vm-1"}]}
    with pytest.raises(Invalid, match="priority, autoRemoveNonPresent, tenantId"):
        GUIDE.update_policy_request(poor, name="new")
    sent = body(GUIDE.update_policy_request(poor, priority=50, auto_remove_non_present=False, tenant_label="l"))
    assert sent == poor | {
        "priority": 50,
        "autoRemoveNonPresent": False,
        "tenantId": "l",
        "autoAssignSettings": {"mode": {"name": "DISABLED"}},
    }


@pytest.mark.parametrize("name", DIALECTS)
def test_a_policy_whose_vms_are_not_told_is_not_emptied_by_a_new_name(name: Any) -> None:
    current = {member: value for member, value in POLICY.items() if member != "vms"}
    with pytest.raises(Invalid, match="vms"):
        DIALECTS[name].update_policy_request(current, name="new")


def test_the_current_policy_keeps_its_rules_and_switches() -> None:
    sent = body(CURRENT.update_policy_request(POLICY, priority=10))
    assert (sent["rules"], sent["dailyReportEnabled"], sent["visibleForAllProjects"]) == (POLICY["rules"], True, False)
    assert (sent["priority"], sent["backupRetryCount"]) == (10, 3)
    for rules in ([], None, "rules", ["ru-1"], [{"guid": "ru-1", "name": "Default"}]):
        with pytest.raises(Invalid):
            CURRENT.update_policy_request(POLICY | {"rules": rules})
    for untold in ("schedules", "ruleBackupDestinations"):
        with pytest.raises(Invalid):
            CURRENT.update_policy_request(POLICY | {"rules": [POLICY["rules"][0] | {untold: None}]})


def test_what_the_poorest_current_server_does_not_tell_of_our_policy_goes_back_as_we_made_it() -> None:
    poor_rule = {
        "guid": "ru-1",
        "name": "Default",
        "schedules": [],
        "ruleBackupDestinations": [{"backupDestination": {"guid": "bd-1"}, "roleType": {"name": "PRIMARY"}}],
    }
    poor = {"guid": "p-1", "name": "t-gold", "vms": [{"guid": "vm-1"}], "rules": [poor_rule], "active": None}
    sent = body(CURRENT.update_policy_request(poor, priority=50, auto_remove_non_present=False))
    assert (sent["active"], sent["backupRetryCount"]) == (True, 0)
    [rule] = sent["rules"]
    assert (rule["active"], rule["position"], rule["name"]) == (True, 0, "Default")
    [entry] = rule["ruleBackupDestinations"]
    assert (entry["active"], entry["daysToKeepRetentionLock"], entry["roleType"]) == (True, 0, {"name": "PRIMARY"})
    assert entry["backupRetentionSettings"]["retentionKeepLastNFull"] == 4


@pytest.mark.parametrize("priority", [-1, 101])
def test_a_priority_outside_its_range_is_stopped(priority: int) -> None:
    with pytest.raises(Invalid, match="0 to 100"):
        GUIDE.update_policy_request(POLICY, priority=priority)


def test_a_rule_keeps_everything_but_its_change() -> None:
    request = GUIDE.update_rule_request(RULE, schedule_guids=["s-2"])
    assert (request.method, request.path) == ("PUT", "/rules/vm-backup/ru-1")
    assert body(request) == RULE | {"schedules": [{"guid": "s-2"}], "policy": {"guid": "p-1"}}


def test_a_new_destination_is_said_alike_in_both_forms_and_keeps_the_retention() -> None:
    sent = body(GUIDE.update_rule_request(RULE, destination_guids=["bd-9"]))
    assert sent["backupDestinations"] == ["bd-9"]
    assert sent["ruleBackupDestinations"] == [
        {
            "guid": "rd-1",
            "backupDestination": {"guid": "bd-9"},
            "roleType": {"name": "PRIMARY"},
            "backupRetentionSettings": {"retentionKeepLastNFull": "9"},
            "daysToKeepRetentionLock": 2,
            "active": True,
        }
    ]
    assert (
        body(CURRENT.update_rule_request(RULE, destination_guids=["bd-9"]))["ruleBackupDestinations"]
        == (sent["ruleBackupDestinations"])
    )


def test_the_same_destination_keeps_its_kind() -> None:
    sent = body(CURRENT.update_rule_request(RULE, destination_guids=["bd-1", "bd-2"]))
    first, second = sent["ruleBackupDestinations"]
    assert first["type"] == {"name": "FILESYSTEM"}
    assert (second["backupDestination"], second["roleType"]) == ({"guid": "bd-2"}, {"name": "SECONDARY"})
    assert second["backupRetentionSettings"]["retentionKeepLastNFull"] == 4


def test_a_rule_that_tells_its_destinations_in_the_other_form_keeps_them() -> None:
    current = {member: value for member, value in RULE.items() if member != "backupDestinations"}
    assert body(GUIDE.update_rule_request(current, name="n"))["backupDestinations"] == ["bd-1"]


def test_the_poorest_rule_needs_its_relations_from_us() -> None:
    poor = {"guid": "ru-1", "name": "Default"}
    with pytest.raises(Invalid, match="schedules, policy, backupDestinations"):
        GUIDE.update_rule_request(poor, name="n")
    sent = body(GUIDE.update_rule_request(poor, schedule_guids=["s-1"], destination_guids=["bd-1"], policy_guid="p-1"))
    assert sent == poor | {
        "schedules": [{"guid": "s-1"}],
        "policy": {"guid": "p-1"},
        "backupDestinations": ["bd-1"],
    }


def test_a_rule_goes_back_under_the_name_that_it_was_given() -> None:
    shown = {"name": "uuid_0f5c2f7e-1111_db_prod_1"}
    assert body(CURRENT.update_rule_request(RULE | shown))["name"] == "db_prod_1"
    [rule] = body(CURRENT.update_policy_request(POLICY | {"rules": [POLICY["rules"][0] | shown]}))["rules"]
    assert rule["name"] == "db_prod_1"
    assert body(CURRENT.update_rule_request(RULE | {"name": "uuid_"}))["name"] == "uuid_"


def test_where_the_backups_of_a_rule_go_is_not_invented() -> None:
    with pytest.raises(Invalid, match="ruleBackupDestinations"):
        CURRENT.update_rule_request(RULE | {"ruleBackupDestinations": None}, name="n")
    sent = body(CURRENT.update_rule_request(RULE | {"active": None, "position": None}, name="n"))
    assert (sent["active"], sent["position"]) == (True, 0)


def test_a_destination_that_somebody_switched_off_is_on_again_when_it_is_given() -> None:
    off = [RULE["ruleBackupDestinations"][0] | {"active": False}]
    sent = body(CURRENT.update_rule_request(RULE | {"ruleBackupDestinations": off}, destination_guids=["bd-1"]))
    assert sent["ruleBackupDestinations"][0]["active"] is True


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("guid", [None, "", 5, ".."])
def test_an_object_without_a_guid_cannot_be_changed(name: Any, guid: object) -> None:
    dialect = DIALECTS[name]
    for update, whole in (
        (dialect.update_schedule_request, SCHEDULE),
        (dialect.update_policy_request, POLICY),
        (dialect.update_rule_request, RULE),
    ):
        with pytest.raises(Invalid):
            update(whole | {"guid": guid})


def test_the_names_of_a_schedule_and_a_policy_are_held_to_their_length() -> None:
    for update, whole in (
        (GUIDE.update_schedule_request, SCHEDULE),
        (GUIDE.update_policy_request, POLICY),
        (GUIDE.update_rule_request, RULE),
    ):
        with pytest.raises(Invalid, match="255"):
            update(whole, name="n" * 256)

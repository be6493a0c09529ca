"""The exact wire of the guide dialect, and what is stopped before anything is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from vplus_bridge.client import AtInterval, AtTime, Expectation, Invalid, RuleDraft, WriteRequest, bears_name, guide
from vplus_bridge.client.dialect import DIALECTS, Dialect

NIGHT = AtTime(hour_ms=3600000, start_window_ms=21600000)
GUIDE: Dialect = DIALECTS["guide"]


def body(request: WriteRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)
    return found


def test_a_restore_in_full() -> None:
    request = GUIDE.restore_and_import_request(
        backup_guid="b-1",
        hypervisor_manager_guid="hvm-1",
        restored_name="web-01-restored-k7q2f",
        storage_uuid="st-uuid",
        cluster_uuid="cl-uuid",
        project_name="alpha",
        data_center="DC1",
        tenant_label="0f5c",
        location_guid="loc-1",
        project_uuid="p-uuid",
    )
    assert (request.method, request.path) == ("POST", "/tasks/restore-and-import")
    assert (request.expects, request.headers) == (Expectation.TASK, ())
    assert request.body == (
        '{"backup":"b-1","hypervisorManager":{"guid":"hvm-1"},"restoredPeName":"web-01-restored-k7q2f",'
        '"restoreStorageId":"st-uuid","restoreClusterId":"cl-uuid","dataCenter":{"name":"DC1"},"overwrite":false,'
        '"restoreProject":"alpha","tenantId":"0f5c"}'
    )


def test_a_restore_that_says_only_what_it_must() -> None:
    request = GUIDE.restore_and_import_request(backup_guid="b-1", hypervisor_guid="hv-1")
    assert body(request) == {"backup": "b-1", "hypervisor": {"guid": "hv-1"}, "overwrite": False}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"hypervisor_guid": "hv-1", "hypervisor_manager_guid": "hvm-1"},
        {},
        {"hypervisor_guid": ""},
        {"hypervisor_guid": "hv-1", "restored_name": "n" * 256},
        {"hypervisor_guid": "hv-1", "restored_name": " "},
        {"hypervisor_guid": "hv-1", "restored_name": "half \ud800"},
        {"hypervisor_guid": "hv-1", "backup_guid": ""},
    ],
)
def test_a_restore_that_means_nothing_is_not_made(name: Any, wrong: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        DIALECTS[name].restore_and_import_request(**{"backup_guid": "b-1"} | wrong)


def test_a_schedule_as_the_contract_shows_it() -> None:
    request = GUIDE.create_schedule_request(
        name="t-7f3a-nightly",
        backup_type="FULL",
        timing=NIGHT,
        days_of_week=["THURSDAY", "MONDAY", "MONDAY"],
        tenant_label="0f5c",
    )
    assert (request.method, request.path, request.expects) == ("POST", "/schedules", Expectation.OBJECT)
    assert body(request) == {
        "name": "t-7f3a-nightly",
        "backupType": {"name": "FULL"},
        "type": {"name": "VM_BACKUP"},
        "executionType": {"name": "TIME"},
        "hour": 3600000,
        "startWindowLength": 21600000,
        "active": True,
        "daysOfWeek": [{"name": "MONDAY"}, {"name": "THURSDAY"}],
        "months": [],
        "dayOfWeekOccurrences": [],
        "rules": [],
        "tenantId": "0f5c",
    }


def test_a_schedule_by_interval() -> None:
    sent = body(
        GUIDE.create_schedule_request(
            name="hourly",
            backup_type="INCREMENTAL",
            timing=AtInterval(start_hour_ms=0, end_hour_ms=79140000, frequency_ms=7200000),
            days_of_week=["SUNDAY"],
            months=["JUNE"],
            occurrences=["LAST_IN_MONTH"],
            active=False,
            rule_guids=["ru-1"],
        )
    )
    assert sent["interval"] == {"startHour": 0, "endHour": 79140000, "frequency": 7200000}
    assert sent["executionType"] == {"name": "INTERVAL"}
    assert not {"hour", "startWindowLength", "tenantId"} & set(sent)
    assert (sent["months"], sent["dayOfWeekOccurrences"]) == ([{"name": "JUNE"}], [{"name": "LAST_IN_MONTH"}])
    assert (sent["active"], sent["rules"]) == (False, [{"guid": "ru-1"}])


@pytest.mark.parametrize("hour", [3600, 1, 59_999, -1, -3_600_000, 86_400_000])
def test_an_hour_that_is_no_ms_of_a_day_is_stopped(hour: int) -> None:
    with pytest.raises(Invalid, match="milliseconds"):
        AtTime(hour_ms=hour, start_window_ms=21600000)
    with pytest.raises(Invalid, match="milliseconds"):
        AtInterval(start_hour_ms=hour, end_hour_ms=79140000, frequency_ms=7200000)
    with pytest.raises(Invalid, match="milliseconds"):
        AtInterval(start_hour_ms=0, end_hour_ms=hour, frequency_ms=7200000)


@pytest.mark.parametrize("hour", [0, 60_000, 86_399_999])
def test_an_hour_that_is_one_passes(hour: int) -> None:
    assert AtTime(hour_ms=hour, start_window_ms=60_000).members()["hour"] == hour


@pytest.mark.parametrize(
    "make",
    [
        lambda: AtTime(hour_ms=0, start_window_ms=21600),
        lambda: AtInterval(start_hour_ms=0, end_hour_ms=60_000, frequency_ms=7200),
        lambda: AtInterval(start_hour_ms=7200000, end_hour_ms=3600000, frequency_ms=60_000),
        lambda: RuleDraft("", ("s-1",), ("bd-1",)),
        lambda: RuleDraft("Default", ("s-1",), ()),
        lambda: RuleDraft("Default", ("s-1",), ("",)),
    ],
)
def test_a_draft_that_cannot_be_meant_is_not_made(make: Callable[[], object]) -> None:
    with pytest.raises(Invalid):
        make()


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "n" * 256},
        {"name": ""},
        {"backup_type": "SYNTHETIC"},
        {"days_of_week": []},
        {"days_of_week": ["FUNDAY"]},
        {"months": ["JAN"]},
        {"occurrences": ["FIFTH_IN_MONTH"]},
        {"rule_guids": [""]},
    ],
)
def test_a_schedule_that_vplus_would_misunderstand_is_not_made(name: Any, wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"name": "n" * 255, "backup_type": "FULL", "timing": NIGHT, "days_of_week": ["MONDAY"]}
    DIALECTS[name].create_schedule_request(**right)
    with pytest.raises(Invalid):
        DIALECTS[name].create_schedule_request(**right | wrong)


def test_a_policy_takes_in_nothing_by_itself_and_has_its_rule_by_a_second_call() -> None:
    request = GUIDE.create_policy_request(name="t-gold", vm_guids=["vm-1", "vm-2", "vm-1"], tenant_label="0f5c")
    assert (request.method, request.path, request.expects) == ("POST", "/policies/vm-backup", Expectation.OBJECT)
    assert body(request) == {
        "name": "t-gold",
        "priority": 50,
        "autoRemoveNonPresent": False,
        "vms": [{"guid": "vm-1"}, {"guid": "vm-2"}],
        "autoAssignSettings": {"mode": {"name": "DISABLED"}},
        "tenantId": "0f5c",
    }
    assert not GUIDE.RULE_IS_EMBEDDED
    draft = RuleDraft("Default", ("s-1",), ("bd-1", "bd-1"))
    with pytest.raises(Invalid):
        GUIDE.create_policy_request(name="t-gold", vm_guids=[], rule=draft)
    rule = GUIDE.create_rule_request(draft, policy_guid="p-1")
    assert (rule.method, rule.path, rule.expects) == ("POST", "/rules/vm-backup", Expectation.OBJECT)
    assert body(rule) == {
        "name": "Default",
        "schedules": [{"guid": "s-1"}],
        "policy": {"guid": "p-1"},
        "backupDestinations": ["bd-1"],
    }


@pytest.mark.parametrize("priority", [-1, 101])
def test_a_priority_outside_its_range_is_stopped(priority: int) -> None:
    with pytest.raises(Invalid, match="0 to 100"):
        GUIDE.create_policy_request(name="n", vm_guids=[], priority=priority)


@pytest.mark.parametrize(
    ("request_", "path", "template"),
    [
        (guide.delete_schedule_request("s/1"), "/schedules/s%2F1", "/schedules/{guid}"),
        (guide.delete_policy_request("p?1"), "/policies/vm-backup/p%3F1", "/policies/vm-backup/{guid}"),
        (guide.delete_rule_request("r#1"), "/rules/vm-backup/r%231", "/rules/vm-backup/{guid}"),
    ],
)
def test_deleting_is_by_an_escaped_guid(request_: WriteRequest, path: str, template: str) -> None:
    assert (request_.method, request_.path, request_.template) == ("DELETE", path, template)
    assert (request_.body, request_.expects) == ("", Expectation.ANYTHING)


@pytest.mark.parametrize("guid", ["", ".", ".."])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_guid_that_leaves_its_place_deletes_nothing(name: Any, guid: str) -> None:
    dialect = DIALECTS[name]
    for delete in (dialect.delete_schedule_request, dialect.delete_policy_request, dialect.delete_rule_request):
        with pytest.raises(Invalid):
            delete(guid)


@pytest.mark.parametrize(
    ("shown", "ours"),
    [
        ("t-7f3a-gold", True),
        ("uuid_0f5c_t-7f3a-gold", True),
        ("not-t-7f3a-gold", False),
        ("t-7f3a-gold-2", False),
        (None, False),
        ("", False),
    ],
)
def test_an_own_object_is_known_by_its_name_also_with_a_prefix(shown: str | None, *, ours: bool) -> None:
    assert bears_name(shown, "t-7f3a-gold") is ours

"""Records of every kind from good, odd and malformed JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.samples import JSON, SAMPLES, odd
from vplus_bridge.client import BadAnswer, OutcomeKind, decoding, export_request
from vplus_bridge.client.decoding import Shape
from vplus_bridge.client.transport import Answer
from vplus_bridge.client.writing import judge

SHAPES: dict[str, Shape[Any, Any]] = {
    shape.kind: shape
    for shape in (
        decoding.VIRTUAL_MACHINE,
        decoding.TASK,
        decoding.BACKUP,
        decoding.INFRASTRUCTURE,
        decoding.DESTINATION,
        decoding.POLICY,
        decoding.RULE,
        decoding.SCHEDULE,
        decoding.RESTORE_JOB,
        decoding.PROJECT,
    )
}
INT64 = 2**63 - 1


def storable(value: object) -> None:
    """Every figure fits PostgreSQL, every text can be stored there."""
    if isinstance(value, str):
        assert "\0" not in value
        value.encode()
    elif isinstance(value, (list, tuple)):
        for item in value:
            storable(item)
    elif isinstance(value, int):
        assert 0 <= value <= INT64
    elif isinstance(value, float):
        assert 0 <= value <= 100
    elif hasattr(value, "__struct_fields__"):
        for name in value.__struct_fields__:
            storable(getattr(value, name))


@pytest.mark.parametrize("kind", SAMPLES)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_malformed_records_never_crash_and_never_take_others_with_them(kind: str, data: st.DataObject) -> None:
    sample, shape = SAMPLES[kind], SHAPES[kind]
    rows, bad = shape.page(json.dumps([sample, data.draw(odd(kind)), sample]).encode())
    assert len(rows) + bad == 3
    assert len(rows) >= 2, "the good neighbours stay"
    records = [shape.flatten(row) for row in rows]
    assert records[0] == records[-1] == shape.one(json.dumps(sample).encode())
    for record in records:
        storable(record)


@pytest.mark.parametrize("kind", SAMPLES)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_broken_json_is_a_bad_answer_or_bad_records(kind: str, data: st.DataObject) -> None:
    shape = SHAPES[kind]
    content = json.dumps([SAMPLES[kind]] * 2).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 3)))
    content = content[:start] + data.draw(st.binary(max_size=4)) + content[end:]
    for read in (shape.page, shape.one, shape.detail):
        with contextlib.suppress(BadAnswer):
            read(content)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_policy_that_can_be_read_has_a_raw_for_each_rule(data: st.DataObject) -> None:
    sample = SAMPLES["policies"]
    rules = st.lists(st.fixed_dictionaries({"guid": st.just("ru")}, optional={"schedules": JSON}) | JSON, max_size=3)
    odd = sample | data.draw(st.dictionaries(st.sampled_from(sorted(sample)), JSON, max_size=2))
    odd["rules"] = data.draw(rules | JSON)
    try:
        detail = decoding.policy_detail(json.dumps(odd).encode())
    except BadAnswer:
        return
    if detail.rules is None:
        assert detail.record.rules is None
    else:
        assert [rule.record for rule in detail.rules] == list(detail.record.rules or ())
        assert [rule.raw["guid"] for rule in detail.rules] == [rule.record.guid for rule in detail.rules]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=40)))
def test_any_answer_to_a_write_is_judged(content: bytes) -> None:
    request = export_request(
        vm_guid="v", destination_guid=None, backup_type="FULL", priority=1, window_start_ms=1, window_end_ms=2
    )
    outcome = judge(request, Answer(200, {}, content))
    assert outcome.kind in {OutcomeKind.ACCEPTED, OutcomeKind.UNCERTAIN}
    assert (outcome.kind is OutcomeKind.ACCEPTED) == (len(outcome.tasks) == 1)
    decoding.vendor_text(content)


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[", b"[{]", b"[" * 100_000, b"\xef\xbb\xbf[]", b"<html>"])
def test_what_is_no_array_is_a_bad_answer(content: bytes) -> None:
    with pytest.raises(BadAnswer):
        decoding.TASK.page(content)


def one(kind: str, **members: Any) -> Any:
    return SHAPES[kind].one(json.dumps(SAMPLES[kind] | members).encode())


def test_a_virtual_machine_in_full() -> None:
    vm = one("virtual machines")
    assert (vm.guid, vm.project_guid, vm.project_name, vm.platform) == ("vm-1", "r-1", "ref", "OPENSTACK")
    assert (vm.last_backup_ms, vm.last_backup_size, vm.last_full_backup_size) == (1795600800000, 10, 20)
    assert (vm.backup_up_to_date, vm.restorable, vm.tags) == (False, True, ("a", "b"))


def test_the_poorest_virtual_machine() -> None:
    poor = {"guid": "g", "uuid": "u", "name": "n", "present": False, "lastSuccessfulBackupSize": 0}
    vm = decoding.VIRTUAL_MACHINE.one(json.dumps(poor).encode())
    assert (vm.present, vm.project_guid, vm.backup_up_to_date, vm.last_backup_ms) == (False, None, None, None)


def test_the_platform_of_a_standalone_hypervisor() -> None:
    assert one("virtual machines", hvmType=None, hvType="PROXMOX").platform == "PROXMOX"


def test_absent_and_null_are_alike() -> None:
    sample = SAMPLES["tasks"]
    required = {"guid", "type", "state"}
    nulls = sample | {name: None for name in sample if name not in required}
    bare = {name: sample[name] for name in required}
    assert decoding.TASK.one(json.dumps(nulls).encode()) == decoding.TASK.one(json.dumps(bare).encode())


@pytest.mark.parametrize("value", [1795600800000, 1795600800000.0, "1795600800000", "1795600800000.0"])
def test_numbers_in_every_costume(value: object) -> None:
    assert one("tasks", windowStart=value).window_start_ms == 1795600800000


@pytest.mark.parametrize("value", [-1, 1e30, 10**25, 253_402_300_800_000, "soon", "", [], {}])
def test_an_impossible_instant_is_unknown(value: object) -> None:
    task = one("tasks", windowStart=value)
    assert task.window_start_ms is None
    assert task.guid == "t-1", "the task itself stays"


@pytest.mark.parametrize(("value", "progress"), [(0, 0), ("66.5", 66.5), (150, 100), (-1, None), ("nan", None)])
def test_progress_is_a_percentage_or_unknown(value: object, progress: float | None) -> None:
    assert one("tasks", progress=value).progress == progress


def test_enums_and_references_as_bare_strings() -> None:
    task = one("tasks", type="STORE", state="QUEUED", protectedEntity="vm-9", backupType="FULL")
    assert (task.type, task.type_description, task.state, task.vm_guid) == ("STORE", None, "QUEUED", "vm-9")


def test_an_unknown_enum_value_is_kept() -> None:
    assert one("tasks", state={"name": "PAUSED_BY_MOON"}).state == "PAUSED_BY_MOON"


@pytest.mark.parametrize("entity", [{"guid": "app-1", "type": {"name": "APP"}}, {"guid": "app-1", "type": "APP"}])
def test_a_task_of_something_else_has_no_vm(entity: dict[str, Any]) -> None:
    assert one("tasks", protectedEntity=entity).vm_guid is None


def test_the_name_of_a_deleted_vm() -> None:
    task = one("tasks", protectedEntity=None, protectedEntityDisplayName="old-01")
    assert (task.vm_guid, task.vm_name) == (None, "old-01")


def test_a_backup_with_its_copies() -> None:
    backup = one("backups")
    assert (backup.times.export_ms, backup.times.store_ms) == (7, None)
    assert [(copy.guid, copy.destination_guid, copy.status) for copy in backup.destinations] == [
        ("l-1", "r-1", "PRESENT")
    ]


def test_the_poorest_backup() -> None:
    backup = decoding.BACKUP.one(b'{"guid":"b"}')
    assert (backup.status, backup.size, backup.destinations, backup.warnings_present) == (None, None, (), None)


def test_infrastructure_without_a_name_goes_by_host_or_address() -> None:
    assert decoding.INFRASTRUCTURE.one(b'{"guid":"h","host":"kvm-1"}').name == "kvm-1"
    assert decoding.INFRASTRUCTURE.one(b'{"guid":"m","url":"https://m"}').name == "https://m"


def test_a_policy_in_a_list_says_nothing_of_its_members() -> None:
    brief = decoding.POLICY.one(b'{"guid":"p","name":"gold"}')
    assert (brief.vm_guids, brief.rules) == (None, None)
    rule = one("policies").rules[0]
    assert (rule.schedule_guids, rule.destination_guids) == (("r-1",), ("d-1",))


def test_destinations_of_a_rule_in_the_current_dialect() -> None:
    entries = [{"backupDestination": {"guid": "d-9"}, "roleType": "PRIMARY"}, {"roleType": "SECONDARY"}]
    rules = [{"guid": "ru", "ruleBackupDestinations": entries}]
    assert one("policies", rules=rules).rules[0].destination_guids == ("d-9",)


def test_a_policy_tells_how_it_takes_in_vms() -> None:
    policy = one("policies")
    assert (policy.auto_assign_mode, policy.auto_remove_non_present) == ("DISABLED", False)
    assert (policy.vm_count, policy.tenant_label) == (1, "label")
    brief = decoding.POLICY.one(b'{"guid":"p","name":"n","autoAssignMode":{"name":"ASSIGN_ONLY"}}')
    assert brief.auto_assign_mode == "ASSIGN_ONLY"


def test_a_rule_by_itself_names_its_policy() -> None:
    rule = one("rules")
    assert (rule.policy_guid, rule.schedule_guids, rule.destination_guids) == ("r-1", ("r-1",), ("r-1",))
    assert decoding.RULE.one(b'{"guid":"ru","name":"n"}').policy_guid is None


def test_a_schedule_in_full() -> None:
    schedule = one("schedules")
    assert (schedule.execution_type, schedule.backup_type, schedule.type) == ("TIME", "FULL", "VM_BACKUP")
    assert (schedule.hour_ms, schedule.start_window_ms, schedule.last_run_ms) == (3600000, 21600000, 1795600800000)
    interval = schedule.interval
    assert (interval.start_hour_ms, interval.end_hour_ms, interval.frequency_ms) == (0, 79140000, 7200000)
    assert (schedule.days_of_week, schedule.months) == (("MONDAY", "THURSDAY"), ())
    assert (schedule.occurrences, schedule.rule_guids, schedule.policy_guids) == (
        ("LAST_IN_MONTH",),
        ("r-1",),
        ("r-1",),
    )
    assert schedule.tenant_label == "label"


def test_a_schedule_that_says_little() -> None:
    poor = decoding.SCHEDULE.one(b'{"guid":"s","name":"n"}')
    assert (poor.hour_ms, poor.interval, poor.days_of_week, poor.months, poor.rule_guids) == (None,) * 5


@pytest.mark.parametrize("hour", [-3600000, 86_400_000, "noon"])
def test_an_impossible_hour_is_unknown(hour: object) -> None:
    schedule = one("schedules", hour=hour)
    assert (schedule.hour_ms, schedule.name) == (None, "nightly")


def test_a_restore_job_in_full() -> None:
    job = one("restore jobs")
    assert (job.status, job.type, job.restore_ms) == ("SUCCESS", "RESTORE_AND_IMPORT", 1795600800000)
    assert (job.backup_guid, job.vm_guid, job.dst_guid, job.dst_uuid) == ("b-1", "r-1", "vm-2", "u-2")
    assert (job.restored_name, job.times.restore_ms, job.times.import_ms, job.times.mount_ms) == ("web-02", 3, 4, None)


def test_the_poorest_restore_job() -> None:
    job = decoding.RESTORE_JOB.one(b'{"guid":"rj"}')
    assert (job.status, job.backup_guid, job.vm_guid, job.times.restore_ms) == (None, None, None, None)


def test_a_detail_keeps_what_is_not_understood() -> None:
    whole = SAMPLES["schedules"] | {"colour": {"of": ["moon", 1.5, None]}, "big": 2**70}
    detail = decoding.SCHEDULE.detail(json.dumps(whole).encode())
    assert detail.raw == whole
    assert detail.record == one("schedules")
    assert "moon" not in repr(detail), "what nobody has looked at stays out of logs"


def test_the_rules_of_a_policy_come_with_what_is_not_understood() -> None:
    rule = {"guid": "ru-1", "name": "Default", "colour": "blue"}
    detail = decoding.policy_detail(json.dumps(SAMPLES["policies"] | {"rules": [rule]}).encode())
    assert detail.rules is not None
    assert [(found.record.name, found.raw) for found in detail.rules] == [("Default", rule)]


@pytest.mark.parametrize("rules", [None, [{"name": "no guid"}], "none"])
def test_rules_that_are_unknown_are_not_none_at_all(rules: object) -> None:
    detail = decoding.policy_detail(json.dumps(SAMPLES["policies"] | {"rules": rules}).encode())
    assert (detail.rules, detail.record.rules, detail.record.name) == (None, None, "gold")


def test_a_detail_that_cannot_be_kept_whole_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer, match="kept whole"):
        decoding.SCHEDULE.detail(b'{"guid":"s","name":"n","far":1e999}')


def test_a_nul_becomes_visible_and_an_escaped_backslash_stays() -> None:
    content = rb'[{"guid":"g","uuid":"u","name":"a\u0000b \\u0000","present":true}]'
    assert decoding.VIRTUAL_MACHINE.page(content)[0][0].name == "a\ufffdb \\u0000"


def test_each_oddity_is_logged_once_without_contents(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding.PROJECT, "_told", set())
    for _ in range(3):
        decoding.PROJECT.page(b'[{"guid":"g","name":{"secret":1}},{"name":"secret"}]')
    assert [record.message for record in caplog.records] == [
        "odd projects from vPlus: unreadable name",
        "odd projects from vPlus: no guid",
    ]


def test_guide_requests_are_exact() -> None:
    make: Callable[..., Any] = export_request
    request = make(
        vm_guid="vm-1",
        destination_guid="bd-1",
        backup_type="FULL",
        priority=50,
        window_start_ms=1795600800000,
        window_end_ms=1795622400000,
        tenant_label="0f5c",
    )
    assert (request.method, request.path) == ("POST", "/tasks/export")
    assert request.body == (
        '{"windowStart":1795600800000,"windowEnd":1795622400000,"priority":50,"backupType":{"name":"FULL"},'
        '"backupDestination":{"guid":"bd-1"},"protectedEntities":[{"guid":"vm-1"}],"tenantId":"0f5c"}'
    )

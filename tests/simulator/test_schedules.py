"""Schedules over HTTPS: list, make, replace, remove, and what is refused (vplus-api.md 2.7)."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Start, Vplus

NIGHTLY: dict[str, Any] = {
    "name": "t-7f3a-nightly",
    "backupType": {"name": "FULL"},
    "type": {"name": "VM_BACKUP"},
    "executionType": {"name": "TIME"},
    "hour": 3_600_000,
    "startWindowLength": 21_600_000,
    "active": True,
    "daysOfWeek": [{"name": "MONDAY"}, {"name": "THURSDAY"}],
    "months": [],
    "dayOfWeekOccurrences": [],
    "rules": [],
    "tenantId": "alpha-uuid",
}
HOURLY = {
    "executionType": {"name": "INTERVAL"},
    "hour": None,
    "startWindowLength": None,
    "interval": {"startHour": 0, "endHour": 79_140_000, "frequency": 3_600_000},
}


def names(values: list[dict[str, Any]]) -> list[str]:
    return [value["name"] for value in values]


def made(vplus: Vplus, **members: Any) -> dict[str, Any]:
    answer = vplus.post("/schedules", NIGHTLY | members)
    assert answer.status_code == 201, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


def test_a_schedule_is_made_read_replaced_and_removed(vplus: Vplus) -> None:
    schedule = made(vplus)
    path = f"/schedules/{schedule['guid']}"
    assert vplus.read(path) == schedule
    assert schedule["tenantId"] == "alpha-uuid"
    assert (schedule["hour"], names(schedule["daysOfWeek"])) == (3_600_000, ["MONDAY", "THURSDAY"])
    assert "interval" not in schedule
    assert schedule["guid"] in vplus.names("/schedules")
    answer = vplus.put(path, NIGHTLY | {"name": "weekly", "daysOfWeek": ["SUNDAY"], "active": False})
    assert (answer.status_code, answer.json()) == (200, vplus.read(path))
    assert (answer.json()["name"], answer.json()["active"]) == ("weekly", False)
    gone = vplus.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    for missing in (vplus.get(path), vplus.delete(path), vplus.put(path, NIGHTLY)):
        assert (missing.status_code, "message" in missing.json()) == (404, True)


def test_a_put_replaces_everything_that_it_does_not_say(vplus: Vplus) -> None:
    schedule = made(vplus, months=["MAY"], dayOfWeekOccurrences=["LAST_IN_MONTH"], active=False, rules=["rule-beta"])
    body = {name: NIGHTLY[name] for name in ("name", "backupType", "type", "executionType", "hour", "daysOfWeek")}
    vplus.put(f"/schedules/{schedule['guid']}", body | {"startWindowLength": 60_000})
    replaced = vplus.read(f"/schedules/{schedule['guid']}")
    assert (replaced["months"], replaced["dayOfWeekOccurrences"], replaced["rules"]) == ([], [], [])
    assert (replaced["active"], replaced["startWindowLength"]) == (True, 60_000)


@pytest.mark.parametrize(("switch", "label"), [("keeps", "alpha-uuid"), ("clears", None)])
def test_a_put_without_a_tenant(start: Start, switch: str, label: str | None) -> None:
    vplus = start(put_without_tenant=switch)
    schedule = made(vplus)
    body = {name: value for name, value in NIGHTLY.items() if name != "tenantId"}
    assert vplus.put(f"/schedules/{schedule['guid']}", body).json().get("tenantId") == label
    assert vplus.put(f"/schedules/{schedule['guid']}", body | {"tenantId": "x"}).json()["tenantId"] == "x"


@pytest.mark.parametrize(
    "members",
    [
        {"backupType": "FULL", "type": "VM_BACKUP", "executionType": "TIME", "daysOfWeek": ["MONDAY", "THURSDAY"]},
        {"hour": 3_600_000.0, "startWindowLength": "21600000"},
        {"hour": "3600000", "interval": HOURLY["interval"]},
        {"months": None, "dayOfWeekOccurrences": "", "rules": None, "active": None, "interval": None},
        {"daysOfWeek": [{"name": "THURSDAY", "shortName": "Thu", "description": "x"}, "MONDAY", "MONDAY"]},
        {"colour": "blue", "guid": "mine", "lastRun": 12, "policies": []},
        {"active": "true"},
    ],
)
def test_bodies_of_every_client_mean_the_same(vplus: Vplus, members: dict[str, Any]) -> None:
    schedule = made(vplus, **members)
    plain = made(vplus, name="plain")
    assert schedule["guid"] != "mine"
    for record in (schedule, plain):
        del record["guid"], record["name"]
    assert schedule == plain


def test_an_interval_keeps_its_figures_and_shows_numbers_for_the_2020_client(start: Start) -> None:
    vplus = start(richness="poorest")
    schedule = made(vplus, **HOURLY)
    assert schedule["interval"] == HOURLY["interval"]
    assert isinstance(schedule["hour"], int)
    assert isinstance(schedule["startWindowLength"], int)
    [row] = [row for row in vplus.read("/schedules") if row["guid"] == schedule["guid"]]
    assert (row["months"], row["dayOfWeekOccurrences"], row["rules"]) == ([], [], [])
    assert "tenantId" not in row


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"name": "  "},
        {"name": "x" * 256},
        {"daysOfWeek": []},
        {"daysOfWeek": None},
        {"daysOfWeek": ["FUNDAY"]},
        {"daysOfWeek": "MONDAY"},
        {"months": ["MONDAY"]},
        {"dayOfWeekOccurrences": ["FIFTH_IN_MONTH"]},
        {"backupType": "SYNTHETIC"},
        {"type": "VM_RESTORE"},
        {"type": None},
        {"executionType": "NEVER"},
        {"hour": None},
        {"hour": -1},
        {"hour": 86_400_000},
        {"hour": "noon"},
        {"hour": True},
        {"startWindowLength": None},
        {"startWindowLength": 0},
        {"active": "perhaps"},
        {"rules": ["nobody"]},
        {"rules": [None]},
        {"rules": ["rule-alpha", "rule-second"]},
        {"rules": ["rule-alpha"], "type": "APP_BACKUP"},
        HOURLY | {"interval": None},
        HOURLY | {"interval": {"startHour": 0, "endHour": 86_400_000, "frequency": 3_600_000}},
        HOURLY | {"interval": {"startHour": -1, "endHour": 0, "frequency": 3_600_000}},
        HOURLY | {"interval": {"startHour": 0, "endHour": 0}},
        HOURLY | {"interval": {"startHour": 0, "endHour": 7_200_000, "frequency": 3_600}},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(vplus: Vplus, wrong: dict[str, Any]) -> None:
    vplus.post("/rules/vm-backup", {"name": "second", "policy": "policy-alpha"})
    second = vplus.server.world.rules_of("policy-alpha")[1].guid
    if "rule-second" in wrong.get("rules", []):
        wrong = wrong | {"rules": ["rule-alpha", second]}
    schedule = made(vplus)
    before = vplus.read("/schedules")
    journal = len(vplus.server.control.journal())
    for answer in (
        vplus.post("/schedules", NIGHTLY | {"name": "another"} | wrong),
        vplus.put(f"/schedules/{schedule['guid']}", NIGHTLY | wrong),
    ):
        assert answer.status_code == 400
        assert answer.json()["message"]
    assert vplus.read("/schedules") == before
    assert len(vplus.server.control.journal()) == journal


@pytest.mark.parametrize("status", [409, 400, 500])
def test_a_name_is_unique_over_everybody(start: Start, status: int) -> None:
    vplus = start(duplicate_name=status)
    schedule = made(vplus)
    taken = vplus.post("/schedules", NIGHTLY | {"name": "beta daily full"})
    assert (taken.status_code, "beta daily full" in taken.json()["message"]) == (status, True)
    assert vplus.put(f"/schedules/{schedule['guid']}", NIGHTLY | {"name": "beta daily full"}).status_code == status
    assert vplus.put(f"/schedules/{schedule['guid']}", NIGHTLY).status_code == 200, "its own name is not taken"


def test_rules_are_seen_from_both_ends(vplus: Vplus) -> None:
    schedule = made(vplus, rules=[{"guid": "rule-alpha", "name": "whatever"}, "rule-beta"])
    assert [rule["guid"] for rule in schedule["rules"]] == ["rule-alpha", "rule-beta"]
    assert [policy["guid"] for policy in schedule["policies"]] == ["policy-alpha", "policy-beta"]
    assert schedule["guid"] in [row["guid"] for row in vplus.read("/rules/vm-backup/rule-beta")["schedules"]]
    vplus.put(f"/schedules/{schedule['guid']}", NIGHTLY | {"rules": ["rule-alpha"]})
    assert schedule["guid"] not in [row["guid"] for row in vplus.read("/rules/vm-backup/rule-beta")["schedules"]]
    vplus.delete(f"/schedules/{schedule['guid']}")
    assert schedule["guid"] not in [row["guid"] for row in vplus.read("/rules/vm-backup/rule-alpha")["schedules"]]


def test_a_schedule_in_use_may_be_refused(start: Start) -> None:
    vplus = start(schedule_in_use="refused")
    assert vplus.delete("/schedules/schedule-beta").status_code == 409
    assert vplus.put("/schedules/schedule-beta", NIGHTLY).status_code == 200
    assert vplus.delete("/schedules/schedule-beta").status_code == 204


def test_lists_are_narrowed(vplus: Vplus) -> None:
    other = made(vplus, type="APP_BACKUP", name="application")
    mine = made(vplus)
    everybody = vplus.names("/schedules")
    assert {other["guid"], mine["guid"], "schedule-beta"} <= set(everybody)
    assert other["guid"] not in vplus.names("/schedules", type="VM_BACKUP")
    assert vplus.names("/schedules", **{"protected-entity": "vm-beta-web"}) == ["schedule-beta"]
    assert vplus.names("/schedules", **{"protected-entity": "vm-lab"}) == []
    for spelling in ("tenantid", "tenant-id"):
        assert "schedule-beta" not in vplus.names("/schedules", **{spelling: "alpha-uuid"})
    for wrong in ("tenantID", "project-uuid"):
        assert vplus.names("/schedules", **{wrong: "alpha-uuid"}) == everybody
    vplus.server.control.change(tenant_filter="current")
    assert "schedule-beta" not in vplus.names("/schedules", **{"project-uuid": "alpha-uuid"})
    assert vplus.names("/schedules", tenantid="alpha-uuid") == everybody


def test_the_filter_is_ignored_unless_told_otherwise(start: Start) -> None:
    vplus = start(richness="poorest")
    assert len(vplus.names("/schedules", tenantid="alpha-uuid")) == 3
    assert len(vplus.names("/policies/vm-backup", tenantid="alpha-uuid")) == 2


def test_names_may_come_back_with_their_project(start: Start) -> None:
    vplus = start(prefix_names=True)
    schedule = made(vplus, rules=["rule-alpha"])
    shown = "uuid_alpha-uuid_t-7f3a-nightly"
    assert schedule["name"] == shown
    assert vplus.read("/schedules", filter="7f3a-nightly")[0]["name"] == shown
    assert shown in [row["name"] for row in vplus.read("/rules/vm-backup/rule-alpha")["schedules"]]
    assert vplus.read("/virtual-machines/vm-alpha-web")["vmBackupPolicy"]["name"] == "uuid_alpha-uuid_alpha gold"
    back = vplus.put(f"/schedules/{schedule['guid']}", NIGHTLY | {"name": shown}).json()
    assert back["name"] == shown, "a name that comes back as shown is not prefixed again"
    assert vplus.post("/schedules", NIGHTLY).status_code == 409
    unlabelled = made(vplus, name="ours", tenantId=None)
    assert unlabelled["name"] == "ours"


def test_answers_may_be_empty(start: Start) -> None:
    vplus = start(created_object="empty", put_response="empty")
    created = vplus.post("/schedules", NIGHTLY)
    assert (created.status_code, created.content, "Content-Type" in created.headers) == (201, b"", False)
    guid = vplus.names("/schedules")[-1]
    assert vplus.put(f"/schedules/{guid}", NIGHTLY).status_code == 204


def test_every_accepted_change_is_in_the_journal_with_the_guid_that_it_made(vplus: Vplus) -> None:
    guid = made(vplus)["guid"]
    vplus.put(f"/schedules/{guid}", NIGHTLY)
    vplus.post("/schedules", NIGHTLY)
    vplus.delete(f"/schedules/{guid}")
    entries = vplus.server.control.journal()
    assert [(entry.call, entry.guid, entry.status) for entry in entries] == [
        ("POST /schedules", guid, 201),
        ("PUT /schedules/{guid}", guid, 200),
        ("DELETE /schedules/{guid}", guid, 204),
    ]
    assert entries[0].asked == NIGHTLY


@pytest.mark.parametrize(("phase", "kept"), [("before", 0), ("after", 1)])
def test_faults_hit_these_calls_as_any_other(vplus: Vplus, phase: str, kept: int) -> None:
    vplus.control("POST", "/faults", {"kind": "status", "phase": phase, "path": "/schedules", "calls": "write"})
    assert vplus.post("/schedules", NIGHTLY).status_code == 503
    assert len(vplus.names("/schedules")) == 3 + kept


def test_a_change_may_be_made_late(vplus: Vplus) -> None:
    vplus.control("POST", "/faults", {"kind": "late", "path": "/schedules", "seconds": 30, "late_answer": "empty"})
    assert vplus.post("/schedules", NIGHTLY).status_code == 201
    assert len(vplus.server.world.schedules) == 3
    vplus.server.control.step(30)
    assert [schedule.name for schedule in vplus.server.world.schedules.values()][3:] == [NIGHTLY["name"]]

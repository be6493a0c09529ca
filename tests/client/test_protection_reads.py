"""Restore jobs, policies, rules, schedules and usable destinations, as they are asked for and as they fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.client.scripted_server import COOKIES, Behaviour, ScriptedServer, answer, cut, drip, head
from vplus_bridge.client import BadAnswer, Forbidden, Invalid, NotFound, Unavailable, VplusClient, VplusError
from vplus_bridge.client.paging import Listing
from vplus_bridge.client.spoken import version_told

USABLE = "/backup-destinations/usable-for-vms"
PAGE = [("page", "0"), ("size", "500")]
SCHEDULE = {"guid": "s-1", "name": "nightly", "type": {"name": "VM_BACKUP"}, "colour": "blue"}


def read(listing: Listing[Any]) -> list[Any]:
    found = [record for page in listing for record in page]
    assert listing.completeness.complete
    return found


def query(server: ScriptedServer, path: str) -> list[tuple[str, str]]:
    return server.asked_for(f"GET {path}")[-1].query


def test_restore_jobs_of_one_vm(client: VplusClient, server: ScriptedServer) -> None:
    server.on("GET /restore-jobs", answer([{"guid": "rj-1", "status": {"name": "SUCCESS"}}]))
    assert [job.status for job in read(client.restore_jobs("vm-1"))] == ["SUCCESS"]
    assert query(server, "/restore-jobs") == [("protected-entity", "vm-1"), *PAGE]
    read(client.restore_jobs("vm-1", from_ms=1, to_ms=2))
    assert query(server, "/restore-jobs") == [("protected-entity", "vm-1"), ("from", "1"), ("to", "2"), *PAGE]


@pytest.mark.parametrize(("status", "error"), [(403, Forbidden), (404, NotFound)])
def test_a_server_without_restore_jobs_says_so(
    client: VplusClient, server: ScriptedServer, status: int, error: type[VplusError]
) -> None:
    server.on("GET /restore-jobs", answer({"message": "no"}, status))
    server.on("GET /restore-jobs/rj-1", answer({"message": "no"}, status))
    listing = client.restore_jobs("vm-1")
    with pytest.raises(error):
        list(listing)
    assert not listing.completeness.complete
    with pytest.raises(error):
        client.restore_job("rj-1")


def test_schedules_are_asked_for_in_the_spelling_of_the_dialect(
    make_client: Callable[..., VplusClient], server: ScriptedServer
) -> None:
    server.on("GET /schedules", answer([SCHEDULE]))
    guide, current = make_client(), make_client(dialect="current")
    assert [schedule.name for schedule in read(guide.schedules())] == ["nightly"]
    assert query(server, "/schedules") == PAGE
    wanted: dict[str, str] = {"type": "VM_BACKUP", "vm_guid": "vm-1", "tenant_label": "0f5c", "project_uuid": "p-1"}
    read(guide.schedules(**wanted))
    narrowed = [("type", "VM_BACKUP"), ("protected-entity", "vm-1")]
    assert query(server, "/schedules") == [*narrowed, ("tenantid", "0f5c"), *PAGE]
    read(current.schedules(**wanted))
    assert query(server, "/schedules") == [*narrowed, ("project-uuid", "p-1"), *PAGE]


def test_policies_of_the_current_dialect_are_asked_for_with_their_rules(
    make_client: Callable[..., VplusClient], server: ScriptedServer
) -> None:
    server.on("GET /policies/vm-backup", answer([{"guid": "p-1", "name": "gold"}]))
    read(make_client().policies(tenant_label="0f5c"))
    assert query(server, "/policies/vm-backup") == [("tenantid", "0f5c"), *PAGE]
    read(make_client(dialect="current").policies(project_uuid="p-1"))
    assert query(server, "/policies/vm-backup") == [("extended", "true"), ("project-uuid", "p-1"), *PAGE]


def test_rules_tell_whose_they_are_when_the_filter_is_ignored(client: VplusClient, server: ScriptedServer) -> None:
    everybodys = [{"guid": "ru-1", "policy": {"guid": "p-1"}}, {"guid": "ru-2", "policy": {"guid": "p-2"}}]
    server.on("GET /rules/vm-backup", answer(everybodys))
    assert [rule.policy_guid for rule in read(client.rules("p-1"))] == ["p-1", "p-2"]
    assert query(server, "/rules/vm-backup") == [("policy", "p-1"), *PAGE]


def test_details_come_whole_for_a_put(client: VplusClient, server: ScriptedServer) -> None:
    rule = {"guid": "ru-1", "name": "Default", "colour": "green"}
    policy = {"guid": "p-1", "name": "gold", "vms": [{"guid": "vm-1"}], "rules": [rule], "colour": "red"}
    server.on("GET /schedules/s-1", answer(SCHEDULE))
    server.on("GET /policies/vm-backup/p-1", answer(policy))
    server.on("GET /rules/vm-backup/ru-1", answer(rule))
    schedule, found, alone = client.schedule_detail("s-1"), client.policy_detail("p-1"), client.rule_detail("ru-1")
    assert (schedule.raw, schedule.record.name) == (SCHEDULE, "nightly")
    assert (found.raw, found.record.vm_guids) == (policy, ("vm-1",))
    assert found.rules == (alone,)
    assert query(server, "/rules/vm-backup/ru-1") == [("only-active-destinations", "false")]
    assert client.policy("p-1") == found.record


def test_what_was_read_is_what_is_changed(client: VplusClient, server: ScriptedServer) -> None:
    whole = {
        **SCHEDULE,
        "backupType": "FULL",
        "executionType": {"name": "TIME"},
        "hour": 0,
        "startWindowLength": 60_000,
        "active": True,
        "daysOfWeek": ["MONDAY"],
        "months": [],
        "dayOfWeekOccurrences": [],
        "rules": [],
        "tenantId": "0f5c",
    }
    server.on("GET /schedules/s-1", answer(whole))
    server.on("PUT /schedules/s-1", answer(None, 204))
    request = client.dialect.update_schedule_request(client.schedule_detail("s-1").raw, name="weekly")
    with client.open_write() as channel:
        assert channel.send(request).kind == "accepted"
    sent = json.loads(server.asked_for("PUT /schedules/s-1")[0].body)
    assert (sent["name"], sent["colour"], sent["tenantId"]) == ("weekly", "blue", "0f5c")


@pytest.mark.parametrize("read_one", ["policy_detail", "rule_detail", "schedule_detail"])
def test_a_detail_fails_as_any_read(client: VplusClient, server: ScriptedServer, read_one: str) -> None:
    path = {"policy_detail": "policies/vm-backup", "rule_detail": "rules/vm-backup", "schedule_detail": "schedules"}
    where = f"GET /{path[read_one]}/x-1"
    read_detail = getattr(client, read_one)
    with pytest.raises(NotFound):
        read_detail("x-1")
    for broken in (b'{"guid":"x-1"', b"[]", b"{}", b"null", b"<html>", b""):
        server.on(where, answer(broken))
        with pytest.raises(BadAnswer):
            read_detail("x-1")


def test_managers_that_a_backup_can_go_to(client: VplusClient, server: ScriptedServer) -> None:
    server.on("GET /hypervisor-managers", answer([{"guid": "hvm-1", "url": "https://m"}]))
    assert [manager.guid for manager in read(client.hypervisor_managers(for_backup="b-1"))] == ["hvm-1"]
    assert query(server, "/hypervisor-managers") == [("backup-to-be-restored", "b-1"), *PAGE]
    read(client.hypervisor_managers())
    assert query(server, "/hypervisor-managers") == PAGE


def test_usable_destinations_are_asked_for_by_guid(client: VplusClient, server: ScriptedServer) -> None:
    server.on(f"POST {USABLE}", answer([{"guid": "bd-1", "name": "main"}, {"name": "no guid"}]))
    found = client.destinations_usable_for(["vm-1", "vm-2", "vm-1"])
    assert [(destination.guid, destination.name) for destination in found] == [("bd-1", "main")]
    (asked,) = server.asked_for(f"POST {USABLE}")
    assert json.loads(asked.body) == [{"guid": "vm-1"}, {"guid": "vm-2"}]
    assert asked.headers["content-type"] == "application/json"
    with pytest.raises(Invalid):
        client.destinations_usable_for([])


@pytest.mark.parametrize(
    "first",
    [cut(), cut(reset=True), cut(head(100) + b"["), answer({"message": "busy"}, 503)],
    ids=["gone", "reset", "half", "503"],
)
def test_the_question_about_destinations_is_repeated_on_passing_trouble(
    client: VplusClient, server: ScriptedServer, waits: list[float], first: Any
) -> None:
    server.on(f"POST {USABLE}", first, answer([{"guid": "bd-1"}]))
    assert len(client.destinations_usable_for(["vm-1"])) == 1
    assert len(server.asked_for(f"POST {USABLE}")) == 2
    assert len(waits) == 1


def test_the_question_about_destinations_signs_in_again_once(client: VplusClient, server: ScriptedServer) -> None:
    server.on(f"POST {USABLE}", answer(None, 401), answer([{"guid": "bd-1"}]))
    assert len(client.destinations_usable_for(["vm-1"])) == 1
    assert len(server.asked_for("POST /session/login")) == 2


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answer({"guid": "bd-1"}), BadAnswer),
        (answer(None, 204), BadAnswer),
        (answer(b"<html>", content_type="text/html"), BadAnswer),
        (answer({"message": "?"}, 400), Invalid),
        (answer({"message": "?"}, 404), NotFound),
        (answer(None, 307, headers=[("Location", "https://localhost/elsewhere"), *COOKIES]), BadAnswer),
        (drip(head(5000) + b"["), Unavailable),
    ],
    ids=["object", "empty", "page", "400", "404", "redirect", "drip"],
)
def test_the_question_about_destinations_fails_as_a_read(
    make_client: Callable[..., VplusClient], server: ScriptedServer, behaviour: Any, error: type[VplusError]
) -> None:
    server.on(f"POST {USABLE}", behaviour)
    client = make_client(read_total_seconds=0.5)
    with pytest.raises(error):
        client.destinations_usable_for(["vm-1"])


def test_the_dialect_follows_the_endpoint(make_client: Callable[..., VplusClient]) -> None:
    assert not make_client().dialect.RULE_IS_EMBEDDED
    assert make_client(dialect="current").dialect.RULE_IS_EMBEDDED


PLACES = [{"backupDestination": {"guid": "bd-1"}}, {"backupDestination": {"guid": "bd-2"}, "active": False}, {}]


def test_a_rule_whose_destinations_its_policy_does_not_tell_is_asked_for_by_itself(
    make_client: Callable[..., VplusClient], server: ScriptedServer
) -> None:
    told = {"guid": "ru-1", "name": "told", "ruleBackupDestinations": PLACES}
    rules = [told, {"guid": "ru-2", "name": "silent", "position": 1}, {"guid": "ru-3"}]
    server.on("GET /policies/vm-backup/p-1", answer({"guid": "p-1", "name": "gold", "rules": rules}))
    server.on("GET /rules/vm-backup/ru-2", answer({"guid": "ru-2", "schedules": [], "ruleBackupDestinations": PLACES}))
    server.on("GET /rules/vm-backup/ru-3", answer({"message": "no"}, 404))
    client = make_client(dialect="current")
    assert [rule.destination_guids for rule in client.policy("p-1").rules or ()] == [("bd-1",), ("bd-1",), None]
    assert query(server, "/rules/vm-backup/ru-2") == [("only-active-destinations", "false")]
    [_told, silent, _unknown] = client.whole_rules(client.policy_detail("p-1"))
    assert (silent.raw["position"], silent.raw["name"], silent.record.schedule_guids) == (1, "silent", ())
    assert not server.asked_for("GET /rules/vm-backup/ru-1")
    make_client().policy("p-1")
    assert len(server.asked_for("GET /rules/vm-backup/ru-2")) == 2, "where exports name no rule nobody needs to know"


def test_entries_that_name_no_destination_tell_nothing(client: VplusClient, server: ScriptedServer) -> None:
    rule = {"guid": "ru-1", "ruleBackupDestinations": [{"roleType": {"name": "PRIMARY"}}]}
    server.on("GET /policies/vm-backup/p-1", answer({"guid": "p-1", "name": "gold", "rules": [rule]}))
    [read_rule] = client.policy("p-1").rules or ()
    assert read_rule.destination_guids is None


def test_copies_of_one_machines_backups(client: VplusClient, server: ScriptedServer) -> None:
    copy = {"guid": "c-1", "backup": {"guid": "b-1"}, "status": "PRESENT", "roleType": {"name": "SECONDARY"}}
    server.on("GET /backup-locations/for-restore", answer([copy]))
    [found] = read(client.copies("vm-1"))
    assert (found.guid, found.backup_guid, found.status, found.role) == ("c-1", "b-1", "PRESENT", "SECONDARY")
    assert query(server, "/backup-locations/for-restore") == [("protected-entity", "vm-1"), *PAGE]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (answer([{"guid": "n-2", "version": "7.4.0-27"}, {"guid": "n-1"}]), "7.4.0-27, as its nodes tell"),
        (answer([{"guid": "n-1", "version": "5.0"}, {"guid": "n-2", "version": "4.4"}]), "4.4, 5.0, as its nodes tell"),
        (answer([{"guid": "n-1", "version": {"odd": 1}}]), "not told by its nodes"),
        (answer({"message": "no"}, 403), "not told: the account may not read nodes (403), which tell it"),
        (answer({"message": "no"}, 404), "not told: this server has no list of nodes (404), which tell it"),
        (answer({"message": "no"}, 400), "not told: vPlus refused"),
    ],
)
def test_the_version_is_told_by_the_nodes_or_it_is_said_why_not(
    client: VplusClient, server: ScriptedServer, said: Behaviour, told: str
) -> None:
    server.on("GET /nodes", said)
    assert version_told(client).startswith(told)

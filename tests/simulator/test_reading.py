"""Destinations, infrastructure, policies and schedules, and how the server treats calls it does not have."""

from __future__ import annotations

import ssl
from http.client import HTTPSConnection
from typing import Any

import pytest
import requests

from .conftest import Start, Vplus


def test_destinations_usable_for_all_the_vms_asked_for(vplus: Vplus) -> None:
    usable = "/backup-destinations/usable-for-vms"
    for vms, expected in (
        ([{"guid": "vm-alpha-web", "name": ""}], ["bd-main", "bd-alpha", "bd-off"]),
        (["vm-alpha-web", "vm-beta-web"], ["bd-main", "bd-off"]),
        ([vplus.read("/virtual-machines/vm-gamma-erp")], ["bd-main", "bd-off"]),
    ):
        answer = vplus.post(usable, vms)
        assert answer.status_code == 200
        assert [row["guid"] for row in answer.json()] == expected
    assert vplus.post(usable, []).status_code == 400
    assert vplus.post(usable, {"guid": "vm-alpha-web"}).status_code == 400
    assert vplus.post(usable, ["nobody"]).status_code == 404


def test_a_destination_shows_its_capacity_under_the_misleading_name(vplus: Vplus) -> None:
    main = vplus.read("/backup-destinations")[0]
    assert main["totalUsedSpace"] < main["totalAvailableSpace"] == 100 * 2**40
    assert "totalAvailableSpace" not in vplus.read("/backup-destinations")[1]


@pytest.mark.parametrize(
    ("path", "parameters", "expected"),
    [
        ("/projects", {}, ["project-alpha", "project-beta"]),
        ("/hypervisor-managers", {}, ["hvm-openstack", "hvm-vcenter"]),
        ("/hypervisor-managers/", {"backup-to-be-restored": "backup-erp-full"}, ["hvm-vcenter"]),
        ("/hypervisor-managers", {"backup-to-be-restored": "backup-gone-full"}, ["hvm-openstack"]),
        ("/hypervisors", {"filter": "production"}, ["hv-hvm-vcenter-production-1"]),
        ("/hypervisor-clusters", {"hypervisor-manager": "hvm-vcenter"}, ["cluster-hvm-vcenter-production"]),
        (
            "/hypervisor-storages",
            {"hypervisor-manager": "hvm-openstack", "nameLike": "ssd"},
            ["storage-hvm-openstack-fast-ssd"],
        ),
        ("/policies/vm-backup", {}, ["policy-alpha", "policy-beta"]),
        ("/policies/vm-backup", {"extended": "true", "showLoader": "true"}, ["policy-alpha", "policy-beta"]),
        ("/policies/vm-backup", {"tenantid": "beta-uuid"}, ["policy-beta"]),
        ("/policies/vm-backup", {"tenant-id": "beta-uuid"}, ["policy-beta"]),
        ("/policies/vm-backup", {"virtual-machine": "vm-alpha-db"}, ["policy-alpha"]),
        ("/rules/vm-backup", {"policy": "policy-beta"}, ["rule-beta"]),
        ("/rules/vm-backup", {"rule": "policy-beta"}, ["rule-alpha", "rule-beta"]),
        ("/schedules", {"type": "VM_BACKUP", "tenantid": "beta-uuid"}, ["schedule-beta"]),
        ("/schedules", {"type": "SNAPSHOT"}, []),
        ("/schedules", {"protected-entity": "vm-alpha-web"}, ["schedule-alpha-full", "schedule-alpha-inc"]),
        ("/schedules", {"protected-entity": "vm-lab"}, []),
        ("/schedules", {"rules": ["rule-beta", "nothing"]}, ["schedule-beta"]),
    ],
)
def test_lists_and_their_filters(vplus: Vplus, path: str, parameters: dict[str, Any], expected: list[str]) -> None:
    assert vplus.names(path, **parameters) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/hypervisors/hv-hvm-openstack-nova-1",
        "/policies/vm-backup/policy-alpha",
        "/rules/vm-backup/rule-alpha",
        "/schedules/schedule-beta",
    ],
)
def test_one_of_each_and_404(vplus: Vplus, path: str) -> None:
    assert vplus.read(path)["guid"] == path.rsplit("/", 1)[1]
    assert vplus.get(path + "-not").status_code == 404


def test_a_policy_shows_members_rules_and_a_schedule_its_rules(vplus: Vplus) -> None:
    policy = vplus.read("/policies/vm-backup/policy-alpha")
    assert [vm["guid"] for vm in policy["vms"]] == ["vm-alpha-web", "vm-alpha-db", "vm-alpha-gone"]
    assert [rule["guid"] for rule in policy["rules"]] == ["rule-alpha"]
    assert policy["autoAssignSettings"]["mode"]["name"] == "DISABLED"
    assert "vms" not in vplus.read("/policies/vm-backup")[0]
    schedule = vplus.read("/schedules/schedule-alpha-full")
    assert [day["name"] for day in schedule["daysOfWeek"]] == ["SUNDAY"]
    assert [rule["guid"] for rule in schedule["rules"]] == ["rule-alpha"]
    assert "interval" not in schedule


def test_policies_of_given_vms(vplus: Vplus) -> None:
    body = {"protectedEntities": ["vm-beta-web", "vm-lab", "nobody"]}
    answer = vplus.post("/policies/vm-backup/list-by-entities", body)
    assert [row["guid"] for row in answer.json()] == ["policy-beta"]
    assert vplus.post("/policies/vm-backup/list-by-entities", {}).status_code == 400


@pytest.mark.parametrize(("switch", "status"), [("listed", 200), ("forbidden", 403), ("missing", 404)])
def test_projects_may_be_refused(start: Start, switch: str, status: int) -> None:
    assert start(projects=switch).get("/projects").status_code == status


def test_unknown_calls_are_refused_in_json_and_counted(vplus: Vplus) -> None:
    for method, path, status in (
        ("GET", "/user-info", 404),
        ("GET", "/virtual-machines/vm-lab/secrets", 404),
        ("DELETE", "/virtual-machines/vm-lab", 405),
        ("POST", "/tasks/restore", 405),
    ):
        answer = vplus.http.request(method, vplus.server.url + path, timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
        assert path in answer.json()["message"]
    assert vplus.server.control.counters().unknown["GET /user-info"] == 1
    assert len(vplus.server.control.counters().unknown) == 4


def test_paths_outside_the_base_do_not_exist(vplus: Vplus) -> None:
    for path in ("/", "/apix/tasks", "/tasks"):
        address = f"https://localhost:{vplus.server.port}{path}"
        assert vplus.http.get(address, timeout=10).status_code == 404


def test_a_kept_connection_serves_many_calls_after_an_error_too(vplus: Vplus) -> None:
    for _ in range(3):
        assert vplus.get("/nothing").status_code == 404
        assert vplus.post("/tasks/export", {"backupType": "X"}).status_code == 400
        assert vplus.get("/session").status_code == 204
    assert len(vplus.server.open_connections()) == 1


def test_a_body_of_unknown_length_is_refused(vplus: Vplus) -> None:
    context = ssl.create_default_context(cafile=str(vplus.server.ca_path))
    connection = HTTPSConnection("localhost", vplus.server.port, context=context, timeout=10)
    connection.putrequest("POST", "/api/tasks/export")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


def test_every_enum_and_reference_is_an_object(start: Start) -> None:
    vplus = start(seed="demo")

    def check(value: Any, name: str) -> None:
        if isinstance(value, dict):
            assert None not in value.values(), (name, value)
            if "description" in value and "guid" not in value:
                assert value["name"]
            for member, inner in value.items():
                check(inner, member)
        elif isinstance(value, list):
            for inner in value:
                check(inner, name)
        else:
            assert name not in {"state", "type", "status", "protectedEntity", "hvManager", "project", "backup"}, (
                name,
                value,
            )

    for path in ("/virtual-machines", "/tasks", "/policies/vm-backup", "/schedules", "/backup-destinations"):
        for row in vplus.read(path):
            check(row, path)
    vm = vplus.read("/virtual-machines")[0]["guid"]
    check(vplus.read("/backups", **{"protected-entity": vm}), "backups")


def test_the_date_header_is_the_simulated_instant(vplus: Vplus) -> None:
    vplus.server.control.step(3600)
    assert vplus.get("/session").headers["Date"] == "Mon, 23 Nov 2026 13:00:00 GMT"


def test_the_control_api_is_not_part_of_vplus(vplus: Vplus) -> None:
    assert isinstance(vplus.get("/control/state"), requests.Response)
    assert vplus.get("/control/state").status_code == 404

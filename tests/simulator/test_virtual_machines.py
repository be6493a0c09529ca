"""The inventory: lists, filters, pages, and how it follows the platform."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Start, Vplus

ALPHA = ["vm-alpha-web", "vm-alpha-db", "vm-alpha-gone", "vm-alpha-new"]
EVERYBODY = [*ALPHA, "vm-beta-web", "vm-beta-mail", "vm-gamma-erp", "vm-lab"]


def test_the_list_has_everybody_also_those_that_are_gone(vplus: Vplus) -> None:
    rows = vplus.read("/virtual-machines")
    assert [row["guid"] for row in rows] == EVERYBODY
    assert [row["guid"] for row in rows if not row["present"]] == ["vm-alpha-gone"]


def test_a_trailing_slash_and_parameters_that_mean_nothing_change_nothing(vplus: Vplus) -> None:
    assert (
        vplus.names("/virtual-machines/", showLoader="true", filter="", orderBy="null", page="undefined") == EVERYBODY
    )
    assert vplus.get("/virtual-machines?").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"uuid": "uuid-beta-mail"}, ["vm-beta-mail"]),
        ({"uuid": "nobody"}, []),
        ({"hypervisor-manager-type": "VCENTER"}, ["vm-gamma-erp", "vm-lab"]),
        ({"filter": "WEB"}, ["vm-alpha-web", "vm-beta-web"]),
        ({"nameLike": "web-0", "hypervisor-manager-type": "VCENTER"}, []),
        ({"tenantid": "alpha-uuid"}, ALPHA),
        ({"tenantid": "beta-uuid", "filter": "mail"}, ["vm-beta-mail"]),
        ({"tenantid": "nobody"}, []),
    ],
)
def test_filters(vplus: Vplus, parameters: dict[str, str], expected: list[str]) -> None:
    assert vplus.names("/virtual-machines", **parameters) == expected


@pytest.mark.parametrize(
    ("mode", "spelling", "narrows"),
    [
        ("guide", "tenantid", True),
        ("guide", "tenantId", False),
        ("guide", "project-uuid", False),
        ("current", "project-uuid", True),
        ("current", "tenantid", False),
        ("ignored", "tenantid", False),
        ("ignored", "project-uuid", False),
    ],
)
def test_a_tenant_filter_in_another_spelling_returns_everybody(
    start: Start, mode: str, spelling: str, narrows: bool
) -> None:
    vplus = start(tenant_filter=mode)
    expected = ["vm-beta-web", "vm-beta-mail"] if narrows else EVERYBODY
    assert vplus.names("/virtual-machines", **{spelling: "beta-uuid"}) == expected


def test_one_vm_shows_policy_and_last_backup(vplus: Vplus) -> None:
    vm = vplus.read("/virtual-machines/vm-alpha-db")
    assert vm["vmBackupPolicy"] == {"guid": "policy-alpha", "name": "alpha gold"}
    assert vm["hvmType"] == {"name": "OPENSTACK", "description": "OpenStack"}
    assert vm["lastSuccessfulIncBackup"]["guid"] == "backup-db-inc"
    assert "project" not in vplus.read("/virtual-machines/vm-lab")
    assert vplus.get("/virtual-machines/nobody").status_code == 404


def test_backup_up_to_date_has_three_states(vplus: Vplus) -> None:
    rows = {row["guid"]: row for row in vplus.read("/virtual-machines")}
    assert rows["vm-alpha-web"]["backupUpToDate"] is True
    assert rows["vm-beta-mail"]["backupUpToDate"] is False
    assert "backupUpToDate" not in rows["vm-lab"]
    vplus.server.control.step(3 * 86_400)
    assert vplus.read("/virtual-machines/vm-alpha-web")["backupUpToDate"] is False


def test_pages_are_slices_of_one_order_and_carry_the_total(vplus: Vplus) -> None:
    seen = []
    for page in range(3):
        answer = vplus.get("/virtual-machines", page=page, size=3, orderBy="name", direction="desc")
        assert answer.headers["X-Total-Count"] == "8"
        seen += [row["name"] for row in answer.json()]
    assert seen == ["web-01", "web-01", "mail-01", "lab-01", "fresh-01", "files-01", "erp", "db-01"]
    beyond = vplus.get("/virtual-machines", page=9, size=3)
    assert (beyond.json(), beyond.headers["X-Total-Count"]) == ([], "8")
    assert vplus.get("/virtual-machines", page=0, size=2, filter="web").headers["X-Total-Count"] == "2"


def test_without_page_and_size_there_is_no_total(vplus: Vplus) -> None:
    assert "X-Total-Count" not in vplus.get("/virtual-machines").headers


@pytest.mark.parametrize("parameters", [{"size": "0"}, {"size": "x"}, {"page": "-1", "size": "2"}])
def test_pages_that_make_no_sense_are_refused(vplus: Vplus, parameters: dict[str, str]) -> None:
    assert vplus.get("/virtual-machines", **parameters).status_code == 400


@pytest.mark.parametrize(
    "path", ["/virtual-machines", "/backups", "/backup-destinations", "/policies/vm-backup", "/schedules"]
)
def test_a_server_that_does_not_page_returns_everything_each_time(start: Start, path: str) -> None:
    vplus = start(paging=False)
    whole = vplus.names(path)
    for page in (0, 1):
        answer = vplus.get(path, page=page, size=1, orderBy="name", direction="desc")
        assert [row["guid"] for row in answer.json()] == whole
        assert "X-Total-Count" not in answer.headers


def test_a_new_vm_shows_after_the_next_sync_only(start: Start) -> None:
    vplus = start(inventory_sync_seconds=60)
    machine = vplus.server.control.add_vm("new-01", project="alpha-uuid")
    vplus.server.control.step(59)
    assert vplus.names("/virtual-machines", uuid=machine.uuid) == []
    vplus.server.control.step(1)
    [row] = vplus.read("/virtual-machines", uuid=machine.uuid)
    assert (row["name"], row["present"], row["project"]["guid"]) == ("new-01", True, "project-alpha")
    assert row["guid"] != machine.uuid


def test_a_vm_that_vanishes_stays_with_present_false_and_its_backups(start: Start) -> None:
    vplus = start(inventory_sync_seconds=0)
    control = vplus.server.control
    control.remove_vm("vm-alpha-web")
    assert vplus.read("/virtual-machines/vm-alpha-web")["present"] is True
    assert control.sync().vanished == ["vm-alpha-web"]
    vm = vplus.read("/virtual-machines/vm-alpha-web")
    assert (vm["present"], vm["uuid"], vm["vmBackupPolicy"]["guid"]) == (False, "uuid-alpha-web", "policy-alpha")
    assert vplus.names("/backups", **{"protected-entity": "vm-alpha-web"}) == ["backup-web-full"]


def test_a_policy_may_drop_vms_that_vanish(start: Start) -> None:
    vplus = start()
    vplus.server.world.policies["policy-alpha"].auto_remove_non_present = True
    vplus.server.control.remove_vm("uuid-alpha-web")
    vplus.server.control.sync()
    assert "vmBackupPolicy" not in vplus.read("/virtual-machines/vm-alpha-web")
    members = [vm["guid"] for vm in vplus.read("/policies/vm-backup/policy-alpha")["vms"]]
    assert "vm-alpha-web" not in members


def test_a_vm_made_anew_under_an_old_name_is_another_vm(vplus: Vplus) -> None:
    control = vplus.server.control
    control.remove_vm("vm-beta-web")
    control.add_vm("web-01", project="beta-uuid")
    added = control.sync().added
    rows: list[dict[str, Any]] = vplus.read("/virtual-machines", filter="web-01", tenantid="beta-uuid")
    assert [(row["guid"], row["present"]) for row in rows] == [("vm-beta-web", False), (added[0], True)]
    assert vplus.names("/backups", **{"protected-entity": added[0]}) == []


def test_names_and_projects_follow_the_platform(vplus: Vplus) -> None:
    vplus.read("/virtual-machines")
    vplus.server.control.rename_vm("vm-alpha-web", "web-renamed")
    vplus.server.control.move_vm("vm-alpha-db", "beta-uuid")
    vplus.server.control.sync()
    rows = {row["guid"]: row for row in vplus.read("/virtual-machines")}
    assert rows["vm-alpha-web"]["name"] == "web-renamed"
    assert rows["vm-alpha-db"]["project"]["guid"] == "project-beta"


def test_kept_records_and_orders_notice_changes(start: Start) -> None:
    vplus = start(richness="poorest", paging=True)
    assert len(vplus.read("/virtual-machines")) == 8
    parameters = {"page": 0, "size": 3, "orderBy": "name"}
    assert vplus.names("/virtual-machines", **parameters) == ["vm-alpha-db", "vm-gamma-erp", "vm-alpha-gone"]
    vplus.server.control.rename_vm("vm-lab", "aaa")
    vplus.server.control.sync()
    assert vplus.names("/virtual-machines", **parameters) == ["vm-lab", "vm-alpha-db", "vm-gamma-erp"]
    assert vplus.read("/virtual-machines", **parameters)[0]["name"] == "aaa"
    vplus.export("vm-lab")
    vplus.server.control.step(60)
    assert vplus.read("/virtual-machines", **parameters)[0]["lastSuccessfulBackupSize"] > 0
    vplus.server.control.change(show=["vm.hvmType"])
    assert vplus.read("/virtual-machines", **parameters)[0]["hvmType"]["name"] == "VCENTER"

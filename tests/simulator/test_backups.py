"""Backup records: lists and filters."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Start, Vplus

DB = ["backup-db-removed", "backup-db-full", "backup-db-inc", "backup-db-failed"]
DAY = 86_400_000
HALF = DAY // 2
NOW = 1_795_435_200_000


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, DB),
        ({"status": "SUCCESS"}, DB[1:3]),
        ({"status": ["SUCCESS", "FAILED"]}, DB[1:]),
        ({"status": "SUCCESS_REMOVED"}, DB[:1]),
        ({"type": "INCREMENTAL"}, ["backup-db-inc"]),
        ({"from": NOW - HALF - 2 * DAY}, ["backup-db-full", "backup-db-inc"]),
        ({"to": NOW - HALF - 2 * DAY}, ["backup-db-removed"]),
        ({"min-size": 2 * 2**30}, DB[:2]),
        ({"only-mountable": "true"}, DB[1:3]),
        ({"only-mountable": "false"}, DB),
        ({"parent-backup": "backup-db-full"}, ["backup-db-inc"]),
        ({"root-backup": "backup-db-full"}, DB[1:3]),
        ({"backup-destination": "bd-alpha"}, []),
        ({"backup-destination": "bd-main", "status": "FAILED"}, ["backup-db-failed"]),
        ({"backup-rule": "rule-alpha"}, DB),
        ({"backup-policy": ["policy-beta", "policy-alpha"]}, DB),
        ({"backup-policy": "policy-beta"}, []),
        ({"hypervisor-manager": "hvm-vcenter"}, []),
        ({"in-progress": "true"}, []),
        ({"in-progress": "false", "filter": "DB"}, DB),
    ],
)
def test_filters_of_one_vms_backups(vplus: Vplus, parameters: dict[str, Any], expected: list[str]) -> None:
    assert vplus.names("/backups/", **{"protected-entity": "vm-alpha-db"}, **parameters) == expected


def test_without_a_vm_everybodys_backups_come(vplus: Vplus) -> None:
    assert len(vplus.read("/backups")) == 8
    assert vplus.names("/backups", **{"protected-entity": "nobody"}) == []
    assert vplus.names("/backups", **{"hypervisor-manager": "hvm-vcenter"}) == ["backup-erp-full"]


def test_the_tenant_filter_of_backups_exists_in_the_current_dialect_only(start: Start) -> None:
    assert start(tenant_filter="current").names("/backups", **{"project-uuid": "beta-uuid"}) == ["backup-beta-full"]
    assert len(start(tenant_filter="guide").read("/backups", **{"project-uuid": "beta-uuid"})) == 8


@pytest.mark.parametrize("parameters", [{"status": "IN_PROGRESS"}, {"type": "DELTA"}, {"from": "yesterday"}])
def test_wrong_values_are_refused(vplus: Vplus, parameters: dict[str, str]) -> None:
    assert vplus.get("/backups", **parameters).status_code == 400


def test_pages(vplus: Vplus) -> None:
    answer = vplus.get("/backups", page=1, size=3, orderBy="backupTime", **{"protected-entity": "vm-alpha-db"})
    assert ([row["guid"] for row in answer.json()], answer.headers["X-Total-Count"]) == (["backup-db-inc"], "4")


def test_one_backup_shows_its_chain_and_its_location(vplus: Vplus) -> None:
    backup = vplus.read("/backups/backup-db-inc")
    assert backup["parentBackup"]["guid"] == "backup-db-full"
    assert backup["backupLocations"][0]["status"]["name"] == "PRESENT"
    assert backup["protectedEntity"] == {
        "guid": "vm-alpha-db",
        "name": "db-01",
        "type": {"name": "VM", "description": "Virtual machine"},
    }
    assert backup["snapshotTime"] < backup["backupTime"]
    assert vplus.get("/backups/nobody").status_code == 404

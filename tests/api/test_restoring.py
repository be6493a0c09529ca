"""Restores by script: what can be asked, what is answered, and what a wrong member says."""

from datetime import timedelta
from typing import Any

import pytest

from tenants.scope import every_tenant
from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Bridge, Cast
from vplus_bridge.models import Operation, VirtualMachine


@pytest.fixture
def machine(cast: Cast, rows: Rows) -> Any:
    """One machine of Alpha's with a point, one of Beta's, and a target of each."""
    rows.machine("vm-web", cast.alpha, name="web-01", restore_point_count=1)
    rows.backup("b-1", "vm-web", cast.alpha, NOW - timedelta(days=1))
    rows.backup("b-0", "vm-web", cast.alpha, NOW - timedelta(days=2), gone_at=NOW)
    rows.machine("vm-beta", cast.beta)
    rows.backup("b-beta", "vm-beta", cast.beta, NOW)
    rows.target(cast.beta, "Theirs")
    return rows.target(cast.alpha, "Production")


def ask(script: Script, **members: Any) -> Any:
    return script.post("operations/", {"kind": "restore", "restore_point": "b-1", **members})


def test_a_restore_is_asked_for_by_its_point_alone(machine: Any, oscar: Script) -> None:
    answer = ask(oscar)
    assert answer.status_code == 202
    [shape] = answer.data["operations"]
    assert (shape["kind"], shape["state"], shape["restore_point"]) == ("restore", "requested", "b-1")
    assert (shape["virtual_machine"]["guid"], shape["already_active"]) == ("vm-web", False)
    assert ask(oscar).data["operations"][0]["already_active"] is True
    refused = ask(oscar, restored_name="another")
    assert (refused.status_code, refused.data["code"]) == (409, "operation_active")
    listed = oscar.get("operations/", kind="restore").data["results"]
    assert [one["id"] for one in listed] == [shape["id"]]


def test_its_result_names_the_new_machine_once_that_is_known(
    machine: Any, cast: Cast, rows: Rows, oscar: Script
) -> None:
    operation = ask(oscar).data["operations"][0]["id"]
    with every_tenant("test"):
        Operation.objects.filter(pk=operation).update(state="succeeded", stage="import", finished_at=NOW)
    result = oscar.get(f"operations/{operation}/").data["result"]
    assert result["virtual_machine"] is None
    assert result["name"].startswith("web-01-restored-")
    rows.machine("vm-new", cast.alpha)
    with every_tenant("test"):
        Operation.objects.filter(pk=operation).update(restored_vm_guid="vm-new")
    assert oscar.get(f"operations/{operation}/").data["result"]["virtual_machine"] == "vm-new"


def test_a_new_machine_that_one_does_not_see_is_not_named(
    machine: Any, cast: Cast, rows: Rows, oscar: Script, alice: Script
) -> None:
    """Granted members see it once it is granted; and what the provider has given to somebody else nobody here does."""
    rows.grant(cast.oscar, "vm-web")
    operation = ask(oscar).data["operations"][0]["id"]
    rows.machine("vm-new", cast.alpha)
    with every_tenant("test"):
        Operation.objects.filter(pk=operation).update(
            state="succeeded", stage="import", finished_at=NOW, restored_vm_guid="vm-new"
        )

    def named(script: Script) -> Any:
        return script.get(f"operations/{operation}/").data["result"]["virtual_machine"]

    assert (named(oscar), named(alice)) == (None, "vm-new")
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid="vm-new").update(tenant=cast.beta)
    assert named(alice) is None


@pytest.mark.parametrize(
    ("members", "status", "field"),
    [
        ({"restore_point": "b-nothing"}, 404, "restore_point"),
        ({"restore_point": "b-beta"}, 404, "restore_point"),
        ({"restore_point": "b-0"}, 400, "restore_point"),
        ({"restored_name": "x" * 300}, 400, "restored_name"),
        ({"restored_name": "web\N{RIGHT-TO-LEFT OVERRIDE}"}, 400, "restored_name"),
        ({"target": "production"}, 400, "target"),
        ({"send_until": "2020-01-01T00:00:00Z"}, 400, "send_until"),
        ({"overwrite": True}, 400, "overwrite"),
        ({"restore_point": 7}, 400, "restore_point"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_starts(
    members: dict[str, Any], status: int, field: str, machine: Any, oscar: Script
) -> None:
    answer = ask(oscar, **members)
    assert answer.status_code == status
    assert list(answer.data["errors"]) == [field]
    with every_tenant("test"):
        assert not Operation.objects.exists()


def test_a_point_that_is_gone_names_the_nearest(machine: Any, oscar: Script) -> None:
    [told] = ask(oscar, restore_point="b-0").data["errors"]["restore_point"]
    assert "This restore point is gone" in told
    assert "The nearest is b-1" in told


def test_targets_are_the_tenants_own(machine: Any, oscar: Script, mallory: Script) -> None:
    assert oscar.all("restore-targets/") == [{"id": str(machine.pk), "name": "Production"}]
    assert [one["name"] for one in mallory.all("restore-targets/")] == ["Theirs"]
    [theirs] = [one["id"] for one in mallory.all("restore-targets/")]
    assert (
        ask(oscar, target=theirs).data["errors"]["target"][0].startswith("This restore target is not allowed for Alpha")
    )
    assert ask(oscar, target=str(machine.pk)).status_code == 202


def test_who_may(machine: Any, vera: Script, script_of: Any, cast: Cast) -> None:
    assert ask(vera).data["code"] == "role_too_low"
    assert ask(script_of(cast.oscar, "read", "backup")).data["code"] == "scope_missing"
    assert ask(script_of(cast.oscar, "restore")).status_code == 202


def test_a_machine_tells_that_it_can_be_restored(machine: Any, oscar: Script, vera: Script) -> None:
    assert "restore" in oscar.get("virtual-machines/vm-web/").data["allowed_actions"]
    assert "restore" not in vera.get("virtual-machines/vm-web/").data["allowed_actions"]
    ask(oscar)
    assert "restore" not in oscar.get("virtual-machines/vm-web/").data["allowed_actions"]


def test_the_whole_way_by_script(cast: Cast, mirrored: Bridge) -> None:
    oscar = Script(cast.oscar.token())
    [asked] = oscar.post("operations/", {"kind": "restore", "restore_point": "backup-gone-full"}).data["operations"]
    mirrored.send()
    mirrored.run(steps=20)
    mirrored.simulator.control.sync()
    mirrored.sync()
    done = oscar.get(f"operations/{asked['id']}/").data
    assert (done["state"], done["progress"], done["stage"]["index"]) == ("succeeded", 100, 2)
    assert {task["type"] for task in done["tasks"]} == {"RESTORE", "IMPORT"}
    new = oscar.get(f"virtual-machines/{done['result']['virtual_machine']}/").data
    assert new["name"] == done["result"]["name"]

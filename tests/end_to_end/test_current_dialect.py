"""The main jobs on a server of the current dialect at its poorest, through real workers: a backup, then its restore."""

from typing import Any

import pytest

from tests.end_to_end.conftest import Portal, StartPortal
from tests.processes import eventually

WEB = "vm-alpha-web"


@pytest.fixture(scope="module")
def portal(start_portal: StartPortal) -> Portal:
    """Everything up; portal and vPlus speak the current dialect."""
    portal = start_portal("current")
    portal.start_everything()
    return portal


def brought_to_an_end(portal: Portal, wish: dict[str, Any]) -> dict[str, Any]:
    """Ask for one operation and return it as it is when it has ended."""
    script = portal.script(portal.cast.oscar)
    [asked] = script.post("operations/", wish)["operations"]

    def ended() -> dict[str, Any] | None:
        row: dict[str, Any] = script.get(f"operations/{asked['id']}/")
        return row if row["finished_at"] else None

    found: dict[str, Any] = eventually(f"the {wish['kind']} ends", ended)
    return found


def test_a_backup_and_its_restore_come_to_their_ends(portal: Portal) -> None:
    script = portal.script(portal.cast.oscar)
    points = f"virtual-machines/{WEB}/restore-points/"
    before = {point["guid"] for point in script.get(points)["results"]}
    eventually(
        "it is read where the policy leads",
        lambda: script.get("backup-destinations/", virtual_machine=WEB)["results"],
    )
    backup = brought_to_an_end(portal, {"kind": "backup", "virtual_machines": [WEB]})
    assert (backup["state"], backup["error"]) == ("succeeded", None)
    sent = [entry for entry in portal.vplus.control.journal() if entry.call == "POST /tasks/export"]
    assert [entry.status for entry in sent] == [201]
    assert "rule" in str(sent[0].asked), "it goes by a rule of the policy"
    [made] = {point["guid"] for point in script.get(points)["results"]} - before
    restore = brought_to_an_end(portal, {"kind": "restore", "restore_point": made})
    assert (restore["state"], restore["error"], restore["restore_point"]) == ("succeeded", None, made)

    def restored() -> Any:
        return script.get(f"operations/{restore['id']}/")["result"]["virtual_machine"]

    assert eventually("the new virtual machine is seen", restored)

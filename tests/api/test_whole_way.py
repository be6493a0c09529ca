"""By script alone, against a simulated vPlus at its poorest: ask for a backup, watch it, find the new restore point."""

from tests.api.conftest import Script
from tests.conftest import Bridge, Cast


def test_a_backup_from_the_wish_to_the_restore_point(cast: Cast, mirrored: Bridge) -> None:
    oscar = Script(cast.oscar.token())
    machine = oscar.get("virtual-machines/", search="vm-alpha-web").data["results"][0]
    assert machine["guid"] == "vm-alpha-web"
    assert machine["as_of"] is not None
    before = {point["guid"] for point in oscar.all("virtual-machines/vm-alpha-web/restore-points/")}
    asked = oscar.post("operations/", {"kind": "backup", "virtual_machines": ["vm-alpha-web"], "backup_type": "FULL"})
    assert asked.status_code == 202
    address = f"operations/{asked.data['operations'][0]['id']}/"
    mirrored.send()
    seen = [oscar.get(address).data]
    for _ in range(60):
        mirrored.run(steps=1)
        seen.append(oscar.get(address).data)
        if seen[-1]["finished_at"]:
            break
    end = seen[-1]
    assert (end["state"], end["error"], end["progress"]) == ("succeeded", None, 100.0)
    order = ["requested", "submitted", "running", "succeeded"]
    places = [order.index(one["state"]) for one in seen]
    assert places == sorted(places)
    bars = [one["progress"] or 0.0 for one in seen]
    assert bars == sorted(bars)
    assert [task["type"] for task in end["tasks"]] == ["EXPORT", "STORE"]
    points = {point["guid"]: point for point in oscar.all("virtual-machines/vm-alpha-web/restore-points/")}
    new = end["result"]["restore_point"]
    assert set(points) - before == {new}
    assert points[new]["origin"]["operation"] == end["id"]
    assert points[new]["type_asked"] == "FULL"
    tasks = oscar.all("tasks/", backup=new)
    assert {task["operation"] for task in tasks} == {end["id"]}
    assert {task["type"] for task in tasks} == {"EXPORT", "STORE"}
    assert oscar.get("virtual-machines/vm-alpha-web/").data["allowed_actions"] == ["back_up", "restore"]


def test_what_is_read_causes_no_call_to_vplus(cast: Cast, mirrored: Bridge) -> None:
    alice, paula = Script(cast.alice.token()), Script(cast.paula.token())
    before = mirrored.simulator.control.counters()
    for path in ("virtual-machines/", "virtual-machines/vm-alpha-web/", "virtual-machines/vm-alpha-web/backups/",
                 "operations/", "tasks/", "backup-destinations/", "me/"):  # fmt: skip
        assert alice.get(path).status_code == 200
    for path in ("operator/virtual-machines/", "operator/tenants/", "operator/status/"):
        assert paula.get(path).status_code == 200
    assert mirrored.simulator.control.counters() == before
    assert paula.get("operator/status/").data["contact"]["ok"] is True

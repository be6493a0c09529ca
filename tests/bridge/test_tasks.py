"""Reading tasks: what is asked, what is written, and that nothing runs backwards."""

from collections import Counter
from typing import Any

import pytest
from django.db import connection

from tenants.scope import every_tenant, in_tenant
from tests.bridge.conftest import Teller
from tests.bridge.scenes import WEB, ask, export, history_read, machine, task_record, task_row, tasks, vm_row
from tests.client.scripted_server import answer
from tests.conftest import Bridge, Cast, StartSimulator
from vplus_bridge.client import BadAnswer, Unavailable
from vplus_bridge.mirror import tasks as reading
from vplus_bridge.mirror.models import Task
from vplus_bridge.mirror.read_state import TASKS, TASKS_FULL, state_of
from vplus_bridge.ownership.assignment import attribute_tasks


def poll(client: Any) -> reading.TasksRead:
    return reading.poll_tasks(client, attribute_tasks)


def read_all(client: Any) -> reading.TasksRead:
    return reading.read_all_tasks(client, attribute_tasks)


def asked(simulator: Any) -> dict[str, int]:
    calls = simulator.control.counters().calls
    return {name: count for name, count in calls.items() if name.startswith("GET /tasks")}


def test_a_poll_costs_two_listings_and_one_question_for_each_task_that_ended(mirrored: Bridge) -> None:
    export(mirrored.simulator, WEB, "vm-alpha-db", "vm-beta-web")
    poll(mirrored.client)
    assert {task.state for task in tasks().values()} == {"QUEUED"}
    mirrored.simulator.control.step(5)
    mirrored.simulator.control.clear_counters()
    poll(mirrored.client)
    assert asked(mirrored.simulator) == {"GET /tasks": 2}
    assert {task.state for task in tasks().values()} == {"RUNNING"}
    mirrored.simulator.control.step(30)
    mirrored.simulator.control.clear_counters()
    read = poll(mirrored.client)
    assert asked(mirrored.simulator) == {"GET /tasks": 2, "GET /tasks/{guid}": 3}
    assert read.ended_vms == {WEB, "vm-alpha-db", "vm-beta-web"}
    assert {task.state for task in tasks().values() if task.type == "EXPORT"} == {"FINISHED"}
    assert machine().history_wanted_at is not None
    mirrored.simulator.control.clear_counters()
    poll(mirrored.client)
    assert asked(mirrored.simulator) == {"GET /tasks": 2}, "what has ended is not asked for again"


def test_two_hundred_active_tasks_cost_no_more(database: None, start_simulator: StartSimulator) -> None:
    """By the server's own counters: two listings in each cycle, and one question for each task that ended."""
    bridge = Bridge(start_simulator(seed="scale", export_threads=40, store_threads=40))
    control = bridge.simulator.control
    export(bridge.simulator, *(f"vm-{number}" for number in range(1, 201)))
    for states, ended in (({"QUEUED": 200}, 0), ({"QUEUED": 160, "RUNNING": 40}, 0), ({}, 40), ({}, 0)):
        control.clear_counters()
        bridge.poll()
        assert asked(bridge.simulator) == {"GET /tasks": 2, **({"GET /tasks/{guid}": ended} if ended else {})}
        assert states in ({}, Counter(task.state for task in tasks().values()))
        control.step(5 if states == {"QUEUED": 200} else 30 if states else 0)
    assert Counter(task.state for task in tasks().values())["FINISHED"] == 40
    assert sum(task.live for task in tasks().values()) >= 160


def test_more_than_fifty_that_left_are_read_by_the_whole_list(database: None, vplus: Teller) -> None:
    for number in range(51):
        task_row(f"t-{number}", state="RUNNING")
    # A server that honours the filter: nothing is live; the whole list has all but one of them.
    everything = [task_record(f"t-{number}", "FINISHED") for number in range(50)]
    seen: list[Any] = []

    def behave(line: Any, what: Any) -> bool:
        seen.append(dict(what.query).get("state"))
        return answer([] if seen[-1] else everything)(line, what)

    vplus.server.on("GET /tasks", behave)
    read = poll(vplus.client)
    assert seen == ["QUEUED", "RUNNING", None]
    assert read.asked == 1, "only the one that no list has is asked for"
    known = tasks()
    assert [guid for guid, task in known.items() if task.vanished_at] == ["t-50"]
    assert all(not task.live for task in known.values())


def test_exactly_fifty_are_asked_one_by_one(database: None, vplus: Teller) -> None:
    for number in range(50):
        task_row(f"t-{number}", state="RUNNING")
    vplus.tasks()
    assert poll(vplus.client).asked == 50
    assert vplus.asked("GET /tasks") == 2


def test_a_server_that_ignores_the_state_is_noticed_and_read_once(cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(state_filter="ignored"))
    export(bridge.simulator, WEB)
    poll(bridge.client)
    bridge.simulator.control.step(40)
    bridge.simulator.control.clear_counters()
    read = poll(bridge.client)
    assert asked(bridge.simulator) == {"GET /tasks": 1}, "the first list has held everything"
    assert read.filter_ignored
    known = {task.type: task.state for task in tasks().values()}
    assert known["EXPORT"] == "FINISHED"
    assert state_of(TASKS).counts["filter_ignored"] is True


def test_an_ignored_filter_never_leads_to_more_than_fifty_questions(database: None, vplus: Teller) -> None:
    for number in range(80):
        task_row(f"t-{number}", state="RUNNING")
    vplus.tasks(task_record("old", "FINISHED"))
    assert poll(vplus.client).asked == 50
    assert poll(vplus.client).asked == 30, "the others have their turn"


def test_a_task_that_vplus_forgot_has_vanished_and_what_we_knew_stays(database: None, vplus: Teller) -> None:
    vm_row()
    vplus.tasks(task_record("t-1", "RUNNING", progress=40))
    poll(vplus.client)
    vplus.raw("GET /tasks", b"[]")
    vplus.task("t-1", {"message": "no such task"}, 404)
    read = poll(vplus.client)
    gone = tasks()["t-1"]
    assert read.ended_vms == {WEB}
    assert gone.vanished_at is not None
    assert (gone.state, gone.progress, gone.virtual_machine_guid, gone.live) == ("RUNNING", 40, WEB, False)
    assert machine().history_wanted_at is not None, "its backup record tells what became of it"


def test_a_vanished_task_that_is_listed_again_lives_again(database: None, vplus: Teller) -> None:
    """A 404 by mistake must not bury a task whose record has not changed since."""
    vplus.tasks(task_record("t-1", "RUNNING"))
    poll(vplus.client)
    vplus.raw("GET /tasks", b"[]")
    vplus.task("t-1", {"message": "no"}, 404)
    poll(vplus.client)
    assert not tasks()["t-1"].live
    vplus.tasks(task_record("t-1", "RUNNING"))
    poll(vplus.client)
    alive = tasks()["t-1"]
    assert (alive.live, alive.vanished_at, alive.ended_seen_at) == (True, None, None)


def test_a_web_page_instead_of_a_task_buries_nothing_and_stops_nothing(database: None, vplus: Teller) -> None:
    for guid in ("t-1", "t-2"):
        task_row(guid, state="RUNNING")
    vplus.raw("GET /tasks", b"[]")
    vplus.task("t-1", b"<html>404</html>", 404, content_type="text/html")
    vplus.task("t-2", task_record("t-2", "FINISHED"))
    poll(vplus.client)
    assert tasks()["t-1"].live
    assert tasks()["t-2"].state == "FINISHED"
    read_all(vplus.client)
    assert tasks()["t-1"].vanished_at is not None, "the whole list of all tasks does not have it either"


def test_one_task_that_cannot_be_read_does_not_stop_the_others(database: None, vplus: Teller) -> None:
    for guid in ("t-1", "t-2", "t-3", "t-4"):
        task_row(guid, state="RUNNING")
    vplus.raw("GET /tasks", b"[]")
    vplus.task("t-1", {"guid": "t-1"})
    vplus.task("t-2", {"message": "no"}, 500)
    vplus.task("t-3", {"message": "no"}, 403)
    vplus.task("t-4", task_record("t-4", "FINISHED"))
    poll(vplus.client)
    known = tasks()
    assert known["t-4"].state == "FINISHED"
    assert all(known[guid].live for guid in ("t-1", "t-2", "t-3"))
    assert state_of(TASKS).failing_since is None


def test_a_vplus_that_fails_again_and_again_is_left_alone(database: None, vplus: Teller) -> None:
    for number in range(20):
        task_row(f"t-{number}", state="RUNNING")
        vplus.task(f"t-{number}", {"message": "no"}, 503)
    vplus.raw("GET /tasks", b"[]")
    assert poll(vplus.client).asked == 3


def test_contact_lost_half_way_keeps_what_had_come(cast: Cast, vplus: Teller) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    first = [task_record(f"t-{number:03}", "QUEUED") for number in range(500)]
    answers = iter((True, False))

    def behave(line: Any, what: Any) -> bool:
        if next(answers):
            return answer(first, headers=[("X-Total-Count", "501")])(line, what)
        return answer(b"<html>", 200, content_type="text/html")(line, what)

    vplus.server.on("GET /tasks", behave)
    with pytest.raises(BadAnswer):
        poll(vplus.client)
    with in_tenant(cast.alpha.pk):
        assert Task.objects.count() == 500, "they have their owner although the reading broke off"


def test_an_outage_is_written_down_and_nothing_else_is(database: None, vplus: Teller) -> None:
    task_row("t-1", state="RUNNING")
    vplus.raw("GET /tasks", b"", status=503)
    with pytest.raises(Unavailable):
        poll(vplus.client)
    assert tasks()["t-1"].live
    assert state_of(TASKS).problem == "unreachable"


@pytest.mark.parametrize(
    ("before", "told", "kept"),
    [
        ("RUNNING", "QUEUED", "RUNNING"),
        ("FINISHED", "RUNNING", "FINISHED"),
        ("FAILED", "FINISHED", "FAILED"),
        ("CANCELLED", "FAILED", "CANCELLED"),
        ("QUEUED", "FAILED", "FAILED"),
        ("QUEUED", "FINISHED", "FINISHED"),
        ("RUNNING", "PAUSED", "PAUSED"),
        ("PAUSED", "RUNNING", "RUNNING"),
        ("PAUSED", "QUEUED", "PAUSED"),
    ],
)
def test_states_only_go_forward(before: str, told: str, kept: str, database: None, vplus: Teller) -> None:
    vplus.tasks(task_record("t-1", before))
    read_all(vplus.client)
    vplus.tasks(task_record("t-1", told))
    read_all(vplus.client)
    assert tasks()["t-1"].state == kept


def test_progress_only_grows(database: None, vplus: Teller) -> None:
    shown = []
    for progress in (10, 60.5, 30, None, 250):
        told = {} if progress is None else {"progress": progress}
        vplus.tasks(task_record("t-1", "RUNNING", **told))
        read_all(vplus.client)
        shown.append(tasks()["t-1"].progress)
    assert shown == [10, 60.5, 60.5, 60.5, 100]


def test_an_unchanged_task_is_not_written_again(database: None, vplus: Teller) -> None:
    vplus.tasks(task_record("t-1", "RUNNING", progress=5), task_record("t-2", "FINISHED"))

    def versions() -> list[Any]:
        with every_tenant("test"), connection.cursor() as cursor:
            cursor.execute("SELECT guid, xmin::text FROM vplus_bridge_task ORDER BY guid")
            return list(cursor.fetchall())

    read_all(vplus.client)
    before = versions()
    assert read_all(vplus.client).changed == set()
    poll(vplus.client)
    assert versions() == before


def test_a_task_whose_machine_was_deleted_keeps_what_we_knew(cast: Cast, vplus: Teller) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    full = task_record(
        "t-1", "RUNNING", backup={"guid": "b-1"}, parentTask={"guid": "p-1"}, windowStart=1_795_000_000_000
    )
    vplus.tasks(full)
    read_all(vplus.client)
    vplus.tasks(task_record("t-1", "FAILED", vm=None, statusInfo="deleted"))
    read_all(vplus.client)
    kept = tasks()["t-1"]
    assert (kept.state, kept.virtual_machine_guid, kept.tenant_id) == ("FAILED", WEB, cast.alpha.pk)
    assert (kept.backup_guid, kept.parent_guid) == ("b-1", "p-1")
    assert kept.window_start is not None


def test_a_task_without_a_machine_belongs_to_nobody(cast: Cast, vplus: Teller) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    vplus.tasks(task_record("t-1", "RUNNING", vm=None), task_record("t-2", "RUNNING"))
    poll(vplus.client)
    assert {guid: task.tenant_id for guid, task in tasks().items()} == {"t-1": None, "t-2": cast.alpha.pk}


def test_a_task_seen_before_its_machine_gets_its_owner_with_it(cast: Cast, vplus: Teller) -> None:
    from vplus_bridge.ownership.assignment import assign

    vplus.tasks(task_record("t-1", "RUNNING"))
    poll(vplus.client)
    assert tasks()["t-1"].tenant_id is None
    vm_row()
    with every_tenant("test"):
        assign(tenant_id=cast.beta.pk, vm_guids=[WEB], by="Paula")
    assert tasks()["t-1"].tenant_id == cast.beta.pk


def test_a_machines_own_reading_takes_only_its_tasks(database: None, vplus: Teller) -> None:
    vplus.tasks(task_record("mine"), task_record("other", vm="vm-beta-web"), task_record("nobodys", vm=None))
    read = reading.read_tasks_of(vplus.client, WEB, attribute_tasks)
    assert read.complete
    assert set(tasks()) == {"mine"}


def test_the_full_reading_catches_what_came_and_went_in_between(mirrored: Bridge) -> None:
    poll(mirrored.client)
    export(mirrored.simulator, WEB)
    mirrored.simulator.control.step(120)
    poll(mirrored.client)
    assert tasks() == {}
    read = read_all(mirrored.client)
    assert {(task.type, task.state) for task in tasks().values()} == {("EXPORT", "FINISHED"), ("STORE", "FINISHED")}
    assert read.ended_vms == {WEB}
    assert state_of(TASKS_FULL).succeeded_at is not None


def test_an_ended_task_asks_for_the_history_again_also_while_an_older_wish_stands(
    database: None, vplus: Teller
) -> None:
    """Crash point: the older wish is fulfilled by a reading that began before this task ended."""
    vm_row()
    vplus.tasks(task_record("t-1", "FINISHED"))
    read_all(vplus.client)
    first = machine().history_wanted_at
    history_read()
    vplus.tasks(task_record("t-1", "FINISHED"), task_record("t-2", "FAILED"))
    read_all(vplus.client)
    assert first is not None
    assert machine().history_wanted_at > first


@pytest.mark.parametrize("odd", [{"state": "RUNNING", "type": "EXPORT"}, {"progress": "66.5"}, {"priority": 900}])
def test_odd_members_are_taken_as_far_as_they_go(odd: dict[str, Any], database: None, vplus: Teller) -> None:
    vplus.tasks({**task_record("t-1", "RUNNING"), **odd})
    poll(vplus.client)
    assert tasks()["t-1"].state == "RUNNING"


def test_tasks_of_operations_are_marked_whichever_is_known_first_and_others_are_not(
    cast: Cast, mirrored: Bridge
) -> None:
    ask(cast.oscar, WEB)
    mirrored.send()  # the answer names the export, which no reading has seen
    export(mirrored.simulator, "vm-alpha-db")
    mirrored.run(steps=30)
    known = tasks().values()
    assert {(task.virtual_machine_guid, task.type, task.of_operation) for task in known} == {
        (WEB, "EXPORT", True),
        (WEB, "STORE", True),
        ("vm-alpha-db", "EXPORT", False),
        ("vm-alpha-db", "STORE", False),
    }


def test_a_task_that_an_answer_named_and_that_is_anothers_goes_to_its_owner(cast: Cast, vplus: Teller) -> None:
    """Until a reading tells whose machine it is about, it is taken for the one that was asked for; not longer."""
    vm_row(WEB, tenant=cast.alpha)
    vm_row("vm-beta-web", tenant=cast.beta)
    for guid in ("t-ours", "t-theirs"):
        with in_tenant(cast.alpha.pk):
            reading.expect(guid, type="EXPORT", machine=WEB, tenant_id=cast.alpha.pk)
    vplus.tasks(task_record("t-ours", "RUNNING"), task_record("t-theirs", "RUNNING", vm="vm-beta-web"))
    poll(vplus.client)
    assert {guid: row.tenant_id for guid, row in tasks().items()} == {
        "t-ours": cast.alpha.pk,
        "t-theirs": cast.beta.pk,
    }

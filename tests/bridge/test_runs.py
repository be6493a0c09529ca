"""Runs of schedules and of vPlus, from beginning to end against the simulated vPlus: one each, and done on evidence alone."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants.scope import every_tenant, in_tenant
from tests.bridge.scenes import WEB, ask, backups, export, operation, restore_in_vplus, task_row, tasks, vm_row
from tests.conftest import Bridge, Cast, Member
from vplus_bridge.operations import run_follow, visible
from vplus_bridge.operations.cancel import request_task_cancel
from vplus_bridge.operations.runs import Run
from vplus_bridge.operations.transitions import link
from vplus_simulator.world import Outcome

DB = "vm-alpha-db"
RICHNESS = ["poorest", "plain", "generous"]


def runs(member: Member, machine: str = WEB) -> list[Run]:
    """The runs of a machine as a member sees them, newest first."""
    actor = member.actor
    with in_tenant(actor.tenant_id):
        heads = visible.run_heads(actor).filter(virtual_machine_guid=machine).order_by("-shown_at", "guid")
        return visible.runs_with_tasks(actor, list(heads))


@dataclass
class Watched:
    """What the only run of a machine was seen to be at each poll."""

    states: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    percents: list[float] = field(default_factory=list)
    heads: set[str] = field(default_factory=set)


def watch(member: Member, bridge: Bridge, *, steps: int = 60) -> Watched:
    """Let vPlus work until the only run of the machine has ended, and tell what it was on the way."""
    seen = Watched()
    for _ in range(steps):
        bridge.run(steps=1, seconds=5)
        [run] = runs(member)
        now = run.progress
        seen.heads.add(run.head.guid)
        seen.states += [now.state] if seen.states[-1:] != [now.state] else []
        stage = f"{now.task_type} {int(now.second) + 1}"
        seen.stages += [stage] if seen.stages[-1:] != [stage] else []
        seen.percents += [now.percent] if now.percent is not None else []
        if run.head.run_ended:
            break
    return seen


@pytest.mark.parametrize("richness", RICHNESS)
def test_a_backup_is_one_run_from_queued_over_both_stages_to_its_record(
    richness: str, cast: Cast, mirrored: Bridge
) -> None:
    mirrored.simulator.control.change(richness=richness)
    before = set(backups())
    export(mirrored.simulator, WEB)
    mirrored.poll()
    [first] = runs(cast.vera)
    assert first.progress.state == "queued"
    seen = watch(cast.vera, mirrored)
    assert seen.states in (["queued", "running", "done"], ["running", "done"])
    assert seen.heads == {first.head.guid}
    assert [one for one in seen.stages if one in {"EXPORT 1", "STORE 2"}] == ["EXPORT 1", "STORE 2"]
    assert seen.percents == sorted(seen.percents)
    [record] = set(backups()) - before
    [run] = runs(cast.vera)
    assert run.head.run_backup_guid == record
    assert [task.type for task in run.tasks] == ["EXPORT", "STORE"]
    with in_tenant(cast.alpha.pk):
        of_record = visible.tasks_of_backup(cast.vera.actor, record)
        assert {task.type for task in of_record} == {"EXPORT", "STORE"}, "also where no task names it"


@pytest.mark.parametrize("richness", RICHNESS)
def test_a_finished_export_is_not_done(richness: str, cast: Cast, mirrored: Bridge) -> None:
    mirrored.simulator.control.change(richness=richness)
    mirrored.simulator.control.next_outcome(Outcome(type="STORE", outcome="hold", progress=50.0))
    export(mirrored.simulator, WEB)
    mirrored.run(steps=12, seconds=8)
    [run] = runs(cast.vera)
    assert {task.state for task in run.firsts} == {"FINISHED"}
    assert (run.progress.state, run.head.run_ended, run.progress.second) == ("running", False, True)


@pytest.mark.parametrize("richness", RICHNESS)
@pytest.mark.parametrize(("kind", "second"), [("EXPORT", False), ("STORE", True)])
def test_it_has_failed_when_either_stage_has(
    kind: str, second: bool, richness: str, cast: Cast, mirrored: Bridge
) -> None:
    mirrored.simulator.control.change(richness=richness)
    mirrored.simulator.control.next_outcome(Outcome(type=kind, outcome="fail", reason="host-7 is away"))
    export(mirrored.simulator, WEB)
    assert watch(cast.vera, mirrored).states[-1] == "failed"
    [run] = runs(cast.vera)
    assert (run.last.type, run.progress.second) == (kind, second)


@pytest.mark.parametrize("kind", ["EXPORT", "STORE"])
def test_the_next_try_of_what_failed_is_part_of_the_same_run(kind: str, cast: Cast, mirrored: Bridge) -> None:
    mirrored.simulator.control.change(richness="generous", auto_retry=1)
    mirrored.simulator.control.next_outcome(Outcome(type=kind, outcome="fail", reason="host-7 is away"))
    export(mirrored.simulator, WEB)
    seen = watch(cast.vera, mirrored)
    assert seen.states[-1] == "done"
    assert seen.percents == sorted(seen.percents)
    [run] = runs(cast.vera)
    assert len(run.tasks) == 3
    assert sorted(task.state for task in run.tasks) == ["FAILED", "FINISHED", "FINISHED"]


def test_what_came_and_went_between_two_polls_is_one_run_all_the_same(cast: Cast, mirrored: Bridge) -> None:
    mirrored.simulator.control.change(richness="generous")
    export(mirrored.simulator, WEB)
    mirrored.simulator.control.step(200)
    mirrored.poll(full=True)
    [run] = runs(cast.vera)
    assert ([task.type for task in run.tasks], run.progress.state) == (["EXPORT", "STORE"], "done")


@pytest.mark.parametrize("richness", RICHNESS)
def test_a_restore_that_somebody_started_in_vplus_is_one_run_and_done_when_the_machine_is_made(
    richness: str, cast: Cast, mirrored: Bridge
) -> None:
    mirrored.simulator.control.change(richness=richness)
    restore_in_vplus(mirrored.simulator)
    seen = watch(cast.vera, mirrored)
    assert seen.states[-2:] == ["running", "done"]
    assert [one for one in seen.stages if one in {"RESTORE 1", "IMPORT 2"}] == ["RESTORE 1", "IMPORT 2"]
    [run] = runs(cast.vera)
    assert [task.type for task in run.tasks] == ["RESTORE", "IMPORT"]


@pytest.mark.parametrize("richness", RICHNESS)
def test_beside_an_operation_on_the_same_machine_neither_takes_what_is_the_others(
    richness: str, cast: Cast, mirrored: Bridge
) -> None:
    mirrored.simulator.control.change(richness=richness)
    asked = ask(cast.oscar, WEB)
    mirrored.send()
    mirrored.run(steps=2)
    export(mirrored.simulator, WEB)
    mirrored.run(steps=16, seconds=8)
    assert operation(asked).state != "failed"
    shown = {task.guid for run in runs(cast.oscar) for task in run.tasks}
    known = tasks()
    assert not {guid for guid in shown if known[guid].of_operation}
    if richness == "generous":
        [run] = runs(cast.oscar)
        assert run.progress.state == "done"
        assert len(shown) == 2


def test_a_task_that_turns_out_to_be_of_an_operation_sets_free_what_was_taken_to_go_on_with_it(
    cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar, WEB)
    with every_tenant("test"):
        attempt = asked.operations[0].steps.get().attempts.get()
    facts = {"tenant_id": cast.alpha.pk}
    task_row("e", "EXPORT", "FINISHED", **facts)
    task_row("s", "STORE", "RUNNING", run_guid="e", **facts)
    [run] = runs(cast.oscar)
    assert [task.guid for task in run.tasks] == ["e", "s"]
    with every_tenant("test"):
        link(attempt, "e", "export", "settled")
    [run] = runs(cast.oscar)
    assert run.head.guid == "s"


def test_one_that_is_removed_while_it_waits_is_cancelled_when_that_was_asked_for(cast: Cast, mirrored: Bridge) -> None:
    export(mirrored.simulator, WEB)
    mirrored.poll()
    [run] = runs(cast.oscar)
    with in_tenant(cast.alpha.pk):
        request_task_cancel(cast.oscar.actor, run.head.guid, now=timezone.now())
    mirrored.send()
    assert watch(cast.oscar, mirrored).states[-1] == "cancelled"


def test_what_vplus_keeps_house_with_ends_as_its_task_says(cast: Cast, mirrored: Bridge) -> None:
    task_row("t-clean", "OLD_BACKUPS_REMOVAL", "FINISHED", tenant_id=cast.alpha.pk)
    task_row("t-odd", "INDEX", "ON_THE_MOON", tenant_id=cast.alpha.pk, vanished_at=timezone.now())
    mirrored.poll()
    assert {run.head.guid: run.progress.state for run in runs(cast.vera)} == {
        "t-clean": "finished",
        "t-odd": "unknown",
    }


def test_an_export_that_is_never_followed_by_anything_ends_as_not_known(
    cast: Cast, mirrored: Bridge, settings: Any
) -> None:
    settings.VPLUS_SEND_TOTAL_SECONDS = settings.VPLUS_SETTLE_ABSENT_SECONDS = 0.1
    task_row("e", "EXPORT", "FINISHED", tenant_id=cast.alpha.pk, ended_seen_at=timezone.now())
    mirrored.poll()
    assert watch(cast.vera, mirrored).states[-1] == "unknown"


def test_another_tenants_tasks_are_never_part_of_a_run(cast: Cast, mirrored: Bridge) -> None:
    """The machine was moved between its EXPORT and its STORE."""
    task_row("e", "EXPORT", "FINISHED", tenant_id=cast.alpha.pk)
    task_row("s", "STORE", "RUNNING", tenant_id=cast.beta.pk, parent_guid="e")
    with every_tenant("test"):
        run_follow.follow(timezone.now(), ())
    assert [[task.guid for task in run.tasks] for run in runs(cast.alice)] == [["e"]]
    assert [[task.guid for task in run.tasks] for run in runs(cast.mallory)] == [["s"]]


def test_the_number_of_statements_does_not_grow_with_the_runs(cast: Cast, database: None) -> None:
    counts = []
    for number in (3, 30):
        for n in range(number):
            machine = f"vm-{number}-{n}"
            vm_row(machine, tenant_id=cast.alpha.pk)
            facts: dict[str, Any] = {"virtual_machine_guid": machine, "tenant_id": cast.alpha.pk}
            task_row(f"e-{number}-{n}", "EXPORT", "FINISHED", **facts)
            task_row(f"s-{number}-{n}", "STORE", "RUNNING", **facts, parent_guid=f"e-{number}-{n}")
        with every_tenant("test"), CaptureQueriesContext(connection) as asked:
            run_follow.follow(timezone.now(), ())
        counts.append(len(asked))
    assert counts[0] == counts[1]

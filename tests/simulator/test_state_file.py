"""The world in a file: what was running when the process went away has ended when it comes back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from vplus_simulator.clock import START_OF_STEPPED_TIME, RunningClock, SteppedClock, wall_ms
from vplus_simulator.state_file import StateFile, UnreadableState
from vplus_simulator.world import World

from .conftest import Start


def test_a_restart_goes_on_where_the_world_stood(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "state" / "world.json"
    first = start(state_file=file)
    first.export("vm-lab", "vm-alpha-web", "vm-beta-web")
    first.server.control.step(34)
    tasks, backups, vms = first.read("/tasks"), first.read("/backups"), first.read("/virtual-machines")
    journal = first.server.control.journal()
    first.server.stop()

    second = start(state_file=file, seed="empty")
    assert second.read("/tasks") == tasks
    assert second.read("/backups") == backups
    assert second.read("/virtual-machines") == vms
    assert second.server.control.journal() == journal
    second.server.control.step(30)
    assert {row["state"]["name"] for row in second.read("/tasks")} == {"FINISHED"}
    assert len(second.read("/tasks")) == 6
    guids = [row["guid"] for row in second.read("/tasks")] + [second.export("vm-lab").json()[0]["guid"]]
    assert len(set(guids)) == 7


@pytest.mark.parametrize("moment", [0, 1, 2, 20, 31, 32, 33, 34, 40])
def test_nothing_is_lost_whenever_it_stops(start: Start, tmp_path: Path, moment: float) -> None:
    file = tmp_path / "world.json"
    first = start(state_file=file)
    first.export("vm-lab")
    first.server.control.step(moment)
    first.server.stop()
    second = start(state_file=file)
    second.server.control.step(60 - moment)
    uninterrupted = start()
    uninterrupted.export("vm-lab")
    uninterrupted.server.control.step(60)
    assert second.read("/tasks") == uninterrupted.read("/tasks")
    assert second.read("/backups") == uninterrupted.read("/backups")


def test_a_cancelled_task_frees_its_thread_after_a_restart_too(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    first = start(state_file=file, export_threads=1)
    [task] = first.export("vm-lab").json()
    first.export("vm-beta-web")
    first.server.control.step(5)
    first.delete(f"/tasks/{task['guid']}")
    first.server.stop()
    second = start(state_file=file, export_threads=1)
    second.server.control.step(5)
    assert second.tasks() == [("EXPORT", "CANCELLED"), ("EXPORT", "QUEUED")]
    second.server.control.step(1)
    assert second.tasks() == [("EXPORT", "CANCELLED"), ("EXPORT", "RUNNING")]
    assert second.newest_backup("vm-lab")["status"]["name"] == "FAILED"


def test_time_that_passed_while_down_has_passed(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    first = start(state_file=file, stepped=False)
    first.export("vm-lab")
    first.server.stop()
    saved = json.loads(file.read_bytes())
    hour = 3_600_000
    for holder, names in (
        (saved, ("simulated", "wall")),
        *((task, ("created", "window_start")) for task in saved["world"]["tasks"]),
    ):
        for name in names:
            holder[name] -= hour
    file.write_text(json.dumps(saved))
    second = start(state_file=file, stepped=False)
    assert second.tasks() == [("EXPORT", "FINISHED"), ("STORE", "FINISHED")]
    assert second.newest_backup("vm-lab")["backupTime"] < wall_ms() - hour // 2


def test_a_running_server_saves_now_and_then(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    vplus = start(state_file=file, save_seconds=0.2)
    vplus.export("vm-lab")
    deadline = time.monotonic() + 10
    while not (file.exists() and json.loads(file.read_bytes())["world"]["tasks"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(tmp_path.glob("*.new"))


def test_an_unchanged_world_is_not_written_again(tmp_path: Path) -> None:
    world, clock, state = World(), SteppedClock(), StateFile(tmp_path / "world.json")
    assert state.save(world, clock)
    assert not state.save(world, clock)
    world.changed()
    assert state.save(world, clock)


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 1}', b'{"version":9,"simulated":1,"wall":1,"world":{}}'])
def test_a_damaged_file_is_reported_and_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "world.json"
    file.write_bytes(content)
    with pytest.raises(UnreadableState, match=r"world\.json"):
        StateFile(file).load(World(), SteppedClock())
    assert file.read_bytes() == content


def test_clocks() -> None:
    stepped = SteppedClock()
    stepped.step(5)
    assert stepped.now() == START_OF_STEPPED_TIME + 5
    with pytest.raises(ValueError, match="backwards"):
        stepped.step(-1)
    with pytest.raises(ValueError, match="above 0"):
        RunningClock(speed=0)
    shifted = RunningClock(offset_ms=-3_600_000)
    assert abs(shifted.now() - (wall_ms() - 3_600_000)) < 60_000
    fast = RunningClock(speed=1000)
    fast.resume(1_000_000, wall_ms() - 10_000)
    assert 11_000_000 <= fast.now() < 100_000_000

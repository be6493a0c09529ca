"""The process supervisor, the log watch and the command line, with small programs in the portal's place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.folder import CLONE
from local_stack.log_watch import MOST_LINES, LogWatch
from local_stack.processes import Program, Supervisor, portal_programs
from local_stack.signals import StopAsked, stop_on_signals
from tests.stack.test_stack_servers import is_alive, wait_until

TELLS = """
import os, pathlib, signal, sys, time
diary = pathlib.Path(sys.argv[1])
def write(word):
    with diary.open("a") as file:
        file.write(f"{word} {sys.argv[2]} {os.getpid()}\\n")
def end(*_):
    time.sleep(float(sys.argv[3]))
    write("ended")
    sys.exit()
signal.signal(signal.SIGTERM, end)
write("began")
print("secret in environment:", os.environ.get("SECRET_KEY"), os.environ["PORTAL_PROCESS"], flush=True)
while True:
    time.sleep(0.1)
"""


def program(folder: Path, name: str, priority: int, *, takes: float = 0) -> Program:
    script = folder / "a script's 100%.py"
    script.write_text(TELLS)
    command = [sys.executable, str(script), str(folder / "diary"), name, str(takes)]
    return Program(name, command, priority, "worker")


def diary_lines(folder: Path) -> list[str]:
    return (folder / "diary").read_text().splitlines() if (folder / "diary").exists() else []


def pids(folder: Path) -> list[int]:
    return [int(line.split()[-1]) for line in diary_lines(folder) if line.startswith("began")]


@pytest.fixture
def supervisor(folder: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(folder, [program(folder, "vplus", 5), program(folder, "beat", 20, takes=0.5)])
    supervisor.start({"PATH": os.environ["PATH"], "SECRET_KEY": "50%off"})
    wait_until(lambda: len(diary_lines(folder)) == 2)
    yield supervisor
    supervisor.stop()


def test_programs_stop_in_reverse_order_each_after_the_one_before_has_ended(
    folder: Path, supervisor: Supervisor
) -> None:
    running = pids(folder)
    supervisor.stop()
    ended = [line.split()[1] for line in diary_lines(folder) if line.startswith("ended")]
    assert ended == ["beat", "vplus"]
    assert not any(is_alive(process_id) for process_id in running)


def test_a_program_that_dies_is_started_again(folder: Path, supervisor: Supervisor) -> None:
    os.kill(pids(folder)[0], signal.SIGKILL)
    wait_until(lambda: len(pids(folder)) == 3)
    supervisor.check()


def test_programs_end_when_supervisord_is_killed(folder: Path, supervisor: Supervisor) -> None:
    running = pids(folder)
    assert supervisor.process_id
    os.kill(supervisor.process_id, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(process_id) for process_id in running))
    with pytest.raises(Exception, match="supervisord stopped"):
        supervisor.check()


def test_secrets_reach_programs_by_the_environment_and_stand_in_no_file(folder: Path, supervisor: Supervisor) -> None:
    log = supervisor.logs / "beat.log"
    wait_until(lambda: log.exists() and "worker" in log.read_text())
    assert "secret in environment: 50%off worker" in log.read_text()
    assert "50%off" not in (folder / "supervisor.conf").read_text()


def test_each_queue_has_a_worker_and_the_web_server_listens_on_this_machine_only(folder: Path) -> None:
    programs = {each.name: each for each in portal_programs(8123, folder)}
    assert set(programs) == {"worker-poll", "worker-send", "beat", "web"}
    for queue in ("poll", "send"):
        command = programs[f"worker-{queue}"].command
        assert command[command.index("-Q") + 1] == queue
        assert command[command.index("-P") + 1] == "threads"
    web = programs["web"].command
    assert web[web.index("--host") + 1] == "127.0.0.1"
    assert web[web.index("--port") + 1] == "8123"


@pytest.mark.parametrize(
    "line",
    [
        "2027-01-01T00:00:00Z [warning  ] vplus_away [vplus_bridge]",
        '{"event": "x", "level": "error"}',
        "ERROR:    [Errno 98] address already in use",
        "2027-01-01 10:00:00,123 WARN exited: web (exit status 1; not expected)",
        "2027-01-01 10:00:00,123 ERROR vplus_simulator address already in use",
        "django.db.utils.OperationalError: connection failed",
    ],
)
def test_trouble_in_a_log_is_shown_with_the_programs_name(tmp_path: Path, line: str) -> None:
    (tmp_path / "web.log").write_text("old [error ] not shown again\n")
    watch = LogWatch(tmp_path)
    with (tmp_path / "web.log").open("a") as log:
        log.write(f"2027-01-01T00:00:00Z [info     ] no error here\n{line}\nERROR half a li")
    assert watch.new_lines() == [f"web: {line}"]
    assert watch.new_lines() == []
    with (tmp_path / "web.log").open("a") as log:
        log.write("ne\n")
    assert watch.new_lines() == ["web: ERROR half a line"]


def test_a_flood_is_counted_and_a_new_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text("INFO: x\n" * 1000)
    watch = LogWatch(tmp_path)
    (tmp_path / "web.log").write_text("ERROR: y\n" * (MOST_LINES + 5))
    lines = watch.new_lines()
    assert lines == ["web: ERROR: y"] * MOST_LINES + ["... and 5 more lines like these"]


def test_the_second_signal_does_not_disturb_the_end_that_the_first_began() -> None:
    ended = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            ended.append("in order")

    with stop_on_signals(), pytest.raises(StopAsked):
        work()
    assert ended == ["in order"]


def with_servers(*command: str) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "local_stack", "with-servers", *command],
        cwd=CLONE,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_command_gets_servers_of_its_own_and_its_exit_status_is_ours() -> None:
    script = "import os; print(os.environ['DATABASE_OWNER_URL'], os.environ['REDIS_URL']); raise SystemExit(7)"
    with with_servers(sys.executable, "-c", script) as running:
        assert running.stdout
        database = running.stdout.read().split()[0]
    assert running.returncode == 7
    assert database.startswith("postgresql://owner@/portal?host=")
    assert not Path(database.partition("host=")[2]).exists()


def test_a_command_that_is_stopped_leaves_nothing_behind() -> None:
    script = "import os, time; print(os.getpid(), os.environ['REDIS_URL'], flush=True); time.sleep(60)"
    with with_servers(sys.executable, "-c", script) as running:
        assert running.stdout
        process_id, address = running.stdout.readline().split()
        assert is_alive(int(process_id))
        running.terminate()
    assert running.returncode == 128 + signal.SIGTERM
    assert not is_alive(int(process_id))
    assert not Path(address.removeprefix("unix://").partition("?")[0]).parent.parent.exists()


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_refused_in_a_sentence(port: str) -> None:
    command = [sys.executable, "-m", "local_stack", "demo", "--port", port]
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{port} is not a port" in done.stderr


def test_run_without_a_vplus_names_the_variable() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VPLUS_")}
    command = [sys.executable, "-m", "local_stack", "run"]
    done = subprocess.run(command, cwd=CLONE, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("VPLUS_URL is not set.")

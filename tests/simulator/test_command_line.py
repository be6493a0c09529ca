"""The simulator as a process, and its list of calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

import vplus_simulator
from vplus_simulator.__main__ import main, options_from, parser
from vplus_simulator.coverage import coverage
from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions

PACKAGE = Path(vplus_simulator.__file__).parent


def test_the_list_of_calls_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert (PACKAGE / "COVERAGE.md").read_text(encoding="utf-8") == coverage()
    assert main(["--coverage"]) == 0
    assert capsys.readouterr().out == coverage()


def test_the_process_serves_and_ends_on_sigterm_with_its_state_saved(tmp_path: Path) -> None:
    state = tmp_path / "world.json"
    words = ["--port", "0", "--tls-dir", str(tmp_path), "--seed", "small", "--state", str(state), "--richness", "plain"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vplus_simulator", *words],
        cwd=PACKAGE.parent,
        env=os.environ | {"SIMULATOR_PASSWORD": "s"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        url = next(word.rstrip(",") for word in line.split() if word.startswith("https://"))
        with requests.Session() as http:
            http.trust_env = False
            http.verify = str(tmp_path / "ca.pem")
            assert (
                http.post(f"{url}/session/login", json={"login": "portal", "password": "s"}, timeout=10).status_code
                == 200
            )
            assert len(http.get(f"{url}/virtual-machines", timeout=10).json()) == 8
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        assert state.exists()
        assert oct((tmp_path / "server.pem").stat().st_mode)[-3:] == "600"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_flags_become_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIMULATOR_PASSWORD", "from the environment")
    words = f"--no-paging --tenant-filter current --task-response batch --speed 10 --tls-dir {tmp_path} --seed scale --vms 5"
    switches = ["--set", 'show=["task.progress"]', "--set", "export_threads=2", "--set", "cancel=missing"]
    options = options_from(parser().parse_args([*words.split(), *switches]))
    settings = options.settings
    assert (settings.paging, settings.tenant_filter, settings.task_response) == (False, "current", "batch")
    assert (settings.show, settings.export_threads, settings.cancel) == (["task.progress"], 2, "missing")
    assert (options.speed, options.password, options.seed.vms) == (10.0, "from the environment", 5)
    faults = ["--fault", '{"kind":"tls","path":"/tasks"}', "--fault-plan", '{"seed":7}', "--certificate", "vplus"]
    options = options_from(parser().parse_args(faults))
    assert [(fault.kind, fault.phase) for fault in options.faults] == [("tls", "answering")]
    assert options.fault_plan is not None
    assert (options.fault_plan.seed, options.certificate) == (7, "vplus")
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    assert options_from(parser().parse_args(["--password-file", str(secret)])).password == "from a file"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--paging", "--no-paging"], "exclude each other"),
        (["--set", "colour=red"], "colour"),
        (["--set", "richness"], "NAME=VALUE"),
        (["--set", "export_threads=many"], "export_threads"),
        (["--fault", '{"kind":"meteor"}'], "--fault: Invalid enum value"),
        (["--fault", '{"kind":"drip"}'], "drip needs"),
        (["--fault-plan", "["], "--fault-plan"),
        (["--password-file", "/nonexistent/secret"], "--password-file"),
    ],
)
def test_wrong_words_are_one_sentence(
    words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SIMULATOR_PASSWORD", "s")
    assert main(words) == 2
    assert sentence in caplog.text


def test_a_password_is_needed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("SIMULATOR_PASSWORD", raising=False)
    assert main([]) == 2
    assert "SIMULATOR_PASSWORD" in caplog.text


def test_time_passes_by_itself_on_a_fast_clock() -> None:
    with SimulatorServer(ServerOptions(speed=200)) as server:
        assert server.ca_path.exists()
        server.engine.exports.ask(server.world.vms["vm-lab"], backup_type="FULL", now=server.clock.now(), priority=50)
        deadline = time.monotonic() + 10
        while server.world.backups[server.world.backups_of["vm-lab"][-1]].status != "SUCCESS":
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert not server.ca_path.parent.exists()

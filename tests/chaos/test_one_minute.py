"""`make chaos` in its one-minute form: the whole way, with servers and processes of its own."""

import re
import subprocess
import sys

from tests.processes import ROOT


def test_a_minute_of_trouble_loses_doubles_and_misreports_nothing() -> None:
    command = [sys.executable, "-m", "chaos", "--minutes", "1", "--operations", "60", "--seed", "7", "--logs"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    words = done.stdout + done.stderr
    assert done.returncode == 0, words
    figures = {name: int(figure) for name, figure in re.findall(r"^([a-z ]+?)  +(\d+)", done.stdout, re.MULTILINE)}
    assert figures["asked"] >= 10, words
    assert figures["settled"] + figures["needs attention"] == figures["asked"]
    assert (figures["lost"], figures["doubled"], figures["misreported"]) == (0, 0, 0)
    assert re.search(r"\d+ x restore: 202", done.stdout), "restores are among them"
    for trouble in ("a sender killed", "Redis wiped", "PostgreSQL restarted"):
        assert trouble in done.stdout

"""Starting and stopping one long-running program, so that none outlives the launcher."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing should be


class RunsAs(TypedDict, total=False):
    """The user of a child, in the words of subprocess.Popen; empty: the user of this process."""

    user: int
    group: int
    extra_groups: list[int]


def start_child(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str],
    ends_by: signal.Signals,
    runs_as: RunsAs | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, with its output appended to ``log``; return its process.

    A session of its own, so that Ctrl-C reaches the launcher alone and everything ends in order. The kernel sends
    ``ends_by`` when the thread that called this ends, however it ends: call it in the main thread.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603  # fixed commands
            [str(word) for word in command],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_ends_with_launcher(ends_by),  # noqa: PLW1509  # the launcher has one thread
            **(runs_as or RunsAs()),
        )


def stop_child(process: subprocess.Popen[bytes], *signals: signal.Signals, patience: float) -> None:
    """Send the signals one by one, each with ``patience`` seconds to act, at last SIGKILL; return when it is gone.

    Without signals it waits as long for a process that was told by others.
    """
    for number in signals or (None,):
        if number is not None:
            process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def last_lines(log: Path, count: int = 15) -> str:
    """Return the last lines of a log, for the sentence that tells why a program did not start."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-count:])


def _ends_with_launcher(number: signal.Signals) -> Callable[[], None]:
    launcher = os.getpid()

    def in_the_child() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != launcher:  # it died before the line above
            os._exit(1)

    return in_the_child

"""The note that a stack runs: who holds the lock, and the environment that it gave to its processes."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from local_stack.folder import data_folder, is_ours
from local_stack.problem import StackProblem

LOCK = "lock"
NOTE = "running.json"


def adopt_running_stack(environ: MutableMapping[str, str], folder: Path | None = None) -> None:
    """Add what is missing in ``environ`` from the stack of this clone that runs now; without one, change nothing.

    Variables that are set stay as they are, also where they are set through ``NAME_FILE``. Called by manage.py only:
    a web process or a worker never picks up a database that nobody named to it.
    """
    for name, value in (running_environment(folder or data_folder()) or {}).items():
        plain = name.removesuffix("_FILE")
        if not environ.get(plain) and not environ.get(f"{plain}_FILE"):
            environ[name] = value


def running_environment(folder: Path) -> dict[str, str] | None:
    """Return the environment of the stack that runs in this data folder, or None where none runs.

    The lock tells, not the note: a launcher that was killed leaves its note behind, but no lock.
    """
    if not is_ours(folder) or not (folder / LOCK).exists():
        return None
    with (folder / LOCK).open("rb") as lock:
        if _locked(lock.fileno(), fcntl.LOCK_SH):
            return None
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:  # it is just starting or just ending
        return None
    return {str(name): str(value) for name, value in note.items()}


@contextmanager
def only_one(folder: Path, *, patience: float = 1.0) -> Iterator[None]:
    """Hold the right to run a stack in this data folder; raise StackProblem where another holds it.

    ``patience`` is in seconds: a manage.py that looks at this very moment holds the lock for an instant.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        give_up = time.monotonic() + patience
        while not _locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > give_up:
                raise StackProblem("This clone's portal is running already; stop it first (Ctrl-C where it runs).")
            time.sleep(0.05)
        forget(folder)
        yield
    finally:
        os.close(descriptor)


def note_running(folder: Path, environment: Mapping[str, str]) -> None:
    """Write the environment of the stack that runs, readable by this user only, and at once as a whole."""
    part = folder / f"{NOTE}.part"
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(dict(environment), file)
    part.rename(folder / NOTE)


def forget(folder: Path) -> None:
    """Remove the note, before the servers that it names go."""
    (folder / NOTE).unlink(missing_ok=True)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

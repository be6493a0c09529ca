"""A command with servers of its own that nobody keeps: what tests and checks run in."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_stack.child import stop_child
from local_stack.environment import local_defaults
from local_stack.folder import CLONE, LONGEST_SOCKET_FOLDER, SHARED, make_data_folder
from local_stack.servers import is_given, servers
from local_stack.signals import StopAsked, stop_on_signals

_PORT = 8000
_INTERRUPTED_SECONDS = 15
_NOWHERE = {
    # Settings are strict, so a vPlus has to be named; nothing listens there, and tests name their own simulator.
    "VPLUS_URL": "https://localhost:9/api",
    "VPLUS_USERNAME": "portal",
    "VPLUS_PASSWORD": "nobody-listens-there",
}
_SECRET_KEY = "only-for-checks-and-tests-" + "0" * 24


def with_servers(command: Sequence[str]) -> int:
    """Run a command with throwaway servers and a whole environment; return its exit status (128 + a signal's number).

    DATABASE_URL and REDIS_URL of the environment are used where they are set; anything else the environment names
    stays as it is. All data goes when the command ends.
    """
    with (
        stop_on_signals(),
        tempfile.TemporaryDirectory(prefix="vplus-portal-test-", dir=_short_temporary_folder()) as name,
    ):
        root = make_data_folder(Path(name))
        given = _placeholders(os.environ) | os.environ
        try:
            with servers(given, root, root, throwaway=True) as running:
                defaults = local_defaults(given, folder=root, port=_PORT, secret_key=_SECRET_KEY)
                return _call(command, {**given, **defaults, **running.addresses})
        except StopAsked as asked:
            return 128 + asked.number


def _call(command: Sequence[str], environment: Mapping[str, str]) -> int:
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    with subprocess.Popen(command, cwd=CLONE, env={**environment, "PATH": path}) as process:  # noqa: S603  # the caller's
        try:
            status = process.wait()
        except StopAsked as asked:
            # Ctrl-C reaches every process of the terminal by itself; the other signals came to this one alone.
            if asked.number is signal.SIGINT:
                stop_child(process, patience=_INTERRUPTED_SECONDS)
            else:
                stop_child(process, signal.SIGTERM, patience=_INTERRUPTED_SECONDS)
            raise
    return status if status >= 0 else 128 - status


def _placeholders(given: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in _NOWHERE.items() if not is_given(given, name)}


def _short_temporary_folder() -> Path:
    """Return the usual place for temporary files, or /var/tmp where its path is too long for a socket.

    For root it is always the second: `nobody`, as whom PostgreSQL runs then, has to be able to enter.
    """
    usual = Path(tempfile.gettempdir())
    longest = usual / "vplus-portal-test-12345678" / "postgres"
    return usual if os.geteuid() and len(os.fsencode(longest)) <= LONGEST_SOCKET_FOLDER else SHARED

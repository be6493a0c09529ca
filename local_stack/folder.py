"""Where the local stack of one clone keeps its data: chosen, made and checked here."""

import hashlib
import os
import stat
from pathlib import Path

from local_stack.problem import StackProblem

CLONE = Path(__file__).resolve().parent.parent
"""The checkout that this module belongs to."""

SHARED = Path("/var/tmp")  # noqa: S108  # survives a restart of the machine; ownership is checked before use
LONGEST_SOCKET_FOLDER = 80
"""A socket's path ends at 107 bytes; PostgreSQL adds `/.s.PGSQL.5432` to its folder and a lock file's name to that."""


def data_folder(clone: Path = CLONE, user: int | None = None) -> Path:
    """Return where the data of this clone lies: `.local/` inside it, or a folder of its own in /var/tmp.

    The second is for root (PostgreSQL runs as `nobody` then, who may not be able to enter the clone) and for clones
    whose path is too long for a socket. ``user`` is a user id, by default the one of this process. Nothing is created.
    """
    user = os.geteuid() if user is None else user
    inside = clone / ".local"
    if user != 0 and len(os.fsencode(inside / "demo" / "postgres")) <= LONGEST_SOCKET_FOLDER:
        return inside
    digest = hashlib.sha256(os.fsencode(clone)).hexdigest()[:10]
    return SHARED / f"vplus-portal-{user}-{digest}"


def make_private(folder: Path, *, mode: int = 0o700) -> Path:
    """Create the folder with this mode, or check that the one that exists is ours; return it.

    Raises StackProblem where it is a link, no folder, or belongs to another user: /var/tmp is open to everybody.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=mode, exist_ok=True)
    if not is_ours(folder):
        raise StackProblem(f"{folder} is not a folder of this user, so it is not used. Remove it, then start again.")
    folder.chmod(mode)
    return folder


def is_ours(folder: Path) -> bool:
    """Tell whether this is a folder, not a link to one, that belongs to the user of this process."""
    try:
        facts = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()


def make_data_folder(folder: Path) -> Path:
    """Create the data folder of a clone, or check the one that exists; return it.

    As root it can be passed through by `nobody`, who owns PostgreSQL's folder inside; everything else inside is closed.
    """
    return make_private(folder, mode=0o711 if os.geteuid() == 0 else 0o700)

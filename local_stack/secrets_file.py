"""Secrets of one local stack: made once, kept in its data folder, readable by this user only."""

import json
import os
import secrets
from pathlib import Path
from typing import NamedTuple

_FILE = "secrets.json"


class Secrets(NamedTuple):
    """What one stack keeps to itself."""

    secret_key: str
    simulator_password: str


def kept_secrets(folder: Path) -> Secrets:
    """Return the secrets of this data folder; make and store them first where there are none."""
    path = folder / _FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return Secrets(**json.loads(path.read_text(encoding="utf-8")))
    made = Secrets(secret_key=secrets.token_urlsafe(48), simulator_password=secrets.token_urlsafe(24))
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(made._asdict(), file)
    return made


def secret_file(folder: Path, name: str, value: str) -> Path:
    """Write one secret to a file of its own, for a program that reads it from there; return the path."""
    path = folder / name
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value)
    return path

"""The world in a file, so that a restart goes on where the last run stood."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from .clock import Clock, wall_ms
from .world import Snapshot, World

VERSION = 1


class Saved(msgspec.Struct, kw_only=True):
    """What the file holds: the world, and which simulated instant belonged to which one on the wall (ms)."""

    version: int
    simulated: int
    wall: int
    world: Snapshot


class UnreadableState(Exception):
    """The state file is damaged or of another version; it is left alone."""


class StateFile:
    """One file, replaced as a whole: a crash leaves the old state or the new one, never half of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved_revision: int | None = None

    def load(self, world: World, clock: Clock) -> bool:
        """Fill the world and set the clock; False where there is no file yet. Raises UnreadableState."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return False
        try:
            saved = msgspec.json.decode(content, type=Saved)
        except msgspec.DecodeError as error:
            raise UnreadableState(f"The state file {self.path} cannot be read: {error}") from error
        if saved.version != VERSION:
            raise UnreadableState(
                f"The state file {self.path} has version {saved.version}, this program writes {VERSION}"
            )
        world.restore(saved.world)
        clock.resume(saved.simulated, saved.wall)
        self._saved_revision = world.revision
        return True

    def save(self, world: World, clock: Clock) -> bool:
        """Write the world where it changed since the last time; return whether it had."""
        with world.lock:
            revision = world.revision
            if revision == self._saved_revision:
                return False
            saved = Saved(version=VERSION, simulated=clock.now(), wall=wall_ms(), world=world.snapshot())
            content = msgspec.json.encode(saved)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(self.path.name + ".new")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        self._saved_revision = revision
        return True

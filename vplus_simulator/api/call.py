"""What every call is given, and what a route says about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..engine import Engine
from ..messages import Answer, Request
from ..sessions import Sessions
from ..settings import Settings
from ..shapes import Painter
from ..world import World


@dataclass
class Call:
    """One request on its way through the server, at one instant; the world's lock is held."""

    request: Request
    world: World
    engine: Engine
    settings: Settings
    sessions: Sessions
    now: int
    painter: Painter
    tasks: list[str] = field(default_factory=list)
    """Guids of tasks that this call made or changed, for the journal."""
    backups: list[str] = field(default_factory=list)
    made: str | None = None
    """Guid of the policy, rule or schedule that this call made, for the journal."""


Handler = Callable[[Call], Answer]


@dataclass(frozen=True)
class Route:
    """One call that exists: method, path below the base with `{guid}` for a part, words for the coverage list."""

    method: str
    template: str
    handler: Handler
    words: str
    needs_session: bool = True
    changes: bool = False
    """Whether an accepted call belongs into the journal."""

"""Which calls exist; everything else is refused."""

from __future__ import annotations

from . import backups, infrastructure, policies, restore, rules, schedules, sessions, tasks, virtual_machines
from .call import Route

ROUTES: tuple[Route, ...] = (
    *sessions.ROUTES,
    *virtual_machines.ROUTES,
    *backups.ROUTES,
    *tasks.ROUTES,
    *restore.ROUTES,
    *infrastructure.ROUTES,
    *policies.ROUTES,
    *rules.ROUTES,
    *schedules.ROUTES,
)


class Switchboard:
    """Finds the route of a method and a path."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._templates: list[tuple[list[str], dict[str, Route]]] = []
        by_template: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_template.setdefault(route.template, {})[route.method] = route
        for template, methods in by_template.items():
            if "{" in template:
                self._templates.append((template.split("/"), methods))
            else:
                self._exact[template] = methods

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str], bool]:
        """Return the route, the values of its template's parts, and whether the path exists under another method."""
        known = False
        if path in self._exact:
            known = True
            if method in self._exact[path]:
                return self._exact[path][method], {}, True
        steps = path.split("/")
        for template, methods in self._templates:
            parts = _match(template, steps)
            if parts is not None:
                known = True
                if method in methods:
                    return methods[method], parts, True
        return None, {}, known


def _match(template: list[str], steps: list[str]) -> dict[str, str] | None:
    if len(template) != len(steps):
        return None
    parts = {}
    for wanted, step in zip(template, steps, strict=True):
        if wanted.startswith("{"):
            parts[wanted.strip("{}")] = step
        elif wanted != step:
            return None
    return parts

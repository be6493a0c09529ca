"""The tenant filter, in whichever spelling works on this server, or in none (vplus-api.md 4.1)."""

from __future__ import annotations

from .call import Call


def wanted_tenant(call: Call, *guide_spellings: str) -> str | None:
    """Return the tenant (a project's uuid) that the call narrows to, or None where this server sees no filter."""
    if call.settings.tenants == "ignored":
        return None
    spellings = guide_spellings if call.settings.tenants == "guide" else ("project-uuid",)
    return next((value for name in spellings if (value := call.request.one(name)) is not None), None)


def wanted_project(call: Call, *guide_spellings: str) -> set[str] | None:
    """Return the guids of the projects that the call narrows to; an unknown tenant gives the empty set."""
    tenant = wanted_tenant(call, *guide_spellings)
    if tenant is None:
        return None
    return {project.guid for project in call.world.projects.values() if project.uuid == tenant}

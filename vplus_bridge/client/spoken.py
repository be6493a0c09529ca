"""What a server's answers give away of its version, and of the dialect that it speaks, for a person who may have set the
other one (vplus-api.md 0.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from vplus_bridge.client import current, guide
from vplus_bridge.client.dialect import DialectName
from vplus_bridge.client.errors import Forbidden, NotFound, VplusError
from vplus_bridge.client.vplus import VplusClient

MOST_POLICIES = 5
ONLY_IN_GUIDE = guide.TASK_TYPES - current.TASK_TYPES
ONLY_IN_CURRENT = current.TASK_TYPES - guide.TASK_TYPES


@dataclass(frozen=True)
class Sign:
    """One thing that was seen, as the end of a sentence that begins with "this server", and the dialect that it is of."""

    dialect: DialectName
    words: str


def signs(client: VplusClient) -> list[Sign]:
    """Return what was seen, each thing once; nothing where the answers are alike in both. What cannot be read tells nothing."""
    found: dict[str, Sign] = {}
    for look in (_in_policies, _in_copies, _in_tasks):
        try:
            for sign in look(client):
                found.setdefault(sign.words, sign)
        except VplusError:
            continue
    return list(found.values())


def version_told(client: VplusClient) -> str:
    """Return the version that the nodes tell, or why it is not told: the server itself tells none (vplus-api.md 2.10)."""
    try:
        versions = {node.version for page in client.nodes() for node in page if node.version}
    except Forbidden:
        return "not told: the account may not read nodes (403), which tell it"
    except NotFound:
        return "not told: this server has no list of nodes (404), which tell it"
    except VplusError as problem:
        return f"not told: {problem.user_message}"
    return f"{', '.join(sorted(versions))}, as its nodes tell" if versions else "not told by its nodes"


def _in_policies(client: VplusClient) -> list[Sign]:
    """How rules tell their destinations; one that tells them in both ways tells nothing."""
    listing = client.policies()
    guids = [policy.guid for page in listing for policy in page][:MOST_POLICIES]
    found = []
    for guid in guids:
        for rule in client.policy_detail(guid).rules or ():
            old, new = rule.raw.get("backupDestinations"), rule.raw.get("ruleBackupDestinations")
            if new is not None and old is None:
                found.append(Sign("current", "tells where a rule's backups go as ruleBackupDestinations"))
            if old is not None and new is None:
                found.append(Sign("guide", "tells where a rule's backups go as backupDestinations"))
    return found


def _in_copies(client: VplusClient) -> list[Sign]:
    """Whether copies of backups can be listed by themselves, which older servers do not know."""
    try:
        for _page in client.copies("none"):
            pass
    except NotFound:
        return []
    return [Sign("current", "lists the copies of backups by themselves")]


def _in_tasks(client: VplusClient) -> list[Sign]:
    """Types of tasks that only one dialect has."""
    types = {task.type for page in client.tasks() for task in page if task.type}
    marks: tuple[tuple[DialectName, frozenset[str]], ...] = (("guide", ONLY_IN_GUIDE), ("current", ONLY_IN_CURRENT))
    return [Sign(name, f"has tasks of type {min(types & only)}") for name, only in marks if types & only]

"""The virtual machines of a policy in its editor: those chosen, those found, those pasted, and what they would leave."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _

from portal.web.policy_forms import Editor
from tenants.rights import Actor
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.ownership import visible
from vplus_bridge.protection import visible as visible_policies
from vplus_bridge.protection.models import Policy

FOUND_SHOWN = 25
NAMED_IN_AN_ERROR = 10
SEPARATORS = re.compile(r"[\n\r,;\t]+")


@dataclass(frozen=True)
class Pick:
    """One virtual machine that is in the policy, or could be."""

    guid: str
    name: str
    note: str
    fixed: bool = False
    """It is in a policy that the provider keeps, and cannot be chosen."""


@dataclass(frozen=True)
class Move:
    """One that would leave another policy, which is to be confirmed."""

    guid: str
    words: str
    confirmed: bool


@dataclass(frozen=True)
class Picks:
    """All that the page shows of virtual machines."""

    chosen: Sequence[Pick]
    found: Sequence[Pick]
    more: int
    """How many the search found besides."""
    moves: Sequence[Move]
    names: Mapping[str, str]


def of_editor(actor: Actor, policy: Policy | None, editor: Editor) -> Picks:
    """Return what an editor shows, in a fixed number of SQL statements."""
    seen = visible.virtual_machines(actor)
    held = list(policy.members.values_list("virtual_machine_guid", flat=True)) if policy else []
    known = {row.guid: row for row in seen.filter(guid__in=[*editor.chosen, *held])}
    chosen = {guid: known[guid] for guid in editor.chosen if guid in known}
    text = str(editor.form["find"].value() or "").replace("\0", "").strip()
    others = seen.filter(present=True, absent_since=None).exclude(guid__in=editor.chosen)
    if text:
        others = others.filter(Q(name__icontains=text) | Q(guid=text) | Q(uuid__iexact=text))
    # Those that can be chosen come first: a page full of what the provider keeps would be of no use.
    kept = visible_policies.policies(actor).filter(attached=True, members__virtual_machine_guid=OuterRef("guid"))
    found = list(others.alias(kept=Exists(kept)).order_by("kept", "name", "guid")[:FOUND_SHOWN])
    members = visible_policies.memberships(actor, [*chosen, *(row.guid for row in found)])
    if policy is not None:
        members = members.exclude(policy=policy)
    holders = {row.virtual_machine_guid: row.policy for row in members.select_related("policy")}
    ordered = list(chosen.values())
    moves = [
        Move(
            row.guid,
            _("%(machine)s leaves %(policy)s") % {"machine": row.name, "policy": holders[row.guid].name},
            row.guid in editor.moves,
        )
        for row in ordered
        if row.guid in holders and not holders[row.guid].attached  # what the provider keeps, nobody here can leave
    ]
    return Picks(
        chosen=[_pick(row, holders) for row in ordered],
        found=[_pick(row, holders) for row in found],
        more=max(0, others.count() - len(found)),
        moves=moves,
        names={row.guid: row.name for row in known.values()},
    )


def _pick(row: VirtualMachine, holders: Mapping[str, Policy]) -> Pick:
    if row.gone:
        return Pick(row.guid, row.name, _("no longer on the platform"))
    if holder := holders.get(row.guid):
        words = _("in %(policy)s, kept by your provider") if holder.attached else _("in %(policy)s")
        return Pick(row.guid, row.name, words % {"policy": holder.name}, fixed=holder.attached)
    return Pick(row.guid, row.name, "")


def take_pasted(actor: Actor, editor: Editor) -> None:
    """Add the machines of a pasted list to the chosen ones; lines that name none, or several, are an error at their field."""
    wanted = list(dict.fromkeys(one.strip() for one in SEPARATORS.split(editor.form["paste"].value() or "")))
    wanted = [one for one in wanted if one and "\0" not in one]
    if not wanted:
        return
    folded = {one.lower() for one in wanted}
    by_word: dict[str, set[str]] = defaultdict(set)
    for guid, uuid, name in visible.virtual_machines(actor).values_list("guid", "uuid", "name"):
        for word in {guid.lower(), (uuid or "").lower(), name.lower()} & folded:
            by_word[word].add(guid)
    unknown = [one for one in wanted if not by_word[one.lower()]]
    several = [one for one in wanted if len(by_word[one.lower()]) > 1]
    for one in wanted:
        if len(by_word[one.lower()]) == 1:
            editor.chosen += [guid for guid in by_word[one.lower()] if guid not in editor.chosen]
    editor.keep_pasted([*unknown, *several])
    if unknown:
        editor.form.add_error("paste", _("Not found: %(names)s.") % {"names": _named(unknown)})
    if several:
        words = _("More than one has this name: %(names)s. Paste its UUID instead.")
        editor.form.add_error("paste", words % {"names": _named(several)})


def _named(words: Sequence[str]) -> str:
    shown = ", ".join(word[:100] for word in words[:NAMED_IN_AN_ERROR])
    rest = len(words) - NAMED_IN_AN_ERROR
    return _("%(some)s and %(more)d more") % {"some": shown, "more": rest} if rest > 0 else shown

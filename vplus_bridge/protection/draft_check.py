"""Checks a draft against what there is: names, machines and the policies they are in, destinations. In the open scope."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.translation import gettext as _

from tenants.refusals import Invalid, NotVisible
from tenants.rights import Actor
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations.models import Attempt
from vplus_bridge.ownership import visible
from vplus_bridge.protection import policy_names
from vplus_bridge.protection.drafts import MOST_MACHINES, FieldErrors, Planned, PolicyDraft, plain_errors, planned
from vplus_bridge.protection.models import Policy, PolicyMember
from vplus_bridge.protection.stored import promise_of


@dataclass(frozen=True)
class LeavingRow:
    """A policy of the tenant and the machines that leave it, which was asked and confirmed."""

    policy: Policy
    machines: Sequence[str]


@dataclass(frozen=True)
class Checked:
    """A draft in which nothing is wrong, with what was looked up for it."""

    planned: Sequence[Planned]
    destination: str
    leaving: Sequence[LeavingRow]
    known_guids: Sequence[str]
    """Guids of all policies in vPlus that are or were the tenant's."""
    names: dict[str, str] = field(default_factory=dict)
    """What people call machines and destinations, by guid."""


def check(actor: Actor, draft: PolicyDraft, *, policy: Policy | None, now: datetime) -> Checked:
    """Return what a draft comes to; `policy` is the one that it changes.

    Raises NotVisible with the machines that are not there, or Invalid with all the fields that are wrong.
    """
    errors = plain_errors(draft)
    if len(draft.virtual_machines) > MOST_MACHINES:
        raise Invalid(errors)  # before each that is not there is named, in the answer and in the audit
    machines = {row.guid: row for row in visible.virtual_machines(actor).filter(guid__in=draft.virtual_machines)}
    members = set(policy.members.values_list("virtual_machine_guid", flat=True)) if policy else set[str]()
    hidden = [guid for guid in draft.virtual_machines if guid not in machines]
    if strange := [guid for guid in hidden if guid not in members]:
        raise NotVisible(errors={"virtual_machines": [_("%(guid)s: not found.") % {"guid": g[:64]} for g in strange]})
    if hidden:
        errors.setdefault("virtual_machines", []).append(
            _("A virtual machine of this policy was given to somebody else meanwhile. Save the policy without it.")
        )
    if "name" not in errors and _taken(draft.name, policy):
        errors["name"] = [_("There is a policy of this name already. Choose another one.")]
    added = [row for guid, row in machines.items() if guid not in members]
    leaving, known = _where_from(draft, added, errors)
    _see_that_they_are_there(added, errors)
    labels = {row.destination_guid: row.label for row in visible.destinations(actor)}
    destination = _destination(actor, draft, policy, labels, errors)
    held = {row.pk: promise_of(row, paused=policy.paused) for row in policy.schedules.all()} if policy else {}
    # More than fit are not looked at one by one: each takes a moment, and a body has room for thousands.
    looked_at = () if "schedules" in errors else draft.schedules
    found, wrong = planned(looked_at, held, paused=draft.paused, now=now)
    errors |= wrong
    if errors:
        raise Invalid(errors)
    before = visible.virtual_machines(actor).filter(guid__in=members).values_list("guid", "name")
    names = labels | {guid: row.name for guid, row in machines.items()} | dict(before)
    return Checked(found, destination, leaving, known, names)


def _taken(name: str, policy: Policy | None) -> bool:
    rows = policy_names.called(Policy.objects.all(), name)
    return rows.exclude(pk=policy.pk).exists() if policy else rows.exists()


def _where_from(
    draft: PolicyDraft, added: Sequence[VirtualMachine], errors: FieldErrors
) -> tuple[list[LeavingRow], list[str]]:
    """Return the policies that machines are taken from; one that is not the tenant's, or is not asked, is an error."""
    known = set(Policy.objects.exclude(vplus_guid="").values_list("vplus_guid", flat=True))
    # What was made and taken back bears no guid in its row, and the mirror may still show machines in it.
    made = Attempt.objects.filter(step__action="policy_create").exclude(object_guid="")
    known.update(made.values_list("object_guid", flat=True))
    rows = PolicyMember.objects.filter(virtual_machine_guid__in=[row.guid for row in added]).select_related("policy")
    holders = {row.virtual_machine_guid: row.policy for row in rows}
    taken: dict[Policy, list[str]] = {}
    kept_away, asked = [], []
    for machine in added:
        holder = holders.get(machine.guid)
        if holder is None:
            # What the mirror last saw of a policy of ours may be older than what we wrote.
            if machine.policy_guid and machine.policy_guid not in known:
                kept_away.append(
                    _("%(machine)s is in a policy that your provider keeps. Ask your provider to take it out.")
                    % {"machine": machine.name}
                )
        elif holder.attached:
            kept_away.append(
                _("%(machine)s is in %(policy)s, which your provider keeps. Ask your provider to take it out.")
                % {"machine": machine.name, "policy": holder.name}
            )
        elif machine.guid not in draft.moves:
            asked.append(
                _("%(machine)s leaves %(policy)s. Confirm that, or leave it out.")
                % {"machine": machine.name, "policy": holder.name}
            )
        else:
            taken.setdefault(holder, []).append(machine.guid)
    if kept_away:
        errors.setdefault("virtual_machines", []).extend(kept_away)
    if asked:
        errors["moves"] = asked
    for holder, guids in taken.items():
        if not holder.members.exclude(virtual_machine_guid__in=guids).exists():
            errors.setdefault("moves", []).append(
                _("%(policy)s would be left without a virtual machine. Delete it first, or leave one in it.")
                % {"policy": holder.name}
            )
    return [LeavingRow(holder, guids) for holder, guids in taken.items()], sorted(known)


def _see_that_they_are_there(added: Sequence[VirtualMachine], errors: FieldErrors) -> None:
    gone = [row.name for row in added if row.gone]
    if gone:
        errors.setdefault("virtual_machines", []).extend(
            _("%(machine)s is no longer on the platform, so it cannot be backed up. Leave it out.") % {"machine": name}
            for name in gone
        )


def _destination(
    actor: Actor, draft: PolicyDraft, policy: Policy | None, labels: dict[str, str], errors: FieldErrors
) -> str:
    wished = draft.destination or (policy.destination_guid if policy else "")
    if not labels:
        errors["destination"] = [
            _("No backup destination is allowed for %(tenant)s. Ask your provider.") % {"tenant": actor.tenant_name}
        ]
    elif not wished and len(labels) == 1:
        return next(iter(labels))
    elif wished not in labels:
        listed = ", ".join(f"{label} ({guid})" for guid, label in labels.items())
        errors["destination"] = [
            (
                _("This destination is not allowed for you. Choose one of %(ones)s.")
                if wished
                else _("Choose one of %(ones)s.")
            )
            % {"ones": listed}
        ]
    return wished

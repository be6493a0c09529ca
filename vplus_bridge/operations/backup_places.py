"""Where a machine can be backed up to: what its tenant may use and, where exports go by rules, its policy leads to.

What the mirror does not know yet is not refused: sending looks again, at vPlus itself (operations/writes/rule_choice.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenants.rights import Actor
from vplus_bridge import connection
from vplus_bridge.mirror.backups import RESTORABLE
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.operations.models import Operation
from vplus_bridge.ownership import visible


@dataclass(frozen=True)
class Places:
    """Labels of the destinations by guid, in the tenant's order; where there is none, ``code`` and the sentence ``why``.

    ``by_policy``: the backup system does not tell where the policy leads, so a choice among several means nothing.
    """

    labels: Mapping[str, str]
    code: str = ""
    why: str = ""
    by_policy: bool = False


def kept_at(backup: Backup, maker: Operation | None) -> str:
    """Return the guid of the destination that keeps a stored backup: by vPlus's word, else where our operation sent it.

    Poor servers do not tell. Empty where neither says it; what a rule of vPlus chose, we did not.
    """
    if backup.destination_guid or maker is None or backup.status not in RESTORABLE or maker.plan.get("by_policy"):
        return backup.destination_guid
    return str(maker.plan.get("destination") or "")


def has_no_place(machine: VirtualMachine) -> bool:
    """Tell whether nothing at all can be backed up of it now, as far as its own row tells: its policy's rules are missing."""
    return connection.dialect().EXPORTS_BY_RULE and bool(_by_rule(machine, {}, "").code)


def places_of(actor: Actor, machines: Sequence[VirtualMachine]) -> dict[str, Places]:
    """Return, by guid, where each of these machines of the actor's tenant can be backed up to, in one SQL statement."""
    allowed = {row.destination_guid: row.label for row in visible.destinations(actor)}
    if not connection.dialect().EXPORTS_BY_RULE:
        return {machine.guid: Places(allowed) for machine in machines}
    return {machine.guid: _by_rule(machine, allowed, actor.tenant_name) for machine in machines}


def _by_rule(machine: VirtualMachine, allowed: Mapping[str, str], tenant_name: str) -> Places:
    """Return what can be done by the rules of the machine's policy, as last read (vplus-api.md 2.2.3)."""
    if not machine.policy_guid and not machine.policy_name:
        why = f"{machine.name} is in no policy, and this backup system backs up by a policy only. Put it in a policy first."
        return Places({}, "no_policy", why)
    if machine.policy_rules is None:
        return Places(allowed)
    if machine.policy_rules == 0:
        why = (
            f"The policy of {machine.name} has no active rule, and this backup system backs up by a policy's rule only."
        )
        return Places({}, "no_active_rule", f"{why} Put it in another policy, or ask your provider.")
    if machine.policy_leads_to is None:
        return Places(allowed, by_policy=True)
    labels = {guid: label for guid, label in allowed.items() if guid in machine.policy_leads_to}
    if allowed and not labels:
        why = f"The policy of {machine.name} keeps its backups where {tenant_name} may not."
        return Places({}, "destination_not_in_policy", f"{why} Put it in another policy, or ask your provider.")
    return Places(labels)

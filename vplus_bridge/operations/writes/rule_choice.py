"""Which rule of its policy a machine is backed up by, where vPlus wants one named (vplus-api.md 2.2.3, 3.8).

One rule is sent, since each would make a backup of its own. It is read from vPlus just before sending, whole, as it is to
be given back; docs/decisions/0013-current-dialect.md tells why this one.
"""

from tenants.scope import in_tenant
from vplus_bridge.client import Detail, Forbidden, NotFound, RawObject, RuleRecord, VplusClient
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations.writes.write import Claim, WorldChanged


def rule_to_export_by(client: VplusClient, claim: Claim, told_policy: str | None) -> RawObject:
    """Return the rule that leads to the wished destination, as vPlus tells it now.

    ``told_policy`` is the guid of the policy that the machine's own record names; a poor server names none there, and the
    mirror's knowledge counts. Raises WorldChanged where there is no such rule, VplusError.
    """
    policy = told_policy or _mirrored_policy(claim)
    if not policy:
        raise WorldChanged("no_policy")
    try:
        detail = client.policy_detail(policy)
        members = detail.record.vm_guids
        if members is not None and claim.virtual_machine_guid not in members:
            raise WorldChanged("no_policy")
        rules = client.whole_rules(detail)
    except NotFound as problem:
        if problem.html:
            raise  # a page from something in front of vPlus says nothing about the policy
        raise WorldChanged("no_policy") from None
    except Forbidden:
        raise WorldChanged("rules_not_told") from None
    if detail.rules is None:
        raise WorldChanged("rules_not_told")
    active = [rule for rule in rules if rule.record.active is not False and not rule.record.marked_for_deletion]
    if not active:
        raise WorldChanged("no_active_rule")
    return _leading_to(claim.plan["destination"], active, by_policy=bool(claim.plan.get("by_policy")))


def _leading_to(destination: str, active: list[Detail[RuleRecord]], *, by_policy: bool) -> RawObject:
    """Return the rule whose first destination this is, else one that also writes there; of several the first listed.

    A rule that does not tell where it leads is taken only ``by_policy``: where people were told that this is not known.
    """
    leading = [rule for rule in active if destination in (rule.record.destination_guids or ())]
    if leading:
        return min(leading, key=lambda rule: (rule.record.destination_guids or ()).index(destination)).raw
    silent = [rule for rule in active if rule.record.destination_guids is None]
    if silent and by_policy:
        return silent[0].raw
    raise WorldChanged("rules_not_told" if silent else "destination_not_in_policy")


def _mirrored_policy(claim: Claim) -> str:
    with in_tenant(claim.tenant_id):
        rows = VirtualMachine.objects.filter(guid=claim.virtual_machine_guid)
        return rows.values_list("policy_guid", flat=True).first() or ""

"""Policies that were in vPlus before us: the provider attaches one to a tenant, whose people then read it. Wide scope.

Such a policy stays the provider's to change. Its rows follow the mirror; its schedules are read there, since they may be
shared with policies that the tenant must not see.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

import structlog
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _

from tenants import audit
from tenants.refusals import Invalid
from tenants.rights import ProviderActor, Right
from tenants.turns import take_turn
from vplus_bridge.client import plain_name
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.models import VirtualMachine, VplusPolicy, VplusSchedule
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.ownership.by_provider import owned_by
from vplus_bridge.protection import policy_names
from vplus_bridge.protection.carrier_wire import promise_of
from vplus_bridge.protection.drafts import LONGEST_NAME, wrong_name
from vplus_bridge.protection.mirrored import schedule_record
from vplus_bridge.protection.models import LIVING, Policy, PolicyMember, PolicyState
from vplus_bridge.protection.outcome import label_machines
from vplus_bridge.protection.wall_time import Promise
from vplus_bridge.protection.whose import attribute_mirrored

log = structlog.get_logger(__name__)
BY_NAME = Keyset("name", (Key("name"), Key("guid")))
_HELD = Case(When(tenant=None, then=Value(0)), default=Value(1), output_field=IntegerField())
FREE_FIRST = Keyset("free first", (Key(_HELD), Key("name"), Key("guid")))
"""Those that can still be given to a tenant, then the others; each by name."""


def attach_policy(
    *, tenant_id: UUID, guid: str, name: str = "", actor: ProviderActor | None = None, via: str = ""
) -> Policy:
    """Let a tenant read a policy that vPlus has, under a name of its own (without one: vPlus's).

    Raises NotAllowed; Invalid where the mirror does not know it, or it is somebody's already, or the name is taken.
    """
    if actor is not None:
        actor.require(Right.PROVIDER_CHANGE)
    take_turn(tenant_id)  # so that its own people make none of that name in the same moment
    one_at_a_time()
    # Locked, so that two who attach it at the same moment do not both find it free.
    row = VplusPolicy.objects.select_for_update(of=("self",)).filter(guid=guid, gone_at=None).first()
    if row is None:
        raise Invalid({"guid": [_("%(guid)s: vPlus has no such policy, or it was not read yet.") % {"guid": guid}]})
    if Policy.objects.filter(vplus_guid=guid, state__in=LIVING).exists():
        raise Invalid({"guid": [_("%(guid)s belongs to a tenant already.") % {"guid": guid}]})
    called = name.strip() or plain_name(row.name).strip()[:LONGEST_NAME]
    if wrong := wrong_name(called):
        raise Invalid({"name": [wrong]})
    if policy_names.called(Policy.objects.filter(tenant_id=tenant_id), called).exists():
        raise Invalid({"name": [_("The tenant has a policy called %(name)s. Give another name.") % {"name": called}]})
    policy = Policy.objects.create(
        tenant_id=tenant_id,
        name=called,
        state=PolicyState.KEPT,
        attached=True,
        vplus_guid=guid,
        wire_name=row.name[:255],
        changed_by_name=actor.person.name if actor else "",
    )
    _follow(policy, row)
    attribute_mirrored()
    _note(actor, "policy.attach", policy, via)
    return policy


def in_vplus(provider: ProviderActor, *, owner: str = "", search: str = "") -> QuerySet[VplusPolicy]:
    """Return the policies that vPlus has: all, one tenant's by its short name, or those that are "nobody"'s.

    `search` is part of a name, or a whole guid. Raises NotAllowed, or Invalid naming `owner` where no tenant has the short name.
    """
    provider.require(Right.PROVIDER_READ)
    rows = owned_by(VplusPolicy.objects.filter(gone_at=None), owner)
    text = search.strip()
    return rows.filter(Q(name__icontains=text) | Q(guid=text)) if text else rows


def holders(provider: ProviderActor, guids: Iterable[str]) -> dict[str, Policy]:
    """Return, by guid of vPlus, the policies of tenants that these are, with the tenant of each. Raises NotAllowed."""
    provider.require(Right.PROVIDER_READ)
    rows = Policy.objects.filter(vplus_guid__in=[guid for guid in guids if guid], state__in=LIVING)
    return {row.vplus_guid: row for row in rows.select_related("tenant")}


def detach_policy(*, tenant_id: UUID, guid: str, actor: ProviderActor | None = None, via: str = "") -> Policy:
    """Let a tenant no longer read a policy that was attached to it; in vPlus nothing changes. Raises NotAllowed, Invalid."""
    if actor is not None:
        actor.require(Right.PROVIDER_CHANGE)
    rows = Policy.objects.filter(tenant_id=tenant_id, vplus_guid=guid, attached=True, state__in=LIVING)
    policy = rows.first()
    if policy is None:
        raise Invalid({"guid": [_("%(guid)s is not attached to this tenant.") % {"guid": guid}]})
    label_machines(policy.members.values_list("virtual_machine_guid", flat=True), "")
    policy.members.all().delete()
    policy.state = PolicyState.DELETED
    policy.save()
    attribute_mirrored()
    _note(actor, "policy.detach", policy, via)
    return policy


def bring_up_to_date() -> None:
    """Let attached policies say what the mirror holds; one that is gone in vPlus is gone here."""
    one_at_a_time()  # before the first policy is written: what is labelled comes after it
    rows = {row.guid: row for row in VplusPolicy.objects.filter(gone_at=None)}
    for policy in Policy.objects.filter(attached=True, state=PolicyState.KEPT):
        row = rows.get(policy.vplus_guid)
        if row is None:
            if VplusPolicy.objects.filter(guid=policy.vplus_guid).exists():
                detach_policy(tenant_id=policy.tenant_id, guid=policy.vplus_guid, via="gone in vPlus")
            continue
        _follow(policy, row)


def promises_of_attached(policies: Sequence[Policy]) -> dict[UUID, list[Promise | None]]:
    """Return what the schedules of attached policies promise, by the policy's id, as times of UTC; None for one without words.

    Two SQL statements, however many they are.
    """
    if not policies:
        return {}
    rows = VplusPolicy.objects.filter(guid__in=[policy.vplus_guid for policy in policies]).values_list("guid", "rules")
    rules = {guid: held or [] for guid, held in rows}
    rule_guids = {rule["guid"] for held in rules.values() for rule in held}
    named = {guid for held in rules.values() for rule in held for guid in rule["schedule_guids"]}
    schedules = VplusSchedule.objects.filter(gone_at=None)
    fired = schedules.filter(Q(guid__in=named) | Q(rule_guids__overlap=list(rule_guids))) if rule_guids else []
    found: dict[UUID, list[Promise | None]] = {}
    known = sorted(fired, key=lambda one: one.guid)
    for policy in policies:
        held = rules.get(policy.vplus_guid, [])
        own = {rule["guid"] for rule in held}
        meant = {guid for rule in held for guid in rule["schedule_guids"]}
        of_it = [one for one in known if one.guid in meant or own.intersection(one.rule_guids or ())]
        found[policy.pk] = [promise_of(schedule_record(one)) for one in of_it]
    return found


def _follow(policy: Policy, row: VplusPolicy) -> None:
    if row.priority is not None:
        policy.priority = row.priority
    if row.auto_remove_non_present is not None:
        policy.auto_remove_gone = row.auto_remove_non_present
    policy.paused = row.active is False
    destinations = {guid for rule in row.rules or [] for guid in rule["destination_guids"]}
    policy.destination_guid = next(iter(destinations)) if len(destinations) == 1 else ""
    policy.compared_at = timezone.now()
    policy.save()
    if row.vm_guids is None:
        return
    theirs = VirtualMachine.objects.filter(guid__in=row.vm_guids, tenant_id=policy.tenant_id)
    wanted = set(theirs.values_list("guid", flat=True))
    there = set(policy.members.values_list("virtual_machine_guid", flat=True))
    policy.members.exclude(virtual_machine_guid__in=wanted).delete()
    label_machines(there - wanted, "")
    # vPlus has a machine in one policy only; what our own rows say of it comes first until they were compared.
    others = PolicyMember.objects.filter(tenant_id=policy.tenant_id, virtual_machine_guid__in=wanted)
    taken = set(others.exclude(policy=policy).values_list("virtual_machine_guid", flat=True))
    came = sorted(wanted - there - taken)
    PolicyMember.objects.bulk_create(
        PolicyMember(tenant_id=policy.tenant_id, policy=policy, virtual_machine_guid=guid) for guid in came
    )
    label_machines(came, policy.name)


def _note(actor: ProviderActor | None, action: str, policy: Policy, via: str) -> None:
    audit.record(
        actor,
        action,
        tenant_id=policy.tenant_id,
        object_kind="policy",
        object_id=str(policy.pk),
        object_name=policy.name,
        detail={"guid": policy.vplus_guid},
        via=via,
    )

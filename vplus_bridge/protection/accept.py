"""Accepting what somebody changed in vPlus: our rows take its values over, as far as they can be said here."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from tenants import audit
from tenants.refusals import WrongState
from tenants.rights import Actor
from vplus_bridge.client import ScheduleRecord
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.operations.models import Operation
from vplus_bridge.ownership import visible
from vplus_bridge.ownership.models import AllowedDestination
from vplus_bridge.protection import drafts
from vplus_bridge.protection.asking import author_of, note_done, refuse_while_changing
from vplus_bridge.protection.both_sides import both_sides
from vplus_bridge.protection.carrier_wire import promise_of
from vplus_bridge.protection.compare import Difference
from vplus_bridge.protection.drafts import PolicyDraft
from vplus_bridge.protection.drift import differences, kept_of, read_since_written, told_of
from vplus_bridge.protection.held import carriers_of
from vplus_bridge.protection.models import Policy, PolicyMember
from vplus_bridge.protection.outcome import deleted, label_machines
from vplus_bridge.protection.request_policy import editable, policy_turn, refuse_old
from vplus_bridge.protection.rewriting import CannotCarry, replan
from vplus_bridge.protection.shown_drift import refuse_unseen
from vplus_bridge.protection.stored import columns_of, plan_columns, row_values, spec_of
from vplus_bridge.protection.summary import changes_between

SIMPLE = {"priority": "priority", "auto_remove_gone": "auto_remove_gone"}


def accept_drift(actor: Actor, policy_id: UUID, *, version: int, now: datetime, shown: str | None = None) -> Operation:
    """Let a policy be what vPlus holds, in the actor's open scope. Nothing is written to vPlus: the operation has ended.

    `shown` is the digest of what differed where a person was shown that. Raises NotVisible, NotAllowed, DriftChanged where
    something else differs by now, WrongState: also where what vPlus holds cannot be said here, naming it; then it can be
    put back.
    """
    actor = policy_turn(actor)
    policy = editable(actor, policy_id)
    refuse_old(policy, version)
    # Read once, so that what is taken over is what was compared: the mirror may be written in between.
    sides = both_sides([policy])
    found = [] if policy.differs_since is None else differences(policy, sides)
    if policy.differs_since is not None and not found and not read_since_written(policy):
        raise WrongState("not_read_since", _("vPlus was not read since this was last written. Try again in a minute."))
    if not found:
        raise WrongState("no_difference", _("vPlus holds what stands here, so there is nothing to accept."))
    refuse_while_changing([policy], machines=_came(policy, found))
    drift, before = kept_of(policy, found), drafts.draft_of(policy)
    refuse_unseen(drift, shown)
    author = author_of(actor)
    with transaction.atomic():
        # A savepoint: what cannot be said is known only on the way, and then nothing of it stays.
        _take_over(policy, found, sides.schedules, author.name, now)
    changes = _changes(actor, before, drafts.draft_of(policy)) if policy.living else []
    operation = note_done(author, policy, wish={"action": "accept"}, changes=changes, from_version=version, now=now)
    audit.record(
        actor,
        "policy.accept",
        object_kind="policy",
        object_id=str(policy.pk),
        object_name=policy.name,
        detail={"operation": str(operation.pk), "changes": changes, "drift": told_of(drift)},
    )
    return operation


def _take_over(
    policy: Policy, found: Sequence[Difference], records: Mapping[str, ScheduleRecord], by: str, now: datetime
) -> None:
    one_at_a_time()  # before the first row of members is written
    if any(one.field == "policy" for one in found):
        deleted(policy, by, now)
        return
    carriers = {row.wire_name: row for row in carriers_of(policy)}
    unsayable: list[str] = []
    touched: set[UUID] = set()
    for one in found:
        if one.field in SIMPLE:
            setattr(policy, SIMPLE[one.field], one.theirs)
        elif one.field == "virtual_machines":
            unsayable += _members(policy, one.theirs)
        elif one.field == "destination":
            unsayable += _destination(policy, one.theirs)
        elif one.schedule and one.field != "name":
            touched.add(carriers[one.schedule].schedule_id)
        else:
            unsayable.append(_FIELDS.get(one.field, one.field))
    for pk in touched:
        unsayable += _schedule(policy, pk, records, now)
    if not policy.schedules.exists():
        unsayable.append(_("no schedule is left"))
    if unsayable:
        raise WrongState(
            "cannot_be_accepted",
            _("This cannot be kept here: %(what)s. Put yours back, or ask your provider.")
            % {"what": "; ".join(dict.fromkeys(unsayable))},
        )
    policy.version += 1
    policy.changed_at, policy.changed_by_name = now, by
    policy.compared_at, policy.differs_since, policy.drift = now, None, []
    policy.save()


_FIELDS = {
    "rule": "its rule was deleted",
    "name": "it was renamed there",
    "other_rules": "it has another rule",
    "auto_assign_mode": "it takes in machines by itself",
    "active": "it was switched off",
    "rule_schedules": "it has a schedule of others",
}


def _changes(actor: Actor, before: PolicyDraft, after: PolicyDraft) -> list[dict[str, str]]:
    labels = {row.destination_guid: row.label for row in visible.destinations(actor)}
    named = visible.virtual_machines(actor).filter(guid__in=[*before.virtual_machines, *after.virtual_machines])
    return changes_between(before, after, labels | dict(named.values_list("guid", "name")))


def _came(policy: Policy, found: Sequence[Difference]) -> list[str]:
    """Return the machines that it would take over."""
    ours = set(policy.members.values_list("virtual_machine_guid", flat=True))
    theirs = next((one.theirs for one in found if one.field == "virtual_machines"), ours)
    return sorted(set(theirs) - ours)


def _members(policy: Policy, theirs: list[str]) -> list[str]:
    ours = set(policy.members.values_list("virtual_machine_guid", flat=True))
    came = set(theirs) - ours
    seen = set(VirtualMachine.objects.filter(guid__in=came).values_list("guid", flat=True))
    if came - seen:
        return [_("it has virtual machines of somebody else")]
    if not theirs:
        return [_("no virtual machine is left")]
    PolicyMember.objects.filter(virtual_machine_guid__in=came).delete()
    left = ours - set(theirs)
    policy.members.filter(virtual_machine_guid__in=left).delete()
    PolicyMember.objects.bulk_create(
        PolicyMember(tenant_id=policy.tenant_id, policy=policy, virtual_machine_guid=guid) for guid in sorted(came)
    )
    label_machines(left, "")
    label_machines(came, policy.name)
    return []


def _destination(policy: Policy, theirs: list[str]) -> list[str]:
    if len(theirs) != 1 or not AllowedDestination.objects.filter(destination_guid=theirs[0]).exists():
        return [_("its backup destination is none of yours")]
    policy.destination_guid = theirs[0]
    return []


def _schedule(policy: Policy, pk: UUID, records: Mapping[str, ScheduleRecord], now: datetime) -> list[str]:
    """Take one schedule over: gone, or a wall time of UTC, which is what vPlus holds; one that has several carriers is not."""
    row = policy.schedules.get(pk=pk)
    carriers = list(row.carriers.all())
    held = [records.get(carrier.vplus_guid) for carrier in carriers]
    fires = [one for one in held if one is not None and policy.rule_guid in (one.rule_guids or (policy.rule_guid,))]
    if not fires:
        row.delete()
        return []
    if len(carriers) > 1 or len(fires) != len(carriers):
        return [_("a part of a schedule was changed")]
    promise = promise_of(fires[0])
    plan = None if promise is None else replan(promise, now)
    if promise is None or plan is None or isinstance(plan, CannotCarry) or len(plan.carriers) != 1:
        return [_("a schedule was changed to what cannot be said here")]
    carrier = plan.carriers[0]
    columns = {**columns_of(promise), **plan_columns(plan), "active": promise.active or policy.paused}
    for name, value in row_values(columns).items():
        setattr(row, name, value)
    row.save()
    stored = carriers[0]
    stored.spec, stored.valid_from, stored.valid_until = spec_of(carrier), carrier.valid_from, carrier.valid_until
    stored.save()
    return []

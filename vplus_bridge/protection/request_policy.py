"""Asking for policies: a draft is checked against everything that is known and becomes a committed operation.

All of it happens under the tenant row's lock, so that two people who press at the same moment do not both get through.
What is wrong is said by field with its remedy, and nothing is started.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from tenants import audit
from tenants.refusals import WrongState
from tenants.rights import Actor, Right
from vplus_bridge.operations.begin import in_turn
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.protection import drafts, visible
from vplus_bridge.protection.asking import author_of, open_operation, refuse_while_changing
from vplus_bridge.protection.compare import PolicyMeant
from vplus_bridge.protection.draft_check import Checked, check
from vplus_bridge.protection.drafts import PolicyDraft
from vplus_bridge.protection.drift import shared_carriers, told_of
from vplus_bridge.protection.held import dropped_of, held_of, wire_of
from vplus_bridge.protection.models import Policy, PolicyState
from vplus_bridge.protection.shaping import Shaped, as_they_are, shape
from vplus_bridge.protection.shown_drift import drift_now, refuse_unseen
from vplus_bridge.protection.steps import Leaving, PolicyWish, to_change, to_create, to_delete
from vplus_bridge.protection.summary import changes_between, said
from vplus_bridge.protection.wire_names import new_wire_name


def request_policy_create(actor: Actor, draft: PolicyDraft, *, now: datetime) -> Operation:
    """Ask for a new policy with its schedules, in the actor's open scope; `operation.subject` is the policy's id.

    The same draft again, while it is under way, is answered with the operation that is. Raises NotAllowed, NotVisible
    (machines), Invalid (fields), WrongState.
    """
    actor = policy_turn(actor)
    draft = _tidied(draft)
    wish = {"action": "create", "draft": drafts.as_json(draft)}
    if running := Operation.objects.filter(kind=Kind.POLICY, state__in=ACTIVE, wish=wish).first():
        return running
    checked = check(actor, draft, policy=None, now=now)
    refuse_while_changing([row.policy for row in checked.leaving], machines=draft.virtual_machines)
    policy = Policy.objects.create(
        tenant_id=actor.tenant_id,
        name=draft.name,
        wire_name=new_wire_name(actor.tenant_id, draft.name, "policy"),
        rule_wire_name=new_wire_name(actor.tenant_id, draft.name, "rule"),
        changed_by_name=author_of(actor).name,
        created_at=now,
        changed_at=now,
    )
    shaped = shape(policy, checked.planned)
    wished = _wish(policy, draft, checked, shaped)
    operation = open_operation(
        author_of(actor),
        policy,
        to_create(wished, _leaving(checked)),
        wish=wish,
        apply=_apply("create", draft, checked, shaped),
        now=now,
    )
    _audit(actor, "policy.create", policy, operation, {"after": said(draft, checked.names)})
    return operation


def request_policy_change(
    actor: Actor, policy_id: UUID, draft: PolicyDraft, *, version: int, now: datetime
) -> Operation:
    """Ask for a policy to become what the draft says, which is the whole of it; `version` is the one that was edited.

    Raises NotVisible, NotAllowed, Invalid, WrongState: with the code `changed_by_somebody` and, by field, what changed
    where the version is an older one.
    """
    actor = policy_turn(actor)
    policy = editable(actor, policy_id)
    draft = _tidied(draft)
    wish = {"action": "change", "draft": drafts.as_json(draft), "version": version}
    if running := Operation.objects.filter(subject=str(policy.pk), state__in=ACTIVE, wish=wish).first():
        return running
    refuse_old(policy, version)
    if policy.differs_since is not None:
        raise WrongState(
            "differs_in_vplus",
            _("%(policy)s was changed in vPlus. Accept that or put yours back first.") % {"policy": policy.name},
        )
    checked = check(actor, draft, policy=policy, now=now)
    others = [row.policy for row in checked.leaving]
    refuse_while_changing([policy, *others], machines=draft.virtual_machines)
    before = drafts.draft_of(policy)
    shaped = shape(policy, checked.planned, shared=shared_carriers(policy))
    planned = to_change(_wish(policy, draft, checked, shaped), held_of(policy), _leaving(checked), shaped.dropped)
    changes = changes_between(before, draft, checked.names)
    operation = open_operation(
        author_of(actor),
        policy,
        planned,
        wish=wish,
        apply=_apply("change", draft, checked, shaped),
        changes=changes,
        now=now,
    )
    _audit(actor, "policy.change", policy, operation, {"changes": changes})
    return operation


def request_policy_delete(actor: Actor, policy_id: UUID, *, version: int, now: datetime) -> Operation:
    """Ask for a policy to be deleted with its schedules; restore points stay. Raises as `request_policy_change`."""
    actor = policy_turn(actor)
    policy = editable(actor, policy_id)
    wish = {"action": "delete"}
    if running := Operation.objects.filter(subject=str(policy.pk), state__in=ACTIVE, wish=wish).first():
        return running
    refuse_old(policy, version)
    refuse_while_changing([policy])
    apply = {"action": "delete"}
    planned = to_delete(policy.vplus_guid, policy.wire_name, policy.rule_guid, dropped_of(policy))
    operation = open_operation(author_of(actor), policy, planned, wish=wish, apply=apply, now=now)
    _audit(actor, "policy.delete", policy, operation, {})
    return operation


def request_put_back(
    actor: Actor, policy_id: UUID, *, version: int, now: datetime, shown: str | None = None
) -> Operation:
    """Ask for vPlus to hold again what our rows say of a policy that was changed there.

    `shown` is the digest of what differed where a person was shown that. Raises as `request_policy_change`, and
    DriftChanged where something else differs by now.
    """
    actor = policy_turn(actor)
    policy = editable(actor, policy_id)
    wish = {"action": "put_back"}
    if running := Operation.objects.filter(subject=str(policy.pk), state__in=ACTIVE, wish=wish).first():
        return running
    refuse_old(policy, version)
    drift = None if policy.differs_since is None else drift_now(policy)
    if policy.differs_since is None or drift == []:
        raise WrongState("no_difference", _("vPlus holds what stands here, so there is nothing to put back."))
    if drift is None:
        drift = policy.drift  # nothing was read since we wrote last, and that did not become as it was meant
    refuse_while_changing([policy])
    refuse_unseen(drift, shown)
    missing = {(one["field"], one.get("schedule", "")) for one in drift if one["theirs"] is None}
    name = policy.name
    columns: dict[str, Any] = {}
    if ("policy", "") in missing:
        columns["wire_name"] = new_wire_name(actor.tenant_id, name, "policy")
    if missing & {("policy", ""), ("rule", "")}:
        columns["rule_wire_name"] = new_wire_name(actor.tenant_id, name, "rule")
    shaped = as_they_are(policy, missing={schedule for field, schedule in missing if field == "schedule"})
    meant = wire_of(policy)
    wished = PolicyWish(
        name=columns.get("wire_name", policy.wire_name),
        rule_name=columns.get("rule_wire_name", policy.rule_wire_name),
        meant=meant,
        destination=policy.destination_guid,
        carriers=shaped.carriers,
        guid="" if "wire_name" in columns else policy.vplus_guid,
        rule_guid="" if "rule_wire_name" in columns else policy.rule_guid,
    )
    strange = [guid for one in drift for guid in one.get("rules", ())]
    planned = to_change(wished, None, [], [], strange_rules=strange) if wished.guid else to_create(wished, [])
    apply = {
        "action": "put_back",
        "counts": False,
        "policy": columns,
        "vms": None,
        "leaving": {},
        "schedules": shaped.rows,
        "whole": False,
    }
    operation = open_operation(author_of(actor), policy, planned, wish=wish, apply=apply, now=now)
    _audit(actor, "policy.put_back", policy, operation, {"drift": told_of(drift)})
    return operation


def look_over(actor: Actor, draft: PolicyDraft, *, policy: Policy | None, now: datetime) -> None:
    """See what is wrong with a draft, in the actor's open scope; nothing is asked. Raises NotVisible, Invalid."""
    check(actor, _tidied(draft), policy=policy, now=now)


def policy_turn(actor: Actor) -> Actor:
    """Take the tenant row's lock, and return who asks as one who may change policies under it. Raises as `in_turn`."""
    actor = in_turn(actor)
    actor.require(Right.POLICIES)
    return actor


def editable(actor: Actor, policy_id: UUID) -> Policy:
    """Return a policy that can be changed from here. Raises NotVisible, WrongState."""
    policy = visible.policy(actor, policy_id)
    if policy.attached:
        raise WrongState(
            "read_only", _("%(policy)s is kept by your provider; it can only be read here.") % {"policy": policy.name}
        )
    if policy.state != PolicyState.KEPT:
        raise WrongState("operation_active", _("%(policy)s is still being made.") % {"policy": policy.name})
    return policy


def refuse_old(policy: Policy, version: int) -> None:
    """See that nobody changed it since it was read. Raises WrongState with what they changed, by field."""
    if version == policy.version:
        return
    rows = Operation.objects.filter(kind=Kind.POLICY, subject=str(policy.pk), state="succeeded")
    errors: dict[str, list[str]] = {}
    for plan in rows.filter(plan__from_version__gte=version).order_by("requested_at").values_list("plan", flat=True):
        for change in plan.get("changes", []):
            text = _("Was %(before)s, is now %(after)s.") % {"before": change["before"], "after": change["after"]}
            errors.setdefault(change["field"], []).append(text)
    raise WrongState(
        "changed_by_somebody",
        _("%(who)s changed this meanwhile. Check and press again.") % {"who": policy.changed_by_name or _("Somebody")},
        errors=errors,
    )


def _tidied(draft: PolicyDraft) -> PolicyDraft:
    machines = list(dict.fromkeys(draft.virtual_machines))
    return replace(draft, name=draft.name.strip(), virtual_machines=machines)


def _wish(policy: Policy, draft: PolicyDraft, checked: Checked, shaped: Shaped) -> PolicyWish:
    return PolicyWish(
        name=policy.wire_name,
        rule_name=policy.rule_wire_name,
        meant=PolicyMeant(
            vms=tuple(draft.virtual_machines), priority=draft.priority, auto_remove=draft.auto_remove_gone
        ),
        destination=checked.destination,
        carriers=shaped.carriers,
        guid=policy.vplus_guid,
        rule_guid=policy.rule_guid,
        may_leave=checked.known_guids,
    )


def _leaving(checked: Checked) -> Sequence[Leaving]:
    found = []
    for row in checked.leaving:
        was = wire_of(row.policy)
        left = [guid for guid in was.vms if guid not in row.machines]
        found.append(
            Leaving(guid=row.policy.vplus_guid, name=row.policy.wire_name, was=was, meant=replace(was, vms=tuple(left)))
        )
    return found


def _apply(action: str, draft: PolicyDraft, checked: Checked, shaped: Shaped) -> dict[str, Any]:
    return {
        "action": action,
        "counts": True,
        "policy": {
            "name": draft.name,
            "priority": draft.priority,
            "destination_guid": checked.destination,
            "auto_remove_gone": draft.auto_remove_gone,
            "paused": draft.paused,
        },
        "vms": list(draft.virtual_machines),
        "leaving": {str(row.policy.pk): list(row.machines) for row in checked.leaving},
        "schedules": shaped.rows,
        "whole": True,
    }


def _audit(actor: Actor, action: str, policy: Policy, operation: Operation, detail: dict[str, Any]) -> None:
    audit.record(
        actor,
        action,
        object_kind="policy",
        object_id=str(policy.pk),
        object_name=policy.name,
        detail={"operation": str(operation.pk), **detail},
    )

"""Carriers that are written anew before a clock change or the end of their horizon, as operations of the portal itself.

When is computed in `rewriting.py`; this finds what is due, asks for it, and tells which runs were off where it came late.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog

from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.transitions import warn
from vplus_bridge.protection.asking import note_own, open_operation, portals_turn
from vplus_bridge.protection.carriers import Deviation
from vplus_bridge.protection.drift import shared_carriers
from vplus_bridge.protection.held import held_of, wire_of
from vplus_bridge.protection.models import Policy, PolicyState, Schedule
from vplus_bridge.protection.rewriting import CannotCarry, Plan, Reason, quiet_moment, replan, runs_off
from vplus_bridge.protection.shaping import Shaped, carry, kept
from vplus_bridge.protection.steps import PolicyWish, to_change
from vplus_bridge.protection.stored import plan_of, promise_of

log = structlog.get_logger(__name__)
BEGUN_WITHIN = timedelta(minutes=10)
"""A plan is for its moment: one that could not be begun by then is made anew, and tells which runs were off until then."""
A_MOMENT = timedelta(minutes=1)
LATE = "rewrite_late"


def due(now: datetime) -> list[tuple[UUID, UUID]]:
    """Return (tenant, policy) of what is to be written anew by now, the most urgent first. In the open wide scope."""
    rows = Schedule.objects.filter(rewrite_at__lte=now, policy__state=PolicyState.KEPT, policy__attached=False)
    pairs = rows.order_by("rewrite_by").values_list("policy__tenant_id", "policy_id")
    return list(dict.fromkeys(pairs))


def rewrite(policy_id: UUID, now: datetime) -> Operation | None:
    """Ask for the carriers of a policy to be what they must be from now on, in the scope of its tenant.

    None where it is not due any more, waits for a quieter moment, for somebody's change to end, or for a failure to be over.
    """
    turn = portals_turn(policy_id, "rewrite", now)
    if turn is None:
        return None
    author, policy = turn
    shaped, off, anything = Shaped(), list[Deviation](), False
    shared = shared_carriers(policy)
    for row in policy.schedules.all():
        plan = _plan(row, policy, now)
        if plan is None:
            kept(shaped, row)
            continue
        deviations = _off(row, policy, now)
        told = [{"promised": _said(one.promised), "actual": _said(one.actual)} for one in deviations]
        columns = {"runs_off": told, "runs_off_at": now.isoformat()} if told else {}
        carry(shaped, policy, row, plan, columns, shared=shared)
        off += deviations
        anything = True
    if not anything:
        return None
    wish = PolicyWish(
        name=policy.wire_name,
        rule_name=policy.rule_wire_name,
        meant=wire_of(policy),
        destination=policy.destination_guid,
        carriers=shaped.carriers,
        guid=policy.vplus_guid,
        rule_guid=policy.rule_guid,
    )
    apply = {
        "action": "rewrite",
        "counts": False,
        "policy": {},
        "vms": None,
        "leaving": {},
        "schedules": shaped.rows,
        "whole": False,
    }
    planned = to_change(wish, held_of(policy), [], shaped.dropped)
    operation = open_operation(
        author,
        policy,
        planned,
        wish={"action": "rewrite"},
        apply=apply,
        now=now,
        within=BEGUN_WITHIN,
    )
    if off:
        log.warning("schedules are written anew too late", policy=str(policy.pk), runs_off=len(off))
        warn(operation, LATE)
        operation.save()
    note_own(operation, policy, "policy.rewrite", runs_off=len(off))
    return operation


def _plan(row: Schedule, policy: Policy, now: datetime) -> Plan | None:
    """Return the next plan of a schedule that is due; None where it is not, or better waits a little."""
    if row.rewrite_at is None or row.rewrite_at > now:
        return None
    promise = promise_of(row, paused=policy.paused)
    in_time = row.rewrite_by is not None and now + A_MOMENT < row.rewrite_by
    if row.rewrite_reason == Reason.HORIZON and in_time:
        quiet = quiet_moment(promise, now)
        if now + A_MOMENT < quiet and (row.rewrite_by is None or quiet < row.rewrite_by):
            return None
    plan = replan(promise, now)
    if isinstance(plan, CannotCarry):
        log.error("an accepted schedule cannot be carried any more", policy=str(policy.pk), schedule=str(row.pk))
        return None
    return plan


def _off(row: Schedule, policy: Policy, now: datetime) -> list[Deviation]:
    promise = promise_of(row, paused=policy.paused)
    plan = plan_of(promise, row.carriers.all(), row)
    return [] if plan is None else list(runs_off(promise, plan, now))


def _said(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()

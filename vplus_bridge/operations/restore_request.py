"""Asking for a restore: rights and fields are checked, and the plan that was shown becomes a committed row."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tenants.refusals import Errors, Invalid, NotVisible, WrongState
from tenants.rights import Actor, Right
from vplus_bridge.mirror.instants import to_ms
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.mirror.words import why_not_restorable
from vplus_bridge.operations.begin import begin, in_turn
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.operations.request import LONGEST_WINDOW, Asked, NoneStarted, RefusedOne
from vplus_bridge.operations.restore_plan import Plan, default_target, longest_name, make_plan, nearest_point
from vplus_bridge.ownership import visible
from vplus_bridge.ownership.models import AllowedRestoreTarget

DEFAULT_SEND_FOR = timedelta(hours=6)


@dataclass(frozen=True)
class RestoreWish:
    """What a person gave, and only that. ``plan_digest`` is of the plan that they were shown, where they were shown one."""

    restore_point: str
    target: str | None = None
    restored_name: str | None = None
    send_until: datetime | None = None
    plan_digest: str | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields that were given, in the form in which wishes are compared and kept."""
        fields: dict[str, Any] = {
            "restore_point": self.restore_point,
            "target": self.target,
            "restored_name": self.name,
            "send_until": to_ms(self.send_until) if self.send_until else None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def name(self) -> str | None:
        """The name without the blanks around it; None where there is none."""
        return (self.restored_name or "").strip() or None


class PointGone(Invalid):
    """The restore point was there and is not any more; ``nearest`` is the one to take instead, where there is one."""

    def __init__(self, point: Backup, removed_at: datetime | None, nearest: Backup | None) -> None:
        self.point, self.removed_at, self.nearest = point, removed_at, nearest
        gone = "This restore point is gone"
        gone += f": it was removed at {_said(removed_at)}." if removed_at else "."
        if nearest is None:
            remedy = "No other restore point is left."
        else:
            remedy = f"The nearest is {nearest.guid}" + (
                f", of {_said(nearest.taken_at)}." if nearest.taken_at else "."
            )
        super().__init__({"restore_point": [f"{gone} {remedy}"]})


class PlanChanged(WrongState):
    """What was shown is not what would be done; ``parts`` are those that changed, ``plan`` is how it would be now."""

    def __init__(self, plan: Plan, parts: Sequence[str]) -> None:
        self.plan, self.parts = plan, list(parts)
        difference = " ".join(plan.said(part) for part in parts)
        super().__init__(
            "plan_changed",
            f"Something changed while you read: {difference} Check and press again.",
            errors={part: [plan.said(part)] for part in parts},
        )


def request_restore(actor: Actor, wish: RestoreWish, *, now: datetime) -> Asked:
    """Ask for a new virtual machine from a restore point, in the actor's open scope.

    Raises NotVisible, NotAllowed, Invalid (PointGone among them), PlanChanged, or NoneStarted where another restore of
    the same machine is under way. Nothing is started in any of these cases. The same wish again is answered with the
    operation that is there.
    """
    actor = in_turn(actor)
    point, machine = point_and_machine(actor, wish.restore_point)
    actor.require(Right.RESTORE, machine.guid)
    given = wish.given()
    running = Operation.objects.filter(subject=machine.guid, kind=Kind.RESTORE, state__in=ACTIVE).first()
    if running is not None:
        return _join(machine, running, given)
    plan = plan_of(actor, wish, point, machine, now=now)
    if wish.plan_digest is not None and (changed := plan.changed_since(wish.plan_digest)):
        raise PlanChanged(plan, changed)
    estimate = plan.estimate
    operation = begin(
        actor,
        machine,
        kind=Kind.RESTORE,
        action="restore",
        given=given,
        plan=plan.to_send(),
        send_until=wish.send_until or now + DEFAULT_SEND_FOR,
        now=now,
        facts={
            "restore_point_guid": point.guid,
            "restored_name": plan.name,
            "estimate_seconds": estimate.seconds if estimate else None,
            "estimate_basis": f"last_{estimate.runs}" if estimate else "unknown",
        },
    )
    if operation is None:
        raise NoneStarted([_refused(machine, "Another restore of it is still under way. Try again later.")])
    return Asked(operations=[operation])


def point_and_machine(actor: Actor, point_guid: str) -> tuple[Backup, VirtualMachine]:
    """Return a backup that the actor sees and its virtual machine; raise NotVisible naming the field."""
    unseen = NotVisible(errors={"restore_point": [f"{point_guid[:64]}: not found."]})
    point = visible.backups(actor).filter(guid=point_guid.replace("\0", "")).first()
    if point is None:
        raise unseen
    machine = visible.virtual_machines(actor).filter(guid=point.virtual_machine_guid).first()
    if machine is None:
        raise unseen
    return point, machine


def plan_of(actor: Actor, wish: RestoreWish, point: Backup, machine: VirtualMachine, *, now: datetime) -> Plan:
    """Return what would be done; raise Invalid with every field that is wrong, PointGone among them."""
    _refuse_unrestorable(actor, point)
    targets = list(visible.restore_targets(actor))
    target, errors = _target(actor, wish, machine, targets)
    errors = {**errors, **_name_errors(wish, longest_name(machine, target)), **_until_errors(wish, now)}
    if errors or target is None:
        raise Invalid(errors)
    return make_plan(actor, machine, point, target, wish.name)


def _refuse_unrestorable(actor: Actor, point: Backup) -> None:
    if point.restorable:
        return
    if point.gone_at is None and point.status != "SUCCESS_REMOVED":
        raise Invalid({"restore_point": [f"This backup cannot be restored. {why_not_restorable(point)}"]})
    others = list(visible.restore_points(actor, point.virtual_machine_guid))
    raise PointGone(point, point.gone_at or point.changed_at, nearest_point(others, point.taken_at))


def _target(
    actor: Actor, wish: RestoreWish, machine: VirtualMachine, targets: Sequence[AllowedRestoreTarget]
) -> tuple[AllowedRestoreTarget | None, Errors]:
    if not targets:
        return None, {"target": [f"No restore target is allowed for {actor.tenant_name}. Ask your provider."]}
    listed = ", ".join(f"{target.label} ({target.pk})" for target in targets)
    if wish.target is None:
        chosen = default_target(machine, targets)
        return chosen, {} if chosen else {"target": [f"Choose one of {listed}."]}
    chosen = next((target for target in targets if str(target.pk) == _as_id(wish.target)), None)
    if chosen is None:
        return None, {
            "target": [f"This restore target is not allowed for {actor.tenant_name}. Choose one of {listed}."]
        }
    return chosen, {}


def _name_errors(wish: RestoreWish, longest: int) -> Errors:
    name = wish.name
    if name is None:
        return {}
    if len(name) > longest:
        return {"restored_name": [f"This has {len(name)} characters; the platform takes at most {longest}."]}
    # Cc: control, Cf: among them what turns the reading direction or cannot be seen, Cs: no character at all.
    if any(unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for sign in name):
        return {"restored_name": ["This has characters that cannot be seen. Type it anew, with visible ones only."]}
    return {}


def _until_errors(wish: RestoreWish, now: datetime) -> Errors:
    if wish.send_until is None:
        return {}
    if wish.send_until <= now:
        return {"send_until": ["This lies in the past; name a time that is still to come."]}
    if wish.send_until > now + LONGEST_WINDOW:
        return {"send_until": [f"This is too far ahead; the most is {LONGEST_WINDOW.days} days."]}
    return {}


def _join(machine: VirtualMachine, running: Operation, given: dict[str, Any]) -> Asked:
    """Answer with the active operation where the wish is the same; refuse a different one."""
    if running.wish == given:
        return Asked(operations=[running], already_active={running.pk})
    who = running.requested_by_name
    raise NoneStarted(
        [_refused(machine, f"{who} asked for another restore of {machine.name} first. Watch it, then start yours.")]
    )


def _refused(machine: VirtualMachine, message: str) -> RefusedOne:
    return RefusedOne(machine.guid, machine.name, "operation_active", message)


def _as_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return ""


def _said(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else ""

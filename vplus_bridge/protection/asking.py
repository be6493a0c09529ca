"""What every operation on a policy begins with, whoever asks: nobody else is at it, and its rows are written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from structlog.contextvars import get_contextvars

from tenants import audit
from tenants.models import Tenant
from tenants.refusals import WrongState
from tenants.rights import Actor
from tenants.scope import scoped_tenant_id
from tenants.turns import take_turn
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind, State
from vplus_bridge.protection import course
from vplus_bridge.protection.models import Policy, PolicyState
from vplus_bridge.protection.steps import Planned

SENT_WITHIN = timedelta(hours=1)
"""After so long without contact nothing is begun any more; what was begun is brought to an end, however long it takes."""
NOBODY = UUID(int=0)
AFTER_FAILURE = timedelta(minutes=10)
"""How long the portal waits before it asks again for what failed."""


@dataclass(frozen=True)
class Author:
    """Who asks, as the operation keeps it."""

    membership_id: UUID
    name: str
    via: str
    tenant_label: str


def author_of(actor: Actor) -> Author:
    """Return a person as an author."""
    return Author(
        membership_id=actor.membership_id,
        name=(actor.person.name or actor.person.email)[:254],
        via=f"token {actor.token.name}" if actor.token else "page",
        tenant_label=actor.vplus_tenant_id,
    )


def the_portal(tenant: Tenant) -> Author:
    """Return the portal itself as an author: it writes schedules anew before a clock change, and tidies up."""
    return Author(membership_id=NOBODY, name="The portal", via="the portal", tenant_label=tenant.vplus_tenant_id)


def refuse_while_changing(policies: Iterable[Policy], *, machines: Sequence[str] = ()) -> None:
    """See that nobody is changing any of these policies, or moving any of these machines. Raises WrongState."""
    ours = {str(policy.pk): policy.name for policy in policies}
    for running in Operation.objects.filter(kind=Kind.POLICY, state__in=ACTIVE).order_by("requested_at"):
        touched = next((ours[pk] for pk in running.plan["touches"] if pk in ours), None)
        taken = sorted(set(machines) & set(running.plan["machines"]))
        if touched is None and not taken:
            continue
        raise WrongState(
            "operation_active",
            _("%(who)s is changing %(what)s just now. Wait for its end, then try again.")
            % {"who": running.requested_by_name, "what": touched or running.plan["name"]},
        )


def portals_turn(policy_id: UUID, action: str, now: datetime) -> tuple[Author, Policy] | None:
    """Take the lock under which everything is asked, for what the portal asks for by itself, in the scope of the tenant.

    None where vPlus does not hold the policy, somebody's change has to end first, or the same failed a moment ago.
    """
    tenant = take_turn(scoped_tenant_id())
    policy = Policy.objects.filter(pk=policy_id, state=PolicyState.KEPT).first()
    if policy is None or _failed_just_now(policy, action, now):
        return None
    try:
        refuse_while_changing([policy])
    except WrongState:
        return None
    return the_portal(tenant), policy


def note_own(operation: Operation, policy: Policy, action: str, reason: str = "", **detail: Any) -> None:
    """Write into the tenant's audit what the portal asked for by itself."""
    audit.record(
        None,
        action,
        tenant_id=policy.tenant_id,
        object_kind="policy",
        object_id=str(policy.pk),
        object_name=policy.name,
        detail={"operation": str(operation.pk), **detail},
        reason=reason,
        via="the portal",
    )


def _failed_just_now(policy: Policy, action: str, now: datetime) -> bool:
    """Tell whether this was asked for by the portal a moment ago and failed; what was never sent does not count."""
    rows = Operation.objects.filter(kind=Kind.POLICY, subject=str(policy.pk), wish__action=action, state=State.FAILED)
    return rows.filter(finished_at__gt=now - AFTER_FAILURE).exclude(error_code="policy_not_sent").exists()


def open_operation(
    author: Author,
    policy: Policy,
    planned: list[Planned],
    *,
    wish: Mapping[str, Any],
    apply: Mapping[str, Any],
    now: datetime,
    changes: Sequence[Mapping[str, str]] = (),
    within: timedelta = SENT_WITHIN,
) -> Operation:
    """Write an operation on a policy down, with its steps; workers are woken when the transaction is committed."""
    operation = _operation(author, policy, wish=wish, changes=changes, from_version=policy.version, now=now)
    operation.plan |= {
        "touches": [str(policy.pk), *apply.get("leaving", {})],
        "machines": apply.get("vms") or [],
        "apply": dict(apply),
    }
    operation.send_until = now + within
    operation.save()
    course.begin(operation, planned)
    operation.save()
    return operation


def note_done(
    author: Author,
    policy: Policy,
    *,
    wish: Mapping[str, Any],
    changes: Sequence[Mapping[str, str]],
    from_version: int,
    now: datetime,
) -> Operation:
    """Write a change down that needed no write to vPlus, as an operation that has ended: it stands among the others."""
    operation = _operation(author, policy, wish=wish, changes=changes, from_version=from_version, now=now)
    operation.state, operation.progress = State.SUCCEEDED, 100.0
    operation.started_at = operation.finished_at = now
    operation.save()
    return operation


def _operation(
    author: Author,
    policy: Policy,
    *,
    wish: Mapping[str, Any],
    changes: Sequence[Mapping[str, str]],
    from_version: int,
    now: datetime,
) -> Operation:
    return Operation(
        tenant_id=policy.tenant_id,
        kind=Kind.POLICY,
        subject=str(policy.pk),
        wish=dict(wish),
        plan={
            "name": policy.name,
            "touches": [str(policy.pk)],
            "machines": [],
            "from_version": from_version,
            "changes": list(changes),
            "tenant_label": author.tenant_label,
            "project_uuid": author.tenant_label,
        },
        requested_by_id=author.membership_id,
        requested_by_name=author.name,
        requested_via=author.via,
        requested_at=now,
        send_until=now,
        reference=get_contextvars().get("reference", ""),
        last_news_at=now,
    )

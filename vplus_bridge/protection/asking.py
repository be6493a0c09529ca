"""What every operation on a policy begins with, whoever asks: nobody else is at it, and its rows are written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from structlog.contextvars import get_contextvars

from tenants.models import Tenant
from tenants.refusals import WrongState
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.protection import course
from vplus_bridge.protection.models import Policy
from vplus_bridge.protection.steps import Planned

SENT_WITHIN = timedelta(hours=1)
"""After so long without contact nothing is begun any more; what was begun is brought to an end, however long it takes."""
NOBODY = UUID(int=0)


@dataclass(frozen=True)
class Author:
    """Who asks, as the operation keeps it."""

    membership_id: UUID
    name: str
    via: str
    tenant_label: str


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
    operation = Operation.objects.create(
        tenant_id=policy.tenant_id,
        kind=Kind.POLICY,
        subject=str(policy.pk),
        wish=dict(wish),
        plan={
            "name": policy.name,
            "touches": [str(policy.pk), *apply.get("leaving", {})],
            "machines": apply.get("vms") or [],
            "from_version": policy.version,
            "changes": list(changes),
            "apply": dict(apply),
            "tenant_label": author.tenant_label,
            "project_uuid": author.tenant_label,
        },
        requested_by_id=author.membership_id,
        requested_by_name=author.name,
        requested_via=author.via,
        requested_at=now,
        send_until=now + within,
        reference=get_contextvars().get("reference", ""),
        last_news_at=now,
    )
    course.begin(operation, planned)
    operation.save()
    return operation

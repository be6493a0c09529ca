"""Beginning an operation: the committed row, its first step and attempt, the audit, and the wake-up; the same for all."""

from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from structlog.contextvars import get_contextvars

from tenants import audit
from tenants.entrance import still_member
from tenants.refusals import NotAllowed
from tenants.rights import Actor
from tenants.turns import take_turn
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations import told
from vplus_bridge.operations.models import Attempt, Operation, Step
from vplus_bridge.operations.moves import Kind
from vplus_bridge.operations.wake import wake_sender


def in_turn(actor: Actor) -> Actor:
    """Lock the tenant's row until the transaction ends, and return who asks as they stand under the lock.

    So two who press at once are answered with one operation, and what was taken away since the request began (a role, a
    grant, the membership, the token) is not used any more: from here on only what is returned says who may. Raises
    NotVisible, NotSignedIn, and NotAllowed where the tenant is suspended.
    """
    take_turn(actor.tenant_id)
    actor = still_member(actor)
    if actor.suspended:
        raise NotAllowed(
            "tenant_suspended",
            f"{actor.tenant_name} is suspended. You can read, but start nothing new. Ask your provider.",
        )
    return actor


def begin(
    actor: Actor,
    machine: VirtualMachine,
    *,
    kind: Kind,
    action: str,
    given: dict[str, Any],
    plan: dict[str, Any],
    send_until: datetime,
    now: datetime,
    facts: dict[str, Any] | None = None,
) -> Operation | None:
    """Write the operation on one virtual machine with its first attempt, due now; wake a worker on commit.

    None where another one of the kind is active that this tenant cannot see: the machine came from somebody else.
    """
    operation = Operation(
        tenant_id=actor.tenant_id,
        kind=kind,
        subject=machine.guid,
        virtual_machine_guid=machine.guid,
        virtual_machine_name=machine.name,
        wish=given,
        plan={**plan, "tenant_label": actor.vplus_tenant_id},
        requested_by_id=actor.membership_id,
        requested_by_name=(actor.person.name or actor.person.email)[:254],
        requested_via=f"token {actor.token.name}" if actor.token else "page",
        requested_at=now,
        send_until=send_until,
        reference=get_contextvars().get("reference", ""),
        last_news_at=now,
        **(facts or {}),
    )
    # A row that another tenant's active operation hides (the machine has moved) meets the unique index, not an error.
    Operation.objects.bulk_create([operation], ignore_conflicts=True)
    if not Operation.objects.filter(pk=operation.pk).exists():
        return None
    told.tell([operation], new=True)
    step = Step.objects.create(tenant_id=actor.tenant_id, operation=operation, position=1, action=action)
    # Due by the clock that decides on it: this process's own may be ahead.
    attempt = Attempt.objects.create(tenant_id=actor.tenant_id, step=step, due_at=database_now())
    audit.record(
        actor,
        f"operation.{kind}",
        object_kind="virtual_machine",
        object_id=machine.guid,
        object_name=machine.name,
        detail={"operation": str(operation.pk), "wish": given},
    )
    transaction.on_commit(partial(wake_sender, actor.tenant_id, attempt.pk), robust=True)
    return operation

"""What an actor sees of policies: the accessors that views and services start from, as in ownership/visible.py."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from tenants.refusals import NotVisible
from tenants.rights import Actor
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.protection.models import LIVING, Carrier, Policy, PolicyMember, PolicyState, Schedule


def policies(actor: Actor) -> QuerySet[Policy]:
    """Return the policies that are there or being made: the tenant's, or those of machines granted to the actor."""
    rows = Policy.objects.filter(state__in=LIVING)
    if actor.sees_all:
        return rows
    return rows.filter(members__virtual_machine_guid__in=list(actor.grants)).distinct()


def policy(actor: Actor, policy_id: UUID) -> Policy:
    """Return one policy; raise NotVisible where it is not the actor's to see, or not there any more."""
    row = policies(actor).filter(pk=policy_id).first()
    if row is None:
        raise NotVisible
    return row


def policies_by_name(actor: Actor, names: Collection[str]) -> dict[str, UUID]:
    """Return the ids of policies that the actor sees by their names, as machines bear these (`policy_names`)."""
    wanted = [name for name in names if name]
    return dict(policies(actor).filter(name__in=wanted).values_list("name", "pk")) if wanted else {}


def schedules(actor: Actor) -> QuerySet[Schedule]:
    """Return the schedules of the policies that the actor sees."""
    return Schedule.objects.filter(policy__in=policies(actor).values("pk"))


def policy_names_of_schedules(actor: Actor, vplus_guids: Collection[str]) -> dict[str, str]:
    """Return, by vPlus's guid of a schedule, the name of the policy that it is of; those that the actor does not see, or
    that are not the tenant's, are left out. In one SQL statement, in none where nothing is asked.
    """
    if not vplus_guids:
        return {}
    rows = Carrier.objects.filter(vplus_guid__in=vplus_guids, schedule__policy__in=policies(actor).values("pk"))
    return dict(rows.values_list("vplus_guid", "schedule__policy__name"))


def carried_by(actor: Actor, schedule: str) -> list[str]:
    """Return vPlus's guids of a schedule that is told by our id; a word that is none is taken to be vPlus's own guid."""
    try:
        schedule_id = UUID(schedule)
    except ValueError:
        return [schedule]
    carriers = Carrier.objects.filter(schedule=schedule_id, schedule__policy__in=policies(actor).values("pk"))
    return [schedule, *carriers.values_list("vplus_guid", flat=True)]


def our_ids(actor: Actor, vplus_guids: Iterable[str]) -> dict[str, UUID]:
    """Return, by vPlus's guid, the id of our schedule that it carries; those that the actor does not see are left out."""
    carriers = Carrier.objects.filter(
        vplus_guid__in=list(vplus_guids), schedule__policy__in=policies(actor).values("pk")
    )
    return dict(carriers.values_list("vplus_guid", "schedule"))


def active_operation(policy_id: UUID) -> Operation | None:
    """Return the operation that changes a policy just now, whether it is about it or takes machines from it."""
    rows = Operation.objects.filter(kind=Kind.POLICY, state__in=ACTIVE)
    return rows.filter(plan__touches__contains=str(policy_id)).order_by("requested_at").first()


def changes(actor: Actor, policy_id: UUID) -> QuerySet[Operation]:
    """Return the operations on a policy that the actor sees, newest first: who changed what, and what came of it.

    `plan["changes"]` is [{field, before, after}] in words; `wish["draft"]` is the draft, also of one that was not saved.
    """
    policy(actor, policy_id)
    return Operation.objects.filter(kind=Kind.POLICY, subject=str(policy_id)).order_by("-requested_at", "pk")


def memberships(actor: Actor, vm_guids: Iterable[str]) -> QuerySet[PolicyMember]:
    """Return which of these virtual machines are in which of the policies that the actor sees."""
    return PolicyMember.objects.filter(virtual_machine_guid__in=list(vm_guids), policy__in=policies(actor))


def not_made(actor: Actor, since: datetime) -> QuerySet[Policy]:
    """Return policies that were asked for since then and could not be made, newest first, unless their name is taken now."""
    del actor  # the scope has narrowed them to the tenant already
    made = Policy.objects.filter(state__in=LIVING).values("name")
    gone = Policy.objects.filter(state=PolicyState.NOT_MADE, created_at__gte=since)
    return gone.exclude(name__in=made).order_by("-created_at")

"""The list of policies: how each stands, what it can be filtered by, and when it runs next. Pages and API ask the same here."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Lower

from tenants.rights import Actor
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.ownership import visible as owned
from vplus_bridge.protection.attached import promises_of_attached
from vplus_bridge.protection.models import Policy, PolicyMember, PolicyState
from vplus_bridge.protection.promised_runs import next_runs
from vplus_bridge.protection.stored import promise_of
from vplus_bridge.protection.wall_time import Promise

BY_NAME = Keyset("name", (Key(Lower("name")), Key("id")))


class Standing(StrEnum):
    """How a policy stands, as its people see it; the first that is true counts."""

    READ_ONLY = "read_only"
    SAVING = "saving"
    DIFFERS = "differs"
    PAUSED = "paused"
    ACTIVE = "active"


def being_changed() -> frozenset[UUID]:
    """Return the policies that an operation makes or changes just now, in the open scope and one SQL statement."""
    rows = Operation.objects.filter(kind=Kind.POLICY, state__in=ACTIVE).values_list("plan__touches", flat=True)
    return frozenset(UUID(one) for touches in rows for one in touches or ())


def standing(policy: Policy, changing: Collection[UUID]) -> Standing:
    """Return how a policy stands; `changing` comes from being_changed()."""
    if policy.attached:
        return Standing.READ_ONLY
    if policy.state == PolicyState.MAKING or policy.pk in changing:
        return Standing.SAVING
    if policy.differs_since is not None:
        return Standing.DIFFERS
    return Standing.PAUSED if policy.paused else Standing.ACTIVE


def filtered(
    rows: QuerySet[Policy], *, state: str = "", search: str = "", changing: Collection[UUID] = ()
) -> QuerySet[Policy]:
    """Return those policies that stand so and whose name has this part; left empty, nothing is filtered."""
    if text := search.strip():
        rows = rows.filter(name__icontains=text)
    if not state:
        return rows
    saving = Q(state=PolicyState.MAKING) | Q(pk__in=list(changing))
    if state == Standing.READ_ONLY:
        return rows.filter(attached=True)
    rows = rows.filter(attached=False)
    if state == Standing.SAVING:
        return rows.filter(saving)
    rows = rows.exclude(saving)
    if state == Standing.DIFFERS:
        return rows.filter(differs_since__isnull=False)
    return rows.filter(differs_since=None, paused=state == Standing.PAUSED)


def counted(actor: Actor, rows: QuerySet[Policy]) -> QuerySet[Policy]:
    """Return these policies, each with the number of its virtual machines that the actor sees, as ``machines``.

    One that has become somebody else's, or nobody's, can still be in a policy; it is not counted, as it is not listed.
    """
    seen = owned.virtual_machines(actor).values("guid")
    members = PolicyMember.objects.filter(policy=OuterRef("pk"), virtual_machine_guid__in=seen).order_by()
    count = members.values("policy").annotate(count=Count("pk")).values("count")
    return rows.annotate(machines=Coalesce(Subquery(count, output_field=IntegerField()), 0))


def promises(policies: Sequence[Policy]) -> Mapping[UUID, Sequence[Promise | None]]:
    """Return what the schedules of each policy promise, in a fixed number of SQL statements; None for one without words.

    The policies come with their schedules prefetched.
    """
    of_others = promises_of_attached([policy for policy in policies if policy.attached])
    return {
        policy.pk: of_others[policy.pk]
        if policy.attached
        else [promise_of(row, paused=policy.paused) for row in policy.schedules.all()]
        for policy in policies
    }


def next_run(found: Iterable[Promise | None], after: datetime) -> datetime | None:
    """Return when the first of these promises runs next; None where none does, or that is not known."""
    runs = [run.utc for promise in found if promise is not None for run in next_runs(promise, 1, after)]
    return min(runs, default=None)

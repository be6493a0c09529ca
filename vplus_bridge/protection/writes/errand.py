"""What a write of a policy's operation goes out with, and what all of these writes have in common.

Each looks before it sends: after an answer that was lost, what vPlus holds tells whether to send again, so that any of
them can be repeated safely (design.md 6, Sending: objects with names).
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tenants.scope import in_tenant
from vplus_bridge.client import Dialect, OutcomeKind, VplusClient, WriteRequest
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations.models import Attempt, Operation, Outcome
from vplus_bridge.operations.moves import State
from vplus_bridge.operations.writes.write import Claim, Prepared, Ready, WorldChanged, Write
from vplus_bridge.ownership.models import AllowedDestination
from vplus_bridge.protection import course

Facts = Mapping[str, Any]
MOST_SENT = 4
"""How often one write goes out when its answers are lost and vPlus shows nothing of it."""


@dataclass(frozen=True)
class Errand:
    """One step to be written: what it says, how often it went out before, and what the steps before it made, by name."""

    claim: Claim
    spec: Mapping[str, Any]
    sent_before: int
    made: Mapping[str, str]
    tenant_label: str
    project_uuid: str | None

    def guid(self, reference: Mapping[str, str]) -> str:
        """Return the guid that a reference of the step names, also by the wire name of what was just made."""
        return reference.get("guid") or self.made.get(reference.get("name", ""), "")

    def guids(self, references: Iterable[Mapping[str, str]]) -> list[str]:
        """Return the guids of several references."""
        return [self.guid(reference) for reference in references]


def errand_of(claim: Claim) -> Errand:
    """Read what a claim is about."""
    with in_tenant(claim.tenant_id):
        step = Attempt.objects.select_related("step").get(pk=claim.attempt_id).step
        accepted = Attempt.objects.filter(step__operation=claim.operation_id, outcome=Outcome.ACCEPTED)
        return Errand(
            claim=claim,
            spec=step.spec,
            sent_before=Attempt.objects.filter(step=step, sent_at__isnull=False)
            .exclude(outcome=Outcome.NOT_ACCEPTED)
            .count(),
            made=dict(accepted.exclude(object_guid="").values_list("object_name", "object_guid")),
            tenant_label=claim.plan.get("tenant_label") or str(claim.tenant_id),
            project_uuid=claim.plan.get("project_uuid") or None,
        )


def gone_machines(claim: Claim, guids: Iterable[str]) -> set[str]:
    """Return which of these are no longer on the platform."""
    with in_tenant(claim.tenant_id):
        return {row.guid for row in VirtualMachine.objects.filter(guid__in=list(guids)) if row.gone}


def see_that_machines_are_ours(claim: Claim, guids: Iterable[str]) -> None:
    """Look once more whose the machines are. Raises WorldChanged."""
    wanted = set(guids)
    with in_tenant(claim.tenant_id):
        if VirtualMachine.objects.filter(guid__in=wanted).count() < len(wanted):
            raise WorldChanged("policy_vm_not_yours")


def see_that_destinations_are_allowed(claim: Claim, guids: Iterable[str]) -> None:
    """Look once more at what the tenant may use. Raises WorldChanged."""
    wanted = set(guids)
    with in_tenant(claim.tenant_id):
        rows = AllowedDestination.objects.filter(destination_guid__in=wanted)
        if rows.values("destination_guid").distinct().count() < len(wanted):
            raise WorldChanged("policy_destination_not_allowed")


class ObjectWrite(Write):
    """A write of a policy, a rule or a schedule; what its outcome means for the operation is `course`'s to say."""

    sendable = frozenset({State.REQUESTED, State.SUBMITTED, State.RUNNING})
    has_deadline = False

    def prepare(self, client: VplusClient, claim: Claim) -> Prepared:
        """See what vPlus holds now, and whether that leaves anything to send."""
        client.ensure_session()
        errand = errand_of(claim)
        facts = self.look(client, errand)
        if errand.sent_before >= MOST_SENT:
            raise WorldChanged("policy_no_answer")
        return Prepared([], [], timedelta(), {"errand": errand, **facts})

    @abstractmethod
    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """Return what was read and the request needs. Raises AlreadyDone, WorldChanged, VplusError."""

    def ready(self, dialect: Dialect, claim: Claim, prepared: Prepared, now: datetime) -> Ready | None:
        """Return the request as it goes out."""
        request = self.request(dialect, prepared.facts["errand"], prepared.facts)
        return None if request is None else Ready(request)

    @abstractmethod
    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return what is to be sent; `facts` is what was read before. Raises client.Invalid where it cannot be worded."""

    def recorded(
        self, operation: Operation, attempt: Attempt, kind: OutcomeKind, answer: Answer, now: datetime
    ) -> OutcomeKind:
        """Go on with the next step, look again, or turn back."""
        return course.recorded(operation, attempt, kind, answer, now)

    def given_up(self, operation: Operation, attempt: Attempt, code: str, now: datetime) -> None:
        """Turn back: what this step found makes it impossible."""
        course.given_up(operation, attempt, code, now)

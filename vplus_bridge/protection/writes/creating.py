"""Making a schedule, a policy, a rule. The wire name is the key: what bears it is what was meant, whoever answered how."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import structlog

from vplus_bridge.client import (
    BadAnswer,
    Dialect,
    Listing,
    NotFound,
    OutcomeKind,
    PolicyRecord,
    RuleDraft,
    ScheduleRecord,
    VplusClient,
    VplusError,
    WriteRequest,
    bears_name,
)
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.operations.writes.write import AlreadyDone, Claim, WorldChanged
from vplus_bridge.protection.carrier_wire import members
from vplus_bridge.protection.stored import timeless
from vplus_bridge.protection.writes.errand import (
    Errand,
    Facts,
    ObjectWrite,
    errand_of,
    see_that_destinations_are_allowed,
    see_that_machines_are_ours,
)

log = structlog.get_logger(__name__)
MOST_ASKED_FOR = 50
"""How many machines are asked for one by one whether a policy of somebody else has them."""


class Creation(ObjectWrite):
    """A POST after which vPlus has one object more, which bears the attempt's name."""

    @abstractmethod
    def find(self, client: VplusClient, errand: Errand) -> str | None:
        """Return the guid of what bears the name; None where nothing does. Raises VplusError."""

    @abstractmethod
    def check(self, client: VplusClient, errand: Errand) -> None:
        """See that it may be made. Raises WorldChanged, VplusError."""

    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """Look for what an earlier attempt may have made; a name that was never sent needs no looking."""
        if errand.sent_before and (guid := self.find(client, errand)):
            raise AlreadyDone(guid)
        self.check(client, errand)
        return {}

    def look_again(self, client: VplusClient, claim: Claim, answer: Answer) -> Answer:
        """Look the name up where the answer does not name the object, or is a no that may come from an earlier yes."""
        if answer.kind == OutcomeKind.NOT_ACCEPTED:
            return answer
        if answer.kind == OutcomeKind.ACCEPTED and answer.named:
            guid, name = answer.named[0]
            if guid and (name is None or bears_name(name, claim.object_name)):
                return answer
        try:
            guid = self.find(client, errand_of(claim)) or ""
        except VplusError as problem:
            log.warning("could not look a name up", operation=str(claim.operation_id), problem=problem.user_message)
            return replace(answer, kind=OutcomeKind.UNCERTAIN, named=())
        if guid:
            return replace(answer, kind=OutcomeKind.ACCEPTED, named=((guid, claim.object_name),))
        if answer.kind == OutcomeKind.ACCEPTED:
            return replace(answer, kind=OutcomeKind.UNCERTAIN, reason="accepted, and not to be found", named=())
        return answer


def bearer(listing: Listing[PolicyRecord] | Listing[ScheduleRecord], name: str) -> str | None:
    """Return the guid of the listed object that bears a name; None where there is none. Raises VplusError."""
    for page in listing:
        for record in page:
            if bears_name(record.name, name):
                return record.guid
    whole = listing.completeness
    if whole.announced is not None and whole.distinct + whole.bad_records < whole.announced:
        raise BadAnswer("a list came shorter than it said, so a name may be missing in it")
    return None


class ScheduleCreate(Creation):
    """POST /schedules; it fires nothing until a rule names it."""

    action = "schedule_create"

    def find(self, client: VplusClient, errand: Errand) -> str | None:
        """Look through the list: a filter for tenants proves nothing (vplus-api.md 4.1)."""
        return bearer(client.schedules(), errand.claim.object_name)

    def check(self, client: VplusClient, errand: Errand) -> None:
        """Nothing stands against it."""

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        return dialect.create_schedule_request(
            name=errand.claim.object_name,
            **members(timeless(errand.spec["carrier"])),
            tenant_label=errand.tenant_label,
            project_uuid=errand.project_uuid,
        )


class PolicyCreate(Creation):
    """POST /policies/vm-backup; in the current dialect with its rule, which the next step then finds."""

    action = "policy_create"

    def find(self, client: VplusClient, errand: Errand) -> str | None:
        """Look through the list."""
        return bearer(client.policies(), errand.claim.object_name)

    def check(self, client: VplusClient, errand: Errand) -> None:
        """See that the machines are still the tenant's and in no policy of somebody else."""
        see_that_machines_are_ours(errand.claim, errand.spec["vms"])
        see_that_machines_are_free(client, errand.spec["vms"], errand.spec.get("may_leave", ()))
        see_that_destinations_are_allowed(errand.claim, errand.spec["rule"]["destinations"])

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        rule = errand.spec["rule"]
        embedded = RuleDraft(rule["name"], tuple(errand.guids(rule["schedules"])), tuple(rule["destinations"]))
        return dialect.create_policy_request(
            name=errand.claim.object_name,
            vm_guids=errand.spec["vms"],
            priority=errand.spec["priority"],
            auto_remove_non_present=errand.spec["auto_remove"],
            rule=embedded if dialect.RULE_IS_EMBEDDED else None,
            tenant_label=errand.tenant_label,
            project_uuid=errand.project_uuid,
        )


class RuleCreate(Creation):
    """POST /rules/vm-backup. Names of rules need not be unique, so its policy is looked at each time."""

    action = "rule_create"

    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """Look at the policy's rules."""
        if guid := self.find(client, errand):
            raise AlreadyDone(guid)
        self.check(client, errand)
        return {}

    def find(self, client: VplusClient, errand: Errand) -> str | None:
        """Look through the rules of the policy (vplus-api.md 4.12)."""
        try:
            rules = client.policy_detail(errand.guid(errand.spec["policy"])).record.rules or ()
        except NotFound as problem:
            if problem.html:
                raise
            return None
        return next((rule.guid for rule in rules if bears_name(rule.name, errand.claim.object_name)), None)

    def check(self, client: VplusClient, errand: Errand) -> None:
        """See that the destination is still allowed."""
        see_that_destinations_are_allowed(errand.claim, errand.spec["destinations"])

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        rule = RuleDraft(
            errand.claim.object_name, tuple(errand.guids(errand.spec["schedules"])), tuple(errand.spec["destinations"])
        )
        policy = errand.guid(errand.spec["policy"])
        return dialect.create_rule_request(rule, policy_guid=policy, project_uuid=errand.project_uuid)


def see_that_machines_are_free(client: VplusClient, guids: list[str], own: tuple[str, ...] | list[str]) -> None:
    """See that no policy of somebody else has them, as far as vPlus tells: a write would take them away from it.

    Raises WorldChanged, VplusError.
    """
    for guid in guids[:MOST_ASKED_FOR]:
        try:
            policy = client.virtual_machine(guid).policy_guid
        except NotFound:
            continue  # not every server answers this call for every account; the write itself will be refused
        if policy is not None and policy not in own:
            raise WorldChanged("policy_vm_elsewhere")

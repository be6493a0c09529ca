"""Changing and removing. A PUT replaces the whole, so each starts from what vPlus holds at that moment (vplus-api.md 4.26).

Equal to what is meant, and unlike what was there: done. Unlike what we last wrote: somebody changed it, stop.
Else send; a second time does no harm.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import structlog

from vplus_bridge.client import (
    BadAnswer,
    Detail,
    Dialect,
    NotFound,
    OutcomeKind,
    PolicyDetail,
    RawObject,
    RuleRecord,
    VplusClient,
    VplusError,
    WriteRequest,
    bears_name,
)
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.operations.writes.write import AlreadyDone, Claim, WorldChanged
from vplus_bridge.protection import compare
from vplus_bridge.protection.carrier_wire import members
from vplus_bridge.protection.stored import timeless
from vplus_bridge.protection.writes.creating import see_that_machines_are_free
from vplus_bridge.protection.writes.errand import (
    Errand,
    Facts,
    ObjectWrite,
    errand_of,
    gone_machines,
    see_that_destinations_are_allowed,
    see_that_machines_are_ours,
)

log = structlog.get_logger(__name__)
T = TypeVar("T")


def settled(guid: str, meant: Sequence[object], was: Sequence[object] | None) -> None:
    """Decide by what differs from what is meant and from what was last written (None: whatever was there).

    Raises AlreadyDone or WorldChanged; returns where it is to be sent.
    """
    if was and not meant:
        raise AlreadyDone(guid)
    if was:
        raise WorldChanged("policy_changed_in_vplus")


def there(read: Callable[[str], T], guid: str) -> T:
    """Read what has to be there to be changed. Raises WorldChanged where it is not, VplusError."""
    try:
        return read(guid)
    except NotFound as problem:
        raise _gone(problem) from None


class Replacement(ObjectWrite):
    """A PUT of a whole object."""

    def look_again(self, client: VplusClient, claim: Claim, answer: Answer) -> Answer:
        """See after a no whether it was done all the same; where that is not told, the no is believed, and undone."""
        if answer.kind != OutcomeKind.REFUSED:
            return answer
        try:
            self.look(client, errand_of(claim))
        except AlreadyDone as done:
            return Answer(OutcomeKind.ACCEPTED, answer.status, "refused, and done", named=((done.guid, None),))
        except (WorldChanged, VplusError) as problem:
            log.info("a refused change is not seen done", operation=str(claim.operation_id), problem=str(problem))
        return answer


class ScheduleUpdate(Replacement):
    """PUT /schedules/{guid}."""

    action = "schedule_update"

    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """Read it; one that serves rules of others too is not changed (design.md 6, Policies)."""
        spec, guid = errand.spec, errand.guid(errand.spec)
        detail = there(client.schedule_detail, guid)
        was = None if spec.get("was") is None else compare.of_schedule(spec["was"], detail.record)
        settled(guid, compare.of_schedule(spec["carrier"], detail.record), was)
        if compare.shared_with(detail.record, spec["rule_guid"]):
            raise WorldChanged("policy_schedule_shared")
        return {"raw": detail.raw}

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        return dialect.update_schedule_request(
            facts["raw"],
            name=errand.spec["name"],
            **members(timeless(errand.spec["carrier"])),
            tenant_label=errand.tenant_label,
            project_uuid=errand.project_uuid,
        )


class PolicyUpdate(Replacement):
    """PUT /policies/vm-backup/{guid}: members, priority, what becomes of machines that go."""

    action = "policy_update"

    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """Read it, and see that machines that come in may."""
        spec, guid = errand.spec, errand.guid(errand.spec)
        detail = there(client.policy_detail, guid)
        meant = compare.PolicyMeant.of_json(spec["meant"])
        was = None if spec.get("was") is None else compare.PolicyMeant.of_json(spec["was"])
        gone = gone_machines(errand.claim, {*meant.vms, *(was.vms if was else ())})
        differs = None if was is None else compare.of_policy(was, detail.record, gone=gone)
        settled(guid, compare.of_policy(meant, detail.record, gone=gone), differs)
        if not spec.get("undo"):
            came = sorted(set(meant.vms) - set(was.vms if was else ()) - set(detail.record.vm_guids or ()))
            see_that_machines_are_ours(errand.claim, came)
            see_that_machines_are_free(client, came, [guid, *spec.get("may_leave", ())])
        return {"raw": with_whole_rules(client, detail)}

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        meant = compare.PolicyMeant.of_json(errand.spec["meant"])
        return dialect.update_policy_request(
            facts["raw"],
            name=errand.spec["name"],
            vm_guids=meant.vms,
            priority=meant.priority,
            auto_remove_non_present=meant.auto_remove,
            tenant_label=errand.tenant_label,
            project_uuid=errand.project_uuid,
        )


class PolicyTakeOut(Replacement):
    """PUT /policies/vm-backup/{guid} as it is, without machines that are somebody else's now."""

    action = "policy_take_out"

    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """Read it; a policy that is not there has no machines."""
        guid = errand.guid(errand.spec)
        try:
            detail = client.policy_detail(guid)
        except NotFound as problem:
            if problem.html:
                raise
            raise AlreadyDone(guid) from None
        held, meant = detail.record, compare.PolicyMeant.of_json(errand.spec["meant"])
        there = meant.vms if held.vm_guids is None else held.vm_guids
        stay = [vm for vm in there if vm not in errand.spec["machines"]]
        # Where it is not told who is in it, what was sent has to do.
        if errand.sent_before if held.vm_guids is None else len(stay) == len(there):
            raise AlreadyDone(guid)
        return {"raw": with_whole_rules(client, detail), "held": held, "stay": stay}

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        held, meant = facts["held"], compare.PolicyMeant.of_json(errand.spec["meant"])
        removes = held.auto_remove_non_present
        return dialect.update_policy_request(
            facts["raw"],
            name=errand.spec["name"] if bears_name(held.name, errand.spec["name"]) else held.name,
            vm_guids=facts["stay"],
            priority=meant.priority if held.priority is None else held.priority,
            auto_remove_non_present=meant.auto_remove if removes is None else removes,
            tenant_label=errand.tenant_label,
            project_uuid=errand.project_uuid,
        )


def with_whole_rules(client: VplusClient, policy: PolicyDetail) -> RawObject:
    """Return a policy as it is now, ready to be written; where its rules are written with it, with all they say.

    Which schedules fire a rule is one relation that schedules tell too (vplus-api.md 3.8), on every server. Raises
    VplusError.
    """
    if not client.dialect.RULE_IS_EMBEDDED or not policy.rules:
        return policy.raw
    rules = client.whole_rules(policy)
    silent = {rule.record.guid for rule in rules if rule.record.schedule_guids is None}
    fired = _fired(client, silent) if silent else {}
    return {**policy.raw, "rules": [{**rule.raw, **fired.get(rule.record.guid, {})} for rule in rules]}


def _fired(client: VplusClient, rules: set[str]) -> dict[str, dict[str, Any]]:
    """Return the member that each of these rules lacks, by guid; none where a schedule does not tell whom it fires."""
    listing = client.schedules()
    schedules = [schedule for page in listing for schedule in page]
    if not listing.completeness.complete:
        raise BadAnswer("a list of schedules came short, so one may be missing in it")
    if any(schedule.rule_guids is None for schedule in schedules):
        return {}
    return {
        guid: {"schedules": [{"guid": one.guid} for one in schedules if guid in (one.rule_guids or ())]}
        for guid in rules
    }


class RuleUpdate(Replacement):
    """PUT /rules/vm-backup/{guid}: which schedules fire, and where backups go."""

    action = "rule_update"

    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """Read it in its policy's detail, as every server has it."""
        spec, guid = errand.spec, errand.guid(errand.spec)
        rule = rule_of(client, errand.guid(spec["policy"]), guid)
        if rule is None:
            raise WorldChanged("policy_rule_gone")
        was = None
        if spec.get("was") is not None:
            was = compare.of_rule(errand.guids(spec["was"]["schedules"]), spec["was"]["destinations"], rule.record)
        settled(guid, compare.of_rule(errand.guids(spec["schedules"]), spec["destinations"], rule.record), was)
        if not spec.get("undo"):
            see_that_destinations_are_allowed(errand.claim, spec["destinations"])
        return {"raw": rule.raw}

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        return dialect.update_rule_request(
            facts["raw"],
            schedule_guids=errand.guids(errand.spec["schedules"]),
            destination_guids=errand.spec["destinations"],
            policy_guid=errand.guid(errand.spec["policy"]),
            project_uuid=errand.project_uuid,
        )


def rule_of(client: VplusClient, policy_guid: str, rule_guid: str) -> Detail[RuleRecord] | None:
    """Return one rule of a policy, ready to be changed; None where it has no such rule. Raises WorldChanged, VplusError."""
    rules = there(client.policy_detail, policy_guid).rules or ()
    return next((rule for rule in rules if rule.record.guid == rule_guid), None)


def _gone(problem: NotFound) -> Exception:
    """Return what an answer means that knows no such object; a web page says nothing about it."""
    return problem if problem.html else WorldChanged("policy_gone_in_vplus")


class Removal(ObjectWrite):
    """A DELETE. What is not there any more is done."""

    @abstractmethod
    def read(self, client: VplusClient, errand: Errand) -> None:
        """Read it, and see that it is what we made. Raises NotFound, WorldChanged, VplusError."""

    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """See if it is still there."""
        try:
            self.read(client, errand)
        except NotFound as problem:
            if problem.html:
                raise
            raise AlreadyDone(errand.guid(errand.spec)) from None
        return {}

    def look_again(self, client: VplusClient, claim: Claim, answer: Answer) -> Answer:
        """404 is done: somebody, or an earlier attempt, removed it. So is what is gone after another no."""
        if answer.kind != OutcomeKind.REFUSED:
            return answer
        if answer.status == HTTPStatus.NOT_FOUND:
            return Answer(OutcomeKind.ACCEPTED, answer.status, "it was gone already")
        try:
            self.look(client, errand_of(claim))
        except AlreadyDone:
            return Answer(OutcomeKind.ACCEPTED, answer.status, "refused, and gone")
        except (WorldChanged, VplusError) as problem:
            log.info("could not look after a refusal", operation=str(claim.operation_id), problem=str(problem))
        return answer


class ScheduleDelete(Removal):
    """DELETE /schedules/{guid}, where it is ours and serves nobody else."""

    action = "schedule_delete"

    def read(self, client: VplusClient, errand: Errand) -> None:
        """See that it bears the name that we gave it and fires no rule of others."""
        held = client.schedule_detail(errand.guid(errand.spec)).record
        if not bears_name(held.name, errand.spec["name"]):
            raise WorldChanged("policy_not_ours")
        if compare.shared_with(held, errand.guid(errand.spec.get("rule", {}))):
            raise WorldChanged("policy_schedule_shared")

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        return dialect.delete_schedule_request(errand.guid(errand.spec), project_uuid=errand.project_uuid)


class PolicyDelete(Removal):
    """DELETE /policies/vm-backup/{guid}; its rule goes with it, its schedules stay."""

    action = "policy_delete"

    def read(self, client: VplusClient, errand: Errand) -> None:
        """See that it bears the name that we gave it."""
        if not bears_name(client.policy(errand.guid(errand.spec)).name, errand.spec["name"]):
            raise WorldChanged("policy_not_ours")

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        return dialect.delete_policy_request(errand.guid(errand.spec), project_uuid=errand.project_uuid)


class RuleDelete(Removal):
    """DELETE /rules/vm-backup/{guid}: one that a lost answer left double, or that others made in a policy of ours."""

    action = "rule_delete"

    def read(self, client: VplusClient, errand: Errand) -> None:
        """See that its policy still has it; one that vPlus keeps for its backups' sake is marked, and gone (vplus-api.md 2.8)."""
        rule = rule_of(client, errand.guid(errand.spec["policy"]), errand.guid(errand.spec))
        if rule is None or rule.record.marked_for_deletion:
            raise NotFound("the policy has no such rule")

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Return the request."""
        return dialect.delete_rule_request(errand.guid(errand.spec), project_uuid=errand.project_uuid)


class PolicyCheck(ObjectWrite):
    """The last step, which never sends: a fresh read shows that vPlus holds exactly what was meant, or what it holds."""

    action = "policy_check"

    def look(self, client: VplusClient, errand: Errand) -> dict[str, Any]:
        """Read policy, rule and schedules."""
        spec, guid = errand.spec, errand.guid(errand.spec["policy"])
        try:
            held = client.policy_detail(guid).record
        except NotFound as problem:
            if spec["gone"] and not problem.html:
                raise AlreadyDone(guid) from None
            raise _gone(problem) from None
        if spec["gone"]:
            raise WorldChanged("policy_not_as_meant")
        rules = [rule for rule in held.rules or () if not rule.marked_for_deletion]
        rule_guid = errand.guid(spec["rule"])
        double = [rule.guid for rule in rules if rule.guid != rule_guid and bears_name(rule.name, spec["rule"]["name"])]
        if double:
            raise WorldChanged(f"second_rule {double[0]}")
        rule = next((rule for rule in rules if rule.guid == rule_guid), None)
        schedules = errand.guids(spec["carriers"])
        meant = compare.PolicyMeant.of_json(spec["meant"])
        if (
            rule is None
            or len(rules) > 1
            or compare.of_policy(meant, held, gone=gone_machines(errand.claim, meant.vms))
            or compare.of_rule(schedules, spec["destinations"], rule)
            or not all(self._as_meant(client, carrier, errand, rule_guid) for carrier in spec["carriers"])
        ):
            raise WorldChanged("policy_not_as_meant")
        raise AlreadyDone(guid)

    def _as_meant(self, client: VplusClient, carrier: dict[str, Any], errand: Errand, rule_guid: str) -> bool:
        try:
            held = client.schedule_detail(errand.guid(carrier)).record
        except NotFound as problem:
            if problem.html:
                raise
            return False
        fires = held.rule_guids is None or list(held.rule_guids) == [rule_guid]
        return fires and not compare.of_schedule(carrier["spec"], held, carrier["name"])

    def request(self, dialect: Dialect, errand: Errand, facts: Facts) -> WriteRequest | None:
        """Nothing is ever sent."""
        return None

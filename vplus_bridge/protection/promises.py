"""What schedules promise to whose machines, computed ahead: when the next run is, and how old a restore point may be.

From the mirror, for policies of vPlus that hold machines of somebody; by wall times, for those that were made here.
In the open wide scope. Computed where something changed, and once a day since the year moves on.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from vplus_bridge.mirror.models import VirtualMachine, VplusPolicy, VplusSchedule
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.protection.expected import write_due
from vplus_bridge.protection.ledger_models import PolicyPromise, PromiseState
from vplus_bridge.protection.models import LIVING, Policy
from vplus_bridge.protection.promised_runs import Gap
from vplus_bridge.protection.stored import promise_of
from vplus_bridge.protection.timetable import (
    Timetable,
    UtcRule,
    gap_of,
    next_firing,
    timetable_of_utc,
)

VM_BACKUP = "VM_BACKUP"
COMPUTED_FOR = timedelta(days=1)
FEW_POLICIES = 200
"""For so many their schedules are looked for one by one; for more all are read."""


@dataclass
class Promised:
    """What backs up a policy's machines, and whether something of it could not be told."""

    timetables: list[Timetable] = field(default_factory=list)
    doubtful: bool = False
    _gaps: dict[datetime, Gap | None] = field(default_factory=dict)

    def gap(self, now: datetime) -> Gap | None:
        """Return the longest time without a run; computed once, however many tenants share the policy."""
        if now not in self._gaps:
            self._gaps[now] = gap_of(self.timetables, now)
        return self._gaps[now]

    @property
    def state(self) -> str:
        """What is known: one schedule that certainly runs is a promise, also beside one that cannot be told."""
        if any(table.fires.active for table in self.timetables):
            return PromiseState.KNOWN
        return PromiseState.CANNOT_TELL if self.doubtful else PromiseState.NONE


def refresh(now: datetime, *, machines: Collection[str] | None = None) -> None:
    """Bring promises up to date with the mirror; what was due by an old one is written to the ledger before.

    All of them, or, where only machines changed, those to these machines; one to nobody any more ends in either case. One at
    a time, with those who write machines: each does what follows from the rows that it sees.
    """
    one_at_a_time()
    in_policies = VirtualMachine.objects.exclude(policy_guid="").order_by()
    pairs = _pairs(in_policies)
    known = PolicyPromise.objects.values_list("tenant_id", "policy_guid", "pk")
    nobodys = [pk for tenant_id, policy_guid, pk in known if (tenant_id, policy_guid) not in pairs]
    PolicyPromise.objects.filter(pk__in=nobodys).delete()
    rows = PolicyPromise.objects.all()
    if machines is not None:
        pairs = _pairs(in_policies.filter(guid__in=list(machines)))
        rows = rows.filter(policy_guid__in={policy_guid for _, policy_guid in pairs})
    kept = {(row.tenant_id, row.policy_guid): row for row in rows}
    promised = promised_of({policy_guid for _, policy_guid in pairs})
    for pair in pairs:
        row = kept.get(pair) or PolicyPromise(tenant_id=pair[0], policy_guid=pair[1], written_until=now)
        _keep(row, promised[row.policy_guid], now)


def _pairs(machines: QuerySet[VirtualMachine]) -> set[tuple[UUID | None, str]]:
    """Return whose machines are in which policies of vPlus."""
    return set(machines.values_list("tenant_id", "policy_guid").distinct())


def _keep(row: PolicyPromise, promised: Promised, now: datetime) -> None:
    specs = [table.as_json() for table in promised.timetables]
    fresh = row.pk is not None and row.computed_at > now - COMPUTED_FOR
    if fresh and (row.state, row.timetables) == (promised.state, specs):
        return
    if row.pk is not None and row.timetables != specs:
        write_due(row, now)
        row.written_until = now
    gap = promised.gap(now)
    row.state, row.timetables, row.computed_at = promised.state, specs, now
    row.gap_seconds = None if gap is None else int(gap.length.total_seconds())
    row.allowance_seconds = None if gap is None else int(gap.allowance.total_seconds())
    row.next_run_at = next_firing(promised.timetables, row.written_until)
    row.save()


def promised_of(policy_guids: Iterable[str]) -> dict[str, Promised]:
    """Return what backs up the machines of each of these policies of vPlus, as far as the mirror tells."""
    wanted = set(policy_guids)
    policies = VplusPolicy.objects.filter(guid__in=wanted, gone_at=None).only("guid", "active", "rules")
    known = {row.guid: row for row in policies}
    schedules = {row.guid: row for row in _schedules_of(known)}
    by_rule, by_policy = defaultdict(set), defaultdict(set)
    for row in schedules.values():
        for guid in row.rule_guids or ():
            by_rule[guid].add(row.guid)
        for guid in row.policy_guids or ():
            by_policy[guid].add(row.guid)
    found: dict[str, Promised] = _of_ours(wanted)
    for guid in wanted.difference(found):
        policy = known.get(guid)
        if policy is None:
            found[guid] = Promised(doubtful=True)
        else:
            found[guid] = _of_policy(policy, schedules, by_rule, by_policy[guid])
    return found


def _schedules_of(policies: Mapping[str, VplusPolicy]) -> QuerySet[VplusSchedule]:
    """Return the schedules that could back up the machines of these policies: all, where that is asked for many."""
    rows = VplusSchedule.objects.filter(gone_at=None)
    if len(policies) > FEW_POLICIES:
        return rows
    rules = [rule for policy in policies.values() for rule in policy.rules or ()]
    named = {guid for rule in rules for guid in rule["schedule_guids"]}
    return rows.filter(
        Q(guid__in=named)
        | Q(rule_guids__overlap=[rule["guid"] for rule in rules])
        | Q(policy_guids__overlap=list(policies))
    )


def _of_ours(vplus_guids: Collection[str]) -> dict[str, Promised]:
    """Return what policies that were made here promise, in wall times: whatever vPlus holds is to make that come true."""
    ours = Policy.objects.filter(vplus_guid__in=vplus_guids, state__in=LIVING, attached=False)
    found: dict[str, Promised] = {}
    for policy in ours.prefetch_related("schedules__carriers"):
        promised = found[policy.vplus_guid] = Promised()
        for row in policy.schedules.all():
            promise = promise_of(row, paused=policy.paused)
            guids = tuple(sorted(carrier.vplus_guid for carrier in row.carriers.all()))
            promised.timetables.append(Timetable(f"own:{row.pk}", guids, promise, promise.window))
    return found


def _of_policy(
    policy: VplusPolicy,
    schedules: Mapping[str, VplusSchedule],
    by_rule: Mapping[str, set[str]],
    of_policy: set[str],
) -> Promised:
    promised = Promised(doubtful=policy.rules is None and not of_policy)
    active: dict[str, bool] = dict.fromkeys(of_policy, policy.rules is None)
    for rule in policy.rules or ():
        for guid in {*rule["schedule_guids"], *by_rule.get(rule["guid"], ())}:
            runs = rule["active"] is not False and not rule["marked_for_deletion"]
            active[guid] = active.get(guid, False) or runs
    for guid in sorted(active):
        schedule = schedules.get(guid)
        if schedule is None:
            promised.doubtful = True  # named by the rule, and not in the list of schedules
            continue
        if schedule.type not in ("", VM_BACKUP):
            continue
        runs = active[guid] and policy.active is not False and schedule.active is not False
        table = timetable_of_utc(_utc_rule(schedule, active=runs))
        if table is None:
            promised.doubtful = True
        else:
            promised.timetables.append(table)
    return promised


def _utc_rule(row: VplusSchedule, *, active: bool) -> UtcRule:
    start, end, every = row.interval_start_ms, row.interval_end_ms, row.interval_frequency_ms
    return UtcRule(
        guid=row.guid,
        active=active,
        execution_type=row.execution_type,
        backup_type=row.backup_type,
        days_of_week=row.days_of_week,
        months=row.months,
        occurrences=row.occurrences,
        hour_ms=row.hour_ms,
        start_window_ms=row.start_window_ms,
        interval_ms=None if start is None or end is None or every is None else (start, end, every),
    )

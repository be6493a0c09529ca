"""Policies, their members and rules, and schedules, as vPlus has them: everybody's, since whose they are is ours to say.

A list may tell no more than guid and name (vplus-api.md 4, poorest answers); members and rules are in a policy's detail.
Details are read for what is new or changed, then those read longest ago, as many as one reading can bear.
"""

from typing import Any

from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from tenants.scope import every_tenant
from vplus_bridge.client import NotFound, PolicyRecord, RuleRecord, ScheduleRecord, VplusClient, VplusError
from vplus_bridge.mirror.instants import clean, digest_of, instant, whole
from vplus_bridge.mirror.models import VplusPolicy, VplusSchedule
from vplus_bridge.mirror.read_state import Patience, contact_lost, recorded
from vplus_bridge.mirror.small_listing import read_listing
from vplus_bridge.mirror.sole_writer import one_at_a_time

REASON = "mirror: policies"
POLICIES, POLICY_DETAILS, SCHEDULES = "policies", "policy_details", "schedules"
MOST_DETAILS = 100


def read_policies(client: VplusClient) -> None:
    """Read policies, their details and schedules; one that cannot be read leaves the others alone.

    Needs the right to write "infrastructure". Raises VplusError when contact is lost.
    """
    if read_listing(POLICIES, client.policies, VplusPolicy, {}, _listed):
        _read_details(client)
    read_listing(SCHEDULES, client.schedules, VplusSchedule, {}, _schedule)
    with every_tenant(REASON):
        tell_policies_by_members()
        if client.dialect.EXPORTS_BY_RULE:
            tell_where_policies_lead()


def read_policy(client: VplusClient, guid: str) -> bool:
    """Read one policy's members and rules now; False where vPlus no longer has it. Raises VplusError."""
    try:
        record = client.policy(guid)
    except NotFound:
        # Its going is for the listing to tell, so that one strange answer does not empty a policy.
        with every_tenant(REASON):
            VplusPolicy.objects.filter(guid=guid).update(detail_tried_at=timezone.now())
        return False
    with every_tenant(REASON):
        _write_detail(guid, record)
    return True


def tell_policies_by_members() -> int:
    """Give machines whose own record names no policy the one that lists them, in the open wide scope; count them."""
    one_at_a_time()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH member AS (
                SELECT DISTINCT ON (vm_guid) vm_guid, policy.guid, policy.name
                FROM vplus_bridge_vpluspolicy policy, unnest(policy.vm_guids) AS vm_guid
                WHERE policy.gone_at IS NULL ORDER BY vm_guid, policy.guid
            ), told AS (
                SELECT vm.guid, coalesce(member.guid, '') AS policy_guid, left(coalesce(member.name, ''), 300) AS policy_name
                FROM vplus_bridge_virtualmachine vm LEFT JOIN member ON member.vm_guid = vm.guid
                WHERE vm.policy_by_members OR (vm.policy_guid = '' AND vm.policy_name = '' AND member.guid IS NOT NULL)
            )
            UPDATE vplus_bridge_virtualmachine vm SET policy_guid = told.policy_guid, policy_name = told.policy_name,
                policy_by_members = told.policy_guid <> '', changed_at = now(),
                policy_since = CASE WHEN vm.policy_guid = told.policy_guid THEN vm.policy_since ELSE now() END
            FROM told WHERE told.guid = vm.guid AND (vm.policy_guid, vm.policy_name, vm.policy_by_members)
                IS DISTINCT FROM (told.policy_guid, told.policy_name, told.policy_guid <> '')
            """
        )
        return int(cursor.rowcount)


def tell_where_policies_lead() -> int:
    """Write on machines how many active rules their policy has and where these lead, in the open wide scope; count them.

    A tenant sees its machines and not the provider's policies, so this is where it learns what a backup by rule can do.
    """
    one_at_a_time()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH led AS (
                SELECT policy.guid, count(DISTINCT rule ->> 'guid') AS rules,
                    array_agg(DISTINCT place) FILTER (WHERE place IS NOT NULL) AS places
                FROM vplus_bridge_vpluspolicy policy
                    LEFT JOIN LATERAL jsonb_array_elements(policy.rules) AS rule
                        ON rule ->> 'active' IS DISTINCT FROM 'false'
                        AND rule ->> 'marked_for_deletion' IS DISTINCT FROM 'true'
                    LEFT JOIN LATERAL jsonb_array_elements_text(rule -> 'destination_guids') AS place ON true
                WHERE policy.gone_at IS NULL AND policy.rules IS NOT NULL GROUP BY policy.guid
            )
            UPDATE vplus_bridge_virtualmachine vm SET policy_rules = led.rules, policy_leads_to = led.places
            FROM vplus_bridge_virtualmachine row LEFT JOIN led ON led.guid = row.policy_guid
            WHERE row.guid = vm.guid AND (vm.policy_rules, vm.policy_leads_to) IS DISTINCT FROM (led.rules, led.places::varchar[])
            """
        )
        return int(cursor.rowcount)


def _read_details(client: VplusClient) -> None:
    try:
        with recorded(POLICY_DETAILS) as reading:
            read, last_problem, patience = 0, None, Patience()
            for guid in _due_details():
                if patience.worn_out:
                    break
                try:
                    read += read_policy(client, guid)
                    patience.fine()
                except VplusError as problem:
                    last_problem = problem
                    with every_tenant(REASON):
                        VplusPolicy.objects.filter(guid=guid).update(detail_tried_at=timezone.now())
                    patience.bear(problem, policy=guid)
            if last_problem is not None and not read:
                raise last_problem
            reading.counts = {"read": read}
    except VplusError as problem:
        if contact_lost(problem):
            raise
        return  # a named gap, written down by the reading itself


def _due_details() -> list[str]:
    with every_tenant(REASON):
        rows = VplusPolicy.objects.filter(gone_at=None)
        fresh = rows.filter(Q(detail_read_at=None) | ~Q(detail_for_digest=F("digest")))
        longest_ago = F("detail_tried_at").asc(nulls_first=True)
        guids = list(fresh.order_by(longest_ago, "guid").values_list("guid", flat=True)[:MOST_DETAILS])
        rest = rows.exclude(guid__in=guids).order_by(longest_ago, "guid").values_list("guid", flat=True)
        return guids + list(rest[: MOST_DETAILS - len(guids)])


def _listed(record: PolicyRecord) -> dict[str, Any]:
    """Return the columns that a list tells. Members and rules are the detail's alone: a list may have half of them."""
    told = {"active": record.active, "priority": record.priority}
    columns = {"name": clean(record.name, 1000), "digest": digest_of(record)}
    return columns | {column: value for column, value in told.items() if value is not None}


def _told(record: PolicyRecord) -> dict[str, Any]:
    """Return the columns that a detail tells; one that leaves members out must not empty the policy."""
    told: dict[str, Any] = {
        "active": record.active,
        "priority": record.priority,
        "auto_remove_non_present": record.auto_remove_non_present,
        "auto_assign_mode": clean(record.auto_assign_mode, 40) or None,
        "tenant_label": clean(record.tenant_label, 200) or None,
        "vm_guids": None if record.vm_guids is None else sorted({clean(guid, 200) for guid in record.vm_guids}),
        "rules": None if record.rules is None else [_rule(rule) for rule in record.rules],
    }
    return {column: value for column, value in told.items() if value is not None}


def _rule(rule: RuleRecord) -> dict[str, Any]:
    return {
        "guid": clean(rule.guid, 200),
        "name": clean(rule.name, 1000),
        "active": rule.active,
        "marked_for_deletion": bool(rule.marked_for_deletion),
        "schedule_guids": [clean(guid, 200) for guid in rule.schedule_guids or ()],
        "destination_guids": [clean(guid, 200) for guid in rule.destination_guids or ()],
    }


def _write_detail(guid: str, record: PolicyRecord) -> None:
    now = timezone.now()
    row = VplusPolicy.objects.filter(guid=guid).only("guid", "digest", "detail_digest").first()
    if row is None:
        return
    changes: dict[str, Any] = {"detail_read_at": now, "detail_tried_at": now, "detail_for_digest": bytes(row.digest)}
    digest = digest_of(record)
    if bytes(row.detail_digest) != digest:
        changes |= {"detail_digest": digest, "changed_at": now, **_told(record)}
    VplusPolicy.objects.filter(guid=guid).update(**changes)


def _schedule(record: ScheduleRecord) -> dict[str, Any]:
    every = record.interval
    return {
        "name": clean(record.name, 1000),
        "digest": digest_of(record),
        "active": record.active,
        "type": clean(record.type, 40),
        "execution_type": clean(record.execution_type, 40),
        "backup_type": clean(record.backup_type, 40),
        "hour_ms": record.hour_ms,
        "start_window_ms": whole(record.start_window_ms),
        "interval_start_ms": None if every is None else every.start_hour_ms,
        "interval_end_ms": None if every is None else every.end_hour_ms,
        "interval_frequency_ms": None if every is None else whole(every.frequency_ms),
        "days_of_week": _names(record.days_of_week),
        "months": _names(record.months),
        "occurrences": _names(record.occurrences),
        "rule_guids": _guids(record.rule_guids),
        "policy_guids": _guids(record.policy_guids),
        "tenant_label": clean(record.tenant_label, 200),
        "last_run_at": instant(record.last_run_ms),
    }


def _names(names: tuple[str, ...] | None) -> list[str]:
    return [clean(name, 40) for name in names or ()]


def _guids(guids: tuple[str, ...] | None) -> list[str] | None:
    return None if guids is None else [clean(guid, 200) for guid in guids]

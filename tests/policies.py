"""Policies as rows, as an operation that was carried out would have left them; for tests of pages and API."""

from datetime import time, timedelta
from typing import Any

from django.utils import timezone

from tenants.scope import every_tenant

EVERY_DAY = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
NIGHTLY: dict[str, Any] = {
    "backup_type": "INCREMENTAL",
    "execution_type": "TIME",
    "zone": "Europe/Warsaw",
    "time_of_day": time(2, 0),
    "days_of_week": EVERY_DAY,
}


def kept(
    tenant: Any, name: str, *machines: str, schedules: tuple[dict[str, Any], ...] = (NIGHTLY,), **facts: Any
) -> Any:
    """Return a policy that vPlus holds, with these members and schedules."""
    from vplus_bridge.models import Policy, PolicyMember, Schedule

    known = {"state": "kept", "destination_guid": "bd-main", "vplus_guid": f"p-{name}-{tenant.slug}", "wire_name": name}
    known |= {"compared_at": timezone.now(), "rule_guid": f"r-{name}"}
    with every_tenant("test"):
        policy = Policy.objects.create(tenant=tenant, name=name, **{**known, **facts})
        for guid in machines:
            PolicyMember.objects.create(tenant=tenant, policy=policy, virtual_machine_guid=guid)
        for position, schedule in enumerate(schedules, 1):
            Schedule.objects.create(tenant=tenant, policy=policy, position=position, **schedule)
    return policy


def in_vplus(guid: str, **facts: Any) -> Any:
    """Return a policy as the mirror holds it."""
    from vplus_bridge.models import VplusPolicy

    with every_tenant("test"):
        return VplusPolicy.objects.create(guid=guid, **{"name": guid, "active": True, "rules": [], **facts})


def held_differently(policy: Any, **facts: Any) -> Any:
    """Let the mirror hold a policy of ours, read after our last write, as it was written but for these facts."""
    rule = {"guid": policy.rule_guid, "name": "rule", "active": True, "marked_for_deletion": False}
    known = {"name": policy.wire_name, "detail_read_at": policy.compared_at + timedelta(seconds=1)}
    known |= {"rules": [{**rule, "schedule_guids": [], "destination_guids": []}], "tenant_id": policy.tenant_id}
    return in_vplus(policy.vplus_guid, **{**known, **facts})

"""Writes runs into the ledger as they become due, for the machines that are in the policy then; in the open wide scope."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection

from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.protection.ledger_models import PolicyPromise
from vplus_bridge.protection.timetable import Timetable, next_firing, timetable_of

MOST_PROMISES = 200
WRITTEN_BACK = timedelta(days=7)
"""How far back runs are written that were due while no worker was at work."""
LOOK_AGAIN = timedelta(minutes=10)


def timetables_of(promise: PolicyPromise) -> list[Timetable]:
    """Return the schedules of a promise."""
    return [timetable_of(spec) for spec in promise.timetables]


def grace() -> timedelta:
    """Return how much time a backup has beyond its window, before anything is concluded from its absence."""
    return timedelta(seconds=settings.PROTECTION_GRACE_SECONDS)


def write_what_is_due(now: datetime) -> int:
    """Write the runs that have become due, and when the next ones are; return how many rows were made."""
    made = 0
    due = PolicyPromise.objects.filter(next_run_at__lte=now).order_by("next_run_at", "pk")
    if not due.exists():
        return 0
    one_at_a_time()  # a promise that is brought up to date meanwhile must not be written over by what it was
    for promise in due[:MOST_PROMISES]:
        made += write_due(promise, now)
        promise.written_until = now
        promise.next_run_at = next_firing(timetables_of(promise), now)
        promise.save(update_fields=["written_until", "next_run_at"])
        owner: dict[str, Any] = {"tenant_id": promise.tenant_id}
        members = VirtualMachine.objects.filter(**owner, policy_guid=promise.policy_guid)
        members.update(next_run_at=promise.next_run_at)
    return made


def write_due(promise: PolicyPromise, now: datetime) -> int:
    """Write the runs of one promise that are due since it was last written; nobody's machines have no ledger."""
    if promise.tenant_id is None:
        return 0
    since = max(promise.written_until, now - WRITTEN_BACK)
    runs = [(table, at) for table in timetables_of(promise) for at in table.firings(since, now)]
    if not runs:
        return 0
    with connection.cursor() as cursor:
        # A machine that came into the policy later expects runs only from then (policy_since).
        cursor.execute(
            """
            INSERT INTO vplus_bridge_expectedrun (tenant_id, virtual_machine_guid, policy_guid, timetable_key,
                schedule_guids, backup_type, due_at, window_end, outcome, why, standing, task_guid, backup_guid,
                look_at)
            SELECT vm.tenant_id, vm.guid, vm.policy_guid, run.key, run.guids::jsonb, run.kind, run.due, run.until,
                'waiting', '', '', '', '', least(run.until + %s * interval '1 second', run.due + %s * interval '1 second')
            FROM vplus_bridge_virtualmachine vm,
                unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
                    AS run (key, guids, kind, due, until)
            WHERE vm.tenant_id = %s AND vm.policy_guid = %s AND vm.present AND vm.absent_since IS NULL
                AND vm.policy_since <= run.due
            ON CONFLICT DO NOTHING
            """,
            [
                grace().total_seconds(),
                LOOK_AGAIN.total_seconds(),
                [table.key for table, _ in runs],
                [msgspec.json.encode(table.guids).decode() for table, _ in runs],
                [table.fires.backup_type.value for table, _ in runs],
                [at for _, at in runs],
                [at + table.window for table, at in runs],
                promise.tenant_id,
                promise.policy_guid,
            ],
        )
        return int(cursor.rowcount)

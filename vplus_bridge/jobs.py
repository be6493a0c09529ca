"""Celery's entries, thin: they compose mirror -> ownership -> settle, stitch, follow -> verdict. Nothing else does.

Each may run twice, late, or not at all: what counts is in PostgreSQL, and the next beat picks it up.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from time import monotonic, time
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from tenants import audit, entrance, kept_answers
from tenants.scope import every_tenant, in_tenant
from vplus_bridge import changes
from vplus_bridge.alone import alone
from vplus_bridge.client import RestoreJobRecord, VplusClient, VplusError
from vplus_bridge.connection import client
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror import backups, infrastructure, inventory, policies, restore_jobs, tasks
from vplus_bridge.mirror import told as told_machines
from vplus_bridge.mirror.models import Task, VirtualMachine
from vplus_bridge.mirror.read_state import BACKUPS, INVENTORY, TASKS, TASKS_FULL, Patience, due, recorded, took
from vplus_bridge.mirror.sole_writer import sole_writer
from vplus_bridge.operations import (
    cancel,
    follow,
    late,
    misnamed,
    new_machines,
    restore_chain,
    run_follow,
    send,
    settle,
    told_runs,
    told_tasks,
)
from vplus_bridge.operations import told as told_operations
from vplus_bridge.operations.wake import SEND, wake_sender
from vplus_bridge.ownership import assignment
from vplus_bridge.protection import (
    attached,
    drift,
    given_away,
    ledger,
    orphans,
    policy_names,
    promises,
    resume,
    rewrites,
    verdict,
    whose,
)

log = structlog.get_logger(__name__)
HISTORIES_EVERY = 2.0
PRUNED_EVERY = 3600.0
SLOW_BEAT = 10.0  # how often to ask if a reading is due that is due less often
REWRITES_EVERY = 30.0
SWEPT_AT = 0.9  # of the age that no history should reach
LEAST_POLL_BEAT = 0.5
MOST_WATCHED = 50
FOLLOWED_TOGETHER = 100
MOST_SENT_AT_ONCE = 200
MAIL_EVERY = 30.0
PRUNE_EVERY = 3600.0


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Return the beat entries; each expires before its successor, so that a worker that was away is not flooded."""

    def every(name: str, seconds: float, queue: str = "poll") -> dict[str, Any]:
        return {"task": name, "schedule": seconds, "options": {"queue": queue, "expires": max(0.9 * seconds, 0.1)}}

    return {
        "poll tasks": every("vplus_bridge.poll", _poll_beat(settings.VPLUS_POLL_ACTIVE_SECONDS)),
        "inventory": every("vplus_bridge.sync_inventory", min(SLOW_BEAT, settings.VPLUS_INVENTORY_SECONDS)),
        "histories": every("vplus_bridge.read_histories", HISTORIES_EVERY),
        "infrastructure": every(
            "vplus_bridge.read_infrastructure", min(SLOW_BEAT, settings.VPLUS_INFRASTRUCTURE_SECONDS)
        ),
        "prune": every("vplus_bridge.prune", PRUNED_EVERY),
        "rewrite schedules": every("vplus_bridge.rewrite_schedules", REWRITES_EVERY, "send"),
        "sweep": every("vplus_bridge.sweep", settings.VPLUS_SEND_SWEEP_SECONDS, "send"),
        "ledger": every("vplus_bridge.keep_ledger", settings.PROTECTION_EVERY_SECONDS),
        "mail": every("vplus_bridge.tell_troubles", min(MAIL_EVERY, settings.TROUBLE_MAIL_EVERY_SECONDS)),
        "prune ledger": every("vplus_bridge.prune_ledger", PRUNE_EVERY),
    }


def _poll_beat(interval: float) -> float:
    """Return how often to ask if a poll is due: a few times an interval, since a tick that comes too early costs a whole one."""
    return min(interval, max(LEAST_POLL_BEAT, interval / 3))


@shared_task(name=SEND)
def send_attempt(tenant_id: str, attempt_id: str) -> None:
    """Send one attempt, if it is still due."""
    send.send_attempt(client(), UUID(tenant_id), UUID(attempt_id))


@shared_task(name="vplus_bridge.sweep")
def sweep() -> None:
    """Find what was lost: wake-ups, workers that died while sending, wishes whose time has run out."""
    with every_tenant("jobs: note deaths"):
        settle.note_deaths()
    with every_tenant("jobs: expire"):
        settle.expire_unsent()
    with every_tenant("jobs: what waits to be sent"):
        waiting = settle.due_attempts(MOST_SENT_AT_ONCE)
    for attempt in waiting:
        wake_sender(attempt.tenant_id, attempt.attempt_id)
    sweep_policies()


def sweep_policies() -> None:
    """Let operations on policies go on whose worker died, and let go of policies that were never made."""
    with alone(what="policies to go on with"), every_tenant("jobs: policies"):
        resume.resume()
        resume.tidy_unmade()


@shared_task(name="vplus_bridge.prune")
def prune() -> None:
    """Remove what has been kept long enough."""
    now, removed = timezone.now(), audit.MOST_PRUNED
    with every_tenant("jobs: prune"):
        kept_answers.prune(now)
    entrance.prune_sessions(now)
    while removed == audit.MOST_PRUNED:
        with every_tenant("jobs: events that are too old"):
            removed = audit.prune(now)


@shared_task(name="vplus_bridge.sync_inventory")
def sync_inventory() -> None:
    """Read the inventory if it is due."""
    if due(INVENTORY, settings.VPLUS_INVENTORY_SECONDS, timezone.now()):
        try:
            inventory_once(client())
        except VplusError:
            return  # written down by the reading itself; the last good data stay


def inventory_once(vplus: VplusClient) -> inventory.InventoryRead | None:
    """Read the inventory now and give everything to its owner; None where another worker is at it. Raises VplusError."""
    began_at = time()  # what is read is as old as the beginning of the reading
    with sole_writer(INVENTORY) as granted:
        if not granted:
            return None
        read = inventory.read_inventory(vplus)
        with every_tenant("jobs: after the inventory"):
            moved = assignment.attribute()
            touched = {*read.touched, *moved}
            if touched:
                promises.refresh(database_now(), machines=touched)
                policy_names.name_policies(touched)
                told_machines.tell({*touched, *verdict.judge(touched)}.difference(moved))
            restored_from = new_machines.jobs_to_ask()
        if moved:
            take_out_given_away(database_now())
        with alone(what="what restores made"):
            _link_new_machines(_restore_jobs(vplus, restored_from))
        changes.tell_reading(INVENTORY, began_at)
        return read


def _link_new_machines(jobs: restore_chain.Jobs) -> None:
    """Give new machines to those who restored them, where that is sure by what the inventory shows now."""
    with every_tenant("jobs: what restore jobs name"):
        new_machines.note_named(jobs)
    # By itself: it waits until nobody writes machines, and must hold no operation that such a one wants.
    with every_tenant("jobs: what restores made"):
        _linked, moved = new_machines.link_new_machines()
        if moved:
            verdict.judge(moved)


def _restore_jobs(vplus: VplusClient, vm_guids: Iterable[str]) -> dict[str, list[RestoreJobRecord]]:
    """Read the restore jobs of these machines' backups, where this server lets us; trouble with one is its own."""
    read: dict[str, list[RestoreJobRecord]] = {}
    patience = Patience()
    for guid in vm_guids:
        if patience.worn_out:
            break
        try:
            read[guid] = restore_jobs.read_restore_jobs(vplus, guid)
        except VplusError as problem:
            patience.bear(problem, virtual_machine=guid)
            continue
        patience.fine()
    return read


@shared_task(name="vplus_bridge.read_infrastructure")
def read_infrastructure() -> None:
    """Read the small listings if they are due; policies at once where one of ours was written since."""
    if not due(infrastructure.PROJECTS, settings.VPLUS_INFRASTRUCTURE_SECONDS, timezone.now()):
        if due(policies.POLICIES, SLOW_BEAT, timezone.now(), rest=4):
            with every_tenant("jobs: were policies written"):
                written = drift.written_since_read()
            if written:
                policies_once(client())
        return
    with sole_writer("infrastructure") as granted:
        if not granted:
            return
        try:
            infrastructure.read_infrastructure(client())
            policies.read_policies(client())
        except VplusError:
            return  # written down by the reading itself
        after_policies()
        after_infrastructure()


def after_infrastructure() -> None:
    """Let owners, promises and every verdict follow what the small listings told."""
    with every_tenant("jobs: after the infrastructure"):
        # A project that can be read now may tell whose a machine is.
        assignment.attribute()
        promises.refresh(database_now())
        policy_names.name_policies()
        # All of them: a verdict that a worker could not write any more, because it was ended, is made up for here.
        told_machines.tell(verdict.judge())


def policies_once(vplus: VplusClient) -> None:
    """Read policies and schedules now, so that what was just written is promised, and judged, soon."""
    began = monotonic()
    with sole_writer("infrastructure") as granted:
        if not granted:
            return
        try:
            policies.read_policies(vplus)
        except VplusError:
            return  # written down by the reading itself
        after_policies()
        with every_tenant("jobs: after policies"):
            promises.refresh(database_now())
            policy_names.name_policies()
            told_machines.tell(verdict.judge())
        took(policies.POLICIES, monotonic() - began)  # so that all of it takes at most a fifth of the time


def after_policies() -> None:
    """Give mirrored policies to their tenants, see what differs from ours, and have removed what nobody holds."""
    now = database_now()
    with alone(what="whose policies are"), every_tenant("jobs: whose policies are"):
        whose.attribute_mirrored()
        attached.bring_up_to_date()
    with alone(what="drift"), every_tenant("jobs: drift"):
        drift.note_drift(now)
    with every_tenant("jobs: orphans"):
        found = orphans.orphans()
    for (tenant_id, policy_id), objects in found.items():
        with alone(policy=str(policy_id)), in_tenant(tenant_id):
            orphans.remove(policy_id, objects, now)


@shared_task(name="vplus_bridge.rewrite_schedules")
def rewrite_schedules() -> None:
    """Have policies changed that nobody needs to ask for: schedules that are due, machines that are somebody else's now."""
    now = database_now()
    take_out_given_away(now)
    rewrite_due(now)


def take_out_given_away(now: datetime) -> None:
    """Have machines leave the policies of tenants that lost them; each policy in a transaction of its own."""
    with every_tenant("jobs: machines given away"):
        found = given_away.given_away()
    for (tenant_id, policy_id), machines in found.items():
        with alone(policy=str(policy_id)), in_tenant(tenant_id):
            given_away.take_out(policy_id, machines, now)


def rewrite_due(now: datetime) -> None:
    """Do what ``rewrite_schedules`` does, for this moment; each policy in a transaction of its own."""
    with every_tenant("jobs: schedules to write anew"):
        wanted = rewrites.due(now)
    for tenant_id, policy_id in wanted:
        with alone(policy=str(policy_id)), in_tenant(tenant_id):
            rewrites.rewrite(policy_id, now)


@shared_task(name="vplus_bridge.read_histories")
def read_histories() -> None:
    """Read the histories that are due, as many as the rate allows until the next beat."""
    with sole_writer(BACKUPS) as granted:
        if granted:
            try:
                histories_once(client(), seconds=HISTORIES_EVERY)
            except VplusError:
                return  # written down by the reading itself


def histories_once(vplus: VplusClient, *, seconds: float, limit: int | None = None) -> int:
    """Try to read due histories for at most ``seconds``; return how many were read. Raises VplusError without contact."""
    most = limit or max(1, int(settings.VPLUS_HISTORY_READS_PER_SECOND * seconds))
    oldest = timedelta(seconds=SWEPT_AT * settings.VPLUS_HISTORY_MAX_AGE_SECONDS)
    guids = backups.due_histories(most, oldest_allowed=oldest, now=database_now())
    if not guids:
        return 0
    with recorded(BACKUPS) as reading:
        read = _histories(vplus, guids, until=monotonic() + seconds)
        reading.counts = {"read": len(read)}
    return len(read)


@shared_task(name="vplus_bridge.poll")
def poll() -> None:
    """Read tasks if it is due: fast while anything is under way, slowly when nothing is."""
    now = timezone.now()
    with every_tenant("jobs: is anything under way"):
        active = Task.objects.filter(live=True).exists() or run_follow.anything_open() or settle.anything_sent()
    pause = settings.VPLUS_POLL_ACTIVE_SECONDS if active else settings.VPLUS_POLL_IDLE_SECONDS
    if due(TASKS, pause, now, rest=2):
        try:
            poll_once(client(), full=due(TASKS_FULL, settings.VPLUS_TASKS_FULL_SECONDS, now))
        except VplusError:
            return  # written down by the reading itself; the next beat tries again


def poll_once(vplus: VplusClient, *, full: bool = False) -> tasks.TasksRead | None:
    """Read tasks now and bring operations up to date; None where another worker is at it. Raises VplusError."""
    began, began_at = monotonic(), time()
    with sole_writer(TASKS) as granted:
        if not granted:
            return None
        polled_since = database_now()
        read = tasks.poll_tasks(vplus, assignment.attribute_tasks)
        if full:
            read.add(tasks.read_all_tasks(vplus, assignment.attribute_tasks))
        _undo_misnamed()
        with every_tenant("jobs: what operations wait for"):
            unsettled, watched = settle.unsettled(), follow.watches()
            # What nobody asked for takes the room that operations leave.
            watched += run_follow.watches()[: max(0, MOST_WATCHED - len(unsettled) - len(watched))]
            silent_restores = restore_chain.jobs_wanted()[:MOST_WATCHED]
        whole: set[str] = set()
        jobs_read: dict[str, list[RestoreJobRecord]] = {}
        try:
            _look_closer(vplus, {guid for _, guid in unsettled}, watched, read, whole)
            jobs_read = _restore_jobs(vplus, silent_restores)
        finally:
            # Also when contact was lost on the way: what was read until then is news.
            for attempt_id, guid in unsettled:
                with alone(attempt=str(attempt_id)), every_tenant("jobs: settle"):
                    settle.settle(attempt_id, whole=guid in whole)
            with alone(what="late tasks"), every_tenant("jobs: late tasks"):
                late.note_late()
            _undo_misnamed()  # also those that were read only just now; before anything is followed
            _follow(jobs_read)
            with alone(what="cancels"), every_tenant("jobs: cancels"):
                cancel.pursue()
            # After what gives tasks to operations: the others are nobody's wish, and told by themselves.
            with alone(what="tasks to tell of"), every_tenant("jobs: tasks to tell of"):
                told_tasks.mark(read.turned)
                told_tasks.tell(read.changed, read.turned)
            with alone(what="runs"), every_tenant("jobs: runs"):
                told_runs.tell(read.changed, read.turned, run_follow.follow(polled_since, read.changed))
            with alone(what="the ledger"), every_tenant("jobs: what became of runs"):
                told_machines.tell(ledger.settle_of(tasks.machines_of(read.changed), database_now()))
            took(TASKS, monotonic() - began)
        changes.tell_reading(TASKS, began_at)
        return read


def _undo_misnamed() -> None:
    with alone(what="tasks that an answer misnamed"), every_tenant("jobs: tasks that an answer misnamed"):
        misnamed.undo_misnamed()


def _follow(jobs: restore_chain.Jobs) -> None:
    """Bring operations up to date, many in one transaction; where that fails, each in its own."""
    with every_tenant("jobs: which operations"):
        followed = follow.followed()
    for start in range(0, len(followed), FOLLOWED_TOGETHER):
        together = followed[start : start + FOLLOWED_TOGETHER]
        done = False
        with alone(operations=len(together)), every_tenant("jobs: follow"):
            told_operations.tell_by_id(follow.follow(together, jobs))
            done = True
        for operation_id in () if done else together:
            with alone(operation=str(operation_id)), every_tenant("jobs: follow one"):
                told_operations.tell_by_id(follow.follow([operation_id], jobs))


def _look_closer(
    vplus: VplusClient, unsettled: set[str], watched: Iterable[follow.Watch], read: tasks.TasksRead, whole: set[str]
) -> None:
    """Read the own tasks and backups of machines whose operations need it; add to ``whole`` those that came whole.

    As many as a cycle can bear; those that were looked at longest ago come first.
    """
    watched = list(watched)
    of_tasks = unsettled | {w.virtual_machine_guid for w in watched if w.tasks}
    chosen, tasks_whole, patience = _longest_ago(of_tasks, MOST_WATCHED), set[str](), Patience()
    for guid in chosen:
        if patience.worn_out:
            break
        try:
            one = tasks.read_tasks_of(vplus, guid, assignment.attribute_tasks)
        except VplusError as problem:
            patience.bear(problem, virtual_machine=guid)
            continue
        patience.fine()
        read.add(one)
        if one.complete:
            tasks_whole.add(guid)
    of_backups = {*(w.virtual_machine_guid for w in watched if w.backups), *read.ended_vms}.difference(chosen)
    chosen += _longest_ago(of_backups, MOST_WATCHED - len(chosen))
    for guid, complete in _histories(vplus, chosen, until=None).items():
        if complete and guid in tasks_whole:
            whole.add(guid)


def _longest_ago(vm_guids: Iterable[str], most: int) -> list[str]:
    """Return at most so many of these machines, those first whose history was read longest ago."""
    with every_tenant("jobs: whom to look at"):
        rows = VirtualMachine.objects.filter(guid__in=list(vm_guids))
        ordered = rows.order_by(F("history_tried_at").asc(nulls_first=True), "guid")
        return list(ordered.values_list("guid", flat=True)[:most])


def _histories(vplus: VplusClient, guids: Iterable[str], *, until: float | None) -> dict[str, bool]:
    """Read histories one by one, then judge; return the machines that were read, and whether their history came whole."""
    read: dict[str, bool] = {}
    changed: set[str] = set()
    patience = Patience()
    try:
        for guid in guids:
            if patience.worn_out or (until is not None and monotonic() > until):
                break
            with alone(virtual_machine=guid):
                try:
                    history = backups.read_history(vplus, guid, assignment.attribute_backups)
                    read[guid] = history.complete
                    changed.update([guid] if history.changed else [])
                    patience.fine()
                except VplusError as problem:
                    patience.bear(problem, virtual_machine=guid)
    finally:
        if read:
            with every_tenant("jobs: after histories"):
                told_machines.tell({*changed, *ledger.settle_of(read, database_now()), *verdict.judge(read)})
    return read

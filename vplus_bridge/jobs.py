"""Celery's entries, thin: they compose mirror -> ownership -> settle, stitch, follow -> verdict. Nothing else does.

Each may run twice, late, or not at all: what counts is in PostgreSQL, and the next beat picks it up.
"""

from collections.abc import Iterable
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from tenants.scope import every_tenant
from vplus_bridge.client import NotFound, VplusClient, VplusError
from vplus_bridge.connection import client
from vplus_bridge.mirror import backups, infrastructure, inventory, tasks
from vplus_bridge.mirror.models import Task
from vplus_bridge.mirror.read_state import BACKUPS, INVENTORY, TASKS, TASKS_FULL, due, recorded
from vplus_bridge.mirror.sole_writer import sole_writer
from vplus_bridge.operations import follow, send, settle
from vplus_bridge.operations.wake import SEND, wake_sender
from vplus_bridge.ownership import assignment
from vplus_bridge.protection import verdict

log = structlog.get_logger(__name__)
HISTORIES_EVERY = 2.0
MOST_WATCHED = 50
MOST_SENT_AT_ONCE = 200


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Return the beat entries; each expires before its successor, so that a worker that was away is not flooded."""

    def every(name: str, seconds: float, queue: str = "poll") -> dict[str, Any]:
        return {"task": name, "schedule": seconds, "options": {"queue": queue, "expires": max(0.9 * seconds, 0.1)}}

    return {
        "poll tasks": every("vplus_bridge.poll", settings.VPLUS_POLL_ACTIVE_SECONDS),
        "inventory": every("vplus_bridge.sync_inventory", settings.VPLUS_INVENTORY_SECONDS),
        "histories": every("vplus_bridge.read_histories", HISTORIES_EVERY),
        "infrastructure": every("vplus_bridge.read_infrastructure", settings.VPLUS_INFRASTRUCTURE_SECONDS),
        "sweep": every("vplus_bridge.sweep", settings.VPLUS_SEND_SWEEP_SECONDS, "send"),
    }


@shared_task(name=SEND)
def send_attempt(tenant_id: str, attempt_id: str) -> None:
    """Send one attempt, if it is still due."""
    send.send_attempt(client(), UUID(tenant_id), UUID(attempt_id))


@shared_task(name="vplus_bridge.sweep")
def sweep() -> None:
    """Find what was lost: wake-ups, workers that died while sending, wishes whose time has run out."""
    with every_tenant("jobs: sweep"):
        settle.note_deaths()
        settle.expire_unsent()
        waiting = settle.due_attempts(MOST_SENT_AT_ONCE)
    for attempt in waiting:
        wake_sender(attempt.tenant_id, attempt.attempt_id)


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
    with sole_writer(INVENTORY) as granted:
        if not granted:
            return None
        read = inventory.read_inventory(vplus)
        with every_tenant("jobs: after the inventory"):
            moved = assignment.attribute()
            touched = {*read.touched, *moved}
            if touched:
                verdict.judge(touched)
        return read


@shared_task(name="vplus_bridge.read_infrastructure")
def read_infrastructure() -> None:
    """Read the small listings."""
    with sole_writer("infrastructure") as granted:
        if not granted:
            return
        try:
            infrastructure.read_infrastructure(client())
        except VplusError:
            return  # written down by the reading itself
        with every_tenant("jobs: after the infrastructure"):
            # A project that can be read now may tell whose a machine is.
            if moved := assignment.attribute():
                verdict.judge(moved)


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
    """Read due histories for at most ``seconds``; return how many were read. Raises VplusError when contact is lost."""
    most = limit or max(1, int(settings.VPLUS_HISTORY_READS_PER_SECOND * seconds))
    oldest = timedelta(seconds=settings.VPLUS_HISTORY_MAX_AGE_SECONDS)
    guids = backups.due_histories(most, oldest_allowed=oldest, now=timezone.now())
    if not guids:
        return 0
    with recorded(BACKUPS) as reading:
        done = _read_histories(vplus, guids, until=monotonic() + seconds)
        reading.counts = {"read": done}
    return done


@shared_task(name="vplus_bridge.poll")
def poll() -> None:
    """Read tasks if it is due: fast while anything is under way, slowly when nothing is."""
    now = timezone.now()
    with every_tenant("jobs: is anything under way"):
        active = Task.objects.filter(live=True).exists() or bool(settle.unsettled()) or bool(follow.watches())
    pause = settings.VPLUS_POLL_ACTIVE_SECONDS if active else settings.VPLUS_POLL_IDLE_SECONDS
    if due(TASKS, pause, now, rest=2):
        try:
            poll_once(client(), full=due(TASKS_FULL, settings.VPLUS_TASKS_FULL_SECONDS, now))
        except VplusError:
            return  # written down by the reading itself; the next beat tries again


def poll_once(vplus: VplusClient, *, full: bool = False) -> tasks.TasksRead | None:
    """Read tasks now and bring operations up to date; None where another worker is at it. Raises VplusError."""
    with sole_writer(TASKS) as granted:
        if not granted:
            return None
        read = tasks.poll_tasks(vplus)
        if full:
            read.add(tasks.read_all_tasks(vplus))
        with every_tenant("jobs: what operations wait for"):
            unsettled, watched = settle.unsettled(), follow.watches()
        whole = _look_closer(vplus, {guid for _, guid in unsettled}, watched, read)
        with every_tenant("jobs: whose tasks these are"):
            assignment.attribute_history(_machines_of(read.changed))
        for attempt_id, guid in unsettled:
            with every_tenant("jobs: settle"):
                settle.settle(attempt_id, whole=guid in whole)
        with every_tenant("jobs: follow"):
            follow.follow_all()
        return read


def _look_closer(
    vplus: VplusClient, unsettled: set[str], watched: Iterable[follow.Watch], read: tasks.TasksRead
) -> set[str]:
    """Read the own tasks and backups of machines whose operations need it; return those that were read whole."""
    of_tasks = [*unsettled, *(w.virtual_machine_guid for w in watched if w.tasks)]
    of_backups = [*of_tasks, *(w.virtual_machine_guid for w in watched if w.backups), *read.ended_vms]
    whole = set()
    for guid in list(dict.fromkeys(of_tasks))[:MOST_WATCHED]:
        one = tasks.read_tasks_of(vplus, guid)
        read.add(one)
        if one.complete:
            whole.add(guid)
    chosen = list(dict.fromkeys(of_backups))[:MOST_WATCHED]
    read_whole = _histories(vplus, chosen, until=None)
    return whole & read_whole


def _machines_of(task_guids: set[str]) -> list[str]:
    rows = Task.objects.filter(guid__in=task_guids).exclude(virtual_machine_guid="")
    return list(rows.values_list("virtual_machine_guid", flat=True).distinct())


def _read_histories(vplus: VplusClient, guids: list[str], *, until: float | None) -> int:
    return len(_histories(vplus, guids, until=until))


def _histories(vplus: VplusClient, guids: list[str], *, until: float | None) -> set[str]:
    """Read histories one by one, then judge; return the machines whose history came whole."""
    whole, read_any = set(), []
    for guid in guids:
        if until is not None and monotonic() > until:
            break
        try:
            history = backups.read_history(vplus, guid)
        except NotFound:
            log.warning("vPlus does not know the history of a machine that it lists", virtual_machine=guid)
            continue
        read_any.append(guid)
        if history.complete:
            whole.add(guid)
    if read_any:
        with every_tenant("jobs: after histories"):
            assignment.attribute_history(read_any)
            verdict.judge(read_any)
    return whole

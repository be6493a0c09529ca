"""What ran and runs: operations, vPlus's tasks, and the page of one operation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from portal.request_scope import ScopedRequest
from portal.web import shown
from portal.web.filters import pager
from portal.web.runs import filtered_tasks, run_bar, run_rows, runs_page, task_bar
from portal.web.tasks_shown import task_rows, task_word
from portal.web.virtual_machines import age
from portal.web.wording import moments
from portal.web.wording.badges import task_badge
from portal.web.wording.numbers import size_words
from vplus_bridge.keyset import Key, Keyset, page_of
from vplus_bridge.mirror.instants import instant
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.mirror.read_state import TASKS, state_of
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.estimate import seconds_left
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, State
from vplus_bridge.operations.told import news_number
from vplus_bridge.operations.words import error_words, warning_words
from vplus_bridge.ownership import visible

NEWEST_TASKS = Keyset("newest", (Key("first_seen_at", descending=True), Key("guid")))


@require_safe
def activity(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """What people asked for: what runs first, then the newest."""
    actor, now = request.actor, timezone.now()
    bar = run_bar(request)
    rows = operations.operations(actor)
    under_way = rows.filter(state__in=ACTIVE)
    running = under_way.exclude(state=State.REQUESTED).count()
    waiting = under_way.filter(state=State.REQUESTED).count()
    page, total = runs_page(actor, bar)
    context = {
        "heading": _heading(running, waiting),
        "age": age(state_of(TASKS).succeeded_at, settings.VPLUS_POLL_IDLE_SECONDS, now),
        "tabs": _tabs(tenant_slug, "operations"),
        "tab": "operations",
        "filters": bar.context(),
        "operations": run_rows(actor, page.rows, now),
    }
    context |= pager(bar, page, total)
    return render(request, "web/activity/list.html", context)


@require_safe
def tasks(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """What vPlus does with the tenant's machines, also what nobody here asked for."""
    actor, now = request.actor, timezone.now()
    bar = task_bar(request)
    rows = filtered_tasks(actor, bar)
    page = page_of(rows, NEWEST_TASKS, bar.cursor, bar.size)
    state_row = state_of(TASKS)
    context = {
        "heading": _("Tasks"),
        "age": age(state_row.succeeded_at, settings.VPLUS_POLL_IDLE_SECONDS, now),
        "tabs": _tabs(tenant_slug, "tasks"),
        "tab": "tasks",
        "filters": bar.context(),
        "tasks": task_rows(actor, page.rows, tenant_slug, now),
    }
    context |= pager(bar, page, rows.count())
    return render(request, "web/activity/list.html", context)


@require_safe
def operation(request: ScopedRequest, tenant_slug: str, operation_id: UUID) -> HttpResponse:
    """One operation: how far it is, what was asked, what came of it."""
    actor, now = request.actor, timezone.now()
    row = operations.operation(actor, operation_id)
    done_by = operations.tasks_of(actor, [row.pk]).get(row.pk, [])
    made = visible.backups(actor).filter(guid=row.backup_guid).first() if row.backup_guid else None
    machine_url = shown.machine_url("vm_detail", tenant_slug, row.virtual_machine_guid)
    title = _("Backup of %(name)s") % {"name": row.virtual_machine_name}
    context = {
        "operation": {
            "id": row.pk,
            "title": title,
            "news": news_number(row),
            "badge": shown.badge_of_operation(row),
            "age": age(state_of(TASKS).succeeded_at, settings.VPLUS_POLL_IDLE_SECONDS, now),
            "reference": row.reference,
            "percent": row.progress,
            "stage_word": shown.stage_words(row),
            "eta": seconds_left(row, now),
            "ended": not row.active,
            "outcome": _outcome(row),
            "tone": _tone(row),
            "way": _way(row, tenant_slug, machine_url),
            "cancel_words": "",
            "cancel_url": "",
            "original": "",
        },
        "steps": _steps(row, done_by),
        "asked": _asked(row, now),
        "result": _result(row, made, now),
        "tasks": [
            {
                "type_word": task_word(task),
                "badge": task_badge(task.state, task.state_description),
                "percent": task.progress if task.live else None,
                "started_at": task.started_at or task.first_seen_at,
            }
            for task in done_by
        ],
        "crumbs": [
            {"word": _("Activity"), "url": reverse("tenant:activity", kwargs={"tenant_slug": tenant_slug})},
            {"word": row.virtual_machine_name, "url": machine_url},
        ],
        "here": title,
    }
    return render(request, "web/activity/operation.html", context)


def _heading(running: int, waiting: int) -> str:
    if running and waiting:
        return _("%(running)d running, %(waiting)d waiting") % {"running": running, "waiting": waiting}
    if running:
        return _("%(n)d running") % {"n": running}
    return _("%(n)d waiting") % {"n": waiting} if waiting else _("Nothing is running")


def _tabs(slug: str, current: str) -> list[dict[str, Any]]:
    names = [("operations", "tenant:activity", _("Operations")), ("tasks", "tenant:tasks", _("Tasks"))]
    return [
        {"word": word, "url": reverse(name, kwargs={"tenant_slug": slug}), "current": key == current, "count": None}
        for key, name, word in names
    ]


def _outcome(row: Operation) -> str:
    """Return what became of it, whole: cause and next step, or that it is done, with every warning."""
    if row.active:
        return ""
    if row.error_code:
        words = error_words(row.error_code, row.kind)
        return f"{words.title}. {words.cause} {words.next_step}"
    sentences = [_("Done. There is a new restore point.")]
    if "restore_point_unknown" in row.warnings:
        sentences = [_("Done.")]
    return " ".join([*sentences, *(str(warning_words(code).cause) for code in shown.shown_warnings(row))])


def _tone(row: Operation) -> str:
    if row.state == State.SUCCEEDED:
        return "warn" if shown.shown_warnings(row) else "ok"
    return {State.FAILED: "bad", State.NEEDS_ATTENTION: "attn"}.get(State(row.state), "")


def _way(row: Operation, slug: str, machine_url: str) -> dict[str, str] | None:
    """Return the one button at the end: to the restore points, to try again, or to the machine."""
    if row.active:
        return None
    if row.state == State.SUCCEEDED:
        url = shown.machine_url("vm_restore_points", slug, row.virtual_machine_guid)
        return {"url": url, "word": _("Restore points"), "icon_name": "history"}
    if row.state in {State.FAILED, State.CANCELLED} and row.error_code != "vm_gone":
        again = shown.back_up_url(slug, [row.virtual_machine_guid])
        return {"url": again, "word": _("Try again"), "icon_name": "refresh"}
    return {
        "url": machine_url,
        "word": _("Open %(name)s") % {"name": row.virtual_machine_name},
        "icon_name": "server-2",
    }


def _steps(row: Operation, done_by: Sequence[Task]) -> list[dict[str, Any]]:
    """Return the way from the wish to the restore point; times where they are known."""
    export = next((task for task in done_by if task.type == "EXPORT"), None)
    store = next((task for task in done_by if task.type == "STORE"), None)
    reached = {
        State.REQUESTED: 1,
        State.SUBMITTED: 2,
    }.get(State(row.state), 3 if row.stage == "store" else 2)
    if row.state == State.SUCCEEDED:
        reached = 5
    elif not row.stage and not row.active:
        reached = (
            1 if row.error_code in {"not_sent_in_time", "vm_gone", "destination_not_allowed", "refused_by_vplus"} else 2
        )
    moments_known = [
        (_("Requested"), _("Asking"), row.requested_at, row.requested_by_name),
        (_("Sent"), _("Sending"), export.first_seen_at if export else None, ""),
        (_("Exported"), _("Exporting"), _end_of(export), ""),
        (_("Stored"), _("Storing"), _end_of(store), ""),
        (_("Restorable"), _("Checking"), row.finished_at if row.state == State.SUCCEEDED else None, ""),
    ]
    steps = []
    for position, (done, doing, at, by) in enumerate(moments_known):
        if position < reached:
            state = "done"
        elif position == reached:
            state = "now" if row.active else "stopped"
        else:
            state = "next"
        word = doing if state in {"now", "stopped"} else done
        steps.append({"word": word, "state": state, "at": at if state == "done" else None, "by": by})
    return steps


def _end_of(task: Task | None) -> datetime | None:
    if task is None or task.live:
        return None
    return task.finished_at or task.ended_seen_at


def _asked(row: Operation, now: datetime) -> list[dict[str, str]]:
    zone, plan = timezone.get_current_timezone(), row.plan
    end = instant(plan.get("window_end"))
    facts = [
        (_("Type"), shown.type_word(plan.get("backup_type", ""))),
        (_("Destination"), plan.get("destination_label", "")),
        (_("Priority"), str(plan.get("priority", ""))),
        (_("Starts by"), moments.clock_words(end, now, zone) if end else ""),
        (_("By"), row.requested_by_name),
        (_("Asked"), moments.exact_words(row.requested_at, now, zone)),
    ]
    return [{"word": word, "text": text} for word, text in facts if text]


def _result(row: Operation, made: Backup | None, now: datetime) -> list[dict[str, str]]:
    zone = timezone.get_current_timezone()
    facts = []
    if made is not None:
        facts.append((_("Type"), shown.type_word(made.type)))
        if made.taken_at:
            facts.append((_("Restore point"), moments.exact_words(made.taken_at, now, zone)))
        if made.size:
            facts.append((_("Size"), size_words(made.size)))
        for word, part in (
            (_("Waited"), made.queued_export_seconds),
            (_("Export took"), made.export_seconds),
            (_("Store took"), made.store_seconds),
        ):
            if part is not None:
                facts.append((word, moments.duration_words(part)))
    if row.finished_at is not None:
        facts.append((_("Ended"), moments.exact_words(row.finished_at, now, zone)))
    return [{"word": word, "text": text} for word, text in facts]

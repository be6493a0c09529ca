"""One operation: how far it is, what was asked, what came of it; and asking for its end."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.http import require_http_methods, require_safe

from portal.scoped_request import ScopedRequest, refused
from portal.web import policy_shown, restored, shown
from portal.web.tasks_shown import task_word
from portal.web.virtual_machines import age
from portal.web.wording import moments, operation_words
from portal.web.wording.badges import task_badge
from portal.web.wording.numbers import size_words
from tenants.refusals import WrongState
from tenants.rights import Actor, Right
from vplus_bridge.mirror.instants import instant
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.mirror.read_state import TASKS, state_of
from vplus_bridge.operations import cancel
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.estimate import seconds_left
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.told import news_number
from vplus_bridge.operations.words import error_words, warning_words
from vplus_bridge.ownership import visible

NEVER_SENT = frozenset(
    {
        "not_sent_in_time",
        "vm_gone",
        "vm_not_yours",
        "destination_not_allowed",
        "refused_by_vplus",
        "cancelled_before_sending",
        "cannot_be_worded",
        "point_gone",
        "target_not_allowed",
    }
)
"""Ends before vPlus had anything to do."""


@require_safe
def operation(request: ScopedRequest, tenant_slug: str, operation_id: UUID) -> HttpResponse:
    """One operation: how far it is, what was asked, what came of it."""
    actor, now = request.actor, timezone.now()
    row = operations.operation(actor, operation_id)
    done_by = operations.tasks_of(actor, [row.pk]).get(row.pk, [])
    made = visible.backups(actor).filter(guid=row.backup_guid).first() if row.backup_guid else None
    machine_url = shown.machine_url("vm_detail", tenant_slug, row.virtual_machine_guid)
    title = operation_words.title(row)
    can_cancel = cancel.possible(actor, row, server_can=cancel.can_cancel())
    context = {
        "operation": {
            "id": row.pk,
            "title": title,
            "news": news_number(row),
            "badge": shown.badge_of_operation(row),
            "age": age(state_of(TASKS).succeeded_at, settings.VPLUS_POLL_IDLE_SECONDS, now),
            "reference": row.reference,
            "percent": row.progress,
            "stage_word": operation_words.stage(row),
            "eta": seconds_left(row, now),
            "ended": not row.active,
            "outcome": _outcome(actor, row),
            "tone": _tone(row),
            "way": _way(actor, row, machine_url) if machine_url else _way_to_policy(actor, row),
            "cancel_words": _cancel_words(row, now),
            "cancel_url": shown.cancel_url(row, tenant_slug) if can_cancel else "",
            "original": "",
        },
        "steps": _steps(row, done_by),
        "asked": _asked(actor, row, now),
        "result": _result(actor, row, made, now),
        "tasks": [
            {
                "type_word": task_word(task),
                "badge": task_badge(task.known_state, task.state_description),
                "percent": task.progress if task.live else None,
                "started_at": task.started_at or task.first_seen_at,
            }
            for task in done_by
        ],
        "crumbs": _crumbs(row, tenant_slug),
        "here": title,
    }
    return render(request, "web/activity/operation.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def operation_cancel(request: ScopedRequest, tenant_slug: str, operation_id: UUID) -> HttpResponse:
    """Ask before a cancel, and on POST ask for it. What has ended meanwhile is shown, not refused with an error."""
    actor, now = request.actor, timezone.now()
    row = operations.operation(actor, operation_id)
    actor.require(Right.CANCEL, row.virtual_machine_guid)
    if request.method == "POST":
        try:
            row = cancel.request_cancel(actor, operation_id, now=now)
        except WrongState as problem:
            refused(request, problem)
            messages.warning(request, problem.message)
        else:
            ended = row.state == State.CANCELLED
            words = _("Cancelled; nothing was sent.") if ended else _("Cancel asked. It stops at the next safe point.")
            messages.success(request, words)
        return redirect(shown.operation_url(row, tenant_slug))
    if not cancel.possible(actor, row, server_can=cancel.can_cancel()):
        return redirect(shown.operation_url(row, tenant_slug))
    restore = row.kind == Kind.RESTORE
    context = {
        "about": operation_words.title(row),
        "question": _("Ask to cancel this restore?") if restore else _("Ask to cancel this backup?"),
        "consequence": _(
            "It stops at the next safe point, which can take a while. A part of the new virtual machine may remain."
        )
        if restore
        else _("Nothing stored is lost. It stops at the next safe point, which can take a while."),
        "action_url": shown.cancel_url(row, tenant_slug),
        "verb": _("Ask to cancel"),
        "keep": _("Keep running"),
        "keep_url": shown.operation_url(row, tenant_slug),
        "crumbs": _crumbs(row, tenant_slug),
        "here": _("Cancel"),
    }
    return render(request, "web/activity/cancel.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def task_cancel(request: ScopedRequest, tenant_slug: str, guid: str) -> HttpResponse:
    """Ask before a cancel of a task that no operation made, and on POST ask for it."""
    actor, now = request.actor, timezone.now()
    task = visible.task(actor, guid)
    actor.require(Right.CANCEL, task.virtual_machine_guid)
    back = reverse("tenant:tasks", kwargs={"tenant_slug": tenant_slug})
    if request.method == "POST":
        try:
            row, _before = cancel.request_task_cancel(actor, guid, now=now)
        except WrongState as problem:
            refused(request, problem)
            messages.warning(request, problem.message)
            return redirect(back)
        messages.success(request, _("Cancel asked. It stops at the next safe point."))
        return redirect(shown.operation_url(row, tenant_slug))
    word = task_word(task)
    machine = visible.virtual_machines(actor).filter(guid=task.virtual_machine_guid).first()
    context = {
        "about": _("%(task)s of %(name)s") % {"task": word, "name": machine.name} if machine else "",
        "question": _("Ask to cancel this task: %(type)s?") % {"type": word},
        "consequence": _(
            "Nobody here started it: a schedule did, or somebody at your provider. Nothing stored is lost."
        ),
        "action_url": reverse("tenant:task_cancel", kwargs={"tenant_slug": tenant_slug, "guid": guid}),
        "verb": _("Ask to cancel"),
        "keep": _("Keep running"),
        "keep_url": back,
        "crumbs": [{"word": _("Tasks"), "url": back}],
        "here": _("Cancel"),
    }
    return render(request, "web/activity/cancel.html", context)


def _crumbs(row: Operation, slug: str) -> list[dict[str, str]]:
    crumbs = [{"word": _("Activity"), "url": reverse("tenant:activity", kwargs={"tenant_slug": slug})}]
    if row.virtual_machine_guid:
        machine_url = shown.machine_url("vm_detail", slug, row.virtual_machine_guid)
        crumbs.append({"word": row.virtual_machine_name, "url": machine_url})
    return crumbs


def _cancel_words(row: Operation, now: datetime) -> str:
    """Return who asked for its end and when; asked is not cancelled."""
    if row.cancel_asked_at is None:
        return ""
    when = moments.clock_words(row.cancel_asked_at, now, timezone.get_current_timezone())
    words = _("Cancel asked %(when)s by %(who)s.") % {"when": when, "who": row.cancel_asked_by_name}
    if row.state == State.CANCELLING:
        for code in ("cannot_be_cancelled", "cancel_refused"):
            if code in row.warnings:
                return f"{words} {error_words(code).cause}"
    return words


def _outcome(actor: Actor, row: Operation) -> str:
    """Return what became of it, whole: cause and next step, or that it is done, with every warning."""
    if row.active:
        return ""
    if row.error_code:
        words = error_words(row.error_code, row.kind)
        return f"{words.title}. {words.cause} {words.next_step}"
    if row.kind == Kind.RESTORE:
        sentences = [restored.outcome_words(actor, row)]
        return " ".join([*sentences, *(str(warning_words(code).cause) for code in shown.shown_warnings(row))])
    told = row.kind == Kind.BACKUP and "restore_point_unknown" not in row.warnings
    sentences = [_("Done. There is a new restore point.") if told else _("Done.")]
    return " ".join([*sentences, *(str(warning_words(code).cause) for code in shown.shown_warnings(row))])


def _tone(row: Operation) -> str:
    if row.state == State.SUCCEEDED:
        return "warn" if shown.shown_warnings(row) else "ok"
    return {State.FAILED: "bad", State.NEEDS_ATTENTION: "attn"}.get(State(row.state), "")


def _way(actor: Actor, row: Operation, machine_url: str) -> dict[str, str] | None:
    """Return the one button at the end: to what came of it, to try again, or to the machine."""
    slug = actor.tenant_slug
    if row.active:
        return None
    if row.kind == Kind.RESTORE and (way := restored.way_on(actor, row)):
        return way
    if row.kind == Kind.BACKUP and row.state == State.SUCCEEDED:
        url = shown.machine_url("vm_restore_points", slug, row.virtual_machine_guid)
        return {"url": url, "word": _("Restore points"), "icon_name": "history"}
    if row.kind == Kind.BACKUP and row.state in {State.FAILED, State.CANCELLED} and row.error_code != "vm_gone":
        again = shown.back_up_url(slug, [row.virtual_machine_guid])
        return {"url": again, "word": _("Try again"), "icon_name": "refresh"}
    return {
        "url": machine_url,
        "word": _("Open %(name)s") % {"name": row.virtual_machine_name},
        "icon_name": "server-2",
    }


def _way_to_policy(actor: Actor, row: Operation) -> dict[str, str] | None:
    return None if row.active else policy_shown.way_on(actor, row)


STAGES: Mapping[str, Sequence[tuple[str, Promise, Promise]]] = {
    Kind.BACKUP: (("EXPORT", lazy("Exported"), lazy("Exporting")), ("STORE", lazy("Stored"), lazy("Storing"))),
    Kind.RESTORE: (
        ("RESTORE", lazy("Copy read"), lazy("Reading the copy")),
        ("IMPORT", lazy("Created"), lazy("Creating the virtual machine")),
    ),
}
"""By kind: the types of its tasks in order, each with its word when it is done and while it is done."""
LAST_STEP: Mapping[str, tuple[Promise, Promise]] = {
    Kind.BACKUP: (lazy("Restorable"), lazy("Checking")),
    Kind.RESTORE: (lazy("Restored"), lazy("Checking")),
}
OTHER_LAST_STEP = (lazy("Done"), lazy("Under way"))
SENT = 2  # steps that are done once vPlus has it: requested, sent


def _steps(row: Operation, done_by: Sequence[Task]) -> list[dict[str, Any]]:
    """Return the way from the wish to its end; times where they are known."""
    stages = STAGES.get(row.kind, ())
    tasks = [next((task for task in done_by if task.type == name), None) for name, _done, _doing in stages]
    first = tasks[0] if tasks else None
    last = LAST_STEP.get(row.kind, OTHER_LAST_STEP)
    moments_known: list[tuple[str | Promise, str | Promise, datetime | None, str]] = [
        (_("Requested"), _("Asking"), row.requested_at, row.requested_by_name),
        (_("Sent"), _("Sending"), first.first_seen_at if first else None, ""),
        *((done, doing, _end_of(task), "") for task, (_name, done, doing) in zip(tasks, stages, strict=True)),
        (*last, row.finished_at if row.state == State.SUCCEEDED else None, ""),
    ]
    reached = _reached(row, len(stages))
    steps = []
    for position, (done, doing, at, by) in enumerate(moments_known):
        if position < reached:
            state = "done"
        elif position == reached:
            state = "now" if row.active else "stopped"
        else:
            state = "next"
        word = doing if state in {"now", "stopped"} else done
        if state == "now" and row.state == State.SUBMITTED:
            word = _("Queued")  # nothing is read yet, as the badge says
        steps.append({"word": word, "state": state, "at": at if state == "done" else None, "by": by})
    return steps


def _reached(row: Operation, stages: int) -> int:
    """Return how many steps are done."""
    if row.state == State.SUCCEEDED:
        return SENT + stages + 1
    if row.state == State.REQUESTED or (not row.stage and not row.active and row.error_code in NEVER_SENT):
        return 1
    names = list(operation_words.STAGES.get(row.kind, ()))
    return SENT + (names.index(row.stage) if row.stage in names and row.state != State.SUBMITTED else 0)


def _end_of(task: Task | None) -> datetime | None:
    if task is None or task.live:
        return None
    return task.finished_at or task.ended_seen_at


def _asked(actor: Actor, row: Operation, now: datetime) -> list[dict[str, str]]:
    zone, plan = timezone.get_current_timezone(), row.plan
    end = instant(plan.get("window_end"))
    facts = [
        *(restored.asked_facts(actor, row, now) if row.kind == Kind.RESTORE else ()),
        (_("Type"), operation_words.type_word(plan["backup_type"]) if "backup_type" in plan else ""),
        (_("Destination"), plan.get("destination_label", "")),
        (_("Priority"), str(plan.get("priority", ""))),
        (_("Starts by"), moments.clock_words(end, now, zone) if end else ""),
        (_("By"), row.requested_by_name),
        (_("Asked"), _with_utc(row.requested_at, now, zone)),
    ]
    return [{"word": word, "text": text} for word, text in facts if text]


def _result(actor: Actor, row: Operation, made: Backup | None, now: datetime) -> list[dict[str, str]]:
    if row.active:
        return []  # vPlus has a record of a backup that runs, with a time and lengths; none of it can be gone back to yet
    zone = timezone.get_current_timezone()
    facts = restored.result_facts(actor, row) if row.kind == Kind.RESTORE else []
    if made is not None:
        facts.append((_("Type"), operation_words.type_word(made.type)))
        if made.taken_at:
            point = row.state == State.SUCCEEDED
            facts.append((_("Restore point") if point else _("Taken"), _with_utc(made.taken_at, now, zone)))
        if made.size:
            facts.append((_("Size"), size_words(made.size)))
        for word, part in (
            (_("Waited"), made.queued_export_seconds),
            (_("Export took"), made.export_seconds),
            (_("Store took"), made.store_seconds),
        ):
            if part and part >= 1:  # vPlus gives 0 for what it never came to
                facts.append((word, moments.duration_words(part)))
    if row.finished_at is not None:
        facts.append((_("Ended"), _with_utc(row.finished_at, now, zone)))
    return [{"word": word, "text": text} for word, text in facts]


def _with_utc(at: datetime, now: datetime, zone: tzinfo) -> str:
    return f"{moments.exact_words(at, now, zone)} · {moments.utc_words(at)}"

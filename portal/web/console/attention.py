"""Operations that need attention: the list, and one with what we sent, what vPlus has, and the three exits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from portal.scoped_request import ScopedRequest, refused
from portal.web import shown
from portal.web.filters import FilterBar, pager
from portal.web.tasks_shown import task_word
from portal.web.virtual_machines import age
from portal.web.wording import moments, operation_words
from portal.web.wording.badges import backup_badge, task_badge
from tenants.refusals import Invalid, WrongState
from tenants.rights import ProviderActor, Right
from vplus_bridge.keyset import page_of
from vplus_bridge.mirror.models import Task
from vplus_bridge.mirror.read_state import TASKS, state_of
from vplus_bridge.operations import attention
from vplus_bridge.operations.follow import END_UNKNOWN
from vplus_bridge.operations.models import Attempt, Operation
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.restore_follow import RESTORE_END_UNKNOWN
from vplus_bridge.operations.words import error_words

OUTCOMES: Mapping[str, Promise] = {
    "": lazy("No answer recorded"),
    "not_accepted": lazy("Not accepted: it certainly did not run"),
    "refused": lazy("Refused by vPlus"),
    "accepted": lazy("Accepted"),
    "uncertain": lazy("Uncertain: it may have run"),
}


class ReasonForm(forms.Form):
    """Why, for the tenant's audit."""

    reason = forms.CharField(
        label=lazy("Reason"),
        max_length=attention.LONGEST_REASON,
        help_text=lazy("The tenant's admins read it in their audit."),
    )


class LinkForm(ReasonForm):
    """Which task it made."""

    task = forms.CharField(label=lazy("Task"), max_length=200)
    field_order = ("task", "reason")


class SendAgainForm(ReasonForm):
    """What the person was shown; a press that tells nothing of it is refused."""

    shown = forms.CharField(required=False, max_length=200)


@dataclass(frozen=True)
class Exit:
    """One way out: its button, what it does, and the service that does it."""

    name: str
    verb: Promise
    consequence: Promise
    done: Promise
    service: Callable[..., Operation]
    danger: bool = False


EXITS: Mapping[str, Exit] = {
    one.name: one
    for one in (
        Exit(
            "link_task",
            lazy("Link task"),
            lazy("The operation takes this task as its own and is followed from there on."),
            lazy("The task is linked; the operation is followed again."),
            attention.link_task,
        ),
        Exit(
            "send_again",
            lazy("Send again"),
            lazy("Only if nothing arrived: what runs twice makes two backups, or two virtual machines."),
            lazy("It will be sent once more."),
            attention.send_again,
            danger=True,
        ),
        Exit(
            "abandon",
            lazy("Abandon"),
            lazy("It ends as failed, and nobody looks for its work any more. What ran in vPlus goes on there."),
            lazy("The operation is closed as given up."),
            attention.abandon,
            danger=True,
        ),
    )
}


FORMS: Mapping[str, type[ReasonForm]] = {"link_task": LinkForm, "send_again": SendAgainForm}


@require_safe
def operations(request: ScopedRequest) -> HttpResponse:
    """List them, oldest first."""
    request.provider.require(Right.PROVIDER_READ)
    now = timezone.now()
    bar = FilterBar(request, kept=("size",))
    rows = attention.waiting()
    page = page_of(rows.select_related("tenant"), attention.OLDEST_FIRST, bar.cursor, bar.size)
    total = rows.count()
    heading = ngettext("%(n)d operation needs attention", "%(n)d operations need attention", total) % {"n": total}
    context = {
        "heading": heading if total else _("Nothing waits for you."),
        "age": age(state_of(TASKS).succeeded_at, settings.VPLUS_POLL_IDLE_SECONDS, now),
        "rows": [
            {
                "id": row.pk,
                "url": reverse("console:operation", kwargs={"operation_id": row.pk}),
                "what": operation_words.title(row),
                "since": row.last_news_at or row.requested_at,
                "tenant": row.tenant.name,
                "why": error_words(row.error_code, row.kind).cause,
                "reference": row.reference,
            }
            for row in page.rows
        ],
        **pager(bar, page, total),
    }
    return render(request, "web/console/attention.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def operation(request: ScopedRequest, operation_id: UUID) -> HttpResponse:
    """Show what is known of one operation; on POST leave by one of the exits."""
    provider, now = request.provider, timezone.now()
    provider.require(Right.PROVIDER_READ)
    form: forms.Form | None = None
    chosen = request.POST.get("exit", "") if request.method == "POST" else ""
    if request.method == "POST":
        provider.require(Right.PROVIDER_CHANGE)
        form = FORMS.get(chosen, ReasonForm)(request.POST)
        if chosen in EXITS and form.is_valid():
            try:
                EXITS[chosen].service(
                    provider,
                    operation_id,
                    now=now,
                    **{"task_guid" if name == "task" else name: value for name, value in form.cleaned_data.items()},
                )
            except Invalid as problem:
                refused(request, problem)
                for name, texts in problem.errors.items():
                    form.add_error(name if name in form.fields else None, " ".join(texts))
            except WrongState as problem:
                messages.warning(request, problem.message)
                refused(request, problem)
                return redirect("console:operation", operation_id=operation_id)
            else:
                messages.success(request, str(EXITS[chosen].done))
                return redirect("console:operation", operation_id=operation_id)
    context = _context(provider, attention.known(operation_id), form, chosen, now)
    return render(request, "web/console/operation.html", context, status=400 if form is not None else 200)


def _context(
    provider: ProviderActor, known: attention.Known, form: forms.Form | None, chosen: str, now: datetime
) -> dict[str, Any]:
    row = known.operation
    waits = row.state == State.NEEDS_ATTENTION
    zone = timezone.get_current_timezone()
    facts = [
        (_("Tenant"), row.tenant.name),
        (_("Asked"), moments.exact_words(row.requested_at, now, zone)),
        (_("By"), row.requested_by_name),
        (_("Send no later than"), moments.exact_words(row.send_until, now, zone)),
        (_("Virtual machine"), row.virtual_machine_name),
        (_("Known to vPlus as"), row.virtual_machine_guid),
        (_("Cancel asked"), _cancel_words(row, now)),
    ]
    return {
        "title": operation_words.title(row),
        "badge": shown.badge_of_operation(row),
        "why": error_words(row.error_code, row.kind).cause if row.error_code else "",
        "age": age(state_of(TASKS).succeeded_at, settings.VPLUS_POLL_IDLE_SECONDS, now),
        "facts": [{"word": word, "text": text} for word, text in facts if text],
        "attempts": [_attempt(attempt) for attempt in known.attempts],
        "linked": _tasks(known.linked),
        "candidates": _tasks(known.candidates),
        "backups": [
            {"guid": backup.guid, "badge": backup_badge(backup.status), "at": backup.taken_at or backup.first_seen_at}
            for backup in known.backups
        ],
        "exits": _exits(known) if waits and provider.may(Right.PROVIDER_CHANGE) else [],
        "digest": known.digest,
        "form": form,
        "chosen": chosen,
        "original": row.vendor_text,
        "reference": row.reference,
        "crumbs": [{"word": _("Needs attention"), "url": reverse("console:operations")}],
        "here": operation_words.title(row),
    }


def _cancel_words(row: Operation, now: datetime) -> str:
    """Return when its people asked for its end, and who; empty where nobody did."""
    if row.cancel_asked_at is None:
        return ""
    when = moments.exact_words(row.cancel_asked_at, now, timezone.get_current_timezone())
    return _("%(when)s, by %(who)s") % {"when": when, "who": row.cancel_asked_by_name}


def _exits(known: attention.Known) -> list[Exit]:
    """Return the exits that this operation has: what did arrive, or was asked to be cancelled, is not sent again."""
    closed = {"link_task"} if not known.candidates else set()
    row = known.operation
    arrived = row.error_code in (END_UNKNOWN, RESTORE_END_UNKNOWN)
    if arrived or row.cancel_asked_at is not None or row.kind not in (Kind.BACKUP, Kind.RESTORE):
        closed.add("send_again")
    return [one for one in EXITS.values() if one.name not in closed]


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "word": attempt.step.action,
        "number": attempt.number,
        "sent_at": attempt.sent_at,
        "stamp": attempt.stamp,
        "outcome": OUTCOMES[attempt.outcome],
        "reason": attempt.outcome_reason if attempt.outcome_reason != attempt.outcome else "",
        "original": attempt.vendor_text,
        "body": attempt.body,
    }


def _tasks(rows: Sequence[Task]) -> list[dict[str, Any]]:
    return [
        {
            "guid": row.guid,
            "type_word": task_word(row),
            "badge": task_badge(row.known_state, row.state_description),
            "window_start": row.window_start,
            "seen_at": row.first_seen_at,
            "original": row.status_info,
        }
        for row in rows
    ]

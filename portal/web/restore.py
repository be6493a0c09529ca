"""Restore: one page from the point to the plan. The plan that stands beside the button is the plan that is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from portal.scoped_request import ScopedRequest, refused
from portal.web import points, shown
from portal.web.point_calendar import MonthCalendar, month_calendar
from portal.web.virtual_machines import age
from portal.web.wording import moments, numbers, operation_words
from portal.web.wording.platform_words import platform_word
from tenants.refusals import Invalid, NotVisible
from tenants.rights import Actor, Right
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.actions import BACK_UP, allowed_actions
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind
from vplus_bridge.operations.request import NoneStarted
from vplus_bridge.operations.restore_plan import (
    Plan,
    default_target,
    platform_of,
    proposed_name,
    room_at,
    where_it_was,
)
from vplus_bridge.operations.restore_request import PlanChanged, PointGone, RestoreWish, plan_of, request_restore
from vplus_bridge.ownership import visible
from vplus_bridge.ownership.models import AllowedRestoreTarget

FIELDS = ("point", "restored_name", "target", "send_until")
"""What the address keeps of the form."""
MARKED = gettext_lazy("Something in the form needs another answer; it is marked there.")


class RestoreForm(forms.Form):
    """What a person can say about a restore; the point is chosen in the calendar."""

    restored_name = forms.CharField(
        label=gettext_lazy("Name of the new VM"), required=False, strip=True, widget=forms.TextInput()
    )
    target = forms.CharField(label=gettext_lazy("Restore target"), required=False)
    send_until = forms.DateTimeField(
        label=gettext_lazy("Send no later than"),
        required=False,
        help_text=gettext_lazy("Empty: six hours from now."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "data-replan": True}, format="%Y-%m-%dT%H:%M"),
    )


@dataclass
class Shown:
    """What the page shows: the plan, or the sentence why there is none."""

    plan: Plan | None = None
    stop: str | Promise = ""
    changed: str = ""
    status: int = 200


@require_http_methods(["GET", "HEAD", "POST"])
def restore_new(request: ScopedRequest, tenant_slug: str, guid: str) -> HttpResponse:
    """Show point, name, target and plan; on POST ask for the restore. What is wrong is named, and the input is kept."""
    actor, now = request.actor, timezone.now()
    machine = visible.virtual_machine(actor, guid)
    actor.require(Right.RESTORE, guid)
    given: dict[str, Any] = (request.POST if request.method == "POST" else request.GET).dict()
    page_url = shown.restore_url(tenant_slug, guid)
    if request.method == "POST" and "show_plan" in given:
        kept = [(name, given[name]) for name in FIELDS if given.get(name)]
        return redirect(f"{page_url}?{urlencode(kept)}")
    point = _point(actor, guid, given.get("point", ""))
    calendar = _calendar(actor, machine, given, page_url, point=point, now=now)
    point = point or _preselected(actor, guid, calendar)
    targets = list(visible.restore_targets(actor))
    form = RestoreForm(_filled(actor, machine, given, targets))
    form.is_valid()
    wish = _wish(form, point, given.get("plan_digest") if request.method == "POST" else None)
    running = _running(actor, guid)
    if request.method == "POST" and wish is not None and not form.errors:
        try:
            asked = request_restore(actor, wish, now=now)
        except PlanChanged as problem:
            refused(request, problem)
            outcome = _changed(problem)
        except NoneStarted as problem:
            refused(request, problem)
            outcome = Shown(stop=problem.refused[0].message, status=409)
        except Invalid as problem:
            refused(request, problem)
            outcome = _planned(actor, form, wish, point, machine=machine, now=now)  # says the same, at its fields
            outcome.status = 400
        else:
            if asked.already_active:
                who = asked.operations[0].requested_by_name
                messages.info(request, _("%(who)s asked for this already; you see the same restore.") % {"who": who})
            return redirect(shown.operation_url(asked.operations[0], tenant_slug))
    else:
        outcome = _planned(actor, form, wish, point, machine=machine, now=now)
        if request.method == "POST":
            outcome.status = 400
    outcome.stop = _stop(actor, calendar, targets, running) or outcome.stop
    context = {
        **_frame_of(machine, tenant_slug, now),
        "action_url": page_url,
        "form": form,
        "calendar": calendar,
        "chosen": point.guid if point else "",
        "targets": _targets(machine, targets, form["target"].value() or "", now),
        "says": _name_says(outcome.plan),
        "plan": _facts(actor, outcome.plan, wish, now) if outcome.plan and not outcome.stop else [],
        "digest": outcome.plan.digest if outcome.plan else "",
        "stop": outcome.stop,
        "stop_url": shown.machine_url("vm_backups", tenant_slug, guid) if calendar.empty else "",
        "back_up_url": _back_up_url(actor, machine) if calendar.empty else "",
        "changed": outcome.changed,
        "already": _already(running, now),
        "watch_url": shown.operation_url(running, tenant_slug) if running else "",
        "still_exists": not machine.gone,
        "jump": _jump(outcome.plan, now) if not outcome.stop else None,
        "more_open": "send_until" in form.errors or bool(form["send_until"].value()),
    }
    return render(request, "web/restore/new.html", context, status=outcome.status)


def _point(actor: Actor, guid: str, point_guid: str) -> Backup | None:
    """Return the backup that the address names; raise NotVisible where it is not one of this machine's."""
    if not point_guid:
        return None
    point = visible.backups(actor, guid).filter(guid=point_guid.replace("\0", "")).first()
    if point is None:
        raise NotVisible
    return point


def _calendar(
    actor: Actor,
    machine: VirtualMachine,
    given: Mapping[str, str],
    page_url: str,
    *,
    point: Backup | None,
    now: datetime,
) -> MonthCalendar:
    asked = {name: given[name] for name in ("day", "month", "find", "point") if given.get(name)}
    kept = {name: given[name] for name in FIELDS if given.get(name)}

    def link(**changes: str | None) -> str:
        values = {**kept, **{name: value for name, value in changes.items() if value}}
        dropped = {name for name, value in changes.items() if value is None}
        return f"{page_url}?{urlencode([(n, v) for n, v in values.items() if n not in dropped])}"

    return month_calendar(actor, machine, asked, link, now=now, at=point.taken_at if point else None)


def _preselected(actor: Actor, guid: str, calendar: MonthCalendar) -> Backup | None:
    """Return the newest point of the day that is shown, else the newest that has no time where no day is shown."""
    shown_rows = calendar.points or (calendar.undated if calendar.day is None else ())
    return visible.restore_points(actor, guid).filter(guid=shown_rows[0].guid).first() if shown_rows else None


def _filled(
    actor: Actor, machine: VirtualMachine, given: Mapping[str, str], targets: Sequence[AllowedRestoreTarget]
) -> dict[str, str]:
    """Return what the form holds: what was given, else the safe defaults."""
    target = given.get("target") or str(getattr(default_target(machine, targets), "pk", ""))
    chosen = next((one for one in targets if str(one.pk) == target), None)
    return {
        "restored_name": given.get("restored_name") or proposed_name(actor, machine, chosen),
        "target": target,
        "send_until": given.get("send_until", ""),
    }


def _wish(form: RestoreForm, point: Backup | None, digest: str | None) -> RestoreWish | None:
    if point is None:
        return None
    fields = form.cleaned_data
    return RestoreWish(
        restore_point=point.guid,
        target=fields.get("target") or None,
        restored_name=fields.get("restored_name") or None,
        send_until=fields.get("send_until"),
        plan_digest=digest,
    )


def _running(actor: Actor, guid: str) -> Operation | None:
    active = operations.active_by_machine(actor, [guid]).get(guid, [])
    return next((row for row in active if row.kind == Kind.RESTORE), None)


def _planned(
    actor: Actor,
    form: RestoreForm,
    wish: RestoreWish | None,
    point: Backup | None,
    *,
    machine: VirtualMachine,
    now: datetime,
) -> Shown:
    """Return the plan for what the form says, or why there is none; wrong fields are marked."""
    why = ""
    if wish is None or point is None:
        why = _("Choose a day with a restore point.")
    elif form.errors:
        why = str(MARKED)
    elif not wish.target:
        why = _("Choose where to put it.")
    if why or wish is None or point is None:
        return Shown(stop=why)
    try:
        return Shown(plan=plan_of(actor, wish, point, machine, now=now))
    except PointGone as problem:
        return Shown(stop=_gone_words(problem, now))
    except Invalid as problem:
        rest = []
        for name, texts in problem.errors.items():
            for text in texts:
                if name in form.fields:
                    form.add_error(name, text)
                else:
                    rest.append(text)
        return Shown(stop=" ".join(rest) or MARKED)


def _gone_words(problem: PointGone, now: datetime) -> str:
    zone = timezone.get_current_timezone()
    sentence = _("This restore point is gone.")
    if problem.removed_at:
        when = moments.said_words(problem.removed_at, now, zone)
        sentence = _("This restore point is gone; it was removed %(when)s.") % {"when": when}
    if problem.nearest is None or problem.nearest.taken_at is None:
        return sentence
    nearest = moments.said_words(problem.nearest.taken_at, now, zone)
    return f"{sentence} {_('The nearest is %(when)s.') % {'when': nearest}}"


def _changed(problem: PlanChanged) -> Shown:
    words = _("Something changed while you read: %(difference)s Check and press again.")
    return Shown(
        plan=problem.plan,
        changed=words % {"difference": " ".join(problem.plan.said(part) for part in problem.parts)},
        status=409,
    )


def _stop(
    actor: Actor, calendar: MonthCalendar, targets: Sequence[AllowedRestoreTarget], running: Operation | None
) -> str:
    tenant = {"tenant": actor.tenant_name}
    if actor.suspended:
        return _("%(tenant)s is suspended. You can read, but start nothing new. Ask your provider.") % tenant
    if calendar.empty:
        return _("No restorable backup exists. Backups shows why.")
    if not targets:
        return _("No restore target is allowed for %(tenant)s. Ask your provider.") % tenant
    if running is not None:
        return _("A restore of it is under way. Watch it, then start yours.")
    return ""


def _back_up_url(actor: Actor, machine: VirtualMachine) -> str:
    """Return where to ask for the backup that is missing; "" where it cannot be, or one may not."""
    active = operations.active_by_machine(actor, [machine.guid]).get(machine.guid, [])
    may = BACK_UP in allowed_actions(actor, machine, active)
    return shown.back_up_url(actor.tenant_slug, [machine.guid]) if may else ""


def _already(running: Operation | None, now: datetime) -> str:
    if running is None:
        return ""
    return _("%(who)s asked for a restore of it %(ago)s.") % {
        "who": running.requested_by_name,
        "ago": moments.relative_words(running.requested_at, now),
    }


def _frame_of(machine: VirtualMachine, slug: str, now: datetime) -> dict[str, Any]:
    machine_url = shown.machine_url("vm_detail", slug, machine.guid)
    return {
        "heading": _("Restore %(name)s") % {"name": machine.name},
        "vm_name": machine.name,
        "here": _("Restore"),
        "crumbs": [
            {"word": _("Virtual machines"), "url": reverse("tenant:vm_list", kwargs={"tenant_slug": slug})},
            {"word": machine.name, "url": machine_url},
        ],
        "age": age(machine.history_read_at, settings.VPLUS_HISTORY_MAX_AGE_SECONDS, now),
    }


def _targets(
    machine: VirtualMachine, targets: Sequence[AllowedRestoreTarget], chosen: str, now: datetime
) -> list[dict[str, Any]]:
    original, room = where_it_was(machine, targets), room_at(targets)
    shown_targets = []
    for target in targets:
        free = room.get(target.pk)
        words = ""
        if free is not None:
            words = _("%(size)s free, read %(ago)s") % {
                "size": numbers.size_words(free.bytes),
                "ago": moments.relative_words(free.read_at, now),
            }
        shown_targets.append(
            {
                "value": str(target.pk),
                "word": target.label,
                "where_it_was": original is not None and target.pk == original.pk,
                "hint": words,
                "chosen": str(target.pk) == chosen,
            }
        )
    return shown_targets


def _name_says(plan: Plan | None) -> Mapping[str, str]:
    """Return what stands under the name: that it is taken, or what a name without the portal's code means."""
    if plan is None:
        return {"tone": "", "text": ""}
    sentences = []
    if plan.name_taken:
        taken = _("You already have %(name)s. Two of one name are easily mixed up.")
        sentences.append(taken % {"name": plan.name})
    if not plan.code:
        sentences.append(
            _(
                "Without the portal's code in its name, the new virtual machine may have to wait until your provider "
                "confirms that it is yours."
            )
        )
    if sentences:
        return {"tone": "warn", "text": " ".join(sentences)}
    return {"tone": "", "text": _("No VM of yours has this name. By the code in it we know the new VM as yours.")}


def _facts(actor: Actor, plan: Plan | None, wish: RestoreWish | None, now: datetime) -> list[dict[str, str]]:
    """Return the plan as words and texts; ``strong`` is what stands before the text in bold, ``more`` a quiet second line."""
    if plan is None:
        return []
    zone, taken = timezone.get_current_timezone(), plan.point.taken_at
    size = plan.machine.last_full_backup_size
    from_words = moments.exact_words(taken, now, zone) if taken else _("a point whose time is not given")
    lost = (
        _("Changes made after %(when)s are not in the copy") % {"when": moments.said_words(taken, now, zone)}
        if taken
        else _("Changes made since then are not in the copy")
    )
    return [
        {
            "word": _("Created"),
            "strong": plan.name,
            "text": _(", a new VM of %(size)s") % {"size": numbers.size_words(size)} if size else _(", a new VM"),
        },
        {"word": _("From"), "text": from_words, "more": _chain_words(actor, plan.point, now)},
        {"word": _("Where"), "text": plan.target.label, **_other_platform(plan)},
        {"word": _("Lost"), "text": lost},
        {"word": _("Takes"), **_takes(plan)},
        *(
            [{"word": _("Sent"), "text": _("no later than %(when)s") % {"when": moments.said_words(wish.send_until, now, zone)}}]
            if wish is not None and wish.send_until
            else []
        ),
    ]  # fmt: skip


def _chain_words(actor: Actor, point: Backup, now: datetime) -> str:
    if point.type == "FULL":
        return _("Full backup, needs no other point")
    word = operation_words.type_word(point.type)
    root = points.chains(actor, point.virtual_machine_guid).get(point.guid)
    if root is None:
        return word
    when = moments.said_words(root, now, timezone.get_current_timezone(), weekday=False)
    return _("%(type)s, needs Full of %(when)s") % {"type": word, "when": when}


def _other_platform(plan: Plan) -> dict[str, str]:
    """Return a second line where the target is known to be on another platform than the machine was."""
    there, here = platform_of(plan.target), plan.machine.platform
    if not there or not here or there.upper() == here.upper():
        return {}
    words = _("This is %(there)s, and the backup is of %(here)s: such a restore may be refused there")
    return {"more": words % {"there": platform_word(there), "here": platform_word(here)}}


def _takes(plan: Plan) -> dict[str, str]:
    estimate = plan.estimate
    if estimate is None:
        return {"text": _("No restore of this VM yet, so no estimate")}
    more = ngettext("Last restore of this VM", "Last %(n)d restores of this VM", estimate.runs) % {"n": estimate.runs}
    if estimate.runs > 1:
        more = _("%(which)s: %(least)s to %(most)s") % {
            "which": more,
            "least": moments.duration_words(estimate.shortest),
            "most": moments.duration_words(estimate.longest),
        }
    return {"text": _("About %(time)s") % {"time": moments.duration_words(estimate.seconds)}, "more": more}


def _jump(plan: Plan | None, now: datetime) -> dict[str, str] | None:
    """Return what the bar of a phone says, which leads down to the plan."""
    if plan is None:
        return None
    zone, parts = timezone.get_current_timezone(), []
    if plan.point.taken_at:
        parts.append(moments.exact_words(plan.point.taken_at, now, zone))
    if plan.estimate:
        parts.append(_("about %(time)s") % {"time": moments.duration_words(plan.estimate.seconds)})
    return {"name": plan.name, "more": " · ".join(parts)}

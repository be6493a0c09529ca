"""Back up now: one machine or several, with what will happen beside the button."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from portal.scoped_request import ScopedRequest, refused
from portal.web import shown
from portal.web.wording import moments, numbers, operation_words
from tenants.refusals import Invalid, NotVisible
from tenants.rights import Actor, Right
from vplus_bridge.mirror.backups import newest_first
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.backup_places import Places, places_of
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind
from vplus_bridge.operations.request import (
    BACKUP_TYPES,
    DEFAULT_WINDOW,
    MOST_AT_ONCE,
    Asked,
    BackupWish,
    NoneStarted,
    last_destinations,
    request_backups,
)
from vplus_bridge.ownership import visible

PAST_RUNS = 5


class BackupForm(forms.Form):
    """What a person can say about a backup; the rest is the machine's own."""

    backup_type = forms.ChoiceField(
        label=gettext_lazy("Type"), choices=[(name, name) for name in BACKUP_TYPES], required=False
    )
    destination = forms.CharField(label=gettext_lazy("Backup destination"), required=False, max_length=200)
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        required=False,
        help_text=gettext_lazy("0 to 100; higher goes first. 50 is usual."),
        widget=forms.NumberInput(attrs={"min": 0, "max": 100}),
    )
    window_start = forms.DateTimeField(
        label=gettext_lazy("Not before"),
        required=False,
        help_text=gettext_lazy("Empty: as soon as possible."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    window_end = forms.DateTimeField(
        label=gettext_lazy("Start no later than"),
        required=False,
        help_text=gettext_lazy("Empty: six hours after that."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


@dataclass(frozen=True)
class Chosen:
    """One machine of the page, with what it gets or why it gets nothing."""

    guid: str
    name: str
    url: str
    gets: str = ""
    cannot: str = ""
    watch_url: str = ""


@require_http_methods(["GET", "HEAD", "POST"])
def backup_new(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """Show the plan and, on POST, ask for the backups. What is wrong stands at its field, and the input is kept."""
    actor, now = request.actor, timezone.now()
    asked_for = (request.POST if request.method == "POST" else request.GET).getlist("vm")
    machines = _machines(actor, list(dict.fromkeys(asked_for)))
    actor.require(Right.BACK_UP, machines[0].guid)
    form = BackupForm(request.POST if request.method == "POST" else None)
    why_not: list[str] = []
    if request.method == "POST" and form.is_valid():
        try:
            asked = request_backups(actor, _wish(machines, form.cleaned_data), now=now)
        except Invalid as problem:
            refused(request, problem)
            why_not = _show(form, problem)
        except NoneStarted as problem:
            refused(request, problem)
            why_not = [f"{one.name}: {one.message}" for one in problem.refused]
        else:
            return _answer(request, actor, asked)
    for text in why_not:
        form.add_error(None, text)
    context = _context(actor, machines, form, now)
    return render(request, "web/backup/new.html", context, status=400 if form.errors else 200)


def _machines(actor: Actor, guids: Sequence[str]) -> list[VirtualMachine]:
    if not guids or len(guids) > MOST_AT_ONCE or any("\0" in guid for guid in guids):
        raise NotVisible
    found = {row.guid: row for row in visible.virtual_machines(actor).filter(guid__in=guids)}
    if len(found) != len(guids):
        raise NotVisible
    return [found[guid] for guid in guids]


def _wish(machines: Sequence[VirtualMachine], fields: dict[str, Any]) -> BackupWish:
    # Those that cannot are left out here and named on the page; the rest go (screens.md 3.5).
    present = [machine.guid for machine in machines if not machine.gone]
    return BackupWish(
        virtual_machines=present or [machine.guid for machine in machines],
        backup_type=fields["backup_type"] or None,
        destination=fields["destination"] or None,
        priority=fields["priority"],
        window_start=fields["window_start"],
        window_end=fields["window_end"],
    )


def _show(form: BackupForm, problem: Invalid) -> list[str]:
    """Put each text at its field; return those of fields that the form does not have."""
    rest = []
    for name, texts in problem.errors.items():
        for text in texts:
            if name in form.fields:
                form.add_error(name, text)
            else:
                rest.append(text)
    return rest


def _answer(request: ScopedRequest, actor: Actor, asked: Asked) -> HttpResponse:
    for one in asked.refused:
        messages.warning(request, f"{one.name}: {one.message}")
    if len(asked.operations) == 1:
        operation = asked.operations[0]
        if operation.pk in asked.already_active:
            messages.info(
                request,
                _("%(who)s asked for this already; you see the same backup.") % {"who": operation.requested_by_name},
            )
        return redirect(shown.operation_url(operation, actor.tenant_slug))
    count = len(asked.operations)
    messages.success(request, ngettext("%(n)d backup asked for.", "%(n)d backups asked for.", count) % {"n": count})
    return redirect("tenant:activity", tenant_slug=actor.tenant_slug)


def _context(actor: Actor, machines: Sequence[VirtualMachine], form: BackupForm, now: datetime) -> dict[str, Any]:
    slug = actor.tenant_slug
    active = operations.active_by_machine(actor, [machine.guid for machine in machines])
    busy = {guid: row for guid, rows in active.items() for row in rows if row.kind == Kind.BACKUP}
    places = places_of(actor, machines)
    chosen = [_chosen(machine, busy.get(machine.guid), places[machine.guid], slug) for machine in machines]
    able = [one for one in chosen if one.gets]
    allowed = {row.destination_guid: row.label for row in visible.destinations(actor)}
    possible = {guid for one in able for guid in places[one.guid].labels}
    destinations = {guid: label for guid, label in allowed.items() if guid in possible} if able else allowed
    by_policy = bool(able) and all(places[one.guid].by_policy for one in able)
    one = machines[0] if len(machines) == 1 else None
    running = busy.get(one.guid) if one else None
    heading = (
        _("Back up %(name)s") % {"name": one.name}
        if one
        else _("Back up %(n)d virtual machines") % {"n": len(machines)}
    )
    return {
        "heading": heading,
        "here": _("Back up"),
        "crumbs": _crumbs(slug, one),
        "form": form,
        "action_url": reverse("tenant:backup_new", kwargs={"tenant_slug": slug}),
        "types": _types(form),
        "destinations": [] if by_policy else _places(form, destinations, machines),
        "machines": chosen,
        "plan": _plan(actor, machines, able, destinations, by_policy=by_policy),
        "stop": _stop(actor, able, allowed, running, [places[machine.guid] for machine in machines]),
        "press_word": _("Back up now")
        if one
        else ngettext("Back up %(n)d VM", "Back up %(n)d VMs", len(able)) % {"n": len(able)},
        "limit_words": "",
        "already": _("%(who)s started this %(ago)s; you see the same backup.")
        % {"who": running.requested_by_name, "ago": moments.relative_words(running.requested_at, now)}
        if running
        else "",
        "watch_url": shown.operation_url(running, slug) if running else "",
        "more_open": any(name in form.errors for name in ("priority", "window_start", "window_end")),
    }


CANNOT = {
    "no_policy": gettext_lazy("in no policy"),
    "no_active_rule": gettext_lazy("no active rule in its policy"),
    "destination_not_in_policy": gettext_lazy("its policy stores elsewhere"),
}


def _chosen(machine: VirtualMachine, running: Operation | None, place: Places, slug: str) -> Chosen:
    url = shown.machine_url("vm_detail", slug, machine.guid)
    if machine.gone:
        return Chosen(machine.guid, machine.name, url, cannot=_("gone"))
    if running is not None:
        return Chosen(machine.guid, machine.name, url, watch_url=shown.operation_url(running, slug))
    if place.code:
        return Chosen(machine.guid, machine.name, url, cannot=str(CANNOT[place.code]))
    return Chosen(machine.guid, machine.name, url, gets=_("a backup"))


def _crumbs(slug: str, one: VirtualMachine | None) -> list[dict[str, str]]:
    crumbs = [{"word": _("Virtual machines"), "url": reverse("tenant:vm_list", kwargs={"tenant_slug": slug})}]
    if one:
        crumbs.append({"word": one.name, "url": shown.machine_url("vm_detail", slug, one.guid)})
    return crumbs


def _types(form: BackupForm) -> list[dict[str, Any]]:
    chosen = form["backup_type"].value() or "FULL"
    hints = {
        "FULL": _("Everything. Needs no other restore point."),
        "INCREMENTAL": _("Only changes. Without a base, a full backup is made and named so."),
    }
    return [
        {"value": name, "word": operation_words.type_word(name), "hint": hints[name], "chosen": name == chosen}
        for name in BACKUP_TYPES
    ]


def _places(form: BackupForm, labels: dict[str, str], machines: Sequence[VirtualMachine]) -> list[dict[str, Any]]:
    """Return the destinations; chosen is what was pressed before, else where the first machine's last copy went."""
    last = last_destinations([machines[0].guid]).get(machines[0].guid, "") if len(labels) > 1 else ""
    chosen = form["destination"].value() or (last if last in labels else next(iter(labels), ""))
    return [{"value": guid, "word": label, "hint": "", "chosen": guid == chosen} for guid, label in labels.items()]


def _plan(
    actor: Actor,
    machines: Sequence[VirtualMachine],
    able: Sequence[Chosen],
    labels: dict[str, str],
    *,
    by_policy: bool,
) -> list[dict[str, Any]]:
    if len(machines) == 1:
        plan = _experience(actor, machines[0])
    else:
        plan = [{"word": _("Made"), "text": ngettext("%(n)d backup", "%(n)d backups", len(able)) % {"n": len(able)}}]
    if by_policy:
        plan.append(
            {"word": _("Stored on"), "text": _("where its policy stores; the backup system does not tell where")}
        )
    elif len(labels) == 1:
        plan.append({"word": _("Stored on"), "text": next(iter(labels.values()))})
    hours = int(DEFAULT_WINDOW / timedelta(hours=1))
    plan.append({"word": _("Starts"), "text": _("as soon as there is room, within %(n)d hours") % {"n": hours}})
    return plan


def _experience(actor: Actor, machine: VirtualMachine) -> list[dict[str, Any]]:
    """Return size and time of the last good backups, or say that there are none to go by."""
    past = list(newest_first(visible.restore_points(actor, machine.guid))[:PAST_RUNS])
    sizes = [backup.size for backup in past if backup.size]
    times = [
        backup.export_seconds + (backup.store_seconds or 0) for backup in past if backup.export_seconds is not None
    ]
    facts = []
    if sizes:
        words = _("about %(size)s (last %(n)d)")
        facts.append(
            {"word": _("Size"), "text": words % {"size": numbers.size_words(sum(sizes) // len(sizes)), "n": len(sizes)}}
        )
    text = _("not known yet: no backup of it to go by")
    if times:
        text = _("about %(time)s (last %(n)d)") % {
            "time": moments.duration_words(sum(times) / len(times)),
            "n": len(times),
        }
    return [*facts, {"word": _("Takes"), "text": text}]


def _stop(
    actor: Actor,
    able: Sequence[Chosen],
    labels: dict[str, str],
    running: Operation | None,
    places: Sequence[Places],
) -> str:
    if actor.suspended:
        return _("%(tenant)s is suspended. You can read, but start nothing new. Ask your provider.") % {
            "tenant": actor.tenant_name
        }
    if not labels:
        return _("No backup destination is allowed for %(tenant)s. Ask your provider.") % {"tenant": actor.tenant_name}
    if running is not None:
        return _("A backup of it is under way. Watch it, then start yours.")
    if not able and len(places) == 1 and places[0].why:
        return places[0].why
    if not able:
        return _("None of them can be backed up now.")
    return ""

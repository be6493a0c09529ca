"""The editor of a policy: everything on one page, a preview of its runs, and what changes beside the button.

Every button posts the whole form, so that nothing that was typed is lost; with script the preview follows by itself.
"""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from portal.scoped_request import ScopedRequest, refused
from portal.web import policy_machines, policy_shown, schedule_preview
from portal.web.policies import crumbs, may_change
from portal.web.policy_forms import Editor, editor_of, first_schedule, posted_editor, weekday_names
from portal.web.wording import moments
from tenants.refusals import Invalid, NotVisible, WrongState
from tenants.rights import Actor, Right
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind
from vplus_bridge.ownership import visible as owned
from vplus_bridge.protection import drafts, summary, visible
from vplus_bridge.protection.drafts import MOST_SCHEDULES, PolicyDraft, ScheduleDraft
from vplus_bridge.protection.models import Policy
from vplus_bridge.protection.request_policy import (
    editable,
    look_over,
    request_policy_change,
    request_policy_create,
)
from vplus_bridge.protection.stored import promise_of
from vplus_bridge.protection.wall_time import Promise, known_zones

LATE_CHANGE = "changed_by_somebody"


@require_http_methods(["GET", "HEAD", "POST"])
def policy_new(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """Make a policy. What is wrong stands at its field, and the input is kept."""
    actor = request.actor
    actor.require(Right.POLICIES)
    if request.method == "POST":
        return _pressed(request, actor, None)
    draft = _kept_draft(request, actor, "")
    if draft is None:
        known = owned.virtual_machines(actor).filter(guid__in=_asked_machines(request))
        guids = list(known.order_by("name", "guid").values_list("guid", flat=True))
        zone = actor.time_zone
        draft = PolicyDraft(name="", virtual_machines=guids, schedules=[first_schedule(zone)])
    del tenant_slug
    return _shown(request, actor, None, editor_of(draft))


@require_http_methods(["GET", "HEAD", "POST"])
def policy_edit(request: ScopedRequest, tenant_slug: str, policy_id: UUID) -> HttpResponse:
    """Change a policy; a draft that was not saved can be taken up again."""
    del tenant_slug
    actor = request.actor
    visible.policy(actor, policy_id)
    actor.require(Right.POLICIES)
    policy = editable(actor, policy_id)
    if request.method == "POST":
        return _pressed(request, actor, policy)
    kept = _kept_draft(request, actor, str(policy.pk))
    return _shown(request, actor, policy, editor_of(kept or drafts.draft_of(policy), policy.version))


def _asked_machines(request: ScopedRequest) -> list[str]:
    return [guid for guid in request.GET.getlist("vm") if "\0" not in guid][: drafts.MOST_MACHINES]


def _kept_draft(request: ScopedRequest, actor: Actor, subject: str) -> PolicyDraft | None:
    """Return the draft of an operation that the address names; for a new policy any that was to make one."""
    try:
        operation_id = UUID(request.GET.get("draft", ""))
    except ValueError:
        return None
    row = operations.operations(actor).filter(pk=operation_id, kind=Kind.POLICY).first()
    if row is None or "draft" not in row.wish or (subject and row.subject != subject):
        return None
    draft = drafts.of_json(row.wish["draft"])
    return draft if subject else replace(draft, schedules=[replace(one, id=None) for one in draft.schedules])


def _pressed(request: ScopedRequest, actor: Actor, policy: Policy | None) -> HttpResponse:
    """Do what the pressed button says: change the form itself, look ahead, or ask for the policy."""
    editor, now = posted_editor(request.POST), timezone.now()
    do = request.POST.get("do", "save")
    policy_machines.take_pasted(actor, editor)
    if do == "save":
        return _save(request, actor, policy, editor, now)
    verb, _dash, rest = do.partition("-")
    if verb == "add" and len(editor.schedules) < MOST_SCHEDULES:
        editor.add(first_schedule(actor.time_zone))
    elif verb == "remove":
        editor.schedules = [form for form in editor.schedules if form.prefix != rest]
    elif verb == "use":
        _use(editor, rest, now)
    return _shown(request, actor, policy, editor)


def _use(editor: Editor, which: str, now: datetime) -> None:
    """Let a schedule that cannot be kept be the alternative that was chosen."""
    which_schedule, _dash, which_way = which.partition("-")
    for number, form in enumerate(editor.schedules):
        if str(number) != which_schedule or not form.is_valid():
            continue
        draft = form.draft()
        promise, wrong = drafts.promise_of_draft(draft)
        refused = None if promise is None or wrong else schedule_preview.refusal_of(promise, None, now)
        for position, other in enumerate(refused.alternatives if refused else ()):
            if str(position) == which_way:
                editor.put(number, schedule_preview.draft_like(draft, other))


def _save(request: ScopedRequest, actor: Actor, policy: Policy | None, editor: Editor, now: datetime) -> HttpResponse:
    draft, notice, status, late = editor.draft(), "", 400, False
    if draft is not None and editor.form.errors:
        try:  # nothing is asked; what else is wrong is said at once, not press by press
            look_over(actor, draft, policy=policy, now=now)
        except (Invalid, NotVisible) as problem:
            editor.show(problem.errors)
    elif draft is not None:
        try:
            operation = _ask(actor, policy, editor, draft, now)
        except (Invalid, NotVisible) as problem:
            refused(request, problem)
            editor.show(problem.errors)
        except WrongState as problem:
            refused(request, problem)
            status, late = problem.status, problem.code == LATE_CHANGE
            notice = _late_words(policy, problem, now) if policy and late else problem.message
        else:
            messages.success(request, _("It is being saved. Until then everything runs as before."))
            return redirect(policy_shown.policy_url("policy_detail", actor.tenant_slug, UUID(operation.subject)))
    if policy is not None and late:
        editor.form = editor.form.at_version(policy.version)  # they were told: the next press is on top of it
    return _shown(request, actor, policy, editor, notice=notice, status=status)


def _ask(actor: Actor, policy: Policy | None, editor: Editor, draft: PolicyDraft, now: datetime) -> Operation:
    if policy is None:
        return request_policy_create(actor, draft, now=now)
    version = editor.form.cleaned_data["version"] or 0
    return request_policy_change(actor, policy.pk, draft, version=version, now=now)


def _late_words(policy: Policy, problem: WrongState, now: datetime) -> str:
    """Return who was quicker, when, and with what: "Jan changed this 1 min ago: .... Check and press again."."""
    changed = [f"{policy_shown.FIELDS.get(name, name)}: {' '.join(texts)}" for name, texts in problem.errors.items()]
    return _("%(who)s changed this %(ago)s: %(what)s Check and press again.") % {
        "who": policy.changed_by_name or _("Somebody"),
        "ago": moments.relative_words(policy.changed_at, now),
        "what": " ".join(changed) or _("its virtual machines."),
    }


def _shown(
    request: ScopedRequest, actor: Actor, policy: Policy | None, editor: Editor, *, notice: str = "", status: int = 200
) -> HttpResponse:
    slug, now = actor.tenant_slug, timezone.now()
    held = {row.pk: promise_of(row, paused=False) for row in policy.schedules.all()} if policy else {}
    outlook = _outlook(editor, held, now)
    machines = policy_machines.of_editor(actor, policy, editor)
    places = {row.destination_guid: row.label for row in owned.destinations(actor)}
    chosen_place = editor.form["destination"].value() or next(iter(places), "")
    page = policy_shown.policy_url("policy_detail", slug, policy.pk) if policy else ""
    context = {
        "heading": _("Change %(policy)s") % {"policy": policy.name} if policy else _("New policy"),
        "crumbs": [*crumbs(slug), *([{"word": policy.name, "url": page}] if policy else [])],
        "here": _("Change") if policy else _("New policy"),
        "action_url": request.path,
        "back_url": page or reverse("tenant:policy_list", kwargs={"tenant_slug": slug}),
        "form": editor.form,
        "schedules": [
            {"form": form, "number": number + 1, "outlook": outlook.outlooks[number]}
            for number, form in enumerate(editor.schedules)
        ],
        "can_add": len(editor.schedules) < MOST_SCHEDULES,
        "weekdays": weekday_names(),
        "zones": sorted(known_zones()),
        "preview": outlook,
        "open_runs": schedule_preview.OPEN_ON_A_PHONE,
        "first_runs": f":{schedule_preview.OPEN_ON_A_PHONE}",
        "later_runs": f"{schedule_preview.OPEN_ON_A_PHONE}:",
        "machines": machines,
        "places": [{"value": guid, "word": label, "chosen": guid == chosen_place} for guid, label in places.items()],
        "no_place": ""
        if places
        else _("No backup destination is allowed for %(tenant)s. Ask your provider.") % {"tenant": actor.tenant_name},
        "changes": _changes(policy, editor, {**places, **machines.names}),
        "problems": _problems(editor),
        "notice": notice,
        "more_open": bool(editor.form.is_bound and {"priority", "auto_remove_gone"} & set(editor.form.errors)),
        "press_word": _("Save changes") if policy else _("Create policy"),
        "stop": ""
        if may_change(actor)
        else _("%(tenant)s is suspended. You can read, but start nothing new. Ask your provider.")
        % {"tenant": actor.tenant_name},
    }
    return render(request, "web/policies/edit.html", context, status=status)


def _outlook(editor: Editor, held: dict[UUID, Promise], now: datetime) -> schedule_preview.Preview:
    """Return the preview of what stands on the page; a form that cannot be read says so at its own fields."""
    found: list[ScheduleDraft] = []
    unread: list[int] = []
    for number, form in enumerate(editor.schedules):
        draft = form.filled_in()
        if draft is None:
            unread.append(number)
        found.append(draft or ScheduleDraft())
    paused = bool(editor.form["paused"].value())
    outlook = schedule_preview.preview(found, held, paused=paused, now=now)
    outlooks = list(outlook.outlooks)
    for number in unread:
        texts = [str(text) for column in editor.schedules[number].errors.values() for text in column]
        outlooks[number] = schedule_preview.Outlook(number, wrong=texts)
    return replace(outlook, outlooks=outlooks)


def _changes(policy: Policy | None, editor: Editor, names: dict[str, str]) -> list[str]:
    """Return what pressing the button changes, a line each."""
    draft = editor.draft() if editor.form.is_bound else None
    if draft is None:
        return []
    if policy is not None:
        draft = replace(draft, name=draft.name.strip())
        return [
            policy_shown.change_words(one) for one in summary.changes_between(drafts.draft_of(policy), draft, names)
        ]
    said = summary.said(draft, names)
    return [
        f"{policy_shown.FIELDS[name]}: {said[name]}"
        for name in ("name", "schedules", "virtual_machines", "destination")
        if said[name]
    ]


def _problems(editor: Editor) -> list[dict[str, str]]:
    """Return what is wrong, with the place of each, for the summary on top."""
    if not editor.form.is_bound:
        return []
    found = []
    for number, form in enumerate((editor.form, *editor.schedules)):
        where = _("Schedule %(n)d, ") % {"n": number} if number else ""
        for name, texts in form.errors.items():
            column = form[name] if name in form.fields else None
            label = str(column.label) if column else ""
            if number == 0 and name in ("find", "paste"):
                label = _("Virtual machines")
            anchor = column.id_for_label or f"{column.auto_id}_0" if column else ""
            found += [{"anchor": anchor, "label": f"{where}{label}", "text": str(text)} for text in texts]
    return found

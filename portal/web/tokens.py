"""API tokens: the list, a new one that is shown once, and revoking with a question before it."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from portal.scoped_request import ScopedRequest, refused
from portal.web.filters import FilterBar, pager
from portal.web.wording.badges import Badge
from portal.web.wording.scopes import EVERYTHING, SCOPES
from tenants import tokens
from tenants.models.token import Token
from tenants.refusals import Invalid, WrongState
from tenants.rights import Actor, Right
from vplus_bridge.keyset import Key, Keyset, page_of

NEWEST_FIRST = Keyset("newest", (Key("created_at", descending=True), Key("id")))
ALL = "all"
LIVES = (7, 30, tokens.USUAL_LIFE.days, tokens.LONGEST_LIFE.days)
FIELD_OF = {"expires_at": "days"}  # what the service calls it -> what the form calls it
REVOKED, EXPIRED = Badge("idle", "ban", gettext_lazy("Revoked")), Badge("idle", "clock-pause", gettext_lazy("Expired"))


class TokenForm(forms.Form):
    """What the new token is for, what it may do, and for how long."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=tokens.LONGEST_NAME,
        help_text=gettext_lazy("What it is for, such as “nightly report”."),
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("It may"),
        widget=forms.CheckboxSelectMultiple,
        initial=[Right.READ],
        error_messages={"required": gettext_lazy("Choose what it may do.")},
        help_text=gettext_lazy("Never more than you may yourself, at any time."),
    )
    days = forms.TypedChoiceField(label=gettext_lazy("It works for"), coerce=int, initial=tokens.USUAL_LIFE.days)

    def __init__(self, actor: Actor, data: Any = None) -> None:
        super().__init__(data)
        offered = [(str(right), SCOPES[right]) for right in tokens.offered_scopes(actor)]
        _choices(self.fields["scopes"], [*offered, (ALL, _("Everything that I may"))])
        _choices(self.fields["days"], [(n, ngettext("%(n)d day", "%(n)d days", n) % {"n": n}) for n in LIVES])


def _choices(field: forms.Field, choices: list[tuple[Any, Any]]) -> None:
    assert isinstance(field, forms.ChoiceField)  # noqa: S101  # tells the type checker
    field.choices = choices


@require_safe
def token_list(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """Show one's own tokens, to admins all of the tenant's; what has ended only when asked for."""
    actor, now = request.actor, timezone.now()
    sees_all = actor.may(Right.ALL_TOKENS)
    bar = FilterBar(
        request,
        search=("search", _("Name"), _("Search by name")),
        ticks=[*([("mine", _("Mine"))] if sees_all else []), ("ended", _("Expired and revoked"))],
        kept=("size",),
    )
    rows = tokens.visible_tokens(actor)
    usable = tokens.working(rows, now)
    working, mine = usable.count(), usable.filter(person_id=actor.person.id).count()
    rows = rows.exclude(pk__in=usable.values("pk")) if bar.value("ended") else usable
    if bar.value("mine"):
        rows = rows.filter(person_id=actor.person.id)
    if text := bar.value("search").replace("\0", ""):
        rows = rows.filter(name__icontains=text)
    page = page_of(rows, NEWEST_FIRST, bar.cursor, bar.size)
    slug = {"tenant_slug": tenant_slug}
    context = {
        "lead": _lead(working, mine, sees_all=sees_all),
        "filters": bar.context(),
        "rows": [_row(row, tenant_slug, now) for row in page.rows],
        "shows_owner": sees_all,
        "new_url": reverse("tenant:token_new", kwargs=slug),
        "docs_url": reverse("api:docs"),
    }
    return render(request, "web/tokens/list.html", context | pager(bar, page, rows.count()))


@require_http_methods(["GET", "HEAD", "POST"])
def token_new(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """Ask what the token is for and, on POST, make it and show it this once."""
    actor, now = request.actor, timezone.now()
    actor.require(Right.TOKENS)
    form = TokenForm(actor, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            row, text = tokens.issue(
                actor,
                name=given["name"],
                scopes=[] if ALL in given["scopes"] else given["scopes"],
                expires_at=now + timedelta(days=given["days"]),
                now=now,
            )
        except Invalid as problem:
            refused(request, problem)
            for field, texts in problem.errors.items():
                form.add_error(FIELD_OF.get(field, field), texts)
        except WrongState as problem:
            refused(request, problem)
            form.add_error(None, problem.message)
        else:
            return _made(request, tenant_slug, row, text)
    context = {"form": form, **_crumbs(tenant_slug, _("New token"))}
    return render(request, "web/tokens/new.html", context, status=400 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def token_revoke(request: ScopedRequest, tenant_slug: str, token_id: UUID) -> HttpResponse:
    """Ask once, then end a token."""
    actor, now = request.actor, timezone.now()
    home = reverse("tenant:token_list", kwargs={"tenant_slug": tenant_slug})
    if request.method == "POST":
        row = tokens.revoke(actor, token_id, now=now)
        messages.success(request, _("The token %(name)s is revoked.") % {"name": row.name})
        return redirect(home)
    row = tokens.token(actor, token_id)
    question = _("Revoke the token %(name)s?") % {"name": row.name}
    context = {
        "question": question,
        "consequence": _("What uses it is refused from now on. This cannot be taken back.")
        + (f" {_owner(row)}" if row.person_id != actor.person.id else ""),
        "action_url": request.path,
        "verb": _("Revoke"),
        "keep": _("Keep it"),
        "keep_url": home,
        **_crumbs(tenant_slug, question),
    }
    return render(request, "web/tokens/revoke.html", context)


def _made(request: ScopedRequest, tenant_slug: str, row: Token, text: str) -> HttpResponse:
    context = {
        "name": row.name,
        "text": text,
        "scopes": _scope_words(row),
        "expires_at": row.expires_at,
        "example": f'curl -H "Authorization: Bearer {text}" {request.build_absolute_uri("/api/v1/me/")}',
        **_crumbs(tenant_slug, row.name),
    }
    context["list_url"] = context["crumbs"][0]["url"]
    response = render(request, "web/tokens/made.html", context, status=201)
    response["Cache-Control"] = "no-store"
    return response


def _row(row: Token, tenant_slug: str, now: datetime) -> dict[str, Any]:
    expired = row.expires_at is not None and row.expires_at <= now
    kwargs = {"tenant_slug": tenant_slug, "token_id": row.pk}
    return {
        "id": row.pk,
        "name": row.name,
        "tail": row.tail,
        "owner": row.owner_name,
        "scopes": _scope_words(row),
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
        "badge": REVOKED if row.revoked_at else EXPIRED if expired else None,
        "revoke_url": "" if row.revoked_at or expired else reverse("tenant:token_revoke", kwargs=kwargs),
    }


def _scope_words(row: Token) -> str:
    return ", ".join(str(SCOPES[scope]) for scope in SCOPES if scope in row.scopes) or str(EVERYTHING)


def _lead(working: int, mine: int, *, sees_all: bool) -> str:
    if not working:
        return _("No token works now.")
    if not sees_all:
        return ngettext("%(n)d token of yours works.", "%(n)d tokens of yours work.", working) % {"n": working}
    words = ngettext(
        "%(n)d token works, of which yours: %(mine)d.", "%(n)d tokens work, of which yours: %(mine)d.", working
    )
    return words % {"n": working, "mine": mine}


def _owner(row: Token) -> str:
    return _("It is %(owner)s’s.") % {"owner": row.owner_name}


def _crumbs(tenant_slug: str, here: str) -> dict[str, Any]:
    home = reverse("tenant:token_list", kwargs={"tenant_slug": tenant_slug})
    return {"crumbs": [{"word": _("API tokens"), "url": home}], "here": here}

"""What ran and runs: operations, and vPlus's tasks."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from portal.scoped_request import ScopedRequest
from portal.web.filters import counted, pager
from portal.web.runs import NEWEST_TASKS, filtered_tasks, run_bar, run_rows, runs_page, task_bar, under_way
from portal.web.tasks_shown import task_rows
from portal.web.virtual_machines import age
from vplus_bridge.keyset import page_of
from vplus_bridge.mirror.read_state import TASKS, state_of


@require_safe
def activity(request: ScopedRequest, tenant_slug: str) -> HttpResponse:
    """What people asked for: what runs first, then the newest."""
    actor, now = request.actor, timezone.now()
    bar = run_bar(request)
    running, waiting = under_way(actor)
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
    context |= pager(bar, page, counted(rows))
    return render(request, "web/activity/list.html", context)


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

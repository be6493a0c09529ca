"""What stands behind a virtual machine: its restore points by day or as a list, and every backup, good or not."""

from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from portal.scoped_request import ScopedRequest
from portal.web import points, shown
from portal.web.filters import FilterBar, Select, pager
from portal.web.point_calendar import month_calendar
from portal.web.runs import run_rows, runs_page
from portal.web.virtual_machines import detail
from portal.web.wording import operation_words
from portal.web.wording.badges import BACKUP
from vplus_bridge.keyset import Key, Keyset, page_of
from vplus_bridge.mirror.models import Backup
from vplus_bridge.ownership import visible

NEWEST_BACKUPS = Keyset("newest", (Key("taken_at", descending=True, nullable=True), Key("guid")))
AS_LIST = "list"


@require_safe
def vm_restore_points(request: ScopedRequest, tenant_slug: str, guid: str) -> HttpResponse:
    """Those backups that one can restore: by day in a month's calendar, or as a list, newest first."""
    del tenant_slug
    actor, now = request.actor, timezone.now()
    machine = visible.virtual_machine(actor, guid)
    bar = FilterBar(request)
    as_list = request.GET.get("view") == AS_LIST
    context = detail(actor, machine, "restore_points", now) | {
        "views": [
            {"word": _("By day"), "url": bar.url(view=None, size=None), "current": not as_list},
            {
                "word": _("As a list"),
                "url": bar.url(view=AS_LIST, day=None, month=None, find=None, point=None),
                "current": as_list,
            },
        ],
    }
    if as_list:
        rows = visible.restore_points(actor, guid)
        page = page_of(rows.order_by(), NEWEST_BACKUPS, bar.cursor, bar.size)
        known = points.chains(actor, guid), points.places(actor, page.rows)
        context |= {
            "points": shown.point_rows(
                page.rows, *known, machine.newest_point_guid, now, restore=context["restore_url"]
            )
        }
        context |= pager(bar, page, rows.count())
    else:
        context |= {
            "calendar": month_calendar(actor, machine, request.GET, bar.url, now=now, restore=context["restore_url"]),
            "chosen": request.GET.get("point", ""),
        }
    return render(request, "web/virtual_machines/detail.html", context)


@require_safe
def vm_backups(request: ScopedRequest, tenant_slug: str, guid: str) -> HttpResponse:
    """Every record, good or not, newest first."""
    actor, now = request.actor, timezone.now()
    machine = visible.virtual_machine(actor, guid)
    everything = visible.backups(actor, guid)
    bar = _backup_bar(request)
    rows = _filtered_backups(everything, bar)
    page = page_of(rows, NEWEST_BACKUPS, bar.cursor, bar.size)
    context = detail(actor, machine, "backups", now) | {
        "backups": shown.backup_rows(actor, page.rows),
        "filters": bar.context(),
    }
    context |= pager(bar, page, rows.count())
    return render(request, "web/virtual_machines/detail.html", context)


@require_safe
def vm_activity(request: ScopedRequest, tenant_slug: str, guid: str) -> HttpResponse:
    """What ran and runs on this machine: asked for by people, by schedules, or by vPlus itself."""
    del tenant_slug
    actor, now = request.actor, timezone.now()
    machine = visible.virtual_machine(actor, guid)
    bar = FilterBar(request)
    page, total = runs_page(actor, bar, vm_guid=guid)
    context = detail(actor, machine, "activity", now) | {
        "operations": run_rows(actor, page.rows, now),
        "filters": bar.context(),
    }
    context |= pager(bar, page, total)
    return render(request, "web/virtual_machines/detail.html", context)


def _backup_bar(request: ScopedRequest) -> FilterBar:
    return FilterBar(
        request,
        selects=[
            Select(
                "status", _("Status"), [("", _("Any")), *((name, str(badge.word)) for name, badge in BACKUP.items())]
            ),
            Select(
                "type",
                _("Type"),
                [("", _("Any")), *((name, word) for name, word in operation_words.type_words().items() if name)],
            ),
        ],
        dates=[("from_day", _("From")), ("to_day", _("To"))],
        kept=("size",),
    )


def _filtered_backups(rows: QuerySet[Backup], bar: FilterBar) -> QuerySet[Backup]:
    """Return the backups that the bar asks for; a day is that of the time which the row shows."""
    if status := bar.value("status"):
        rows = rows.filter(status=status)
    if kind := bar.value("type"):
        rows = rows.filter(type=kind)
    start, end = bar.between("from_day", "to_day")
    dated = rows.annotate(shown_at=Coalesce("taken_at", "first_seen_at"))
    if start:
        dated = dated.filter(shown_at__gte=start)
    return dated.filter(shown_at__lt=end) if end else dated

"""Mail to a tenant's admins about backups that failed or did not happen: each once, several together.

What is to be told is written down first, in one transaction with the mark that it was: a mail that could not be sent is
sent later, and no trouble is told twice. In the open wide scope. vPlus's own texts are never in a mail.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Exists, OuterRef
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tenants.entrance import admin_addresses
from tenants.models import Tenant
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.words import error_words
from vplus_bridge.protection.ledger_models import TROUBLE, ExpectedRun, FailureTold, RunOutcome, TroubleMail
from vplus_bridge.protection.words import run_words

log = structlog.get_logger(__name__)
MOST_NAMED = 50
MOST_GATHERED = 5000
MOST_SENT = 50
MOST_TRIES = 8
TOO_OLD = timedelta(days=2)
"""Trouble that is older when it is found is no news: a portal that comes back does not send a week of it."""
BACKOFF = timedelta(minutes=5)


def gather(now: datetime) -> int:
    """Write the mails that are due, in the open wide scope; return how many. Each trouble is in one of them, or in none."""
    resting = now - timedelta(seconds=settings.TROUBLE_MAIL_EVERY_SECONDS)
    rested = TroubleMail.objects.filter(made_at__gt=resting).values_list("tenant_id", flat=True)
    runs = ExpectedRun.objects.filter(outcome__in=TROUBLE, told_at=None).exclude(tenant__in=list(rested))
    untold = list(runs.order_by("due_at", "pk").select_for_update(skip_locked=True, of=("self",))[:MOST_GATHERED])
    failed = list(
        Operation.objects.filter(kind=Kind.BACKUP, state=State.FAILED, finished_at__gt=now - TOO_OLD)
        .exclude(tenant__in=list(rested))
        .exclude(Exists(FailureTold.objects.filter(operation=OuterRef("pk"))))
        .order_by("finished_at", "pk")[:MOST_GATHERED]
    )
    names = _names(untold)
    by_tenant: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for run in untold:
        if run.settled_at is not None and run.settled_at > now - TOO_OLD:
            by_tenant[run.tenant_id].append(_of_run(run, names.get((run.tenant_id, run.virtual_machine_guid), "")))
    for operation in failed:
        by_tenant[operation.tenant_id].append(_of_operation(operation))
    mails = [
        TroubleMail(
            tenant_id=tenant_id,
            made_at=now,
            due_at=now,
            troubles=troubles[:MOST_NAMED],
            more=max(0, len(troubles) - MOST_NAMED),
        )
        for tenant_id, troubles in by_tenant.items()
    ]
    TroubleMail.objects.bulk_create(mails)
    ExpectedRun.objects.filter(pk__in=[run.pk for run in untold]).update(told_at=now)
    FailureTold.objects.bulk_create(
        [FailureTold(operation=operation, tenant_id=operation.tenant_id, told_at=now) for operation in failed],
        ignore_conflicts=True,
    )
    return len(mails)


def _names(runs: Sequence[ExpectedRun]) -> dict[tuple[UUID | None, str], str]:
    """Return the names of machines by their owner and guid: what somebody else calls one by now is not to be told."""
    rows = VirtualMachine.objects.filter(guid__in={run.virtual_machine_guid for run in runs})
    return {(tenant, guid): name for tenant, guid, name in rows.values_list("tenant", "guid", "name")}


def _of_run(run: ExpectedRun, name: str) -> dict[str, Any]:
    return {
        "virtual_machine": run.virtual_machine_guid,
        "name": name,
        "outcome": run.outcome,
        "why": run.why,
        "at": run.due_at.isoformat(),
        "operation": "",
    }


def _of_operation(operation: Operation) -> dict[str, Any]:
    return {
        "virtual_machine": operation.virtual_machine_guid,
        "name": operation.virtual_machine_name,
        "outcome": str(RunOutcome.FAILED),
        "why": operation.error_code,
        "at": operation.requested_at.isoformat(),
        "operation": str(operation.pk),
    }


def claim(now: datetime) -> list[int]:
    """Take mails for this worker, in the open wide scope; what has failed for too long is given up."""
    due = TroubleMail.objects.filter(due_at__lte=now, sent_at=None, given_up_at=None)
    rows = list(due.order_by("due_at", "pk").select_for_update(skip_locked=True, of=("self",))[:MOST_SENT])
    for row in rows:
        row.tries += 1
        row.due_at = now + BACKOFF * row.tries
        row.given_up_at = now if row.tries > MOST_TRIES else None
    TroubleMail.objects.bulk_update(rows, ["tries", "due_at", "given_up_at"])
    return [row.pk for row in rows if row.given_up_at is None]


@dataclass(frozen=True)
class Letter:
    """A mail as it goes out. Nobody is shown whom else it goes to."""

    mail_id: int
    subject: str
    body: str
    addresses: Sequence[str]


def letter(mail_id: int) -> Letter:
    """Return a claimed mail with its words and the addresses of the tenant's admins, in the open wide scope."""
    mail = TroubleMail.objects.select_related("tenant").get(pk=mail_id)
    addresses = [] if mail.tenant.suspended_at else admin_addresses(mail.tenant_id)
    return Letter(mail_id, *text_of(mail, mail.tenant), addresses)


def deliver(ready: Letter) -> bool:
    """Send a mail, outside any transaction; False where the mail server did not take it: it is tried again later."""
    if not ready.addresses:
        return True
    try:
        EmailMessage(ready.subject, ready.body, to=[], bcc=list(ready.addresses)).send()
    except (SMTPException, OSError) as problem:
        log.warning("mail could not be sent", mail=ready.mail_id, problem=type(problem).__name__)
        return False
    return True


def note_sent(ready: Letter, now: datetime) -> None:
    """Note that a mail went out, in the open wide scope."""
    TroubleMail.objects.filter(pk=ready.mail_id).update(sent_at=now, sent_to=len(ready.addresses))


def text_of(mail: TroubleMail, tenant: Tenant) -> tuple[str, str]:
    """Return subject and text of a mail, in the tenant's time."""
    zone = ZoneInfo(tenant.time_zone)
    count = len(mail.troubles) + mail.more
    subject = ngettext("%(n)d backup of %(tenant)s needs you", "%(n)d backups of %(tenant)s need you", count) % {
        "n": count,
        "tenant": tenant.name,
    }
    troubles = [_words(trouble, tenant, zone) for trouble in mail.troubles]
    address = settings.PORTAL_BASE_URL + reverse("tenant:vm_list", kwargs={"tenant_slug": tenant.slug})
    body = render_to_string(
        "mail/trouble.txt",
        {"tenant": tenant.name, "zone": tenant.time_zone, "troubles": troubles, "more": mail.more, "list_url": address},
    )
    return subject.replace("\n", " ").replace("\r", " "), body


def _words(trouble: dict[str, Any], tenant: Tenant, zone: ZoneInfo) -> dict[str, str]:
    at = datetime.fromisoformat(trouble["at"]).astimezone(zone)
    slug, guid, operation = tenant.slug, trouble["virtual_machine"], trouble["operation"]
    if operation:
        words = error_words(trouble["why"])
        said, next_step = words.cause, words.next_step
        path = reverse("tenant:operation", kwargs={"tenant_slug": slug, "operation_id": operation})
    else:
        because = run_words(trouble["outcome"], trouble["why"])
        said, next_step = because.sentence, because.next_step
        path = reverse("tenant:vm_protection", kwargs={"tenant_slug": slug, "guid": guid})
    missed = trouble["outcome"] == RunOutcome.MISSED
    return {
        "name": trouble["name"] or guid,
        "title": str(_("did not happen") if missed else _("failed")),
        "at": date_format(at, "D j M, H:i"),
        "said": str(said),
        "next_step": str(next_step),
        "url": settings.PORTAL_BASE_URL + path,
    }


def prune(now: datetime) -> None:
    """Remove mails older than the ledger is kept; that a failure was told stays as long as its operation."""
    TroubleMail.objects.filter(made_at__lt=now - timedelta(days=settings.LEDGER_KEEP_DAYS)).delete()

"""Mail about trouble: each once, together, to the admins alone, with what to do and nothing of vPlus's own words."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from tenants.models import Tenant
from tenants.scope import every_tenant, in_tenant
from tests.bridge.scenes import sent_operation
from tests.conftest import Cast
from vplus_bridge import protection_jobs
from vplus_bridge.models import ExpectedRun, FailureTold, TroubleMail, VirtualMachine

NOW = timezone.now()
HOUR = timedelta(hours=1)


def run(tenant: Any, outcome: str, vm: str = "vm-1", **facts: Any) -> None:
    known = {
        "policy_guid": "p-1",
        "timetable_key": "vplus:s-1",
        "backup_type": "FULL",
        "due_at": NOW - 8 * HOUR,
        "window_end": NOW - 2 * HOUR,
        "settled_at": NOW - HOUR,
        **facts,
    }
    with every_tenant("test"):
        VirtualMachine.objects.get_or_create(
            guid=vm, defaults={"tenant": tenant, "name": f"name of {vm}", "digest": b"", "present": True}
        )
        ExpectedRun.objects.create(tenant=tenant, virtual_machine_guid=vm, outcome=outcome, **known)


def test_what_failed_or_did_not_happen_is_told_once_and_together(cast: Cast) -> None:
    run(cast.alpha, "missed")
    run(cast.alpha, "failed", "vm-2", why="store_failed")
    run(cast.alpha, "stored", "vm-3")
    run(cast.alpha, "excused", "vm-4", why="no_contact")
    run(cast.beta, "failed", "vm-9", why="export_failed")
    assert protection_jobs.troubles_once(NOW) == 2
    assert protection_jobs.troubles_once(NOW + HOUR) == 0
    to_alpha, to_beta = sorted(mail.outbox, key=lambda message: message.bcc)
    assert (to_alpha.bcc, to_alpha.to, to_beta.bcc) == (["alice@alpha.example"], [], ["mallory@beta.example"])
    assert to_alpha.subject == "2 backups of Alpha need you"
    body = str(to_alpha.body)
    assert "name of vm-1: did not happen" in body
    assert "Back up now" in body
    assert re.search(r"name of vm-2: failed, \w{3} \d{1,2} \w{3}, \d\d:\d\d\n", body), "times as on the pages"
    assert "/t/alpha/virtual-machines/vm-2/protection/" in body
    assert "vm-3" not in body
    assert "vm-9" not in body
    assert "vm-4" not in body


def test_a_failed_operation_is_told_once_without_the_servers_own_words(cast: Cast) -> None:
    text = "no space on /backupdestination of host-7"
    row = sent_operation(
        cast.alpha, state="failed", error_code="could_not_store", finished_at=NOW - HOUR, vendor_text=text
    )
    assert protection_jobs.troubles_once(NOW) == 1
    assert protection_jobs.troubles_once(NOW + HOUR) == 0
    body = str(mail.outbox[0].body)
    assert f"/t/alpha/operations/{row.pk}/" in body
    assert "host-7" not in body
    with in_tenant(cast.alpha):
        assert FailureTold.objects.count() == 1
    with in_tenant(cast.beta):
        assert FailureTold.objects.count() == TroubleMail.objects.count() == 0


def test_trouble_soon_after_a_mail_waits_for_the_next(cast: Cast, settings: Any) -> None:
    settings.TROUBLE_MAIL_EVERY_SECONDS = 900
    run(cast.alpha, "missed")
    assert protection_jobs.troubles_once(NOW) == 1
    run(cast.alpha, "missed", "vm-2")
    run(cast.beta, "missed", "vm-9")
    assert protection_jobs.troubles_once(NOW + timedelta(minutes=5)) == 1, "beta's does not wait for alpha's"
    assert protection_jobs.troubles_once(NOW + timedelta(minutes=16)) == 1
    assert "vm-2" in str(mail.outbox[-1].body)
    assert "vm-1" not in str(mail.outbox[-1].body)


def test_old_trouble_is_no_news_and_is_not_found_again(cast: Cast) -> None:
    run(cast.alpha, "missed", settled_at=NOW - timedelta(days=3))
    sent_operation(cast.alpha, state="failed", error_code="could_not_store", finished_at=NOW - timedelta(days=3))
    assert protection_jobs.troubles_once(NOW) == 0
    with every_tenant("test"):
        assert ExpectedRun.objects.get().told_at is not None


def test_a_mail_server_that_is_away_delays_it(cast: Cast, settings: Any) -> None:
    run(cast.alpha, "missed")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9  # nobody listens there
    assert protection_jobs.troubles_once(NOW) == 0
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert protection_jobs.troubles_once(NOW + timedelta(seconds=1)) == 0, "not at once"
    assert protection_jobs.troubles_once(NOW + HOUR) == 1
    assert protection_jobs.troubles_once(NOW + 2 * HOUR) == 0


def test_a_suspended_tenant_gets_no_mail(cast: Cast) -> None:
    run(cast.alpha, "missed")
    with every_tenant("test"):
        Tenant.objects.filter(pk=cast.alpha.pk).update(suspended_at=NOW)
    protection_jobs.troubles_once(NOW)
    assert mail.outbox == []


@pytest.mark.parametrize("count", [1, 70])
def test_many_are_counted_and_the_first_named(count: int, cast: Cast) -> None:
    for number in range(count):
        run(cast.alpha, "missed", f"vm-{number:02}")
    protection_jobs.troubles_once(NOW)
    body = str(mail.outbox[0].body)
    assert body.count(": did not happen") == min(count, 50)
    assert ("And 20 more." in body) is (count == 70)


def test_nobody_whose_account_is_closed_gets_mail(cast: Cast) -> None:
    run(cast.alpha, "missed")
    row = cast.alice.row
    row.is_active = False
    row.save()
    protection_jobs.troubles_once(NOW)
    assert mail.outbox == []


def test_a_machine_that_is_somebody_elses_by_now_bears_no_name_of_theirs(cast: Cast) -> None:
    run(cast.alpha, "missed")
    with every_tenant("test"):
        VirtualMachine.objects.update(tenant=cast.beta, name="renamed by beta")
    protection_jobs.troubles_once(NOW)
    [message] = mail.outbox
    assert "renamed by beta" not in str(message.body)
    assert "vm-1: did not happen" in str(message.body)

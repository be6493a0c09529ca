"""The pages that ask before a cancel, and the provider's pages of what needs attention."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants.scope import every_tenant
from tests.bridge.scenes import WEB, sent_operation, task_row, vm_row
from tests.conftest import Cast, Member
from tests.pages import Page
from vplus_bridge.models import Operation


def browser(member: Member) -> Client:
    client = Client()
    client.force_login(member.row)
    return client


def state_of(row: Operation) -> str:
    with every_tenant("test"):
        return Operation.objects.get(pk=row.pk).state


@pytest.fixture
def running(cast: Cast) -> Operation:
    vm_row(tenant_id=cast.alpha.pk, name="web-01")
    task_row("export-1", state="RUNNING", tenant_id=cast.alpha.pk)
    return sent_operation(cast.alpha, state="running", virtual_machine_name="web-01")


def url(name: str, **kwargs: Any) -> str:
    return reverse(f"tenant:{name}", kwargs={"tenant_slug": "alpha", **kwargs})


def test_it_is_asked_before_and_told_after(cast: Cast, running: Operation) -> None:
    oscar = browser(cast.oscar)
    page, ask = url("operation", operation_id=running.pk), url("operation_cancel", operation_id=running.pk)
    assert ask in oscar.get(page).content.decode()
    question = oscar.get(ask).content.decode()
    assert "Ask to cancel this backup?" in question
    assert "Nothing stored is lost." in question
    assert state_of(running) == "running", "a page that asks changes nothing"
    shown = oscar.post(ask, follow=True).content.decode()
    assert state_of(running) == "cancelling"
    assert "Cancel asked" in shown
    assert "by Oscar" in shown
    assert ask not in shown, "asked once"


def test_a_viewer_finds_no_button(cast: Cast, running: Operation) -> None:
    vera = browser(cast.vera)
    for page in (url("operation", operation_id=running.pk), url("activity"), url("vm_detail", guid=WEB)):
        assert "/cancel/" not in vera.get(page).content.decode()


def test_the_button_stands_on_activity_and_on_the_machine_too(cast: Cast, running: Operation) -> None:
    oscar = browser(cast.oscar)
    ask = url("operation_cancel", operation_id=running.pk)
    for page in (url("activity"), url("vm_detail", guid=WEB)):
        assert ask in oscar.get(page).content.decode()


def test_what_ended_meanwhile_is_shown_with_a_sentence(cast: Cast, running: Operation) -> None:
    with every_tenant("test"):
        Operation.objects.filter(pk=running.pk).update(state="succeeded")
    shown = browser(cast.oscar).post(url("operation_cancel", operation_id=running.pk), follow=True)
    assert shown.status_code == 200
    assert "It has ended already" in shown.content.decode()


def test_a_task_of_nobody_here_can_be_cancelled_from_the_tasks(cast: Cast, running: Operation) -> None:
    task_row("t-own", state="RUNNING", tenant_id=cast.alpha.pk)
    oscar = browser(cast.oscar)
    tasks = oscar.get(url("tasks")).content.decode()
    ask = url("task_cancel", guid="t-own")
    assert ask in tasks
    assert url("task_cancel", guid="export-1") not in tasks, "that one belongs to an operation"
    assert "Nobody here started it" in oscar.get(ask).content.decode()
    assert "Cancel asked" in oscar.post(ask, follow=True).content.decode()
    with every_tenant("test"):
        assert Operation.objects.get(kind="cancel_task").subject == "t-own"


# Needs attention


def test_the_provider_links_a_task(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk, name="web-01")
    row = sent_operation(cast.alpha, task=None, state="needs_attention", error_code="arrival_unknown")
    task_row("t-1", state="RUNNING", status_info="on node node-7")
    paula = browser(cast.paula)
    listed = paula.get(reverse("console:operations")).content.decode()
    page = reverse("console:operation", kwargs={"operation_id": row.pk})
    assert page in listed
    assert "1 operation needs attention" in listed
    known = paula.get(page).content.decode()
    assert "t-1" in known
    assert "on node node-7" in known, "the provider reads vPlus's own words"
    wrong = paula.post(page, {"exit": "link_task", "task": "t-1", "reason": " "})
    assert wrong.status_code == 400
    assert state_of(row) == "needs_attention"
    done = paula.post(page, {"exit": "link_task", "task": "t-1", "reason": "seen"}, follow=True).content.decode()
    assert "The task is linked" in done
    assert state_of(row) == "submitted"
    assert 'name="exit"' not in done, "it no longer waits"


def test_an_old_page_sends_nothing_again(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk, name="web-01")
    row = sent_operation(cast.alpha, task=None, state="needs_attention", error_code="arrival_unknown")
    paula, address = browser(cast.paula), reverse("console:operation", kwargs={"operation_id": row.pk})

    def press(**shown: str) -> Page:
        return Page(paula.post(address, {"exit": "send_again", "reason": "looked", **shown}, follow=True))

    def digest(page: Page) -> str:
        return page.one("input", name="shown").attributes["value"]

    before = digest(Page(paula.get(address)))
    task_row("t-new")
    answer = press(shown=before)
    assert "vPlus has other tasks of it by now. Check and press again." in answer.text
    assert "Something changed while you read" in press().text, "nothing was shown"
    assert state_of(row) == "needs_attention"
    assert "It will be sent once more." in press(shown=digest(answer)).text
    assert state_of(row) == "requested"


def test_an_auditor_reads_and_finds_no_exit(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_operation(cast.alpha, task=None, state="needs_attention", error_code="arrival_unknown")
    page = reverse("console:operation", kwargs={"operation_id": row.pk})
    arthur = browser(cast.arthur)
    assert 'name="exit"' not in arthur.get(page).content.decode()
    assert arthur.post(page, {"exit": "abandon", "reason": "x"}).status_code == 403
    assert state_of(row) == "needs_attention"


@pytest.mark.parametrize(
    "facts",
    [
        {"error_code": "end_unknown"},
        {"error_code": "restore_end_unknown", "kind": "restore"},
        {"error_code": "arrival_unknown", "cancel_asked_at": timezone.now(), "cancel_asked_by_name": "Oscar"},
    ],
)
def test_what_arrived_or_was_asked_to_be_cancelled_is_not_offered_to_be_sent_again(
    facts: dict[str, Any], cast: Cast
) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_operation(cast.alpha, state="needs_attention", **facts)
    page = browser(cast.paula).get(reverse("console:operation", kwargs={"operation_id": row.pk})).content.decode()
    assert 'value="abandon"' in page
    assert 'value="send_again"' not in page
    assert ("Cancel asked" in page) == ("cancel_asked_at" in facts)

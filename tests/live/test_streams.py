"""What a stream tells, and to whom: one web process, real Redis, vPlus at its poorest."""

import time
from typing import Any

import requests

from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Bridge, Cast, Member
from tests.live.listening import Ears, Heard, cookies_of
from tests.processes import Processes
from vplus_bridge import changes


def ask(member: Member, *machines: str) -> list[Any]:
    """Ask for backups as a page does, in the tenant's scope and committed."""
    from django.utils import timezone

    from tenants.scope import in_tenant
    from vplus_bridge.operations.request import BackupWish, request_backups

    actor = member.actor
    with in_tenant(actor.tenant_id):
        asked = request_backups(actor, BackupWish(virtual_machines=machines), now=timezone.now())
    return [operation.pk for operation in asked.operations]


def states(heard: Heard, operation_id: Any) -> list[str]:
    return list(dict.fromkeys(one["state"] for one in heard.changes("operation") if one["id"] == str(operation_id)))


def test_a_backup_is_told_from_the_wish_to_the_restore_point(cast: Cast, mirrored: Bridge, ears: Ears) -> None:
    heard = ears.listen("alpha", cookies_of(cast.vera))
    [operation] = ask(cast.oscar, "vm-alpha-web")
    mirrored.send()
    mirrored.run(steps=30)
    ears.until(lambda: states(heard, operation)[-1:] == ["succeeded"], "the end is told")
    assert states(heard, operation) == ["requested", "submitted", "running", "succeeded"]
    told = [one for one in heard.changes("operation") if one["id"] == str(operation)]
    assert [one["new"] for one in told].count(True) == 1
    stages = list(dict.fromkeys(one["stage"] for one in told))
    assert stages == ["Waiting to be sent", "Queued", "Exporting, 1 of 2", "Storing, 2 of 2", "Done"]
    shares = [one["percent"] for one in told if one["percent"] is not None]
    assert shares == sorted(shares)
    assert told[-1]["badge"] == {"colour": "ok", "icon": "circle-check", "word": "Done"}
    ears.until(lambda: heard.changes("virtual_machine"), "the machine's own change is told")
    assert {one["id"] for one in heard.changes("virtual_machine")} == {"vm-alpha-web"}


def test_a_poll_without_news_tells_of_no_operation(cast: Cast, mirrored: Bridge, ears: Ears) -> None:
    ask(cast.oscar, "vm-alpha-web")
    mirrored.send()
    mirrored.poll()
    heard = ears.listen("alpha", cookies_of(cast.vera), since=time.time() + 5)
    mirrored.poll()
    mirrored.poll()
    ears.until(lambda: len(heard.changes("reading")) == 2, "both polls are told")
    assert heard.changes("operation") == []


def test_each_tenant_hears_its_own_only(cast: Cast, mirrored: Bridge, ears: Ears) -> None:
    alpha, beta = ears.listen("alpha", cookies_of(cast.oscar)), ears.listen("beta", cookies_of(cast.mallory))
    [of_alpha], [of_beta] = ask(cast.oscar, "vm-alpha-web"), ask(cast.mallory, "vm-beta-web")
    mirrored.send()
    mirrored.run(steps=30)
    for heard, own in ((alpha, of_alpha), (beta, of_beta)):
        ears.until(lambda heard=heard, own=own: states(heard, own)[-1:] == ["succeeded"], "the end is told")
        assert {one["id"] for one in heard.changes("operation")} == {str(own)}
    assert "beta" not in str(alpha.events)
    assert "alpha" not in str(beta.events)
    assert ears.listen("beta", cookies_of(cast.oscar)).status == 404
    assert ears.listen("alpha", "").status == 302


def test_a_limited_viewer_hears_of_what_is_granted_only(cast: Cast, mirrored: Bridge, ears: Ears, rows: Rows) -> None:
    rows.grant(cast.vera, "vm-alpha-db", role="viewer")
    limited, whole = ears.listen("alpha", cookies_of(cast.vera)), ears.listen("alpha", cookies_of(cast.alice))
    hidden, shown = ask(cast.alice, "vm-alpha-web", "vm-alpha-db")
    with every_tenant("test"):
        changes.tell([changes.Change("policy", "p-1", cast.alpha.pk)])
    ears.until(lambda: {str(hidden), str(shown), "p-1"} <= {one["id"] for one in whole.changes()}, "all is told to one")
    ears.until(lambda: states(limited, shown), "what is granted is told")
    mirrored.poll()
    ears.until(lambda: limited.changes("reading"), "everything before was told")
    # The machine's own news is from when it was assigned, a moment before the page.
    assert {one["id"] for one in limited.changes() if one["kind"] != "reading"} <= {str(shown), "vm-alpha-db"}


def test_a_grant_widens_an_open_stream_at_once_and_has_it_read_again(
    cast: Cast, mirrored: Bridge, ears: Ears, rows: Rows
) -> None:
    rows.grant(cast.vera, "vm-alpha-db", role="viewer")
    heard = ears.listen("alpha", cookies_of(cast.vera))
    before = heard.names().count("resync")
    from tenants.models import Grant, Membership

    with every_tenant("test"):
        vera = Membership.objects.get(email=cast.vera.email)
        facts = {"virtual_machine_guid": "vm-alpha-web", "role": "viewer", "granted_by_name": "Alice"}
        Grant.objects.create(tenant=cast.alpha, membership=vera, **facts)
    ears.until(lambda: heard.names().count("resync") > before, "the page is to be read again")
    [operation] = ask(cast.alice, "vm-alpha-web")
    ears.until(lambda: states(heard, operation), "what is granted now is told")


def test_who_is_removed_loses_the_stream_at_once_and_nobody_else(cast: Cast, mirrored: Bridge, ears: Ears) -> None:
    from tenants.models import Membership

    heard, other = ears.listen("alpha", cookies_of(cast.oscar)), ears.listen("alpha", cookies_of(cast.alice))
    with every_tenant("test"):
        Membership.objects.get(email=cast.oscar.email).delete()
    ears.until(lambda: heard.ended, "the stream ends")
    assert heard.names()[-1] == "ended"
    [operation] = ask(cast.alice, "vm-alpha-web")
    ears.until(lambda: states(other, operation), "the other one is still told")
    assert heard.changes("operation") == []
    assert not other.ended


def test_signing_out_ends_the_streams_of_that_browser_only(cast: Cast, web: Processes, ears: Ears) -> None:
    leaving, staying = cookies_of(cast.oscar), cookies_of(cast.oscar)
    heard, other = ears.listen("alpha", leaving), ears.listen("alpha", staying)
    page = requests.get(f"{web.url}/accounts/logout/", headers={"Cookie": leaving}, timeout=10)
    token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    requests.post(
        f"{web.url}/accounts/logout/",
        data={"csrfmiddlewaretoken": token},
        headers={"Cookie": f"{leaving}; csrftoken={page.cookies['csrftoken']}", "Referer": web.url},
        timeout=10,
    )
    ears.until(lambda: heard.ended, "the stream of the browser that signed out ends")
    assert not other.ended


def test_rights_taken_without_a_word_end_the_stream_by_the_clock(cast: Cast, ears: Ears) -> None:
    """An update() sends no signal: the look at all rights finds it, within its interval."""
    from tenants.models import Person

    heard = ears.listen("alpha", cookies_of(cast.oscar))
    time.sleep(2.5)  # past the looks that the opening caused
    assert not heard.ended
    Person.objects.filter(email=cast.oscar.email).update(is_active=False)
    ears.until(lambda: heard.ended, "the stream ends")


def test_who_comes_back_is_told_to_read_again(cast: Cast, ears: Ears) -> None:
    cookies = cookies_of(cast.oscar)
    first = ears.listen("alpha", cookies)
    ears.until(lambda: first.comments > 2, "the process has heard Redis for a while")
    fresh = ears.listen("alpha", cookies)
    back = ears.listen("alpha", cookies, came_back=True)
    unknown = ears.listen("alpha", cookies, since=None)
    ears.until(lambda: "resync" in back.names() and "resync" in unknown.names(), "both are told")
    ears.until(lambda: fresh.comments > 0, "it has waited")
    assert "resync" not in fresh.names()


def test_what_happened_while_the_page_was_under_way_is_told_first(
    cast: Cast, mirrored: Bridge, ears: Ears, rows: Rows
) -> None:
    cookies = cookies_of(cast.oscar)
    first = ears.listen("alpha", cookies)
    ears.until(lambda: first.comments > 0, "the process hears Redis")
    made = time.time()
    [operation] = ask(cast.oscar, "vm-alpha-web")
    ears.until(lambda: states(first, operation), "it was told")
    late = ears.listen("alpha", cookies, since=made)
    ears.until(lambda: states(late, operation), "it is told again")
    assert "resync" not in late.names()


def test_what_was_told_while_no_page_of_the_tenant_was_open_is_told_to_who_comes(
    cast: Cast, mirrored: Bridge, ears: Ears
) -> None:
    other = ears.listen("beta", cookies_of(cast.mallory))
    ears.until(lambda: other.comments > 0, "the process hears Redis")
    made = time.time()
    [operation] = ask(cast.oscar, "vm-alpha-web")
    [theirs] = ask(cast.mallory, "vm-beta-web")
    ears.until(lambda: states(other, theirs), "what was told before was heard")
    late = ears.listen("alpha", cookies_of(cast.oscar), since=made)
    ears.until(lambda: states(late, operation), "it is told now")
    assert "resync" not in late.names()
    assert {one["id"] for one in late.changes("operation")} == {str(operation)}


def test_a_browser_that_comes_too_often_is_refused_and_others_are_not(cast: Cast, ears: Ears) -> None:
    cookies = cookies_of(cast.oscar)
    opened = [ears.listen("alpha", cookies) for _ in range(31)]
    assert [one.status for one in opened] == [200] * 30 + [503]
    assert ears.listen("alpha", cookies_of(cast.oscar)).status == 200
    ears.close(opened[0])
    ears.until(lambda: ears.listen("alpha", cookies).status == 200, "a place is free again")


def test_many_changes_at_once_are_one_word(cast: Cast, ears: Ears) -> None:
    heard = ears.listen("alpha", cookies_of(cast.oscar))
    ears.until(lambda: heard.comments > 0, "the process hears Redis")
    before = heard.names().count("resync")
    changes.tell(changes.Change("virtual_machine", f"vm-{number}", cast.alpha.pk) for number in range(1000))
    ears.until(lambda: heard.names().count("resync") > before, "it is told")
    assert heard.changes("virtual_machine") == []


def test_a_message_that_nobody_understands_ends_nothing(cast: Cast, web: Processes, ears: Ears) -> None:
    import redis

    heard = ears.listen("alpha", cookies_of(cast.oscar))
    ears.until(lambda: heard.comments > 0, "the process hears Redis")
    with redis.Redis.from_url(web.environment["REDIS_URL"]) as connection:
        for body in (b"no JSON", b"[]", b'{"kind": "operation"}', b'{"kind": "operation", "id": "x", "state": "odd"}'):
            connection.publish(f"{changes.prefix(web.environment['REDIS_URL'])}{cast.alpha.pk}", body)
        connection.publish(f"{changes.prefix(web.environment['REDIS_URL'])}odd", b"{}")
    changes.tell([changes.Change("policy", "p-1", cast.alpha.pk)])
    ears.until(lambda: heard.changes("policy"), "the next one is told")
    assert heard.changes("operation") == []

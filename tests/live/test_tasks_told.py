"""Tasks that no operation made, told to open pages: a schedule's backup, and one that somebody started in vPlus."""

import time
from typing import Any

import pytest

from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.bridge.scenes import export
from tests.conftest import Bridge, Cast
from tests.live.listening import Ears, Heard, cookies_of
from tests.live.test_streams import ask, states
from vplus_bridge import changes
from vplus_bridge.models import Task
from vplus_bridge.operations import told_tasks

WEB, DB, BETA = "vm-alpha-web", "vm-alpha-db", "vm-beta-web"


def told(heard: Heard, vm: str) -> list[dict[str, Any]]:
    return [one for one in heard.changes("task") if one["vm"] == vm]


def test_a_backup_that_nobody_here_asked_for_is_told_from_its_beginning_to_its_end(
    cast: Cast, mirrored: Bridge, ears: Ears
) -> None:
    mirrored.simulator.control.change(richness="generous")
    heard = ears.listen("alpha", cookies_of(cast.vera))
    export(mirrored.simulator, WEB)
    mirrored.poll()
    mirrored.run(steps=30)
    ears.until(lambda: [one for one in told(heard, WEB) if not one["active"]][1:], "export and store are over")
    stages = list(dict.fromkeys(one["stage"] for one in told(heard, WEB)))
    assert stages == ["Queued", "Exporting", "Finished", "Storing"]
    for guid in {one["id"] for one in told(heard, WEB)}:
        of_one = [one for one in told(heard, WEB) if one["id"] == guid]
        shares = [one["percent"] for one in of_one if one["percent"] is not None]
        assert shares == sorted(shares)
        assert shares[-1] > shares[0]
        assert [one["news"] for one in of_one] == sorted({one["news"] for one in of_one}), "each change once"
        turns = [one["state"] for one in of_one if one["new"]]
        assert turns == list(dict.fromkeys(one["state"] for one in of_one)), "progress alone is no turn"
        assert of_one[-1]["badge"] == {"colour": "idle", "icon": "check", "word": "Finished"}
    assert heard.changes("operation") == []


def test_a_run_is_told_as_one_over_both_stages_to_its_end(cast: Cast, mirrored: Bridge, ears: Ears) -> None:
    mirrored.simulator.control.change(richness="generous")
    heard = ears.listen("alpha", cookies_of(cast.vera))
    export(mirrored.simulator, WEB)
    mirrored.poll()
    mirrored.run(steps=30)
    ears.until(lambda: [one for one in heard.changes("run") if not one["active"]], "its end is told")
    told_of_it = [one for one in heard.changes("run") if one["vm"] == WEB]
    assert len({one["id"] for one in told_of_it}) == 1
    stages = list(dict.fromkeys(one["stage"] for one in told_of_it))
    assert stages == ["Queued", "Exporting, 1 of 2", "Storing, 2 of 2", "Done"]
    shares = [one["percent"] for one in told_of_it if one["percent"] is not None]
    assert shares == sorted(shares)
    assert [one["news"] for one in told_of_it] == sorted({one["news"] for one in told_of_it}), "each change once"
    assert told_of_it[-1]["badge"] == {"colour": "ok", "icon": "circle-check", "word": "Done"}
    assert heard.changes("operation") == []


def test_a_poll_without_news_tells_of_no_task(cast: Cast, mirrored: Bridge, ears: Ears) -> None:
    export(mirrored.simulator, WEB)
    mirrored.poll()
    heard = ears.listen("alpha", cookies_of(cast.vera), since=time.time() + 5)
    mirrored.poll()
    mirrored.poll(full=True)
    ears.until(lambda: len(heard.changes("reading")) == 2, "both polls are told")
    assert heard.changes("task") == heard.changes("run") == []


def test_tasks_of_operations_are_told_by_these_alone(cast: Cast, mirrored: Bridge, ears: Ears) -> None:
    heard = ears.listen("alpha", cookies_of(cast.oscar))
    [operation] = ask(cast.oscar, WEB)
    mirrored.send()
    mirrored.run(steps=30)
    ears.until(lambda: states(heard, operation)[-1:] == ["succeeded"], "the end is told")
    assert heard.changes("task") == heard.changes("run") == []


def test_each_tenant_hears_of_its_own_tasks_only(cast: Cast, mirrored: Bridge, ears: Ears) -> None:
    alpha, beta = ears.listen("alpha", cookies_of(cast.oscar)), ears.listen("beta", cookies_of(cast.mallory))
    export(mirrored.simulator, WEB, BETA, *mirrored.simulator.control.unowned())
    mirrored.run(steps=30)
    for heard, vm in ((alpha, WEB), (beta, BETA)):
        ears.until(lambda heard=heard, vm=vm: [one for one in told(heard, vm) if not one["active"]], "an end is told")
        assert {one["vm"] for one in heard.changes("task")} == {one["vm"] for one in heard.changes("run")} == {vm}
    assert "beta" not in str(alpha.events)
    assert "alpha" not in str(beta.events)


def test_who_was_granted_one_machine_hears_of_its_tasks_only(
    cast: Cast, mirrored: Bridge, ears: Ears, rows: Rows
) -> None:
    rows.grant(cast.vera, DB, role="viewer")
    limited, whole = ears.listen("alpha", cookies_of(cast.vera)), ears.listen("alpha", cookies_of(cast.alice))
    export(mirrored.simulator, WEB, DB)
    mirrored.run(steps=3)
    with every_tenant("test"):  # of no machine: for those alone who see all of the tenant
        rows.task("t-of-none", "", cast.alpha, state="RUNNING", live=True)
        told_tasks.tell({"t-of-none"}, {"t-of-none"})
    ears.until(lambda: {one["vm"] for one in whole.changes("task")} == {WEB, DB, ""}, "all is told to one")
    ears.until(lambda: told(limited, DB), "what is granted is told")
    changes.tell([changes.Change("virtual_machine", DB, cast.alpha.pk, DB)])
    ears.until(lambda: [one for one in limited.changes() if one["id"] == DB], "everything before was told")
    assert {one["vm"] for one in limited.changes("task")} == {one["vm"] for one in limited.changes("run")} == {DB}


@pytest.mark.parametrize("turned", [True, False])
def test_hundreds_that_begin_at_once_are_one_word_and_hundreds_that_move_on_never_have_a_page_read_again(
    cast: Cast, ears: Ears, turned: bool
) -> None:
    count = changes.MOST_NAMED + 50
    with every_tenant("test"):
        facts = {"type": "EXPORT", "state": "RUNNING", "progress": 5.0, "digest": b"0"}
        made = [Task(guid=f"t-{n}", virtual_machine_guid=WEB, tenant=cast.alpha, **facts) for n in range(count)]
        Task.objects.bulk_create([*made, Task(guid="t-b", virtual_machine_guid=BETA, tenant=cast.beta, **facts)])
    heard, beta = ears.listen("alpha", cookies_of(cast.oscar)), ears.listen("beta", cookies_of(cast.mallory))
    ears.until(lambda: heard.comments > 0 and beta.comments > 0, "the process hears Redis")
    before = heard.names().count("resync"), beta.names().count("resync")
    guids = {row.guid for row in made} | {"t-b"}
    with every_tenant("test"):
        told_tasks.tell(guids, guids if turned else set())
    ears.until(lambda: told(beta, BETA), "the other tenant is told of its one")
    if turned:
        ears.until(lambda: heard.names().count("resync") == before[0] + 1, "read again, once")
        assert heard.changes("task") == []
    else:
        ears.until(lambda: len(heard.changes("task")) == count, "each is told")
        assert heard.names().count("resync") == before[0]
    assert beta.names().count("resync") == before[1]

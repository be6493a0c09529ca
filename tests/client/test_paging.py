"""Whole, short, unpaged and shifting listings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.client.scripted_server import Asked, Behaviour, Line, ScriptedServer, answer, cut
from vplus_bridge.client import BadAnswer, Completeness, Unavailable, VirtualMachineRecord, VplusClient

VMS = "GET /virtual-machines"


def vm(number: int) -> dict[str, Any]:
    return {"guid": f"vm-{number}", "uuid": f"u-{number}", "name": f"web-{number}", "present": True}


def paged(rows: list[Any], *, total: bool = True, largest: int = 10_000, announce: int | None = None) -> Behaviour:
    def behave(line: Line, asked: Asked) -> bool:
        query = dict(asked.query)
        size = min(int(query["size"]), largest)
        start = int(query["page"]) * size
        count = len(rows) if announce is None else announce
        headers = [("X-Total-Count", str(count))] if total else None
        return answer(rows[start : start + size], headers=headers)(line, asked)

    return behave


@pytest.fixture
def read(
    make_client: Callable[..., VplusClient], server: ScriptedServer
) -> Callable[..., tuple[list[list[VirtualMachineRecord]], Completeness]]:
    def run(*behaviours: Behaviour, **changes: Any) -> tuple[list[list[VirtualMachineRecord]], Completeness]:
        server.on(VMS, *behaviours)
        listing = make_client(**{"page_size": 10} | changes).virtual_machines()
        pages = list(listing)
        return pages, listing.completeness

    return run


def guids(pages: list[list[VirtualMachineRecord]]) -> list[str]:
    return [record.guid for page in pages for record in page]


ROWS = [vm(number) for number in range(25)]
Read = Callable[..., tuple[list[list[VirtualMachineRecord]], Completeness]]


def test_a_paged_listing_is_whole_when_the_announced_number_came(read: Read, server: ScriptedServer) -> None:
    pages, whole = read(paged(ROWS))
    assert [len(page) for page in pages] == [10, 10, 5]
    assert whole == Completeness(True, 25, 25, paging_ignored=False, bad_records=0, reason="")
    assert len(server.asked_for(VMS)) == 3


def test_an_exact_multiple_needs_no_empty_page(read: Read, server: ScriptedServer) -> None:
    assert read(paged(ROWS[:20]))[1].complete
    assert len(server.asked_for(VMS)) == 2


def test_an_empty_list_is_whole(read: Read) -> None:
    pages, whole = read(answer([]))
    assert (pages, whole.complete, whole.distinct) == ([], True, 0)


def test_one_unpaged_array_is_whole_and_comes_in_parts(read: Read, server: ScriptedServer) -> None:
    pages, whole = read(answer(ROWS))
    assert [len(page) for page in pages] == [10, 10, 5]
    assert whole == Completeness(True, 25, None, paging_ignored=True, bad_records=0, reason="")
    assert len(server.asked_for(VMS)) == 1


def test_a_short_array_without_a_total_is_whole(read: Read, server: ScriptedServer) -> None:
    assert read(answer(ROWS[:7]))[1] == Completeness(True, 7, None, paging_ignored=False, bad_records=0, reason="")
    assert len(server.asked_for(VMS)) == 1


def test_a_full_first_page_that_comes_again_is_the_whole_list(read: Read, server: ScriptedServer) -> None:
    pages, whole = read(answer(ROWS[:10]))
    assert guids(pages) == [row["guid"] for row in ROWS[:10]]
    assert (whole.complete, whole.paging_ignored) == (True, True)
    assert len(server.asked_for(VMS)) == 2


def test_a_full_first_page_followed_by_an_empty_one_is_whole(read: Read) -> None:
    assert read(paged(ROWS[:10], total=False))[1].complete


def test_a_server_that_pages_without_a_total_proves_nothing(read: Read) -> None:
    pages, whole = read(paged(ROWS, total=False))
    assert len(guids(pages)) == 25
    assert not whole.complete


def test_a_server_with_smaller_pages_is_read_to_the_end(read: Read) -> None:
    pages, whole = read(paged(ROWS, largest=4))
    assert len(guids(pages)) == 25
    assert whole.complete


def test_a_short_listing_is_not_whole(read: Read) -> None:
    pages, whole = read(paged(ROWS, announce=30))
    assert (len(guids(pages)), whole.complete, whole.announced) == (25, False, 30)
    assert whole.reason == "25 of 30 announced came"


def test_a_first_page_that_repeats_below_the_announced_total_is_not_whole(read: Read) -> None:
    pages, whole = read(answer(ROWS[:10], headers=[("X-Total-Count", "25")]))
    assert (len(guids(pages)), whole.complete, whole.paging_ignored) == (10, False, True)


def test_a_list_that_grows_meanwhile_is_whole_when_all_of_it_came(read: Read) -> None:
    pages, whole = read(paged(ROWS[:20]), paged(ROWS), paged(ROWS))
    assert (len(guids(pages)), whole.complete, whole.announced) == (25, True, 25)


def test_a_row_that_moves_to_an_earlier_page_makes_the_list_incomplete(read: Read) -> None:
    """Row 0 leaves after page 0 was read: row 10 moves to page 0 and is never seen, though the numbers agree."""
    later = paged(ROWS[1:])
    pages, whole = read(paged(ROWS), later, later)
    assert "vm-10" not in guids(pages)
    assert whole.announced == whole.distinct == 24
    assert not whole.complete


def test_a_guid_comes_once(read: Read) -> None:
    pages, whole = read(answer([*ROWS[:5], *ROWS[:5]]))
    assert len(guids(pages)) == 5
    assert whole.distinct == 5


def test_a_bad_record_costs_itself_only_and_the_listing_its_wholeness(
    read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [{"guid": "secret-guid"}, 7, None, vm(100) | {"present": "perhaps"}]
    pages, whole = read(paged([*ROWS, *odd]))
    assert len(guids(pages)) == 25
    assert (whole.complete, whole.bad_records) == (False, 4)
    assert "secret-guid" not in caplog.text


def test_an_unpaged_array_with_a_bad_record_is_not_whole(read: Read) -> None:
    pages, whole = read(answer([*ROWS[:5], {"name": "no guid"}]))
    assert len(guids(pages)) == 5
    assert (whole.complete, whole.reason) == (False, "1 records could not be read")


def test_a_page_cap_ends_a_listing_that_never_ends(read: Read, server: ScriptedServer) -> None:
    def endless(line: Line, asked: Asked) -> bool:
        page = int(dict(asked.query)["page"])
        rows = [vm(page * 10 + number) for number in range(10)]
        return answer(rows, headers=[("X-Total-Count", "1000000")])(line, asked)

    _, whole = read(endless, page_cap=5)
    assert (whole.complete, whole.distinct) == (False, 50)
    assert len(server.asked_for(VMS)) == 5


@pytest.mark.parametrize(
    ("trouble", "error"), [(answer(b"[{"), BadAnswer), (answer(None), BadAnswer), (cut(), Unavailable)]
)
def test_a_page_that_fails_ends_the_listing_and_what_came_stays(
    make_client: Callable[..., VplusClient], server: ScriptedServer, trouble: Behaviour, error: type[Exception]
) -> None:
    server.on(VMS, paged(ROWS), trouble)
    listing = make_client(page_size=10).virtual_machines()
    came: list[list[VirtualMachineRecord]] = []
    with pytest.raises(error):
        came.extend(iter(listing))
    assert len(guids(came)) == 10
    assert not listing.completeness.complete
    assert listing.completeness.reason.startswith("broken off")


def test_a_listing_that_was_left_early_is_not_whole(client: VplusClient, server: ScriptedServer) -> None:
    server.on(VMS, answer(ROWS))
    listing = client.virtual_machines()
    assert not listing.completeness.complete
    next(iter(listing))
    assert not listing.completeness.complete
    with pytest.raises(RuntimeError):
        next(iter(listing))


def test_an_odd_total_is_no_total(read: Read) -> None:
    assert read(answer(ROWS[:5], headers=[("X-Total-Count", "-3")]))[1].announced is None


def test_tasks_are_asked_for_in_both_spellings(client: VplusClient, server: ScriptedServer) -> None:
    server.on("GET /tasks", answer([]))
    list(client.tasks(state="RUNNING", vm_guid="vm-1", type="EXPORT", backup_guid="b-1"))
    assert server.asked_for("GET /tasks")[0].query == [
        ("protectedEntity", "vm-1"),
        ("protected-entity", "vm-1"),
        ("state", "RUNNING"),
        ("type", "EXPORT"),
        ("backup", "b-1"),
        ("page", "0"),
        ("size", "500"),
    ]

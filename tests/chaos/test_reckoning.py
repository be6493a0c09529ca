"""The reckoning finds what it is there to find: each thing that can be wrong is found once, and what is right passes."""

from typing import Any

import pytest

from chaos.reckoning import Told, reckon

MACHINE = "vm-1"
KEYS = ((MACHINE, 7), (MACHINE, 20))


def export(stamp: int, backup: str = "b-1", machine: str = MACHINE) -> dict[str, Any]:
    asked = {"protectedEntities": [{"guid": machine}], "windowStart": stamp}
    return {"call": "POST /tasks/export", "asked": asked, "backups": [backup]}


def record(guid: str = "b-1", status: str = "SUCCESS", vm: str = MACHINE) -> dict[str, Any]:
    return {"guid": guid, "status": status, "vm": vm}


def told(state: str = "succeeded", **facts: Any) -> Told:
    return Told(**{"id": "o-1", "virtual_machine": MACHINE, "state": state, "keys": ((MACHINE, 7),), **facts})


def found(one: Told, *, journal: list[Any], backups: list[Any]) -> tuple[int, int, int]:
    result = reckon([one.id], [one], journal=journal, backups=backups)
    assert result.clean == (not result.lost and not result.doubled and not result.misreported)
    return len(result.lost), len(result.doubled), len(result.misreported)


@pytest.mark.parametrize(
    ("one", "journal", "backups"),
    [
        (told(made="b-1"), [export(7)], [record()]),
        (told(warnings=["restore_point_unknown"]), [export(7)], [record()]),
        (told(made="b-1", warnings=["ran_twice"], keys=KEYS), [export(7, "b-0"), export(20)], [record()]),
        (told("failed", error="could_not_store"), [export(7)], [record(status="FAILED")]),
        (told("failed", error="refused_by_vplus"), [], []),
        (told("cancelled", error="cancelled"), [export(7)], [record(status="FAILED")]),
        (told("needs_attention", error="arrival_unknown"), [], []),
        (told("failed", error="abandoned"), [export(7)], [record()]),
    ],
)
def test_what_is_right_passes(one: Told, journal: list[Any], backups: list[Any]) -> None:
    assert found(one, journal=journal, backups=backups) == (0, 0, 0)


@pytest.mark.parametrize(
    ("one", "journal", "backups"),
    [
        (told("submitted"), [export(7)], [record()]),
        (told("requested", keys=()), [], []),
        (told(made="b-1"), [export(7)], [record(status="FAILED")]),
        (told(made="b-2"), [export(7)], [record(), record("b-2")]),
        (told(made="b-1"), [export(7)], [record(vm="vm-2")]),
        (told(made="b-1"), [], [record()]),
    ],
    ids=["never ends", "never sent", "not stored", "another's record", "another machine's", "never arrived"],
)
def test_lost(one: Told, journal: list[Any], backups: list[Any]) -> None:
    assert found(one, journal=journal, backups=backups)[0] == 1


def test_an_accepted_operation_that_is_in_no_table_is_lost() -> None:
    assert len(reckon(["o-9"], [], journal=[], backups=[]).lost) == 1


def test_doubled() -> None:
    twice = told(made="b-1", keys=KEYS)
    assert found(twice, journal=[export(7), export(20, "b-2")], backups=[record(), record("b-2")]) == (0, 1, 0)
    assert found(told(made="b-1"), journal=[export(7), export(7, "b-2")], backups=[record()]) == (0, 1, 0)


@pytest.mark.parametrize(
    ("one", "journal", "backups"),
    [
        (told("failed", error="could_not_store"), [export(7)], [record()]),
        (told("cancelled", error="cancelled"), [export(7)], [record()]),
        (told("failed", error="not_sent_in_time"), [export(7)], [record(status="FAILED")]),
        (told("failed", error="could_not_read"), [], []),
        (told(made="b-1"), [export(7), export(99, "b-9")], [record()]),
    ],
    ids=["failed but stored", "cancelled but stored", "had it after all", "never had it", "a write of nobody"],
)
def test_misreported(one: Told, journal: list[Any], backups: list[Any]) -> None:
    assert found(one, journal=journal, backups=backups) == (0, 0, 1)


RESTORED = {"virtual_machine": MACHINE, "keys": (("restore", "web-1-restored-k7q2f"),)}
BORN = [{"guid": "vm-new", "name": "web-1-restored-k7q2f"}, {"guid": MACHINE, "name": "web-1"}]


def restore(name: str = "web-1-restored-k7q2f") -> dict[str, Any]:
    return {"call": "POST /tasks/restore-and-import", "asked": {"restoredPeName": name}, "backups": ["b-1"]}


@pytest.mark.parametrize(
    ("one", "journal", "machines", "expected"),
    [
        (told(made="vm-new", **RESTORED), [restore()], BORN, (0, 0, 0)),
        (told(**RESTORED), [restore()], BORN, (1, 0, 0)),
        (told("failed", error="could_not_import", **RESTORED), [restore()], [], (0, 0, 0)),
        (told("failed", error="point_gone", **RESTORED), [], [], (0, 0, 0)),
        (told(made="vm-2", **RESTORED), [restore()], BORN, (1, 0, 0)),
        (told(made="vm-new", **RESTORED), [restore()], [], (1, 0, 0)),
        (told(made="vm-new", **RESTORED), [restore(), restore()], BORN, (0, 1, 0)),
        (told("cancelled", error="cancelled", **RESTORED), [restore()], BORN, (0, 0, 1)),
        (told("failed", error="target_not_allowed", **RESTORED), [restore()], [], (0, 0, 1)),
        (told(made="vm-new", owned=False, **RESTORED), [restore()], BORN, (0, 0, 1)),
        (told(made="b-1"), [export(7), restore()], [], (0, 0, 1)),
    ],
    ids=[
        "restored", "made and never named", "failed", "never sent", "another machine", "nothing there", "twice",
        "cancelled but there", "had it after all", "another tenant's", "a write of nobody",
    ],
)  # fmt: skip
def test_restores(
    one: Told, journal: list[Any], machines: list[dict[str, Any]], expected: tuple[int, int, int]
) -> None:
    result = reckon([one.id], [one], journal=journal, backups=[record()], machines=machines)
    assert (len(result.lost), len(result.doubled), len(result.misreported)) == expected


def test_the_figures_are_printed_by_name() -> None:
    words = reckon(["o-1"], [told(made="b-1")], journal=[export(7)], backups=[record()]).words()
    for name in ("asked", "settled", "lost", "doubled", "misreported", "needs attention"):
        assert name in words

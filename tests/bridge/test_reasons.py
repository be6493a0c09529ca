"""The reviewed table of vPlus's reasons: each by an example, none by another's, and never vPlus's own words."""

import pytest

from vplus_bridge.mirror.reasons import BY_CODE, KNOWN, reason_in, reason_of_record
from vplus_bridge.operations import words
from vplus_simulator.backup_chain import Export, Store

EXAMPLES = [
    (
        "EXPORT",
        "Export failed: snapshot of the virtual machine could not be created (timeout after 600 s)",
        "snapshot_failed",
    ),
    ("EXPORT", "Failed to create snapshot of vm-7", "snapshot_failed"),
    ("EXPORT", "Connection to hypervisor manager https://keystone.waw1.internal:5000/v3 refused", "platform_away"),
    ("EXPORT", "The hypervisor manager https://keystone.internal:5000/v3 answered 500", "platform_away"),
    ("EXPORT", "Not enough space in the staging area /vprotect_data on node node-1", "no_room_to_work"),
    ("EXPORT", "Quota exceeded: hard limit of backup size for the project was reached", "quota_reached"),
    ("EXPORT", "Backup destination bd-1 is not assigned to node node-1", "destination_not_usable"),
    ("STORE", "Store failed: No space left on device (/backupdestination/main)", "destination_full"),
    ("STORE", "Backup destination is full", "destination_full"),
    ("STORE", "Backup destination did not answer within 300 s", "destination_away"),
    ("STORE", "Store failed: checksum of the written file does not match", "copy_damaged"),
    ("STORE", "Project exceeds its quota", "quota_reached"),
]


@pytest.mark.parametrize(("task", "text", "code"), EXAMPLES)
def test_a_known_reason_is_told_by_its_code(task: str, text: str, code: str) -> None:
    found = reason_in(text, task)
    assert found is not None
    assert found.code == code


def test_every_reason_of_the_table_has_an_example() -> None:
    assert {code for _task, _text, code in EXAMPLES} == set(BY_CODE)


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("EXPORT", ""),
        ("STORE", "exit code 1"),
        ("EXPORT", "No space left on device"),  # where, an export does not say
        ("IMPORT", "Quota exceeded"),  # a restore has a table of its own
        ("STORE", "snapshot could not be created"),
        ("EXPORT", "The quota of node-1 was read"),
    ],
)
def test_what_the_table_does_not_know_gets_general_words(task: str, text: str) -> None:
    assert reason_in(text, task) is None


def test_a_record_does_not_tell_its_stage() -> None:
    found = reason_of_record("No space left on device (/mnt/host-7)")
    assert found is not None
    assert found.code == "destination_full"


@pytest.mark.parametrize(("work", "task"), [(Export, "EXPORT"), (Store, "STORE")])
def test_every_reason_that_the_simulated_vplus_gives_is_known(work: type[Export] | type[Store], task: str) -> None:
    assert [text for text in work.reasons if reason_in(text, task) is None] == []


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.code)
def test_words_are_ours(known: object) -> None:
    reason = next(one for one in KNOWN if one is known)
    trouble = words.error_words(reason.code)
    assert (trouble.title, trouble.cause) == (reason.title, reason.cause)
    for sentence in (trouble.cause, trouble.next_step):
        assert str(sentence).endswith(".")
        assert "vPlus" not in str(sentence)
    assert trouble.actor in words.ACTORS

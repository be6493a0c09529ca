"""Every code that the bridge can write has words: titles, causes, who acts, what next."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vplus_bridge
from vplus_bridge.operations import words
from vplus_bridge.operations.restore_follow import REFUSALS
from vplus_bridge.protection.verdict import Reason
from vplus_bridge.protection.words import REASONS, reason_words

ROOM = Path(vplus_bridge.__file__).parent / "operations"
FAILING = {"fail": 1, "WorldChanged": 0, "ask_for_attention": 1}
WARNING = {"warn": 1}


def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in ROOM.rglob("*.py")]


def named_codes() -> dict[str, str]:
    """Codes that the room's modules give a name: NAME = "code"."""
    return {
        target.id: node.value.value
        for tree in trees()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def codes(positions: dict[str, int], attribute: str) -> Iterator[str]:
    """Yield text that is given to these functions at these places, or set as this attribute, all over the room."""
    named = named_codes()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in positions:
                given: ast.expr = node.args[positions[node.func.id]]
            elif isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Attribute) and target.attr == attribute for target in node.targets
            ):
                given = node.value
            else:
                continue
            for part in ast.walk(given):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value
                elif isinstance(part, ast.Name) and part.id in named:
                    yield named[part.id]


def test_every_error_has_words() -> None:
    written = set(codes(FAILING, "error_code")) - {""}
    assert {"not_sent_in_time", "vm_gone", "window_passed", "arrival_unknown"} <= written
    assert written - set(words.ERRORS) - set(words.RESTORE_ERRORS) == set()
    assert {code for code, _pattern in REFUSALS} <= set(words.RESTORE_ERRORS)


def test_every_warning_has_words() -> None:
    written = set(codes(WARNING, "warnings")) - {""}
    assert {"restore_point_unknown", "identified_by_absence_of_others"} <= written
    assert written - set(words.WARNINGS) == set()


def test_every_reason_of_a_verdict_has_words() -> None:
    assert set(REASONS) == set(Reason)


@pytest.mark.parametrize(
    "trouble", [*words.ERRORS.values(), *words.RESTORE_ERRORS.values(), *words.WARNINGS.values(), words.UNKNOWN]
)
def test_words_are_sentences_that_say_who_acts(trouble: words.Trouble) -> None:
    for sentence in (trouble.cause, trouble.next_step):
        assert str(sentence).endswith(".")
        assert "!" not in str(sentence)
    assert not str(trouble.title).endswith(".")
    assert trouble.actor in words.ACTORS


def test_a_code_of_another_version_has_words_too() -> None:
    assert words.error_words("from_the_future") is words.UNKNOWN
    assert words.warning_words("from_the_future") is words.UNKNOWN
    assert str(reason_words("from_the_future").sentence)

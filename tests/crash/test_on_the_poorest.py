"""A vPlus that was never seen to give a stamp back: what never arrived cannot be told from what did."""

from collections.abc import Callable
from typing import Any

from tests.crash.conftest import Gate, Scene


def test_after_the_mark_before_a_byte_on_the_poorest_vplus_is_for_a_person(
    poorest: Scene, gate: Callable[[Any], Gate]
) -> None:
    """Without a stamp in vPlus's answers nobody can be sure that it never arrived: nothing is sent again."""
    point = gate("mark")
    asked = poorest.ask("vm-alpha-web")
    point.wait_for_somebody()
    poorest.portal.kill("victim")
    point.open()
    poorest.marked(asked)
    poorest.worker()
    [row] = poorest.wait_for_the_end(asked)
    assert (row.state, row.error_code) == ("needs_attention", "arrival_unknown")
    assert poorest.exports(asked) == 0
    poorest.reckoned(asked)

"""Figures for people: sizes, shares, counts, and the rectangles of bars that are drawn without a style attribute."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.translation import gettext as _

BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
HARD_SPACE = "\N{NO-BREAK SPACE}"
FOUR_DIGITS_FROM = 999.5  # would be rounded to 1000: it goes up a unit, as 0.98 of the next
MOST_COUNTED = 10_000  # rows of a list: nobody reads on to there, and counting them all would read them all


def size_words(size: int) -> str:
    """Return ``size`` in bytes in binary units with up to three digits: "412 GiB", "37.9 GiB", "1.8 TiB", "0 B"."""
    if size < 0:
        raise ValueError("a size is not negative")
    value, index = float(size), 0
    while value >= FOUR_DIGITS_FROM and index < len(BINARY_UNITS) - 1:
        value, index = value / 1024, index + 1
    places = max(0, 3 - len(str(int(value)))) if index else 0
    rounded = round(value, places)
    while places and rounded == round(rounded, places - 1):
        places -= 1  # "61 GiB", not "61.0 GiB"
    return f"{number_format(rounded, decimal_pos=places)}{HARD_SPACE}{BINARY_UNITS[index]}"


def percent_words(percent: float) -> str:
    """Return a share between 0 and 100 as "63 %"; never rounded up to 100, so that what is not over does not look over."""
    return f"{number_format(min(max(int(percent), 0), 100))}{HARD_SPACE}%"


def range_words(first: int, last: int, total: int | None) -> str:
    """Return "1–50 of 148"; with ``total`` None (not counted beyond ``MOST_COUNTED``) "1–50 of more than 10,000"."""
    if total == 0:
        return _("None")
    shown = f"{number_format(first, force_grouping=True)}\N{EN DASH}{number_format(last, force_grouping=True)}"
    if total is None:
        return _("%(range)s of more than %(count)s") % {
            "range": shown,
            "count": number_format(MOST_COUNTED, force_grouping=True),
        }
    return _("%(range)s of %(count)s") % {"range": shown, "count": number_format(total, force_grouping=True)}


@dataclass(frozen=True, slots=True)
class Segment:
    """One rectangle of a bar that is 100 wide: ``fill`` is the class' ending (``bad warn ok run idle track``)."""

    fill: str
    x: float
    width: float


def coverage_segments(parts: Sequence[tuple[str, int]], *, least: float = 2.0, gap: float = 0.3) -> list[Segment]:
    """Return the rectangles of ``(fill, count)`` parts, in the order given (worst first), over a width of 100.

    A part that is not empty gets at least ``least`` of the width, taken from the others in proportion.
    """
    shown = [(fill, count) for fill, count in parts if count > 0]
    if not shown:
        return []
    room = 100.0 - gap * (len(shown) - 1)
    total = sum(count for _fill, count in shown)
    widths = {index: count / total * room for index, (_fill, count) in enumerate(shown)}
    # What the smallest are given is taken from the others, which can make another one too small: until nothing changes.
    small: set[int] = set()
    while too_small := {index for index, width in widths.items() if width < least} - small:
        small |= too_small
        rest = total - sum(shown[index][1] for index in small)
        left = room - least * len(small)
        widths = {index: least if index in small else count / rest * left for index, (_fill, count) in enumerate(shown)}
    segments, x = [], 0.0
    for index, (fill, _count) in enumerate(shown):
        segments.append(Segment(fill, round(x, 2), round(widths[index], 2)))
        x += widths[index] + gap
    return segments

"""A set of dates, said in vPlus's words: few products of months, weekdays and occurrences that select exactly these.

Pure. vPlus selects a date when its month, its weekday and its occurrence in the month are all named (vplus-api.md 3.9),
so one schedule says a product of three sets. A local rule that is shifted over midnight is in general no such product.
Each date of less than a year is one atom (month, weekday, FIRST to FOURTH, or LAST for days 29 to 31); atoms are merged
into products that overlap nowhere, because a date that two schedules select is backed up twice. Dates outside the range
are left open: whoever asks writes anew before the range ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache

from vplus_bridge.protection.wall_time import Month, Occurrence, Weekday, first_ordinal_after

LONGEST_RANGE = 330
"""Days: less than the shortest eleven months, so that no month of the year comes twice in a range."""
ALL_OCCURRENCES = (1 << len(Occurrence)) - 1
LAST = 1 << (Occurrence.LAST - 1)
NEAR = 2
"""How many products too many the widest-first choice may find for a search to be worth its time: it saves one, rarely two."""
WIDTH = 3
"""How many ways to select one date the search follows."""
PLENTY = 40
"""Partial sets looked at before the search for fewer products gives up."""


@dataclass(frozen=True, slots=True)
class Product:
    """Every date whose month, weekday and occurrence are all in here; no set is empty."""

    months: frozenset[Month]
    days_of_week: frozenset[Weekday]
    occurrences: frozenset[Occurrence]


@dataclass(slots=True)
class Column:
    """One weekday of one month: a bit for each of its dates, the first is bit 0. At most five of them."""

    exists: int = 0
    """The dates that the calendar has."""
    inside: int = 0
    """Those within the range."""
    wanted: int = 0

    def chosen(self, occurrences: int) -> int:
        """Return the dates in the range that these occurrences select."""
        return _chosen(self.exists, self.inside)[occurrences]


@cache
def _chosen(exists: int, inside: int) -> tuple[int, ...]:
    """Return, for each set of occurrences, the dates in the range that it selects.

    LAST is the fifth where there is one, else the fourth.
    """
    last = (exists + 1) >> 1
    return tuple((some & ~LAST | (last if some & LAST else 0)) & inside for some in range(ALL_OCCURRENCES + 1))


@cache
def _gains(exists: int, inside: int, left: int) -> tuple[int, ...]:
    """Return, for each set of occurrences, how many of the dates left it selects; -1 where it selects another one too."""
    return tuple(-1 if chosen & ~left else chosen.bit_count() for chosen in _chosen(exists, inside))


Columns = dict[Month, list[Column]]
Left = dict[tuple[Month, int], int]
"""The wanted dates that no product has yet, for each column that has some."""


def cover(wanted: Callable[[int], bool], first: int, last: int, *, limit: int) -> list[Product] | None:
    """Return at most `limit` products that together select each wanted date of first..last once, and no other of them.

    Dates are `date.toordinal()`, both ends belong to the range. None where no such products were found; the search is not
    exhaustive, so a set that needs exactly `limit` can be missed. Raises ValueError for a range of over 330 days.
    """
    if last - first >= LONGEST_RANGE:
        raise ValueError(f"{last - first + 1} days: a month would come twice")
    columns = _columns(wanted, first, last)
    left = {(m, w): column.wanted for m, row in columns.items() for w, column in enumerate(row) if column.wanted}
    found = _greedy(columns, left, limit + NEAR)
    if found is not None and len(found) > limit:
        return _search(columns, left, limit)
    return found


def _columns(wanted: Callable[[int], bool], first: int, last: int) -> Columns:
    columns: Columns = {}
    begins = first - date.fromordinal(first).day + 1
    while begins <= last:
        month, ends = Month(date.fromordinal(begins).month), first_ordinal_after(begins)
        row = columns[month] = [Column() for _ in Weekday]
        for ordinal in range(begins, ends):
            column, bit = row[(ordinal + 6) % 7], 1 << ((ordinal - begins) // 7)
            column.exists |= bit
            if first <= ordinal <= last:
                column.inside |= bit
                column.wanted |= bit if wanted(ordinal) else 0
        begins = ends
    return columns


Candidate = tuple[int, frozenset[Month], int, int]
"""How many dates it selects, months, weekdays as bits, occurrences as bits."""


def _candidates(columns: Columns, left: Left) -> list[Candidate]:
    """Return the widest products that select only dates still left; weekdays are intersections of what months allow."""
    found: list[Candidate] = []
    tables = {
        month: list(
            zip(
                *(_gains(c.exists, c.inside, left.get((month, weekday), 0)) for weekday, c in enumerate(row)),
                strict=True,
            )
        )
        for month, row in columns.items()
    }
    for occurrences in range(1, ALL_OCCURRENCES + 1):
        gains: dict[Month, tuple[int, ...]] = {}
        allowed: dict[Month, int] = {}
        for month, table in tables.items():
            counts = table[occurrences]
            if max(counts) > 0:
                gains[month] = counts
                allowed[month] = sum(1 << weekday for weekday, count in enumerate(counts) if count >= 0)
        meets: set[int] = set()
        for bits in set(allowed.values()):
            meets |= {bits & other for other in meets} | {bits}
        for days in meets - {0}:
            months = [month for month, bits in allowed.items() if not days & ~bits]
            used = [w for w in range(len(Weekday)) if days >> w & 1 and any(gains[month][w] for month in months)]
            gain = {month: sum(gains[month][w] for w in used) for month in months}
            if total := sum(gain.values()):
                bits = sum(1 << w for w in used)
                found.append((total, frozenset(month for month in months if gain[month]), bits, occurrences))
    return found


def _take(columns: Columns, left: Left, candidate: Candidate) -> Left:
    _, months, days, occurrences = candidate
    after = dict(left)
    for month in months:
        for weekday, column in enumerate(columns[month]):
            if days >> weekday & 1 and (month, weekday) in after:
                after[month, weekday] &= ~column.chosen(occurrences)
                if not after[month, weekday]:
                    del after[month, weekday]
    return after


def _worth(candidate: Candidate) -> tuple[int, int, int]:
    """Order candidates: most dates, then the fewest words, then the plainest."""
    gain, months, days, occurrences = candidate
    return gain, -(len(months) + days.bit_count() + occurrences.bit_count()), -occurrences


def _product(candidate: Candidate) -> Product:
    _, months, days, occurrences = candidate
    return Product(
        months,
        frozenset(weekday for weekday in Weekday if days >> weekday & 1),
        frozenset(occurrence for occurrence in Occurrence if occurrences >> (occurrence - 1) & 1),
    )


def _greedy(columns: Columns, left: Left, limit: int) -> list[Product] | None:
    """Take the widest product until nothing is left; an atom always fits, so this ends. None where it takes too many."""
    found: list[Product] = []
    while left:
        if len(found) == limit:
            return None
        best = max(_candidates(columns, left), key=_worth)
        found.append(_product(best))
        left = _take(columns, left, best)
    return found


def _search(columns: Columns, left: Left, limit: int) -> list[Product] | None:
    """Look deeper for at most `limit` products: branch over the widest ways to select the date with the fewest ways."""
    looked = 0

    def deeper(left: Left, room: int) -> list[Product] | None:
        nonlocal looked
        if not left:
            return []
        if not room or looked >= PLENTY:
            return None
        looked += 1
        candidates = _candidates(columns, left)
        if room * max(c[0] for c in candidates) < sum(dates.bit_count() for dates in left.values()):
            return None
        ways: dict[tuple[Month, int, int], list[Candidate]] = {}
        for candidate in candidates:
            _, months, days, occurrences = candidate
            for month, weekday in left:
                if month in months and days >> weekday & 1:
                    chosen = columns[month][weekday].chosen(occurrences)
                    for bit in (1 << n for n in range(len(Occurrence)) if chosen >> n & 1):
                        ways.setdefault((month, weekday, bit), []).append(candidate)
        hardest = min(ways.values(), key=lambda some: max(c[0] for c in some))
        for candidate in sorted(hardest, key=_worth, reverse=True)[:WIDTH]:
            rest = deeper(_take(columns, left, candidate), room - 1)
            if rest is not None:
                return [_product(candidate), *rest]
        return None

    return deeper(left, limit)

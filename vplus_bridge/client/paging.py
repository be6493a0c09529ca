"""Listings: page after page, with proof of whether they were whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from vplus_bridge.client.decoding import Shape
from vplus_bridge.client.errors import VplusError
from vplus_bridge.client.session import Params, Reader
from vplus_bridge.client.transport import Answer
from vplus_bridge.client.wire import WireObject

_COUNT = re.compile(r"[0-9]{1,15}")

W = TypeVar("W", bound=WireObject)
T = TypeVar("T")


@dataclass(frozen=True)
class Completeness:
    """How far a listing can be trusted to be whole.

    `complete` only for one unpaged array that was readable to the last record, or when as many distinct
    guids came as the server announced. `distinct` counts guids, `announced` is the last `X-Total-Count`,
    `paging_ignored` says that the server sent everything whatever page was asked for, `reason` tells why
    a listing is not complete ("" when it is).
    """

    complete: bool
    distinct: int
    announced: int | None
    paging_ignored: bool
    bad_records: int
    reason: str

    @property
    def unproven(self) -> bool:
        """Whether it looks whole and no number of rows proves it: a server may have sent less than it has."""
        return self.complete and self.announced is None


class Listing(Generic[T]):
    """One reading of a list. Iterate it once: it gives lists of at most `page_size` records.

    A guid comes at most once. A failed call ends the iteration with its VplusError; whatever had come stays
    good, and `completeness` says that the rest is missing.
    """

    def __init__(
        self,
        reader: Reader,
        shape: Shape[W, T],
        path: str,
        params: Params | None = None,
        *,
        page_size: int,
        page_cap: int,
        seconds: float,
    ) -> None:
        self._reader = reader
        self._shape: Shape[W, T] = shape
        self._path = path
        self._params = list(params or ())
        self._size = page_size
        self._cap = page_cap
        self._seconds = seconds
        self._seen: set[str] = set()
        self._announced: int | None = None
        self._shrunk = False
        self._bad = 0
        self._ignored = False
        self._started = False
        self._verdict: str | None = "not read to its end"

    @property
    def completeness(self) -> Completeness:
        """What is known so far; final once the iteration has ended."""
        reason = self._verdict
        if reason is None:
            reason = self._shortcoming()
        return Completeness(
            complete=not reason,
            distinct=len(self._seen),
            announced=self._announced,
            paging_ignored=self._ignored,
            bad_records=self._bad,
            reason=reason,
        )

    def __iter__(self) -> Iterator[list[T]]:
        if self._started:
            raise RuntimeError("a listing is read once")
        self._started = True
        try:
            yield from self._pages()
        except VplusError as error:
            self._verdict = f"broken off: {error.user_message}"
            raise

    def _pages(self) -> Iterator[list[T]]:
        for number in range(self._cap):
            answer = self._page(number)
            announced = _announced(answer)
            if announced is not None:
                # Rows that leave while we read move others onto a page already read: those are missed.
                self._shrunk = self._shrunk or (self._announced is not None and announced < self._announced)
                self._announced = announced
            rows, bad = self._shape.page(answer.content)
            del answer  # an unpaged answer is large; its rows are enough
            came = len(rows) + bad
            new = self._unseen(rows)
            repeated = number > 0 and bool(rows) and not new
            if repeated:
                # The same page again: the server does not page, and the first array was all it has.
                self._ignored = self._ignored or number == 1
            else:
                self._bad += bad
            self._ignored = self._ignored or came > self._size
            del rows
            for start in range(0, len(new), self._size):
                yield [self._shape.flatten(row) for row in new[start : start + self._size]]
            if self._is_last(number, came, repeated=repeated):
                self._verdict = self._paged_blindly(number, came)
                return
        self._verdict = "more pages than we read"

    def _page(self, number: int) -> Answer:
        params = [*self._params, ("page", str(number)), ("size", str(self._size))]
        return self._reader.get(self._path, self._path, params, seconds=self._seconds)

    def _unseen(self, rows: list[W]) -> list[W]:
        new = []
        for row in rows:
            if row.guid not in self._seen:
                self._seen.add(row.guid)
                new.append(row)
        return new

    def _is_last(self, number: int, came: int, *, repeated: bool) -> bool:
        if came == 0 or repeated or self._ignored:
            return True
        if self._announced is not None:
            return len(self._seen) + self._bad >= self._announced
        # No total: a page that is not full ends the list; a full first one may be all there is, the next tells.
        return came < self._size

    def _paged_blindly(self, number: int, came: int) -> str | None:
        """A server that pages without a total gives no proof of wholeness, unless its first page was all."""
        if self._announced is None and number > 0 and not self._ignored and not (number == 1 and came == 0):
            return "the server pages but does not say how many there are"
        return None

    def _shortcoming(self) -> str:
        if self._bad:
            return f"{self._bad} records could not be read"
        if self._announced is not None and len(self._seen) != self._announced:
            return f"{len(self._seen)} of {self._announced} announced came"
        if self._shrunk:
            return "the list shrank while it was read"
        return ""


def _announced(answer: Answer) -> int | None:
    """`X-Total-Count`; None where it is missing or no number (vplus-api.md 1.7)."""
    text = (answer.headers.get("X-Total-Count") or "").strip()
    return int(text) if _COUNT.fullmatch(text) else None

"""The filter bar of a list: what was asked in the address, as controls, chips and links that keep the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.encoding import escape_uri_path
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.web.wording import numbers
from vplus_bridge.keyset import Page

SIZES = (25, 50, 100)
DEFAULT_SIZE = 50
FIRST_YEAR, LAST_YEAR = 1970, 2200
PLACE = ("cursor", "from")  # where in the list one is; any other change goes back to its beginning


@dataclass(frozen=True)
class Select:
    """One choice: its name in the address, its label, and its options as (value, word)."""

    name: str
    label: str
    options: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Given:
    """A filter that a link set and no control offers: its name in the address, its label, and its value in words."""

    name: str
    label: str
    word: str


@dataclass
class FilterBar:
    """Reads the address of a list and builds what ``components/filters.html`` shows."""

    request: HttpRequest
    search: tuple[str, str, str] | None = None  # name, placeholder, label
    selects: Sequence[Select] = ()
    dates: Sequence[tuple[str, str]] = ()
    ticks: Sequence[tuple[str, str]] = ()
    kept: Sequence[str] = ()
    given: Sequence[Given] = ()

    @property
    def path(self) -> str:
        """The list's address without its query, written as addresses are: a guid of vPlus may hold any sign."""
        return escape_uri_path(self.request.path)

    def value(self, name: str) -> str:
        """Return what the address says, or an empty string; what no control offers counts as not said."""
        if name not in self._names():
            return ""
        value = self.request.GET.get(name, "").strip()[:200]
        choice = next((select for select in self.selects if select.name == name), None)
        return value if choice is None or value in {option for option, _word in choice.options} else ""

    def url(self, **changes: str | int | None) -> str:
        """Return the list's address with changes; a value of None or "" takes its name out."""
        chosen = {name: value for name, value in self.request.GET.items() if value and name not in PLACE}
        for name, value in changes.items():
            chosen.pop(name, None)
            if value not in (None, ""):
                chosen[name] = str(value)
        return f"{self.path}?{urlencode(chosen)}" if chosen else self.path

    def between(self, start: str, end: str) -> tuple[datetime | None, datetime | None]:
        """Return the moments from which and before which rows count, by two dates in the address: whole days here.

        A date that is none counts as not said.
        """
        zone = timezone.get_current_timezone()
        first, last = _date(self.value(start)), _date(self.value(end))
        return (
            datetime.combine(first, time(), zone) if first else None,
            datetime.combine(last + timedelta(days=1), time(), zone) if last else None,
        )

    @property
    def size(self) -> int:
        """How many rows a page has."""
        asked = self.request.GET.get("size", "")
        return int(asked) if asked in {str(size) for size in SIZES} else DEFAULT_SIZE

    @property
    def cursor(self) -> str:
        """Where the page begins."""
        return self.request.GET.get("cursor", "")

    @property
    def first(self) -> int:
        """The number of the page's first row, as the link that led here said; 1 where it said nothing usable."""
        asked = self.request.GET.get("from", "")
        return int(asked) if self.cursor and asked.isascii() and asked.isdigit() and len(asked) < 10 else 1  # noqa: PLR2004

    def context(self) -> dict[str, Any]:
        """Return ``filters`` for the template."""
        chosen = [(name, label, word) for name, label, word in self._chosen()]
        names = [name for name, _label, _word in chosen]
        return {
            "action": self.path,
            "search": None
            if self.search is None
            else {
                "name": self.search[0],
                "value": self.value(self.search[0]),
                "placeholder": self.search[1],
                "label": self.search[2],
            },
            "selects": [
                {
                    "name": select.name,
                    "label": select.label,
                    "options": [
                        {"value": value, "word": word, "chosen": value == self.value(select.name)}
                        for value, word in select.options
                    ],
                }
                for select in self.selects
            ],
            "dates": [{"name": name, "label": label, "value": self.value(name)} for name, label in self.dates],
            "ticks": [
                {"name": name, "label": label, "value": "1", "chosen": bool(self.value(name))}
                for name, label in self.ticks
            ],
            "kept": [
                (name, self.value(name)) for name in (*self.kept, *(one.name for one in self.given)) if self.value(name)
            ],
            "chosen": sum(name != (self.search[0] if self.search else "") for name in names),
            "chips": [{"word": f"{label}: {word}", "url": self.url(**{name: None})} for name, label, word in chosen],
            "clear_url": self.url(**dict.fromkeys(names)),
        }

    def _names(self) -> set[str]:
        """Return what this list can be asked for: a page that shares its rows with another need not have all its filters."""
        found = {self.search[0]} if self.search else set[str]()
        found.update(select.name for select in self.selects)
        found.update(given.name for given in self.given)
        found.update(name for name, _label in (*self.dates, *self.ticks))
        return found.union(self.kept)

    def _chosen(self) -> Iterable[tuple[str, str, str]]:
        if self.search and (text := self.value(self.search[0])):
            yield self.search[0], _("Search"), text
        for select in self.selects:
            if value := self.value(select.name):
                yield select.name, select.label, dict(select.options)[value]
        for name, label in self.dates:
            if day := _date(self.value(name)):
                yield name, label, date_format(day, "j M Y")
        for name, label in self.ticks:
            if self.value(name):
                yield name, label, _("yes")
        for one in self.given:
            yield one.name, one.label, one.word


def _date(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST_YEAR <= day.year <= LAST_YEAR else None


def counted(*lists: QuerySet[Any]) -> int | None:
    """Return how many rows there are in these lists together; None where they are more than anybody counts.

    A statement each, which reads no further than that.
    """
    total = sum(rows[: numbers.MOST_COUNTED + 1].count() for rows in lists)
    return total if total <= numbers.MOST_COUNTED else None


def pager(bar: FilterBar, page: Page[Any], total: int | None) -> dict[str, str]:
    """Return ``count_words``, ``previous_url`` and ``next_url`` for a page of a list of ``total`` rows."""
    shown = len(page.rows)
    first = bar.first if shown else 0
    before = max(1, first - bar.size)
    return {
        "count_words": numbers.range_words(first, first + shown - 1, total) if shown else numbers.range_words(0, 0, 0),
        "next_url": bar.url(cursor=page.next_cursor, **{"from": first + shown}) if page.next_cursor else "",
        "previous_url": bar.url(cursor=page.previous_cursor, **{"from": before}) if page.previous_cursor else "",
    }

"""Pages of a list by the last row shown, not by counting: steady while rows come and go, equally quick on every page.

A cursor carries the sort keys of one row and what list it is a place of, and is signed, so that nobody can make one up
and a broken one is noticed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Generic, TypeVar

from django.core.signing import BadSignature, JSONSerializer, Signer
from django.db.models import Expression, F, Model, OrderBy, Q, QuerySet

from tenants.refusals import Invalid

M = TypeVar("M", bound=Model)
Value = str | int | float | datetime | None
SALT = "vplus_bridge.keyset"
LONGEST_CURSOR = 20_000  # characters; the longest name there can be fits


@dataclass(frozen=True)
class Key:
    """One column or expression that a list is ordered by. Empty values come last, in both directions."""

    by: str | Expression
    descending: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class Keyset:
    """An order of a list: its name, and keys of which the last is unique, so that no two rows are in the same place.

    ``grouped``: the first key has only a few values, never empty ones. A page is then looked for among the rows of one
    value, and only at their end among those beyond: else PostgreSQL would walk over all rows of that value to find its place.
    """

    name: str
    keys: tuple[Key, ...]
    grouped: bool = False


@dataclass(frozen=True)
class Page(Generic[M]):
    """Rows of one page in order, with the cursors of its neighbours; None where there is none."""

    rows: list[M]
    next_cursor: str | None
    previous_cursor: str | None


@dataclass(frozen=True)
class _Place:
    """What a cursor is a place in: lists of different things can have orders of one name, whose keys are of other types."""

    of: str
    keyset: Keyset

    @classmethod
    def in_list(cls, rows: QuerySet[Any], keyset: Keyset) -> "_Place":
        """Return it for a list."""
        return cls(f"{rows.model._meta.label}:{keyset.name}", keyset)


def page_of(rows: QuerySet[M], keyset: Keyset, cursor: str, size: int) -> Page[M]:
    """Return at most ``size`` rows behind the cursor (empty: from the beginning), in one SQL statement; two if grouped.

    Raises Invalid naming ``cursor`` where it is broken, or was made for another list, or for another order of this one.
    """
    place = _Place.in_list(rows, keyset)
    back, after = _opened(cursor, place) if cursor else (False, None)
    return _page(_behind(rows, keyset, after, size, back=back), place, size, back=back, inside=after is not None)


def merged_page_of(lists: Sequence[QuerySet[Any]], keyset: Keyset, cursor: str, size: int) -> Page[Any]:
    """Return one page of several lists as if they were one, in one SQL statement for each; two if grouped.

    Each list knows every key, of one type and never empty; the last tells the rows of all lists apart. Text among the
    keys has to be collated as "C", so that PostgreSQL and Python order it alike. Raises Invalid as page_of does.
    """
    place = _Place.in_list(lists[0], keyset)
    back, after = _opened(cursor, place) if cursor else (False, None)
    found = [row for rows in lists for row in _behind(rows, keyset, after, size, back=back)]
    for key, name in reversed(list(zip(keyset.keys, _names(keyset), strict=True))):
        found.sort(key=attrgetter(name), reverse=key.descending != back)
    return _page(found, place, size, back=back, inside=after is not None)


def _behind(rows: QuerySet[M], keyset: Keyset, after: Sequence[Value] | None, size: int, *, back: bool) -> list[M]:
    """Return the rows next to the cursor in the direction of reading, one more than fit a page."""
    names = _names(keyset)
    expressions = {
        name: F(key.by) if isinstance(key.by, str) else key.by for name, key in zip(names, keyset.keys, strict=True)
    }
    order = [_order(key, name, back=back) for key, name in zip(keyset.keys, names, strict=True)]
    keyed = rows.annotate(**expressions).order_by(*order)
    if after is None:
        return list(keyed[: size + 1])
    if not keyset.grouped:
        return list(keyed.filter(_beyond(keyset.keys, names, after, back=back))[: size + 1])
    alike = Q(**{names[0]: after[0]}) & _beyond(keyset.keys[1:], names[1:], after[1:], back=back)
    found = list(keyed.filter(alike)[: size + 1])
    further = _further(keyset.keys[0], names[0], after[0], back=back)
    if len(found) <= size and further is not None:
        found += list(keyed.filter(further)[: size + 1 - len(found)])
    return found


def _page(found: list[M], place: _Place, size: int, *, back: bool, inside: bool) -> Page[M]:
    more, found = len(found) > size, found[:size]
    if back:
        found.reverse()
    return Page(
        rows=found,
        next_cursor=_sealed(place, found[-1], back=False) if found and (more or back) else None,
        previous_cursor=_sealed(place, found[0], back=True) if found and (more if back else inside) else None,
    )


def _names(keyset: Keyset) -> list[str]:
    return [f"_key_{position}" for position in range(len(keyset.keys))]


def _order(key: Key, name: str, *, back: bool) -> OrderBy:
    """Return the order of one key; read backwards everything is turned round, also where empty values stand."""
    descending = key.descending != back
    if not key.nullable:
        return F(name).desc() if descending else F(name).asc()
    if back:
        return F(name).desc(nulls_first=True) if descending else F(name).asc(nulls_first=True)
    return F(name).desc(nulls_last=True) if descending else F(name).asc(nulls_last=True)


def _beyond(keys: Sequence[Key], names: Sequence[str], values: Sequence[Value], *, back: bool) -> Q:
    """Return the condition for rows that come after these values, or before them when read backwards."""
    beyond = Q(pk__in=[])
    equal_so_far = Q()
    for key, name, value in zip(keys, names, values, strict=True):
        if (further := _further(key, name, value, back=back)) is not None:
            beyond |= equal_so_far & further
        equal_so_far &= Q(**{f"{name}__isnull": True}) if value is None else Q(**{name: value})
    # Says nothing new, but lets PostgreSQL begin at this place of an index instead of walking up to it.
    return beyond & _at_or_further(keys[0], names[0], values[0], back=back)


def _at_or_further(key: Key, name: str, value: Value, *, back: bool) -> Q:
    if value is None or key.nullable:
        return Q()
    return Q(**{f"{name}__{'lte' if key.descending != back else 'gte'}": value})


def _further(key: Key, name: str, value: Value, *, back: bool) -> Q | None:
    """Return the condition for one key to lie beyond a value; None where nothing does."""
    if value is None:
        return Q(**{f"{name}__isnull": False}) if back else None
    comparison = "lt" if key.descending != back else "gt"
    further = Q(**{f"{name}__{comparison}": value})
    return further | Q(**{f"{name}__isnull": True}) if key.nullable and not back else further


def _signer() -> Signer:
    return Signer(salt=SALT)


def _sealed(place: _Place, row: Model, *, back: bool) -> str:
    values = [_plain(getattr(row, name)) for name in _names(place.keyset)]
    return _signer().sign_object([place.of, int(back), values], serializer=JSONSerializer, compress=True)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _opened(cursor: str, place: _Place) -> tuple[bool, list[Value]]:
    broken = Invalid({"cursor": ["This cursor is broken. Leave it out to begin with the first page."]})
    if len(cursor) > LONGEST_CURSOR:
        raise broken
    try:
        of, back, values = _signer().unsign_object(cursor, serializer=JSONSerializer)
    except BadSignature:
        raise broken from None
    if of != place.of or len(values) != len(place.keyset.keys):
        words = "This cursor belongs to another list, or to this one in another order."
        raise Invalid({"cursor": [f"{words} Leave it out to begin with the first page."]})
    return bool(back), [datetime.fromisoformat(v["t"]) if isinstance(v, dict) else v for v in values]

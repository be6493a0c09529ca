"""What figures stand on: a database of their own, and words for what was measured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connections
from django.test.utils import setup_databases, setup_test_environment, teardown_databases, teardown_test_environment


@contextmanager
def database() -> Iterator[None]:
    """A database with every table and no row, gone afterwards; the one of the environment is not touched."""
    setup_test_environment()
    made = setup_databases(0, interactive=False, aliases={"default", "owner"}, serialized_aliases=set())
    try:
        yield
    finally:
        connections.close_all()
        teardown_databases(made, 0)
        teardown_test_environment()


def share(values: Sequence[float], percent: float) -> float:
    """Return the value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(values: Sequence[float]) -> str:
    """Return "p50 1.52 s, p99 2.98 s, slowest 3.01 s of 1,200"."""
    if not values:
        return "nothing was measured"
    return (
        f"p50 {share(values, 50):.2f} s, p99 {share(values, 99):.2f} s, slowest {max(values):.2f} s of {len(values):,}"
    )

"""A job's outermost boundary, drawn around each of many items: trouble with one leaves the others alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import InterfaceError, OperationalError

from vplus_bridge.client import VplusError

log = structlog.get_logger(__name__)


@contextmanager
def alone(**what: object) -> Iterator[None]:
    """Keep the trouble with one of many from the others: a job's outermost boundary, drawn around each of its items.

    It is logged with its traceback and the item's name. Trouble with the database or with vPlus itself is everybody's,
    and passes.
    """
    try:
        yield
    except (OperationalError, InterfaceError, VplusError):
        raise
    except Exception:  # the boundary; nothing is lost, the next cycle meets the same item
        log.exception("one of many failed", **what)

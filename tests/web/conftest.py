"""Pages through Django's client and the real middleware, over rows as a reading would have left them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from tests.api.conftest import Rows
from tests.conftest import Cast, Member
from tests.pages import Page
from tests.processes import collect_static_files

ALPHA = "/t/alpha/"
LIST = f"{ALPHA}virtual-machines/"
BACK_UP = f"{ALPHA}back-up/"
ACTIVITY = f"{ALPHA}activity/"
INBOX = "/console/virtual-machines/"


def ago(**parts: float) -> datetime:
    """Return a moment before now, UTC."""
    return timezone.now() - timedelta(**parts)


def local_day(**parts: float) -> str:
    """Return the day of a moment before now as the pages of the cast's tenants count days: in Warsaw."""
    return ago(**parts).astimezone(ZoneInfo("Europe/Warsaw")).strftime("%Y-%m-%d")


class Visitor:
    """Somebody's browser, without the browser."""

    def __init__(self, member: Member | None = None) -> None:
        self.client = Client(raise_request_exception=False)
        if member is not None:
            self.client.force_login(member.row)

    def get(self, path: str, **parameters: Any) -> Page:
        """Open a page; parameters join those that stand in the path already."""
        path, _, query = path.partition("#")[0].partition("?")
        return Page(self.client.get(path, {**dict(parse_qsl(query)), **parameters}))

    def post(self, path: str, follow: bool = True, **fields: Any) -> Page:
        return Page(self.client.post(path, fields, follow=follow))


@pytest.fixture(scope="session", autouse=True)
def static_files() -> None:
    collect_static_files()


@pytest.fixture
def rows(cast: Cast) -> Rows:
    return Rows(cast)


@pytest.fixture
def visit(cast: Cast) -> Callable[[Member | None], Visitor]:
    return Visitor


@pytest.fixture
def oscar(cast: Cast) -> Visitor:
    return Visitor(cast.oscar)


@pytest.fixture
def vera(cast: Cast) -> Visitor:
    return Visitor(cast.vera)


@pytest.fixture
def paula(cast: Cast) -> Visitor:
    return Visitor(cast.paula)


@pytest.fixture
def no_contact(rows: Rows) -> None:
    """vPlus has been out of reach for some minutes."""
    rows.reading(
        "contact",
        ago(minutes=18),
        failing_since=ago(minutes=18),
        problem="unreachable",
        problem_text="no answer from host-7",
    )

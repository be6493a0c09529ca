"""A real web server and a real Redis; the workers' deeds are done in the test's own thread, which tells through Redis."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.live.listening import Ears
from tests.processes import Processes, collect_static_files, redis_url


@pytest.fixture(autouse=True)
def same_redis(settings: Any) -> None:
    """What this process tells, the web server hears: changes are told in the database that both are given."""
    settings.REDIS_URL = redis_url()


@pytest.fixture(scope="package")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The web server of all these tests, with a pool of five connections."""
    collect_static_files()
    processes = Processes(tmp_path_factory.mktemp("live"), LIVE_RIGHTS_SECONDS="2", LIVE_HEARTBEAT_SECONDS="1")
    processes.start_web()
    yield processes
    processes.end_all()


@pytest.fixture
def ears(web: Processes) -> Iterator[Ears]:
    with Ears(web) as one:
        yield one


@pytest.fixture
def rows(cast: Cast) -> Rows:
    return Rows(cast)

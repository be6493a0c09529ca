"""Short folders that PostgreSQL's user can enter, which pytest's own temporary ones are not."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.folder import make_data_folder
from local_stack.postgres_server import PostgresServer


@pytest.fixture
def folder() -> Iterator[Path]:
    name = tempfile.mkdtemp(prefix="vplus-portal-test-", dir="/var/tmp")
    yield make_data_folder(Path(name))
    shutil.rmtree(name)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """One running server for the tests of a module that only look."""
    name = tempfile.mkdtemp(prefix="vplus-portal-test-", dir="/var/tmp")
    root = make_data_folder(Path(name))
    server = PostgresServer(root / "postgres", shelf=root)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(name)

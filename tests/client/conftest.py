from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.client.scripted_server import ScriptedServer
from vplus_bridge.client import Endpoint, VplusClient

PASSWORD = "pa55-very-secret"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def server(server_context: ssl.SSLContext) -> Iterator[ScriptedServer]:
    scripted = ScriptedServer(server_context)
    yield scripted
    scripted.close()


@pytest.fixture
def endpoint(server: ScriptedServer, ca_file: Path) -> Callable[..., Endpoint]:
    """An endpoint for the scripted server, with short waits."""

    def make(**changes: Any) -> Endpoint:
        usual: dict[str, Any] = {
            "url": server.url,
            "username": "portal",
            "password": PASSWORD,
            "ca_bundle": str(ca_file),
            "connect_seconds": 2,
            "read_total_seconds": 3,
            "listing_total_seconds": 3,
            "write_total_seconds": 3,
        }
        return Endpoint(**usual | changes)

    return make


@pytest.fixture
def waits() -> list[float]:
    """The waits between tries of `client`, which does not really wait."""
    return []


@pytest.fixture
def client(endpoint: Callable[..., Endpoint], waits: list[float]) -> VplusClient:
    return VplusClient(endpoint(), sleep=waits.append)


@pytest.fixture
def make_client(endpoint: Callable[..., Endpoint], waits: list[float]) -> Callable[..., VplusClient]:
    return lambda **changes: VplusClient(endpoint(**changes), sleep=waits.append)

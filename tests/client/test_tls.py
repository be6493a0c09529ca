"""Whom the client trusts. A peer that is not trusted never sees a byte of a request."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.client.scripted_server import ScriptedServer
from vplus_bridge.client import Endpoint, TlsFailed, VplusClient

CN = "localhost.localdomain"


def common_name_only(folder: Path) -> Path:
    """Like vPlus's own certificate: self-signed, a common name and nothing else (vplus-api.md 1.1)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CN)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "self-signed.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def fingerprint(pem: bytes) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode().partition("-----BEGIN PRIVATE")[0])).hexdigest()


@pytest.fixture(params=["read", "write"])
def attempt(request: pytest.FixtureRequest, server: ScriptedServer) -> Callable[[Endpoint], Any]:
    """Reads and writes go by the same policy; a write gets its session from a client that trusts the server."""
    if request.param == "read":
        return lambda endpoint: VplusClient(endpoint).sign_in()

    def open_write(endpoint: Endpoint) -> None:
        from vplus_bridge.client.session import ServerClock
        from vplus_bridge.client.transport import TlsPolicy, connection_class
        from vplus_bridge.client.writing import WriteChannel

        connection = connection_class(endpoint, TlsPolicy(endpoint))
        WriteChannel(endpoint, connection, None, ServerClock(), lambda: None).close()

    return open_write


def serve(pem: Path) -> ScriptedServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return ScriptedServer(context)


@pytest.fixture
def self_signed(tmp_path: Path) -> Path:
    return common_name_only(tmp_path)


@pytest.fixture
def vendor_server(self_signed: Path) -> Iterator[ScriptedServer]:
    scripted = serve(self_signed)
    yield scripted
    scripted.close()


def refused(attempt: Callable[[Endpoint], Any], endpoint: Endpoint, server: ScriptedServer) -> None:
    with pytest.raises(TlsFailed) as caught:
        attempt(endpoint)
    assert "localhost" not in str(caught.value)
    assert server.asked == [], "not a byte of a request went to a stranger"
    assert server.connections == 1, "and it was asked once: trust does not come by repetition"


def test_right_authority_and_name(attempt: Callable[[Endpoint], Any], endpoint: Callable[..., Endpoint]) -> None:
    attempt(endpoint())
    attempt(endpoint(tls_name="localhost"))


def test_wrong_authority(
    attempt: Callable[[Endpoint], Any], endpoint: Callable[..., Endpoint], server: ScriptedServer, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    refused(attempt, endpoint(ca_bundle=str(other)), server)


def test_the_systems_authorities_do_not_know_ours(
    attempt: Callable[[Endpoint], Any], endpoint: Callable[..., Endpoint], server: ScriptedServer
) -> None:
    refused(attempt, endpoint(ca_bundle=None), server)


def test_wrong_expected_name(
    attempt: Callable[[Endpoint], Any], endpoint: Callable[..., Endpoint], server: ScriptedServer
) -> None:
    refused(attempt, endpoint(tls_name="vplus.example"), server)


def test_an_address_that_the_certificate_does_not_name(
    attempt: Callable[[Endpoint], Any], endpoint: Callable[..., Endpoint], server: ScriptedServer
) -> None:
    refused(attempt, endpoint(url=f"https://127.0.0.1:{server.port}/api"), server)


def test_another_address_with_the_name_to_expect(
    attempt: Callable[[Endpoint], Any], endpoint: Callable[..., Endpoint], server: ScriptedServer
) -> None:
    attempt(endpoint(url=f"https://127.0.0.1:{server.port}/api", tls_name="localhost"))


def test_the_vendors_own_certificate_by_its_name(
    attempt: Callable[[Endpoint], Any],
    endpoint: Callable[..., Endpoint],
    vendor_server: ScriptedServer,
    self_signed: Path,
) -> None:
    attempt(endpoint(url=vendor_server.url, ca_bundle=str(self_signed), tls_name=CN))


def test_the_vendors_own_certificate_under_another_name(
    attempt: Callable[[Endpoint], Any],
    endpoint: Callable[..., Endpoint],
    vendor_server: ScriptedServer,
    self_signed: Path,
) -> None:
    refused(attempt, endpoint(url=vendor_server.url, ca_bundle=str(self_signed)), vendor_server)


@pytest.mark.parametrize("style", [str, str.upper, lambda pin: ":".join(pin[i : i + 2] for i in range(0, 64, 2))])
def test_right_pin(
    attempt: Callable[[Endpoint], Any],
    endpoint: Callable[..., Endpoint],
    vendor_server: ScriptedServer,
    self_signed: Path,
    style: Callable[[str], str],
) -> None:
    pin = style(fingerprint(self_signed.read_bytes()))
    attempt(endpoint(url=vendor_server.url, ca_bundle=None, cert_sha256=pin))


def test_wrong_pin_although_authority_and_name_are_right(
    attempt: Callable[[Endpoint], Any], endpoint: Callable[..., Endpoint], server: ScriptedServer
) -> None:
    refused(attempt, endpoint(cert_sha256="0" * 64), server)


def test_a_missing_authority_file_is_told_at_once(endpoint: Callable[..., Endpoint]) -> None:
    with pytest.raises(OSError, match="No such file"):
        VplusClient(endpoint(ca_bundle="/nowhere/ca.pem"))

"""The server's certificate: signed by a CA of its own, so that clients can verify it, or one like vPlus's own."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "127.0.0.1")
OWN_NAME = "localhost.localdomain"
CertificateKind = Literal["ca", "vplus"]


def files_of(kind: CertificateKind, directory: Path, extra_names: Sequence[str] = ()) -> tuple[Path, Path]:
    """Return the paths of what clients need for this kind of certificate, and of the server's key with its chain."""
    return own_certificate_files(directory) if kind == "vplus" else certificate_files(directory, extra_names)


def certificate_files(directory: Path, extra_names: Sequence[str] = ()) -> tuple[Path, Path]:
    """Return the paths of the CA certificate for clients and of the server's key with its chain.

    Both are made for localhost, 127.0.0.1 and `extra_names` where one is absent; what is there stays as it is.
    """
    ca_path, server_path = directory / "ca.pem", directory / "server.pem"
    if not (ca_path.exists() and server_path.exists()):
        directory.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA(organization_name="vPlus simulator")
        certificate = authority.issue_cert(*NAMES, *extra_names)
        authority.cert_pem.write_to_path(ca_path)
        _write_secret(server_path, certificate.private_key_and_cert_chain_pem.bytes())
    return ca_path, server_path


def own_certificate_files(directory: Path) -> tuple[Path, Path]:
    """Return the paths of a certificate like the one vPlus makes for itself, and of its key with it.

    It is self-signed, has the common name localhost.localdomain and no other name (vplus-api.md 1.1); a client can only
    pin it, or trust it by itself and expect that name. It lasts ten years.
    """
    own_path, server_path = directory / "vplus.pem", directory / "vplus-server.pem"
    if not (own_path.exists() and server_path.exists()):
        directory.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, OWN_NAME)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=3650))
            .sign(key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )
        own_path.write_bytes(certificate)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_secret(server_path, secret + certificate)
    return own_path, server_path


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def server_context(server_path: Path) -> ssl.SSLContext:
    """Return the TLS context of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(server_path)
    return context

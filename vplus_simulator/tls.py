"""The server's certificate: signed by a CA of its own, so that clients can verify it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1")


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
        descriptor = os.open(server_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate.private_key_and_cert_chain_pem.bytes())
    return ca_path, server_path


def server_context(server_path: Path) -> ssl.SSLContext:
    """Return the TLS context of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(server_path)
    return context

"""The one client of this process, made from the settings."""

from functools import lru_cache
from typing import cast

from django.conf import settings

from vplus_bridge.client import DIALECTS, Dialect, DialectName, Endpoint, VplusClient


def dialect() -> Dialect:
    """Return the dialect that this portal is set to speak, for those who ask what can be asked of vPlus."""
    return DIALECTS[_dialect_name()]


def _dialect_name() -> DialectName:
    return cast(DialectName, settings.VPLUS_DIALECT)  # the settings let nothing else through


@lru_cache(maxsize=1)
def client() -> VplusClient:
    """Return the process's client: its threads share one session with vPlus and one pool of connections."""
    return VplusClient(
        Endpoint(
            url=settings.VPLUS_URL,
            username=settings.VPLUS_USERNAME,
            password=settings.VPLUS_PASSWORD,
            dialect=_dialect_name(),
            ca_bundle=settings.VPLUS_CA_BUNDLE,
            tls_name=settings.VPLUS_TLS_NAME,
            cert_sha256=settings.VPLUS_CERT_SHA256,
            connect_seconds=settings.VPLUS_CONNECT_SECONDS,
            read_total_seconds=settings.VPLUS_READ_SECONDS,
            listing_total_seconds=settings.VPLUS_LISTING_SECONDS,
            write_total_seconds=settings.VPLUS_SEND_TOTAL_SECONDS,
            sign_in_cooling_seconds=settings.VPLUS_SIGN_IN_COOLING_SECONDS,
            page_size=settings.VPLUS_PAGE_SIZE,
        )
    )

"""Instants and digests: how a record of the client becomes columns of a row."""

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What PostgreSQL and Python can both hold; beyond it a member is nonsense, and is treated as not given.
_LATEST_MS = 253_402_300_799_000
_encoder = msgspec.msgpack.Encoder()


def instant(ms: int | None) -> datetime | None:
    """Return the UTC instant of milliseconds since the epoch; None for what is absent or cannot be an instant."""
    if ms is None or not 0 < ms < _LATEST_MS:
        return None
    return _EPOCH + timedelta(milliseconds=ms)


def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def digest_of(record: msgspec.Struct) -> bytes:
    """Return 16 bytes that differ where two records differ; equal rows are not written again."""
    return hashlib.blake2b(_encoder.encode(record), digest_size=16).digest()


def seconds(ms: int | None) -> float | None:
    """Return a duration in seconds."""
    return None if ms is None else ms / 1000


def clean(text: str | None, limit: int) -> str:
    """Return text that a column can hold: NUL, which PostgreSQL refuses, taken out, and cut at the limit."""
    return (text or "").replace("\x00", "")[:limit]


def whole(number: int | None) -> int | None:
    """Return a size in bytes that a column can hold; nonsense becomes not given."""
    return number if number is not None and 0 <= number < 2**63 else None

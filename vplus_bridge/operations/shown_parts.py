"""What somebody was shown, in a few letters that come back with their press: by part, so that what changed can be named."""

import hashlib
from collections.abc import Mapping

_EACH = 10


def digest_of(parts: Mapping[str, str]) -> str:
    """Return a digest of parts, each a text that is another one when that part has changed."""
    return ".".join(hashlib.sha256(text.encode()).hexdigest()[:_EACH] for _name, text in sorted(parts.items()))


def changed_parts(parts: Mapping[str, str], digest: str) -> list[str]:
    """Return the names of the parts that are not what they were when this digest was made; all for one that is none."""
    names, before, now = sorted(parts), digest.split("."), digest_of(parts).split(".")
    if len(before) != len(now):
        return names
    return [name for name, then, today in zip(names, before, now, strict=True) if then != today]

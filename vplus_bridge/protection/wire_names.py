"""Names for what we make in vPlus: unique over everybody there, and the key by which a lost answer is looked up.

`<start of the tenant's id>-<slug>-<random>`, without an underscore: a current server puts `uuid_<project>_` before it
(vplus-api.md 1.9, 4.11), and what stands behind the last underscore is then ours.
"""

import secrets
from uuid import UUID

from vplus_bridge.protection.drafts import slug

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
LENGTH = 10
PATTERN = rf"(^|_)[0-9a-f]{{8}}-[a-z0-9-]+-(policy|schedule)-[{ALPHABET}]{{{LENGTH}}}$"
"""What a name of ours looks like, as PostgreSQL reads it; a hint, since anybody can write one."""


def new_wire_name(tenant_id: UUID, name: str, kind: str) -> str:
    """Return a name that nothing in vPlus has: for a policy, its rule or a schedule of it (`kind`)."""
    random = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return f"{tenant_id.hex[:8]}-{slug(name)}-{kind}-{random}"


def ours_in(shown: str) -> str:
    """Return the part of a name, as vPlus shows it, that would be the wire name if the object were ours."""
    return shown.rpartition("_")[2]

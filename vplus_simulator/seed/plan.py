"""Which world to start with."""

from __future__ import annotations

from typing import Literal

import msgspec

SeedName = Literal["demo", "small", "empty", "scale"]


class SeedPlan(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A seed by name; the numbers are for `scale` only."""

    name: SeedName = "small"
    vms: int = 1000
    tenants: int = 10
    backups_per_vm: int = 0

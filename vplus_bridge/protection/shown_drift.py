"""What a person or script was shown of a difference: its digest is given back with the press or the call, and what differs
otherwise by then is neither accepted nor put back unseen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from tenants.refusals import WrongState
from vplus_bridge.protection.drift import differences, kept_of, read_since_written
from vplus_bridge.protection.models import Policy

_DIGEST_LENGTH = 20
Drift = Sequence[Mapping[str, Any]]


class DriftChanged(WrongState):
    """What was shown is not what vPlus holds by now; the policy's page shows what that is."""

    def __init__(self) -> None:
        super().__init__("difference_changed", _("Something changed in vPlus while you read. Check and press again."))


def drift_now(policy: Policy) -> list[dict[str, Any]] | None:
    """Return what differs by the mirror of this moment, as the row would keep it; None: not read since our last write."""
    found = kept_of(policy, differences(policy))
    return None if not found and not read_since_written(policy) else found


def shown_drift(policy: Policy) -> list[dict[str, Any]]:
    """Return what a page shows: what differs now, or where that is nothing or not known yet, what was last noted."""
    return drift_now(policy) or policy.drift


def digest_of(drift: Drift) -> str:
    """Return a difference in a few letters, to be given back with the press."""
    return hashlib.sha256(json.dumps(list(drift), sort_keys=True).encode()).hexdigest()[:_DIGEST_LENGTH]


def refuse_unseen(drift: Drift, shown: str | None) -> None:
    """See that a person was shown just this; `shown` None where nobody was shown anything. Raises DriftChanged."""
    if shown is not None and shown != digest_of(drift):
        raise DriftChanged

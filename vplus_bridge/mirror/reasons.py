"""Why work of vPlus failed, in our words: a reviewed table of the reasons that are known (screens.md 5).

vPlus's own texts can name hosts, paths and accounts, and are shown to the provider only. Here a text is matched against
patterns that were read one by one, each for the tasks in which it means what it says; what none of them knows gets the
general words of its stage. To add one: the pattern, the tasks, the words, and its example in tests/bridge/test_reasons.py.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Actor = Literal["you", "provider", "nobody"]


@dataclass(frozen=True, slots=True)
class KnownReason:
    """One reason: the tasks in whose texts it is looked for, the pattern, and what people read."""

    code: str
    tasks: frozenset[str]
    pattern: re.Pattern[str]
    title: Promise
    cause: Promise
    actor: Actor
    next_step: Promise


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.DOTALL)


_EXPORT, _STORE, _BOTH = frozenset({"EXPORT"}), frozenset({"STORE"}), frozenset({"EXPORT", "STORE"})
_ASK = _("Ask your provider, and name the reference.")
_AGAIN = _("Try again. If it happens again, ask your provider, and name the reference.")

KNOWN: Sequence[KnownReason] = (
    KnownReason(
        "quota_reached",
        _BOTH,
        _pattern(r"\bquota\b.{0,80}?(exceed|reached|used up)|exceed\w* .{0,40}?\bquota\b"),
        _("Quota reached"),
        _(
            "The provider's limit for your backups is used up, so nothing was stored. Older restore points are untouched."
        ),
        "provider",
        _("Ask your provider for room, and name the reference."),
    ),
    KnownReason(
        "no_room_to_work",
        _BOTH,
        _pattern(r"staging (area|space)|(not enough|insufficient|no) .{0,30}?space .{0,40}?staging"),
        _("No room to work"),
        _("The backup system had no free space to work in. Older restore points are untouched."),
        "provider",
        _ASK,
    ),
    KnownReason(
        "snapshot_failed",
        _EXPORT,
        _pattern(
            r"snapshot\b.{0,80}?(could not|cannot|can't|failed|timed? ?out|timeout|error)|(failed|unable) to .{0,30}?snapshot"
        ),
        _("No snapshot"),
        _("The platform could not make a snapshot of the virtual machine, so nothing was stored."),
        "you",
        _AGAIN,
    ),
    KnownReason(
        "platform_away",
        _EXPORT,
        _pattern(
            r"(hypervisor|manager|platform|keystone|vcenter).{0,120}?"
            r"(refused|lost|unreachable|not reachable|timed? ?out|did not answer|answered 5\d\d|unavailable)"
        ),
        _("Platform out of reach"),
        _("The backup system could not reach the platform on which the virtual machine runs."),
        "provider",
        _AGAIN,
    ),
    KnownReason(
        "destination_full",
        _STORE,
        _pattern(
            r"no space left|(not enough|insufficient) .{0,30}?(space|capacity)|destination .{0,60}?\bfull\b|out of (disk )?space"
        ),
        _("Backup destination is full"),
        _("There was no room where copies are kept. Older restore points are untouched."),
        "provider",
        _ASK,
    ),
    KnownReason(
        "destination_not_usable",
        _BOTH,
        _pattern(r"destination .{0,80}?(not assigned|not enabled|not configured|not usable|disabled)"),
        _("Backup destination cannot be used"),
        _("The backup destination is not set up for this virtual machine."),
        "provider",
        _("Back up to another destination, or ask your provider."),
    ),
    KnownReason(
        "destination_away",
        _STORE,
        _pattern(
            r"destination .{0,80}?(did not answer|unavailable|not available|offline|unreachable|timed? ?out|refused|lost)"
        ),
        _("Backup destination out of reach"),
        _("The place where copies are kept did not answer. Older restore points are untouched."),
        "provider",
        _AGAIN,
    ),
    KnownReason(
        "copy_damaged",
        _STORE,
        _pattern(r"checksum|(written|stored) (file|data) .{0,40}?(corrupt|damaged|does not match)"),
        _("Copy was damaged"),
        _(
            "What was written did not match what was read, so the copy was thrown away. Older restore points are untouched."
        ),
        "provider",
        _AGAIN,
    ),
)
BY_CODE: Mapping[str, KnownReason] = {reason.code: reason for reason in KNOWN}


def reason_in(text: str, task_type: str) -> KnownReason | None:
    """Return the known reason that vPlus's text about a task of this type gives, or None."""
    if not text:
        return None
    return next((known for known in KNOWN if task_type in known.tasks and known.pattern.search(text)), None)


def reason_of_record(text: str) -> KnownReason | None:
    """Return the known reason in a backup record's text, which does not tell its stage; the first that fits."""
    return reason_in(text, "EXPORT") or reason_in(text, "STORE")

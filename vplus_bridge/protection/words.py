"""Words for verdicts: why a virtual machine counts as it does, in one sentence, and what to do next; for pages and API."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from vplus_bridge.protection.verdict import Reason

Word = str | Promise


@dataclass(frozen=True, slots=True)
class Because:
    """A reason as a sentence, and the next step as one; empty where there is nothing to do."""

    sentence: Word
    next_step: Word = ""


REASONS: Mapping[str, Because] = {
    Reason.HISTORY_NOT_READ: Because(
        _("Its backup history was not read yet."), _("This is known by itself in a little while.")
    ),
    Reason.NEVER_BACKED_UP: Because(
        _("No backup was ever made of this virtual machine."), _("Back up now, or ask for a policy.")
    ),
    Reason.LAST_FAILED: Because(
        _("The last backup failed, and there is no restore point."), _("Back up now, and see why the last one failed.")
    ),
    Reason.NOTHING_RESTORABLE: Because(
        _("There were backups, but none of them can be restored: all failed or were removed."),
        _("Back up now if the virtual machine exists."),
    ),
    Reason.VPLUS_UP_TO_DATE: Because(
        _("vPlus says that its backups are up to date. The portal has not judged that itself.")
    ),
    Reason.VPLUS_OUTDATED: Because(
        _("vPlus says that its backups are outdated."), _("Back up now, and see how the last runs ended.")
    ),
    Reason.VPLUS_NO_SCHEDULE: Because(
        _("It can be restored, but vPlus names no schedule that would keep its backups recent."),
        _("Back up now, or ask for a policy."),
    ),
}

UNKNOWN = Because(_("The reason has no description here."))


def reason_words(code: str) -> Because:
    """Return the words for VirtualMachine.protection_reason; general ones where the code is of another version."""
    return REASONS.get(code, UNKNOWN)

"""Words for what the mirror holds: why a backup cannot be restored, how a task came to its end; for pages and API.

vPlus's own texts can name hosts and paths and are the provider's alone; these are ours.
"""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.mirror.reasons import reason_in, reason_of_record

Word = str | Promise

_NOT_RESTORABLE: Mapping[str, Word] = {
    "QUEUED": _("It has not begun yet."),
    "INPROGRESS": _("It is not finished yet."),
    "FAILED": _("It failed, so nothing was stored that could be restored."),
    "SUCCESS_REMOVED": _("It was stored, and has been removed since."),
}
_FAILED: Mapping[str, Word] = {
    "EXPORT": _("The virtual machine could not be read."),
    "STORE": _("The copy could not be stored."),
    "RESTORE": _("The data could not be brought back."),
    "IMPORT": _("The new virtual machine could not be made."),
}


def why_not_restorable(backup: Backup) -> Word | None:
    """Return a sentence that tells why a backup cannot be restored, or None where it can."""
    if backup.restorable:
        return None
    if backup.gone_at is not None:
        return _("It is no longer in the backup system.")
    return _NOT_RESTORABLE.get(backup.status, _("The backup system does not say that it is stored."))


def why_failed(backup: Backup) -> Word:
    """Return a sentence that tells why a backup failed, where the record's text is one that is known."""
    known = reason_of_record(backup.status_info)
    return known.cause if known else _("The backup system gave no reason that can be shown here. Ask your provider.")


def task_reason(task: Task) -> Word | None:
    """Return a sentence that tells why a task ended without its work done, or None where nothing is wrong."""
    if task.state == "FAILED":
        known = reason_in(task.status_info, task.type)
        return known.cause if known else _FAILED.get(task.type, _("It failed."))
    if task.state == "CANCELLED":
        return _("It was cancelled.")
    if task.vanished_at is not None and task.state != "FINISHED":
        return _("The backup system forgot it before it told how it ended.")
    return None

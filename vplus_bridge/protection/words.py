"""Words for verdicts and runs: why, in one sentence, and what to do next; for pages, API and mail."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.protection.evidence import Why
from vplus_bridge.protection.ledger_models import RunOutcome
from vplus_bridge.protection.verdict import Reason

Word = str | Promise
HOUR, DAY = 3600, 86_400
HOURS_UNTIL = 48 * HOUR


@dataclass(frozen=True, slots=True)
class Because:
    """A reason as a sentence, and the next step as one; empty where there is nothing to do.

    ``brief`` is the sentence for where room is short, where there is a shorter one. Both may hold ``%(age)s``, of the newest
    restore point, and ``%(promise)s``: use ``because`` to have them filled.
    """

    sentence: Word
    next_step: Word = ""
    brief: Word = ""


REASONS: Mapping[str, Because] = {
    Reason.HISTORY_NOT_READ: Because(
        _("Its backup history was not read yet."), _("This is known by itself in a little while.")
    ),
    Reason.NEVER_BACKED_UP: Because(
        _("No backup was ever made of this virtual machine."),
        _("Back up now, or add it to a policy."),
        _("No backup was ever made"),
    ),
    Reason.LAST_FAILED: Because(
        _("The last backup failed, and there is no restore point."), _("Back up now, and see why the last one failed.")
    ),
    Reason.NOTHING_RESTORABLE: Because(
        _("There were backups, but none of them can be restored: all failed or were removed."),
        _("Back up now if the virtual machine exists."),
    ),
    Reason.WITHIN_PROMISE: Because(
        _("The newest restore point is within the promise of %(promise)s."),
        brief=_("Within the promise of %(promise)s"),
    ),
    Reason.OLDER_THAN_PROMISE: Because(
        _("The newest restore point is %(age)s old. The promise is %(promise)s."),
        _("See how the last runs ended."),
        _("Last point %(age)s old; the promise is %(promise)s"),
    ),
    Reason.PROMISE_LOST: Because(
        _("The newest restore point is %(age)s old. The promise is %(promise)s."),
        _("Back up now, and see how the last runs ended."),
        _("Last point %(age)s old; the promise is %(promise)s"),
    ),
    Reason.NO_POLICY: Because(
        _("No policy keeps its backups recent. The newest restore point is %(age)s old."),
        _("Add it to a policy, or ask your provider for one."),
        _("No policy; last point %(age)s old"),
    ),
    Reason.NO_SCHEDULE: Because(
        _("No schedule of its policy runs. The newest restore point is %(age)s old."),
        _("Give its policy a schedule, or ask your provider."),
        _("No schedule runs; last point %(age)s old"),
    ),
    Reason.PROMISE_NOT_KNOWN: Because(
        _("The schedules of its policy are not known here, so its backups cannot be held against them."),
        _("This is often known by itself in a few minutes; if not, ask your provider."),
    ),
    Reason.TIME_NOT_GIVEN: Because(
        _("It can be restored, but the backup system does not tell how old its restore points are."),
        _("Ask your provider."),
    ),
    Reason.EVIDENCE_ENDED: Because(
        _("There is no contact with the backup system; what it did since cannot be seen."),
        _("This is known by itself once contact is back."),
    ),
    Reason.HISTORY_NOT_READ_SINCE: Because(
        _("There is news of its backups, and they could not be read since."),
        _("This is often known by itself in a few minutes; if not, ask your provider."),
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

OUTCOMES: Mapping[str, Word] = {
    RunOutcome.WAITING: _("Waiting"),
    RunOutcome.RUNNING: _("Running"),
    RunOutcome.STORED: _("Stored"),
    RunOutcome.FAILED: _("Failed"),
    RunOutcome.CANCELLED: _("Cancelled"),
    RunOutcome.MISSED: _("Did not happen"),
    RunOutcome.EXCUSED: _("Not known"),
}

WHYS: Mapping[str, Because] = {
    Why.EXPORT_FAILED: Because(
        _("The virtual machine could not be read."), _("Back up now; if it fails again, ask your provider.")
    ),
    Why.STORE_FAILED: Because(
        _("The copy could not be stored. Older restore points are untouched."), _("Ask your provider; back up now.")
    ),
    Why.BACKUP_FAILED: Because(
        _("The backup failed; the backup system does not tell where."),
        _("Back up now; if it fails again, ask your provider."),
    ),
    Why.LATE: Because(_("It started after its window.")),
    Why.NO_CONTACT: Because(_("There was no contact with the backup system when it was due.")),
    Why.HISTORY_NOT_READ: Because(_("Its backup history was not read since.")),
    Why.NOT_ON_PLATFORM: Because(_("The virtual machine was no longer on the platform.")),
    Why.LEFT_POLICY: Because(_("The virtual machine left the policy.")),
    Why.SCHEDULE_CHANGED: Because(_("The schedule was changed.")),
    Why.NO_TRACE: Because(_("It ran, and no backup of it was ever seen."), _("Ask your provider; back up now.")),
}
DID_NOT_HAPPEN = Because(
    _("Nothing ran when it was planned."), _("Back up now; your provider knows why it did not run.")
)


def reason_words(code: str) -> Because:
    """Return the words for VirtualMachine.protection_reason; general ones where the code is of another version."""
    return REASONS.get(code, UNKNOWN)


def because(machine: VirtualMachine, now: datetime) -> Because:
    """Return why a virtual machine's verdict is what it is, with the age of its newest point and its promise."""
    words = reason_words(machine.protection_reason)
    newest = machine.newest_point_at
    figures = {
        "age": _now("not known how") if newest is None else length_words((now - newest).total_seconds()),
        "promise": _now("its schedules") if machine.promise_seconds is None else length_words(machine.promise_seconds),
    }
    sentence = str(words.sentence) % figures
    return Because(sentence, str(words.next_step), str(words.brief) % figures or sentence)


def run_words(outcome: str, why: str) -> Because:
    """Return what to say beside a run's outcome; empty where the outcome says it all."""
    if outcome == RunOutcome.MISSED:
        return DID_NOT_HAPPEN
    return WHYS.get(why, Because(""))


def length_words(seconds: float) -> str:
    """Return a length in words, rounded down: "45 minutes", "31 hours", "31 h 48 min", "19 days"."""
    whole = max(int(seconds), 0)
    if whole < HOUR:
        minutes = whole // 60
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    if whole < HOURS_UNTIL:
        hours, minutes = whole // HOUR, whole % HOUR // 60
        if minutes:
            return _now("%(h)d h %(m)d min") % {"h": hours, "m": minutes}
        return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}
    days = whole // DAY
    return ngettext("%(n)d day", "%(n)d days", days) % {"n": days}

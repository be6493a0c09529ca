"""Words for trouble with operations: title, cause, who has to act, what to do next; one table for pages and API.

A code is what the rows keep. Texts hold no times: a face adds them in the reader's zone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from vplus_bridge.mirror.reasons import BY_CODE, Actor
from vplus_bridge.operations.moves import Kind

Word = str | Promise


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong: ``title`` in a few words, ``cause`` and ``next_step`` as sentences, ``actor`` who has to act."""

    title: Word
    cause: Word
    actor: Actor
    next_step: Word


ERRORS: Mapping[str, Trouble] = {
    "not_sent_in_time": Trouble(
        _("Not sent in time"),
        _("The backup system could not be reached before the window closed, so nothing was sent."),
        "you",
        _("Back up now, or choose a longer window."),
    ),
    "refused_by_vplus": Trouble(
        _("Refused by the backup system"),
        _("The backup system did not accept the request. Nothing was started."),
        "provider",
        _("Ask your provider, and name the reference."),
    ),
    "destination_not_allowed": Trouble(
        _("Backup destination not allowed"),
        _("The backup destination was taken away from you before anything was sent. Nothing was started."),
        "you",
        _("Back up again to another destination, or ask your provider."),
    ),
    "no_policy": Trouble(
        _("In no policy"),
        _("It was in no policy when this was to be sent, and this backup system backs up by a policy only."),
        "you",
        _("Put it in a policy, then back up again."),
    ),
    "no_active_rule": Trouble(
        _("No active rule"),
        _(
            "Its policy has no active rule, and this backup system backs up by a policy's rule only. Nothing was started."
        ),
        "provider",
        _("Put it in another policy, or ask your provider."),
    ),
    "destination_not_in_policy": Trouble(
        _("Policy stores elsewhere"),
        _("Its policy no longer stores on the backup destination that was asked for. Nothing was started."),
        "you",
        _("Back up again to where the policy stores, or change the policy."),
    ),
    "rules_not_told": Trouble(
        _("Policy cannot be read"),
        _(
            "The backup system does not tell what its policy says, so it cannot be backed up by it. Nothing was started."
        ),
        "provider",
        _("Ask your provider, and name the reference."),
    ),
    "vm_not_yours": Trouble(
        _("No longer yours"),
        _("The virtual machine was given to somebody else before anything was sent. Nothing was started."),
        "provider",
        _("Ask your provider if that was meant."),
    ),
    "vm_gone": Trouble(
        _("Virtual machine is gone"),
        _("It is no longer on the platform, so there was nothing to back up."),
        "you",
        _("If that was not planned, restore it: its restore points are kept."),
    ),
    "window_passed": Trouble(
        _("Window passed"),
        _("It could not start before its window closed, because other work went first."),
        "you",
        _("Back up now, or choose a longer window."),
    ),
    "could_not_read": Trouble(
        _("Could not read the virtual machine"),
        _("The export failed, so nothing was stored. Older restore points are untouched."),
        "you",
        _("Try again. If it happens again, ask your provider, and name the reference."),
    ),
    "could_not_store": Trouble(
        _("Could not store"),
        _("The backup destination is full or away. Older restore points are untouched."),
        "provider",
        _("Ask your provider, and name the reference."),
    ),
    "task_vanished": Trouble(
        _("The end is not known"),
        _("The backup system forgot this work before it told how it ended, and no new restore point was seen."),
        "you",
        _("Back up again. If it happens again, ask your provider, and name the reference."),
    ),
    "policy_refused": Trouble(
        _("Not saved"),
        _("The backup system did not accept it. The policy runs as before; your draft is kept."),
        "provider",
        _("Ask your provider, and name the reference. Then try the draft again."),
    ),
    "policy_not_sent": Trouble(
        _("Not saved"),
        _(
            "The backup system could not be reached, so nothing was sent. The policy runs as before; your draft is kept."
        ),
        "you",
        _("Try the draft again when the backup system is back."),
    ),
    "policy_no_answer": Trouble(
        _("Not saved"),
        _("The backup system did not answer, several times. The policy runs as before; your draft is kept."),
        "you",
        _("Try the draft again later. If it happens again, ask your provider, and name the reference."),
    ),
    "policy_changed_in_vplus": Trouble(
        _("Not saved"),
        _("The policy was changed in the backup system itself. It runs as it is there; your draft is kept."),
        "you",
        _("See what was changed there, accept it or put yours back, then try the draft again."),
    ),
    "policy_gone_in_vplus": Trouble(
        _("Not saved"),
        _("The policy, or a schedule of it, was deleted in the backup system itself. Your draft is kept."),
        "you",
        _("Put yours back, or delete the policy here too."),
    ),
    "policy_rule_gone": Trouble(
        _("Not saved"),
        _("The policy's rule was deleted in the backup system itself, so nothing runs. Your draft is kept."),
        "you",
        _("Put yours back, then try the draft again."),
    ),
    "policy_schedule_shared": Trouble(
        _("Not saved"),
        _("A schedule of the policy was given to others in the backup system too, so it was not changed."),
        "you",
        _("Try the draft again in a few minutes: it gets a schedule of its own then."),
    ),
    "policy_vm_not_yours": Trouble(
        _("Not saved"),
        _("A virtual machine of the draft was given to somebody else meanwhile. The policy runs as before."),
        "you",
        _("Take the virtual machine out of the draft, and save it again."),
    ),
    "policy_vm_elsewhere": Trouble(
        _("Not saved"),
        _("A virtual machine of the draft is in a policy that your provider keeps. The policy runs as before."),
        "provider",
        _("Ask your provider to take it out there, or save the draft without it."),
    ),
    "policy_destination_not_allowed": Trouble(
        _("Not saved"),
        _("The backup destination was taken away from you meanwhile. The policy runs as before; your draft is kept."),
        "you",
        _("Choose another destination, or ask your provider."),
    ),
    "policy_not_as_meant": Trouble(
        _("Changed meanwhile"),
        _("It was saved, but somebody changed it in the backup system at the same moment."),
        "you",
        _("See what differs, and accept it or put yours back."),
    ),
    "policy_not_ours": Trouble(
        _("Not deleted"),
        _("What the backup system holds in its place bears another name, so it was left alone."),
        "provider",
        _("Ask your provider, and name the reference."),
    ),
    "cancelled_in_vplus": Trouble(
        _("Cancelled"),
        _("It was cancelled in the backup system. Older restore points stay."),
        "you",
        _("Back up again if this was not meant."),
    ),
    "cancelled": Trouble(
        _("Cancelled"),
        _("It was stopped as asked. Older restore points stay."),
        "you",
        _("Back up again when you want to."),
    ),
    "cancelled_before_sending": Trouble(
        _("Cancelled"),
        _("It was cancelled before anything was sent to the backup system. Nothing was started."),
        "nobody",
        _("There is nothing for you to do."),
    ),
    "cancel_refused": Trouble(
        _("Not cancelled"),
        _("The backup system refused to stop this work. It goes on."),
        "provider",
        _("Ask your provider, and name the reference."),
    ),
    "cannot_be_cancelled": Trouble(
        _("Not cancelled"),
        _("This server of the backup system has no way to cancel. The work goes on."),
        "nobody",
        _("You can watch it until it ends."),
    ),
    "too_late_to_cancel": Trouble(
        _("Too late to cancel"),
        _("The work ended before it could be stopped."),
        "nobody",
        _("See its result."),
    ),
    "cancel_end_unknown": Trouble(
        _("The end is not known"),
        _("The backup system forgot the work before it told whether it was stopped."),
        "you",
        _("See the backups of the virtual machine."),
    ),
    "cannot_be_worded": Trouble(
        _("Cannot be asked"),
        _("What was asked for cannot be said in the backup system's terms, so nothing was sent."),
        "provider",
        _("Ask your provider, and name the reference."),
    ),
    "abandoned": Trouble(
        _("Given up"),
        _("It was unclear what became of this, and your provider has closed it. It may or may not have run."),
        "you",
        _("See the restore points of the virtual machine, and start again where you need to."),
    ),
    "several_tasks_fit": Trouble(
        _("Needs attention"),
        _(
            "It is unclear which work of the backup system is yours, because more than one fits. It is never sent twice."
        ),
        "provider",
        _("Your provider sees this and decides. There is nothing for you to do."),
    ),
    "end_unknown": Trouble(
        _("Needs attention"),
        _("The work has ended, but the backup system does not tell if it was stored. It is never sent twice."),
        "provider",
        _("Your provider sees this and decides. There is nothing for you to do."),
    ),
    "arrival_unknown": Trouble(
        _("Needs attention"),
        _("It is unclear if the request arrived at the backup system. It is never sent twice."),
        "provider",
        _("Your provider sees this and decides. There is nothing for you to do."),
    ),
}

RESTORE_ERRORS: Mapping[str, Trouble] = {
    "not_sent_in_time": Trouble(
        _("Not sent in time"),
        _("The backup system could not be reached in the time that was given, so nothing was sent."),
        "you",
        _("Restore again, or allow more time."),
    ),
    "point_gone": Trouble(
        _("Restore point is gone"),
        _("It was removed from the backup system before anything was sent. Nothing was started."),
        "you",
        _("Restore from the nearest point that is left."),
    ),
    "project_not_known": Trouble(
        _("Project not known"),
        _("The restore target names a project that the backup system does not tell. Nothing was started."),
        "provider",
        _("Restore to another target, or ask your provider, and name the reference."),
    ),
    "target_not_allowed": Trouble(
        _("Restore target not allowed"),
        _("The restore target was taken away or changed before anything was sent. Nothing was started."),
        "you",
        _("Restore again to another target, or ask your provider."),
    ),
    "could_not_restore": Trouble(
        _("Could not bring back the data"),
        _("The restore point could not be read from where it is kept. No virtual machine was made."),
        "provider",
        _("Ask your provider, and name the reference. The restore point stays."),
    ),
    "could_not_import": Trouble(
        _("Could not make the virtual machine"),
        _("The data were brought back, but the platform did not take the new virtual machine."),
        "provider",
        _("Ask your provider, and name the reference. The restore point stays."),
    ),
    "no_room": Trouble(
        _("No room"),
        _("The restore target is too small for the virtual machine. The restore point stays."),
        "provider",
        _("Choose another restore target, or ask your provider for room."),
    ),
    "name_refused": Trouble(
        _("Name refused"),
        _("The platform did not take the name of the new virtual machine. The restore point stays."),
        "you",
        _("Restore again under another name."),
    ),
    "cancelled_in_vplus": Trouble(
        _("Cancelled"),
        _("It was cancelled in the backup system. A part of the new virtual machine may remain."),
        "you",
        _("Restore again if this was not meant."),
    ),
    "cancelled": Trouble(
        _("Cancelled"),
        _("It was stopped as asked. A part of the new virtual machine may remain."),
        "you",
        _("Restore again when you want to."),
    ),
    "restore_end_unknown": Trouble(
        _("Needs attention"),
        _(
            "The work has ended, but the backup system does not tell if the virtual machine was made. "
            "It is never sent twice."
        ),
        "provider",
        _("Your provider sees this and decides. There is nothing for you to do."),
    ),
    "abandoned": Trouble(
        _("Given up"),
        _("It was unclear what became of this, and your provider has closed it. It may or may not have run."),
        "you",
        _("See your virtual machines, and restore again where you need to."),
    ),
}
"""What is worded otherwise for a restore than for a backup, or is a restore's alone."""

WARNINGS: Mapping[str, Trouble] = {
    "destination_not_told": Trouble(
        _("Stored where its policy stores"),
        _("The policy decides where this is stored, and the backup system does not tell where that is."),
        "nobody",
        _("Ask your provider if you need to know."),
    ),
    "left_behind": Trouble(
        _("Something was left behind"),
        _("A schedule that nothing uses any more could not be removed from the backup system. It runs nothing."),
        "nobody",
        _("The portal removes it by itself as soon as it can."),
    ),
    "not_put_back": Trouble(
        _("Not put back"),
        _("A part of the change was made, and the backup system refused to take it back."),
        "you",
        _("See what differs in the policy, and accept it or put yours back."),
    ),
    "rewrite_late": Trouble(
        _("Late for a clock change"),
        _("The schedules were written anew later than they should have been, so some runs may have been off."),
        "nobody",
        _("See the policy for the runs that were off."),
    ),
    "restore_point_unknown": Trouble(
        _("Restore point not told apart"),
        _("It was stored, but which restore point came of it cannot be told."),
        "nobody",
        _("See the newest restore points of the virtual machine."),
    ),
    "removed_since": Trouble(
        _("Removed since"),
        _("It was stored, and the backup system has removed it already, so it cannot be restored."),
        "provider",
        _("Ask your provider how long backups are kept."),
    ),
    "stored_in_part": Trouble(
        _("Stored in part"),
        _("One of several copies failed. A whole copy is there and can be restored."),
        "provider",
        _("Ask your provider about the copy that failed."),
    ),
    "full_instead_of_incremental": Trouble(
        _("A full backup was made"),
        _("An incremental backup was asked for, but there was no base for one, so a full backup was made."),
        "nobody",
        _("The next one can be incremental."),
    ),
    "vplus_warnings": Trouble(
        _("Done with warnings"),
        _("The backup system gave warnings with it. It can be restored."),
        "provider",
        _("Ask your provider what they say, and name the reference."),
    ),
    "too_late_to_cancel": Trouble(
        _("Too late to cancel"),
        _("A cancel was asked, but the work ended first."),
        "nobody",
        _("See the result."),
    ),
    "cancel_refused": Trouble(
        _("Cancel refused"),
        _("The backup system refused to stop this work, so it went on."),
        "nobody",
        _("See the result."),
    ),
    "cannot_be_cancelled": Trouble(
        _("Cannot be cancelled"),
        _("This server of the backup system has no way to cancel, so the work went on."),
        "nobody",
        _("See the result."),
    ),
    "ran_twice": Trouble(
        _("Ran twice"),
        _("The backup system acted on a first request long after it seemed lost, so this ran a second time."),
        "provider",
        _("Nothing is lost. Your provider sees it."),
    ),
    "identified_by_absence_of_others": Trouble(
        _("Found without proof"),
        _(
            "The backup system did not say which work is yours. This is the only one that fits, so it is taken to be it."
        ),
        "nobody",
        _("There is nothing for you to do."),
    ),
    "time_not_given": Trouble(
        _("Time not given"),
        _("The backup system does not tell from when this is, so it never counts as recent."),
        "nobody",
        _("Choose a restore point with a time where you can."),
    ),
}

UNKNOWN = Trouble(
    _("Something went wrong"),
    _("What went wrong has no description here."),
    "provider",
    _("Ask your provider, and name the reference."),
)


def error_words(code: str, kind: str = "") -> Trouble:
    """Return the words for the error code of an operation of this kind; general ones for a code of another version."""
    if kind == Kind.RESTORE and code in RESTORE_ERRORS:
        return RESTORE_ERRORS[code]
    if code in BY_CODE:
        known = BY_CODE[code]
        return Trouble(known.title, known.cause, known.actor, known.next_step)
    return ERRORS.get(code, UNKNOWN)


def warning_words(code: str) -> Trouble:
    """Return the words for a warning's code; general ones where a row carries a code of another version."""
    return WARNINGS.get(code, UNKNOWN)


ACTORS: Mapping[Actor, Word] = {"you": _("you"), "provider": _("your provider"), "nobody": _("nobody")}

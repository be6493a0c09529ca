"""Which badge a state gets: colour, icon and word, as the table of the screens' specification says (section 4)."""

from dataclasses import dataclass
from typing import Final, Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Colour = Literal["ok", "warn", "bad", "run", "attn", "idle"]
Word = str | Promise


@dataclass(frozen=True, slots=True)
class Badge:
    """What ``components/badge.html`` shows: a state's colour, the name of its icon, its word."""

    colour: Colour
    icon: str
    word: Word


PROTECTION: Final[dict[str, Badge]] = {
    "protected": Badge("ok", "shield-check", _("Protected")),
    "at_risk": Badge("warn", "shield-half", _("At risk")),
    "not_protected": Badge("bad", "shield-x", _("Not protected")),
    "unknown": Badge("idle", "shield-question", _("Not known")),
}
GONE: Final = Badge("idle", "archive", _("Gone"))

# What vPlus itself says of a virtual machine. It is its word, not our verdict, and so it is never green.
VPLUS_OPINION: Final[dict[str, Badge]] = {
    "up_to_date": Badge("idle", "shield", _("vPlus: up to date")),
    "outdated": Badge("warn", "shield-half", _("vPlus: outdated")),
    "no_schedule": Badge("warn", "shield-half", _("vPlus: no schedule")),
}

OPERATION: Final[dict[str, Badge]] = {
    "requested": Badge("idle", "clock", _("Waiting to be sent")),
    "submitted": Badge("idle", "clock-pause", _("Queued")),
    "running": Badge("run", "player-play", _("Running")),
    "cancelling": Badge("warn", "hand-stop", _("Cancel asked")),
    "cancelled": Badge("idle", "ban", _("Cancelled")),
    "succeeded": Badge("ok", "circle-check", _("Done")),
    "failed": Badge("bad", "circle-x", _("Failed")),
    "needs_attention": Badge("attn", "user-exclamation", _("Needs attention")),
}
DONE_WITH_WARNINGS: Final = Badge("warn", "alert-triangle", _("Done with warnings"))

TASK: Final[dict[str, Badge]] = {
    "QUEUED": Badge("idle", "clock-pause", _("Queued")),
    "RUNNING": Badge("run", "player-play", _("Running")),
    "FINISHED": Badge("idle", "check", _("Finished")),  # a task that ended is no backup: not green
    "FAILED": Badge("bad", "circle-x", _("Failed")),
    "CANCELLED": Badge("idle", "ban", _("Cancelled")),
    "UNKNOWN": Badge("idle", "point", _("Not known")),  # vPlus forgot it before it told how it ended
}

BACKUP: Final[dict[str, Badge]] = {
    "QUEUED": Badge("idle", "clock-pause", _("Queued")),
    "INPROGRESS": Badge("run", "player-play", _("In progress")),
    "SUCCESS": Badge("ok", "circle-check", _("Stored")),
    "PARTIAL_SUCCESS": Badge("warn", "alert-triangle", _("Stored in part")),
    "FAILED": Badge("bad", "circle-x", _("Failed")),
    "SUCCESS_REMOVED": Badge("idle", "trash", _("Removed")),
}


RUN: Final[dict[str, Badge]] = {
    "waiting": Badge("idle", "clock", _("Waiting")),
    "running": Badge("run", "player-play", _("Running")),
    "stored": Badge("ok", "circle-check", _("Stored")),
    "failed": Badge("bad", "circle-x", _("Failed")),
    "cancelled": Badge("idle", "ban", _("Cancelled")),
    "missed": Badge("warn", "alert-triangle", _("Did not happen")),
    "excused": Badge("idle", "help-circle", _("Not known")),
}


def protection_badge(status: str, *, present: bool = True) -> Badge:
    """Return the badge of our verdict: ``protected at_risk not_protected unknown``, or "Gone" for an absent machine.

    A status that has no badge of its own is shown as not known, never as good or bad.
    """
    return PROTECTION.get(status, PROTECTION["unknown"]) if present else GONE


def interim_badge(status: str, vplus_opinion: str | None, *, present: bool = True) -> Badge:
    """Return the badge of a machine that we cannot judge and vPlus has a word on: never green.

    ``not_protected`` is ours and goes first; else vPlus's own opinion, one of ``up_to_date outdated no_schedule``,
    or None where the server does not give one (``backupUpToDate``, vplus-api.md 2.1): then "Not known".
    """
    if not present:
        return GONE
    if status == "not_protected":
        return PROTECTION["not_protected"]
    return VPLUS_OPINION.get(vplus_opinion or "", PROTECTION["unknown"])


def run_badge(outcome: str) -> Badge:
    """Return the badge of an expected run; an outcome of another version is shown as not known."""
    return RUN.get(outcome, RUN["excused"])


def operation_badge(state: str, *, stage: Word = "", warnings: bool = False) -> Badge:
    """Return the badge of an operation's state (design: ``requested`` .. ``needs_attention``, in small letters).

    ``stage`` replaces the word while it runs ("Storing"); ``warnings`` turns "Done" into "Done with warnings".
    Raises KeyError for a state that does not exist: states are ours, a new one needs a badge.
    """
    badge = OPERATION[state]
    if state == "running" and stage:
        return Badge(badge.colour, badge.icon, stage)
    if state == "succeeded" and warnings:
        return DONE_WITH_WARNINGS
    return badge


def task_badge(state: str, description: str = "") -> Badge:
    """Return the badge of a vPlus task's state name; one we do not know shows vPlus's ``description``, or its name."""
    return TASK.get(state) or Badge("idle", "point", description or state)


def backup_badge(status: str, description: str = "") -> Badge:
    """Return the badge of a vPlus backup's status name; one we do not know shows vPlus's ``description``, or its name."""
    return BACKUP.get(status) or Badge("idle", "point", description or status)


def icon_names() -> set[str]:
    """Return the name of each icon that a badge can ask for."""
    tables = (PROTECTION, VPLUS_OPINION, OPERATION, TASK, BACKUP, RUN)
    return {badge.icon for table in tables for badge in table.values()} | {GONE.icon, DONE_WITH_WARNINGS.icon, "point"}

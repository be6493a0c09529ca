"""What a person fills in for a policy and its schedules, and what can be wrong with it whatever there is in vPlus.

A draft is kept with its operation, so that nothing that was typed is lost when vPlus refuses it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, time, timedelta
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

from django.utils.translation import gettext as _

from vplus_bridge.mirror.listing import NO_POLICY, OF_PROVIDER
from vplus_bridge.protection import models, schedule_words
from vplus_bridge.protection.rewriting import CannotCarry, Plan, admit, replan
from vplus_bridge.protection.wall_time import BackupType, ExecutionType, Month, Occurrence, Promise, Weekday

LONGEST_NAME = 120
HIGHEST_PRIORITY = 100
MOST_SCHEDULES = 20
MOST_MACHINES = 5000
E = TypeVar("E", bound=Enum)
FieldErrors = dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class ScheduleDraft:
    """One schedule as its author means it: wall times of an IANA zone; names of days and months are vPlus's.

    `id` names the schedule of the policy that it changes; None makes a new one. TIME needs `time_of_day`, INTERVAL needs
    `start`, `end` and `frequency_minutes`. No months or no occurrences (FIRST to FOURTH, LAST) mean any.
    """

    backup_type: str = "FULL"
    execution_type: str = "TIME"
    zone: str = "UTC"
    days_of_week: Sequence[str] = ()
    time_of_day: time | None = None
    start: time | None = None
    end: time | None = None
    frequency_minutes: int | None = None
    months: Sequence[str] = ()
    occurrences: Sequence[str] = ()
    start_window_minutes: int = 360
    active: bool = True
    id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyDraft:
    """A whole policy as a person wants it; a change gives the whole again.

    `destination` may be left out where only one is allowed. `moves` are the guids of virtual machines of which the person
    confirmed that they leave the policy they are in.
    """

    name: str
    virtual_machines: Sequence[str]
    schedules: Sequence[ScheduleDraft]
    destination: str | None = None
    priority: int = 50
    auto_remove_gone: bool = False
    paused: bool = False
    moves: Sequence[str] = ()


@dataclass(frozen=True)
class Planned:
    """A schedule of a draft without mistakes: what it promises, and what vPlus must hold for it from now on.

    `plan` is None where it promises what it promised before, so that what vPlus holds for it stays.
    """

    draft: ScheduleDraft
    promise: Promise
    plan: Plan | None


def as_json(draft: PolicyDraft) -> dict[str, Any]:
    """Return a draft in the form in which drafts are compared and kept."""
    kept = asdict(draft)
    kept["virtual_machines"] = list(dict.fromkeys(draft.virtual_machines))
    kept["moves"] = sorted(set(draft.moves))
    kept["schedules"] = [_schedule_json(schedule) for schedule in draft.schedules]
    return kept


def _schedule_json(draft: ScheduleDraft) -> dict[str, Any]:
    clocks = {name: _clock(getattr(draft, name)) for name in ("time_of_day", "start", "end")}
    lists = {name: list(getattr(draft, name)) for name in ("days_of_week", "months", "occurrences")}
    return {**asdict(draft), **clocks, **lists, "id": None if draft.id is None else str(draft.id)}


def of_json(kept: Mapping[str, Any]) -> PolicyDraft:
    """Return the draft that was kept."""
    return PolicyDraft(**{**kept, "schedules": [_schedule_of(schedule) for schedule in kept["schedules"]]})


def _schedule_of(kept: Mapping[str, Any]) -> ScheduleDraft:
    clocks = {name: time.fromisoformat(kept[name]) if kept[name] else None for name in ("time_of_day", "start", "end")}
    return ScheduleDraft(**{**kept, **clocks, "id": UUID(kept["id"]) if kept["id"] else None})


def _clock(at: time | None) -> str | None:
    return None if at is None else at.isoformat()


def draft_of(policy: models.Policy) -> PolicyDraft:
    """Return a policy as a draft that would change nothing; its rows are read in the open scope."""
    return PolicyDraft(
        name=policy.name,
        virtual_machines=list(policy.members.order_by("pk").values_list("virtual_machine_guid", flat=True)),
        schedules=[schedule_draft(row) for row in policy.schedules.all()],
        destination=policy.destination_guid or None,
        priority=policy.priority,
        auto_remove_gone=policy.auto_remove_gone,
        paused=policy.paused,
    )


def schedule_draft(row: models.Schedule) -> ScheduleDraft:
    """Return a schedule as a draft that would change nothing."""
    return ScheduleDraft(
        id=row.pk,
        backup_type=row.backup_type,
        execution_type=row.execution_type,
        zone=row.zone,
        days_of_week=row.days_of_week,
        time_of_day=row.time_of_day,
        start=row.start_time,
        end=row.end_time,
        frequency_minutes=row.frequency_minutes,
        months=row.months,
        occurrences=row.occurrences,
        start_window_minutes=row.start_window_minutes,
        active=row.active,
    )


def wrong_name(name: str) -> str:
    """Return what is wrong with a policy's name and what works; empty: nothing."""
    if not name.strip():
        return _("Give the policy a name.")
    if len(name) > LONGEST_NAME:
        return _("This has %(count)d characters; at most %(most)d fit.") % {"count": len(name), "most": LONGEST_NAME}
    if not name.isprintable():
        return _("This has characters that cannot be seen. Type it anew, with visible ones only.")
    if name.strip() in (NO_POLICY, OF_PROVIDER):
        words = _("Filters of virtual machines mean something else by “%(name)s”. Choose another name.")
        return words % {"name": name.strip()}
    return ""


def plain_errors(draft: PolicyDraft) -> FieldErrors:
    """Return what is wrong with the policy's own fields, by field."""
    found: FieldErrors = {}
    if wrong := wrong_name(draft.name):
        found["name"] = [wrong]
    if not 0 <= draft.priority <= HIGHEST_PRIORITY:
        found["priority"] = [
            _("%(priority)s is out of range; use a whole number from 0 to 100, 50 is usual.")
            % {"priority": draft.priority}
        ]
    if not draft.virtual_machines:
        found["virtual_machines"] = [_("A policy without virtual machines protects nothing. Choose at least one.")]
    elif len(draft.virtual_machines) > MOST_MACHINES:
        found["virtual_machines"] = [_("At most %(most)d fit into one policy.") % {"most": MOST_MACHINES}]
    if not draft.schedules:
        found["schedules"] = [_("A policy without a schedule never runs. Add one; it can be inactive for now.")]
    elif len(draft.schedules) > MOST_SCHEDULES:
        found["schedules"] = [_("At most %(most)d schedules fit into one policy.") % {"most": MOST_SCHEDULES}]
    return found


def planned(
    schedules: Sequence[ScheduleDraft], held: Mapping[UUID, Promise], *, paused: bool, now: datetime
) -> tuple[list[Planned], FieldErrors]:
    """Return what vPlus must hold for each schedule, and what is wrong, by `schedules.<number>.<field>` from 0.

    `held` are the promises that are kept now, by the schedule's id: one that is not touched is not judged again.
    """
    found: list[Planned] = []
    errors: FieldErrors = {}
    named: set[UUID | None] = set()
    for number, draft in enumerate(schedules):
        promise, wrong = promise_of_draft(draft, paused=paused)
        before = held.get(draft.id) if draft.id is not None else None
        if draft.id is not None and before is None:
            wrong = {"id": [_("This policy has no such schedule. Leave the id out to add one.")]}
        elif draft.id is not None and draft.id in named:
            wrong = {"id": [_("Another one above has this id already. Leave the id out to add one.")]}
        elif promise is not None and not wrong:
            plan = _plan(promise, before, now)
            if isinstance(plan, CannotCarry):
                wrong = {"time_of_day" if promise.execution_type is ExecutionType.TIME else "start": _refused(plan)}
            else:
                found.append(Planned(draft, promise, plan))
        named.add(draft.id)
        errors |= {f"schedules.{number}.{field}": texts for field, texts in wrong.items()}
    return found, errors


def _plan(promise: Promise, before: Promise | None, now: datetime) -> Plan | CannotCarry | None:
    if promise == before:
        return None
    if before is not None and promise == replace(before, active=promise.active):
        return replan(promise, now)
    return admit(promise, now)


def promise_of_draft(draft: ScheduleDraft, *, paused: bool = False) -> tuple[Promise | None, FieldErrors]:
    """Return what a draft promises, or what is wrong with it, by field of the draft. For previews too."""
    errors: FieldErrors = {}

    def one(field: str, kind: type[E], name: str) -> E | None:
        if name not in kind.__members__:
            words = _("Use one of %(names)s.") % {"names": ", ".join(kind.__members__)}
            errors[field] = [schedule_words.unknown_occurrence(name[:40]) if kind is Occurrence else words]
            return None
        return kind[name]

    def some(field: str, kind: type[E], given: Iterable[str]) -> frozenset[E]:
        found = [one(field, kind, name) for name in given]
        return frozenset(member for member in found if member is not None)

    backup_type = one("backup_type", BackupType, draft.backup_type)
    execution_type = one("execution_type", ExecutionType, draft.execution_type)
    days = some("days_of_week", Weekday, draft.days_of_week)
    months = some("months", Month, draft.months)
    occurrences = some("occurrences", Occurrence, draft.occurrences)
    if errors or backup_type is None or execution_type is None:
        return None, errors
    promise = Promise(
        backup_type=backup_type,
        execution_type=execution_type,
        zone=draft.zone,
        days_of_week=days,
        time_of_day=draft.time_of_day,
        start=draft.start,
        end=draft.end,
        frequency=None if draft.frequency_minutes is None else timedelta(minutes=draft.frequency_minutes),
        months=months,
        occurrences=occurrences,
        start_window=timedelta(minutes=draft.start_window_minutes),
        active=draft.active and not paused,
    )
    wrong = schedule_words.errors(promise)
    return promise, {_FIELDS.get(field, field): texts for field, texts in wrong.items()}


_FIELDS = {"frequency": "frequency_minutes", "start_window": "start_window_minutes"}
"""A promise's fields that a draft calls otherwise."""


def _refused(refused: CannotCarry) -> list[str]:
    others = [schedule_words.sentence(other) for other in refused.alternatives]
    return [schedule_words.refusal(refused), *(_("This works: %(schedule)s") % {"schedule": one} for one in others)]


def slug(name: str) -> str:
    """Return what of a name can stand in a wire name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "policy"

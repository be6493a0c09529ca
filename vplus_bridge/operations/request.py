"""Asking: rights, limits and fields are checked and the wish becomes a committed row, before anything is sent.

One transaction under the tenant row's lock, so that two people who press at the same moment are answered with one
operation (design.md 6, Sending 1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tenants.refusals import Errors, Invalid, NotVisible, WrongState
from tenants.rights import Actor, Right
from vplus_bridge.mirror.instants import to_ms
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.operations.backup_places import Places, places_of
from vplus_bridge.operations.begin import begin, in_turn
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.ownership import visible

BACKUP_TYPES = ("FULL", "INCREMENTAL")
DEFAULT_PRIORITY = 50
DEFAULT_WINDOW = timedelta(hours=6)
LONGEST_WINDOW = timedelta(days=30)
LEEWAY = timedelta(seconds=60)  # a form that was open for a moment, a clock that is a little off
MOST_AT_ONCE = 200
DESTINATION_NOT_TOLD = "destination_not_told"
# What vPlus keeps as integers of milliseconds; beyond it a time is a mistake.
FARTHEST_START = timedelta(days=365)


@dataclass(frozen=True)
class BackupWish:
    """What a person gave, and only that: what is None was not given and gets its default."""

    virtual_machines: Sequence[str]
    backup_type: str | None = None
    destination: str | None = None
    priority: int | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields that were given, in the form in which wishes are compared and kept."""
        fields: dict[str, Any] = {
            "backup_type": self.backup_type,
            "destination": self.destination,
            "priority": self.priority,
            "window_start": to_ms(self.window_start) if self.window_start else None,
            "window_end": to_ms(self.window_end) if self.window_end else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class RefusedOne:
    """One virtual machine of several for which nothing was started, and why."""

    virtual_machine: str
    name: str
    code: str
    message: str


@dataclass
class Asked:
    """The answer to a wish: operations made or found, and those refused one by one."""

    operations: list[Operation] = field(default_factory=list)
    already_active: set[Any] = field(default_factory=set)
    refused: list[RefusedOne] = field(default_factory=list)


def request_backups(actor: Actor, wish: BackupWish, *, now: datetime) -> Asked:
    """Ask for a backup of each virtual machine, in the actor's open scope.

    Raises NotVisible (with the guids), Invalid (with the fields), NotAllowed, or WrongState where none could start.
    Nothing is started in any of these cases.
    """
    actor = in_turn(actor)
    guids = list(dict.fromkeys(wish.virtual_machines))
    machines = _visible_machines(actor, guids)
    for guid in guids:
        actor.require(Right.BACK_UP, guid)
    window = _window(wish, now)
    errors: dict[str, Sequence[str]] = {**_field_errors(wish, now, window)}
    destinations = {row.destination_guid: row.label for row in visible.destinations(actor)}
    errors.update(_destination_errors(wish, destinations, actor.tenant_name))
    places = places_of(actor, machines)
    if not errors:
        errors.update(_nowhere_errors(wish, [places[machine.guid] for machine in machines if not machine.gone]))
    if errors:
        raise Invalid(errors)

    asked, given = Asked(), wish.given()
    active = {
        row.subject: row for row in Operation.objects.filter(subject__in=guids, kind=Kind.BACKUP, state__in=ACTIVE)
    }
    last_used = last_destinations(guids) if wish.destination is None else {}
    for machine in machines:
        if running := active.get(machine.guid):
            _join(asked, machine, running, given)
            continue
        place = places[machine.guid]
        if refused := _cannot(machine, place, wish):
            asked.refused.append(refused)
            continue
        destination = wish.destination or _default_destination(place, last_used.get(machine.guid))
        if destination is None:
            raise Invalid({"destination": [f"Choose one of {_listed(place.labels)}."]})
        plan = {
            "backup_type": wish.backup_type or "FULL",
            "destination": destination,
            "destination_label": destinations[destination],
            "priority": DEFAULT_PRIORITY if wish.priority is None else wish.priority,
            "window_start": to_ms(window[0]),
            "window_end": to_ms(window[1]),
            "by_policy": place.by_policy,
        }
        _start(actor, machine, given, plan, send_until=window[1], now=now, asked=asked)
    if not asked.operations:
        raise NoneStarted(asked.refused)
    return asked


class NoneStarted(WrongState):
    """Each of the virtual machines was refused; ``refused`` says why, one by one (409)."""

    def __init__(self, refused: Sequence[RefusedOne]) -> None:
        first = refused[0]
        message = first.message if len(refused) == 1 else f"Nothing was started. {first.name}: {first.message}"
        super().__init__(
            first.code, message, errors={f"virtual_machines.{r.virtual_machine}": [r.message] for r in refused}
        )
        self.refused = list(refused)


def _visible_machines(actor: Actor, guids: list[str]) -> list[VirtualMachine]:
    if not guids:
        raise Invalid({"virtual_machines": ["Name at least one virtual machine."]})
    if len(guids) > MOST_AT_ONCE:
        raise Invalid({"virtual_machines": [f"{len(guids)} at once are too many; the most is {MOST_AT_ONCE}."]})
    found = {row.guid: row for row in visible.virtual_machines(actor).filter(guid__in=guids)}
    if hidden := [guid for guid in guids if guid not in found]:
        raise NotVisible(errors={"virtual_machines": [f"{guid[:64]}: not found." for guid in hidden]})
    return [found[guid] for guid in guids]


def _window(wish: BackupWish, now: datetime) -> tuple[datetime, datetime]:
    start = max(wish.window_start or now, now)
    return start, wish.window_end or start + DEFAULT_WINDOW


def _field_errors(wish: BackupWish, now: datetime, window: tuple[datetime, datetime]) -> Errors:
    errors: dict[str, list[str]] = {}
    if wish.backup_type is not None and wish.backup_type not in BACKUP_TYPES:
        errors["backup_type"] = [f"Use one of {', '.join(BACKUP_TYPES)}."]
    if wish.priority is not None and not 0 <= wish.priority <= 100:  # noqa: PLR2004  # vplus-api.md 2.2.3
        errors["priority"] = [f"{wish.priority} is out of range; use a whole number from 0 to 100, 50 is usual."]
    start, end = window
    if wish.window_start is not None and wish.window_start < now - LEEWAY:
        errors["window_start"] = [
            "This lies in the past. Leave it out to start as soon as possible, or name a later time."
        ]
    elif start > now + FARTHEST_START:
        errors["window_start"] = ["This is more than a year ahead; name an earlier time."]
    if end <= now:
        errors["window_end"] = ["This lies in the past; name a time that is still to come."]
    elif end <= start:
        errors["window_end"] = ["The window ends before it begins; name a later end."]
    elif end - start > LONGEST_WINDOW:
        errors["window_end"] = [f"The window is too long; the most is {LONGEST_WINDOW.days} days."]
    return errors


def _destination_errors(wish: BackupWish, destinations: Mapping[str, str], tenant_name: str) -> Errors:
    if not destinations:
        return {"destination": [f"No backup destination is allowed for {tenant_name}. Ask your provider."]}
    if wish.destination is not None and wish.destination not in destinations:
        return {
            "destination": [
                f"This destination is not allowed for {tenant_name}. Choose one of {_listed(destinations)}."
            ]
        }
    return {}


def _listed(destinations: Mapping[str, str]) -> str:
    return ", ".join(f"{label} ({guid})" for guid, label in destinations.items())


def _nowhere_errors(wish: BackupWish, places: Sequence[Places]) -> Errors:
    """Refuse a destination that none of the machines can be backed up to, though some can be elsewhere."""
    able = [place for place in places if place.labels]
    if wish.destination is None or not able or any(wish.destination in place.labels for place in able):
        return {}
    common = {guid: label for place in able for guid, label in place.labels.items()}
    where = "the policy" if len(places) == 1 else "their policies"
    return {"destination": [f"No backup goes there: {where} would have to name it. Choose one of {_listed(common)}."]}


def _cannot(machine: VirtualMachine, place: Places, wish: BackupWish) -> RefusedOne | None:
    """Return why this machine of several cannot be backed up, or not to where was wished; None where it can."""
    if machine.gone:
        message = (
            f"{machine.name} is no longer on the platform, so it cannot be backed up. Its restore points are kept."
        )
        return RefusedOne(machine.guid, machine.name, "vm_gone", message)
    if place.code:
        return RefusedOne(machine.guid, machine.name, place.code, place.why)
    if wish.destination is not None and wish.destination not in place.labels:
        message = f"The policy of {machine.name} does not store there. Back it up to {_listed(place.labels)}."
        return RefusedOne(machine.guid, machine.name, "destination_not_in_policy", message)
    return None


def _default_destination(place: Places, last: str | None) -> str | None:
    """Return the last one used if it is still possible, else the only one, else None: then a person has to choose.

    Where nobody can know where the policy leads there is nothing to choose, and any of the allowed ones stands for it.
    """
    if last in place.labels:
        return last
    return next(iter(place.labels)) if len(place.labels) == 1 or place.by_policy else None


def last_destinations(guids: Sequence[str]) -> dict[str, str]:
    """Return, by virtual machine, where its last copy went: by its backups, else by its last operation."""
    asked = Operation.objects.filter(subject__in=guids, kind=Kind.BACKUP).order_by("subject", "-requested_at")
    last = {
        subject: plan.get("destination", "")
        for subject, plan in asked.distinct("subject").values_list("subject", "plan")
    }
    stored = Backup.objects.filter(virtual_machine_guid__in=guids, taken_at__isnull=False).exclude(destination_guid="")
    newest = stored.order_by("virtual_machine_guid", "-taken_at").distinct("virtual_machine_guid")
    return {**last, **dict(newest.values_list("virtual_machine_guid", "destination_guid"))}


def _join(asked: Asked, machine: VirtualMachine, running: Operation, given: Mapping[str, Any]) -> None:
    """Answer with the active operation where the wish is the same; refuse a different one."""
    if running.wish == dict(given):
        asked.operations.append(running)
        asked.already_active.add(running.pk)
        return
    asked.refused.append(
        RefusedOne(
            machine.guid,
            machine.name,
            "operation_active",
            f"{running.requested_by_name} asked for another backup of {machine.name} first. Watch it, then start yours.",
        )
    )


def _start(
    actor: Actor,
    machine: VirtualMachine,
    given: dict[str, Any],
    plan: dict[str, Any],
    *,
    send_until: datetime,
    now: datetime,
    asked: Asked,
) -> None:
    operation = begin(
        actor,
        machine,
        kind=Kind.BACKUP,
        action="export",
        given=given,
        plan=plan,
        send_until=send_until,
        now=now,
        facts={"warnings": [DESTINATION_NOT_TOLD]} if plan["by_policy"] else None,
    )
    if operation is None:
        asked.refused.append(
            RefusedOne(
                machine.guid,
                machine.name,
                "operation_active",
                "Another backup of it is still under way. Try again later.",
            )
        )
        return
    asked.operations.append(operation)

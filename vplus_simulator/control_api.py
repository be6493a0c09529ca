"""The control API over HTTPS: JSON in, JSON out, from this machine only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from .control import Control, TaskChoice
from .control_protection import FIRINGS_SHOWN
from .faults import Fault, FaultPlan
from .messages import Answer, Refusal, Request, bad_request, empty_answer, json_answer, whole_number
from .seed.plan import SeedPlan
from .tls import CertificateKind
from .world import Outcome

CONTROL_BASE = "/control"
T = TypeVar("T")
Handler = Callable[[Control, Request], Any]


class NewVm(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A VM to create on the platform."""

    name: str
    project: str | None = None
    manager: str | None = None
    uuid: str | None = None
    size: int | None = None
    incremental: bool = True


class VmChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A VM of the platform, by guid or uuid, and what to change on it."""

    vm: str
    name: str | msgspec.UnsetType = msgspec.UNSET
    project: str | msgspec.UnsetType | None = msgspec.UNSET


class Named(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A VM of the platform, by guid or uuid."""

    vm: str


class Room(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A storage of the platform, by guid or uuid, and how many bytes are really free on it."""

    storage: str
    free: int


class Release(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A held task, and why it fails where it does."""

    task: str
    fail_reason: str | None = None


class Shown(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which certificate the server shows."""

    certificate: CertificateKind


class Seconds(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A length of time."""

    seconds: float


class Made(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A policy, a rule or a schedule to make, by the members of `entities`."""

    kind: str
    members: dict[str, Any]


class Changed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change on a policy, a rule or a schedule."""

    kind: str
    guid: str
    members: dict[str, Any]


class Removed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A policy, a rule or a schedule to remove."""

    kind: str
    guid: str


def _read(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(request.body or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise bad_request(str(error)) from error


def _add(control: Control, request: Request) -> Any:
    new = _read(request, NewVm)
    return control.add_vm(
        new.name,
        project=new.project,
        manager=new.manager,
        uuid=new.uuid,
        size=new.size,
        incremental=new.incremental,
    )


def _change(control: Control, request: Request) -> Any:
    change = _read(request, VmChange)
    machine = None
    if change.name is not msgspec.UNSET:
        machine = control.rename_vm(change.vm, change.name)
    if change.project is not msgspec.UNSET:
        machine = control.move_vm(change.vm, change.project)
    if machine is None:
        raise bad_request("name or project must be given")
    return machine


def _fill(control: Control, request: Request) -> Any:
    room = _read(request, Room)
    return control.fill_storage(room.storage, room.free)


def _settings(control: Control, request: Request) -> Any:
    return control.change(**_read(request, dict[str, Any]))


def _release(control: Control, request: Request) -> Any:
    release = _read(request, Release)
    return control.release(release.task, fail_reason=release.fail_reason)


def _journal(control: Control, request: Request) -> Any:
    return control.journal(whole_number(request.one("after") or 0, "after"))


def _fault_journal(control: Control, request: Request) -> Any:
    return control.fault_journal(whole_number(request.one("after") or 0, "after"))


def _make(control: Control, request: Request) -> Any:
    made = _read(request, Made)
    return control.protection.add(made.kind, **made.members)


def _alter(control: Control, request: Request) -> Any:
    changed = _read(request, Changed)
    return control.protection.change(changed.kind, changed.guid, **changed.members)


def _remove(control: Control, request: Request) -> None:
    removed = _read(request, Removed)
    control.protection.remove(removed.kind, removed.guid)


def _firings(control: Control, request: Request) -> Any:
    wanted = whole_number(request.one("count") or FIRINGS_SHOWN, "count")
    return control.protection.firings(request.one("schedule") or "", wanted)


ENDPOINTS: dict[tuple[str, str], tuple[Handler, str]] = {
    ("GET", "/state"): (lambda c, r: c.summary(), "the world in numbers"),
    ("POST", "/reset"): (
        lambda c, r: c.reset(),
        "back to the start: seed, switches, counters, journal, faults, sessions",
    ),
    ("POST", "/seed"): (lambda c, r: c.seed(_read(r, SeedPlan)), '`{"name"}`: another seed, and what belongs to it'),
    ("POST", "/step"): (
        lambda c, r: {"now": c.step(_read(r, Seconds).seconds)},
        '`{"seconds"}`: moves a stepped clock',
    ),
    ("GET", "/settings"): (lambda c, r: c.settings(), "the switches"),
    ("POST", "/settings"): (_settings, "changes the given switches"),
    ("GET", "/journal"): (_journal, "accepted changes in order; `after`"),
    ("GET", "/counters"): (lambda c, r: c.counters(), "calls by method and template"),
    ("DELETE", "/counters"): (lambda c, r: c.clear_counters(), "counts from 0 again"),
    ("GET", "/tenants"): (lambda c, r: c.tenants(), "whose VMs are whose in the seed"),
    ("GET", "/unowned"): (lambda c, r: c.unowned(), "guids of the VMs that the seed gave to nobody"),
    ("POST", "/platform/add"): (_add, '`{"name","project","manager","uuid","size","incremental"}`: a VM appears'),
    ("POST", "/platform/remove"): (lambda c, r: c.remove_vm(_read(r, Named).vm), '`{"vm"}`: a VM disappears'),
    ("POST", "/platform/change"): (_change, '`{"vm","name","project"}`: renames or moves a VM'),
    ("POST", "/platform/storage"): (_fill, '`{"storage","free"}`: so many bytes are really free; seen after a sync'),
    ("POST", "/protection/add"): (
        _make,
        '`{"kind": policies, rules or schedules, "members"}`: somebody in vPlus makes one; members as in entities.py, '
        "`vms` of a policy, `rules` of a schedule",
    ),
    ("POST", "/protection/change"): (_alter, '`{"kind","guid","members"}`: somebody in vPlus changes one'),
    ("POST", "/protection/remove"): (_remove, '`{"kind","guid"}`: somebody in vPlus removes one'),
    ("GET", "/firings"): (_firings, "`schedule`, `count`: the next instants at which it is due, active or not"),
    ("POST", "/sync"): (lambda c, r: c.sync(), "brings the inventory up to date now"),
    ("POST", "/cleanup"): (lambda c, r: {"removed": c.clean_up()}, "runs the daily cleanup now"),
    ("GET", "/outcomes"): (lambda c, r: c.outcomes(), "open orders"),
    ("POST", "/outcomes"): (
        lambda c, r: c.next_outcome(_read(r, Outcome)),
        '`{"outcome": fail, hold, partial or succeed, "type","vm","progress","reason"}`: for the next such task',
    ),
    ("DELETE", "/outcomes"): (lambda c, r: c.clear_outcomes(), "forgets open orders"),
    ("POST", "/tasks/release"): (_release, '`{"task","fail_reason"}`: a held task goes on, or fails where it stands'),
    ("POST", "/tasks/forget"): (
        lambda c, r: {"forgotten": c.forget_tasks(_read(r, TaskChoice))},
        '`{"task"}`, `{"vm","type"}` or `{}`: ended tasks vanish from the list now',
    ),
    ("DELETE", "/sessions"): (lambda c, r: {"ended": c.end_sessions()}, "ends every session"),
    ("GET", "/faults"): (lambda c, r: c.faults(), "armed faults"),
    ("POST", "/faults"): (
        lambda c, r: c.arm(_read(r, Fault)),
        '`{"kind","phase", ...}`: arms a fault; faults.py names all members',
    ),
    ("DELETE", "/faults"): (lambda c, r: c.disarm(), "disarms all faults, plans included"),
    ("POST", "/faults/plan"): (
        lambda c, r: c.arm_plan(_read(r, FaultPlan)),
        '`{"seed","rate","faults","for_seconds"}`: faults by seeded chance; at most one hits a call',
    ),
    ("GET", "/faults/journal"): (_fault_journal, "every fault that hit a call, in order; `after`"),
    ("POST", "/outage"): (
        lambda c, r: c.refuse_connections(_read(r, Seconds).seconds),
        '`{"seconds"}`: refuses connections for a while, these included',
    ),
    ("POST", "/certificate"): (
        lambda c, r: {"trust": c.show_certificate(_read(r, Shown).certificate)},
        '`{"certificate": ca or vplus}`: shows it to new connections; vplus: self-signed, a common name only',
    ),
}
OBJECTS = "/objects/"


def answer_control(control: Control, request: Request) -> Answer:
    """Return the answer to one control call; 403 for a caller from another machine."""
    if not (request.client.startswith("127.") or request.client == "::1"):
        return json_answer({"message": "The control API answers this machine only"}, 403)
    path = request.path.removeprefix(CONTROL_BASE)
    try:
        if request.method == "GET" and path.startswith(OBJECTS):
            return json_answer(control.objects(path.removeprefix(OBJECTS)))
        if (request.method, path) not in ENDPOINTS:
            return json_answer({"message": f"{request.method} {request.path} does not exist"}, 404)
        result = ENDPOINTS[request.method, path][0](control, request)
    except Refusal as refusal:
        return json_answer({"message": refusal.message}, refusal.status)
    return empty_answer() if result is None else json_answer(result)

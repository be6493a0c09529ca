"""From the bytes of an answer to records, forgiving where that is safe.

A page is decoded in one go; only when that fails, each record is decoded alone, and a record that fails
member by member: what is optional and unreadable becomes None, what is required and unreadable makes
that one record bad. Unknown members are skipped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from vplus_bridge.client.errors import BadAnswer
from vplus_bridge.client.records import (
    Detail,
    PolicyDetail,
    PolicyRecord,
    RawObject,
    RuleRecord,
    SessionInfo,
    TaskRecord,
)
from vplus_bridge.client.wire import (
    Reference,
    WireBackup,
    WireCopy,
    WireDestination,
    WireInfrastructure,
    WireNode,
    WireObject,
    WireProject,
    WireRestoreJob,
    WireTask,
    WireTaskAnswer,
    WireUser,
    WireVirtualMachine,
    backup_record,
    clipped,
    copy_record,
    destination_record,
    enum_name,
    guid_of,
    infrastructure_record,
    name_of,
    node_record,
    project_record,
    restore_job_record,
    task_record,
    virtual_machine_record,
)
from vplus_bridge.client.wire_policies import (
    WirePolicy,
    WireRule,
    WireSchedule,
    policy_record,
    rule_record,
    schedule_record,
)

log = logging.getLogger("vplus")

# What msgspec raises on input it cannot take; RecursionError on nesting that only an attack or a defect makes.
UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)

# A NUL can only come as this escape, and PostgreSQL's text cannot hold one. An escaped backslash before it is text.
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


# Half of a surrogate pair, as a name has that was cut in its middle; an escaped backslash and whole pairs are passed over.
_HALF = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def _clean(content: bytes) -> bytes:
    return _ESCAPED_NUL.sub(rb"\1\\ufffd", content) if b"\\u0000" in content else content


def _mended(content: bytes) -> bytes:
    """Text that no encoding allows, each piece replaced by U+FFFD: one odd name must not hide a whole list."""
    whole = _HALF.sub(lambda found: rb"\ufffd" if found[1] else found[0], content)
    return whole.decode(errors="replace").encode()


_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_object_decoder = msgspec.json.Decoder(dict[str, Any])

W = TypeVar("W", bound=WireObject)
T = TypeVar("T")


class _Member(NamedTuple):
    name: str
    wire_name: str
    required: bool
    decoder: msgspec.json.Decoder[Any]


class Shape(Generic[W, T]):
    """How one kind of object is read: its wire shape and the way to its record."""

    def __init__(self, kind: str, wire: type[W], flatten: Callable[[W], T]) -> None:
        self.kind = kind
        self.flatten = flatten
        self._wire = wire
        self._one = msgspec.json.Decoder(wire, strict=False)
        self._page = msgspec.json.Decoder(list[wire], strict=False)  # type: ignore[valid-type]  # a run-time type
        self._members = [
            _Member(f.name, f.encode_name, f.required, msgspec.json.Decoder(f.type, strict=False))
            for f in msgspec.structs.fields(wire)
        ]
        self._told: set[str] = set()

    def page(self, content: bytes) -> tuple[list[W], int]:
        """The readable objects of a JSON array, and how many records were bad.

        Raises BadAnswer when the whole is not a JSON array.
        """
        content = _clean(content)
        try:
            return self._page.decode(content), 0
        except UNREADABLE:
            pass  # Usually one odd record: the rest of the page is still good.
        content = _mended(content)
        try:
            items = _items_decoder.decode(content)
        except UNREADABLE as error:
            raise BadAnswer(f"vPlus answered a list of {self.kind} that is not readable", cause=_class(error)) from None
        found = [self._alone(bytes(item)) for item in items]
        good = [item for item in found if item is not None]
        return good, len(items) - len(good)

    def one(self, content: bytes) -> T:
        """The record of one JSON object. Raises BadAnswer."""
        content = _clean(content)
        found = self._alone(content) or self._alone(_mended(content))
        if found is None:
            raise BadAnswer(f"vPlus answered one of {self.kind} that is not readable")
        return self.flatten(found)

    def detail(self, content: bytes) -> Detail[T]:
        """The record of one JSON object together with the object. Raises BadAnswer."""
        record = self.one(content)
        try:
            raw = _object_decoder.decode(_mended(_clean(content)))
        except UNREADABLE as error:
            raise BadAnswer(
                f"vPlus answered one of {self.kind} that cannot be kept whole", cause=_class(error)
            ) from None
        return Detail(record, raw)

    def _alone(self, item: bytes) -> W | None:
        try:
            return self._one.decode(item)
        except UNREADABLE:
            pass
        try:
            members = _members_decoder.decode(item)
        except UNREADABLE:
            self._tell("not an object")
            return None
        kept: dict[str, Any] = {}
        for member in self._members:
            raw = members.get(member.wire_name)
            if raw is not None:
                try:
                    kept[member.name] = member.decoder.decode(raw)
                except UNREADABLE:
                    self._tell(f"unreadable {member.wire_name}")
            if member.required and member.name not in kept:
                self._tell(f"no {member.wire_name}")
                return None
        return self._wire(**kept)

    def _tell(self, problem: str) -> None:
        """Log each problem of this kind once per process, never with contents."""
        if problem not in self._told:
            self._told.add(problem)
            log.warning("odd %s from vPlus: %s", self.kind, problem, extra={"kind": self.kind, "problem": problem})


VIRTUAL_MACHINE = Shape("virtual machines", WireVirtualMachine, virtual_machine_record)
TASK = Shape("tasks", WireTask, task_record)
BACKUP = Shape("backups", WireBackup, backup_record)
COPY = Shape("copies of backups", WireCopy, copy_record)
INFRASTRUCTURE = Shape("infrastructure", WireInfrastructure, infrastructure_record)
DESTINATION = Shape("backup destinations", WireDestination, destination_record)
POLICY = Shape("policies", WirePolicy, policy_record)
RULE = Shape("rules", WireRule, rule_record)
SCHEDULE = Shape("schedules", WireSchedule, schedule_record)
RESTORE_JOB = Shape("restore jobs", WireRestoreJob, restore_job_record)
NODE = Shape("nodes", WireNode, node_record)
PROJECT = Shape("projects", WireProject, project_record)
_ANSWERED_TASK = Shape("answered tasks", WireTaskAnswer, task_record)
_user_decoder = msgspec.json.Decoder(WireUser, strict=False)


def _class(error: Exception) -> str:
    return type(error).__name__


def session_info(content: bytes) -> SessionInfo:
    """The answer to a sign-in; an empty or sparse body is good (vplus-api.md 4.31).

    Raises BadAnswer when there is a body that is no JSON object, since then something else answered.
    """
    if not content.strip():
        return SessionInfo()
    try:
        members = _members_decoder.decode(_clean(content))
    except UNREADABLE as error:
        raise BadAnswer("the answer to signing in is not vPlus's", cause=_class(error)) from None
    try:
        user = _user_decoder.decode(msgspec.json.encode(members))
    except UNREADABLE:
        return SessionInfo()
    names = None if user.privileges is None else tuple(n for n in map(enum_name, user.privileges) if n is not None)
    return SessionInfo(privileges=names, time_zone=clipped(user.ui_time_zone))


def policy_detail(content: bytes) -> PolicyDetail:
    """A policy and each of its rules with the JSON they came from. Raises BadAnswer."""
    policy = POLICY.detail(content)
    return PolicyDetail(policy.record, policy.raw, _rule_details(policy))


def _rule_details(policy: Detail[PolicyRecord]) -> tuple[Detail[RuleRecord], ...] | None:
    if policy.record.rules is None:
        return None
    # One rule that could not be read would have made the record's rules None: these are the same ones.
    return tuple(Detail(record, raw) for record, raw in zip(policy.record.rules, policy.raw["rules"], strict=True))


def rule_of_both(embedded: RawObject, alone: RawObject) -> Detail[RuleRecord]:
    """A rule as its policy and its own answer tell it together; the latter wins. Raises BadAnswer."""
    return RULE.detail(msgspec.json.encode({**embedded, **alone}))


class TaskAnswer(NamedTuple):
    """What the answer to a creating POST names."""

    tasks: tuple[TaskRecord, ...]
    named: tuple[tuple[str, str | None], ...]


def task_answer(content: bytes) -> TaskAnswer:
    """Read any of the three shapes that answer a task POST (vplus-api.md 2.2.2).

    A single task, an array of tasks, or `{successful, unsuccessful, tasks}`. Tasks are distinct by guid.
    Raises BadAnswer when the body is something else or holds a task that cannot be read.
    """
    content = _clean(content)
    raw_tasks: list[msgspec.Raw] = []
    named: tuple[tuple[str, str | None], ...] = ()
    try:
        if content.lstrip()[:1] == b"[":
            raw_tasks = _items_decoder.decode(content)
        else:
            members = _members_decoder.decode(content)
            if "tasks" in members or "successful" in members:
                raw_tasks = _items_decoder.decode(members["tasks"]) if "tasks" in members else []
                named = _successful(members.get("successful"))
            elif "guid" in members:
                raw_tasks = [msgspec.Raw(content)]
    except UNREADABLE as error:
        raise BadAnswer("the answer cannot be read", cause=_class(error)) from None
    tasks = {task.guid: task for task in (_ANSWERED_TASK.one(bytes(raw)) for raw in raw_tasks)}
    return TaskAnswer(tuple(tasks.values()), named)


_references_decoder = msgspec.json.Decoder(list[Reference | str] | None, strict=False)


def _successful(raw: msgspec.Raw | None) -> tuple[tuple[str, str | None], ...]:
    values = None if raw is None else _references_decoder.decode(raw)
    pairs = ((guid_of(value), name_of(value)) for value in values or ())
    return tuple((guid, name) for guid, name in pairs if guid is not None)


_reference_decoder = msgspec.json.Decoder(Reference, strict=False)


def object_named(content: bytes) -> tuple[str, str | None] | None:
    """The guid and name of an object that an answer consists of; None where it is anything else."""
    try:
        found = _reference_decoder.decode(_clean(content))
    except UNREADABLE:
        return None
    guid = guid_of(found)
    return None if guid is None else (guid, name_of(found))


_TAG = re.compile(r"<[^>]*>|\s+")


def vendor_text(content: bytes, limit: int = 2000) -> str | None:
    """The human text of an error body: its `message`, else its plain text; None when there is none.

    vPlus says `{"message"}` or `{"error":{"message"}}`; what stands before it may say HTML (vplus-api.md 1.8).
    """
    text: str | None = None
    try:
        members = _members_decoder.decode(_clean(content))
        if "message" not in members and "error" in members:
            members = _members_decoder.decode(members["error"])
        if "message" in members:
            text = msgspec.json.decode(members["message"], type=str)
    except UNREADABLE:
        pass  # Not vPlus's own form; the plain text says more than nothing.
    if text is None:
        text = content[: limit * 8].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        text = _TAG.sub(" ", text)
    return " ".join(text.split())[:limit] or None

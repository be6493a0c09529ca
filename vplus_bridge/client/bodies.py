"""What the requests of both dialects are made of: JSON text, references, enums, guards, and replacing a whole object.

A guard that fails raises Invalid with a sentence of ours: nothing was asked of vPlus, and asking would be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from vplus_bridge.client.errors import Invalid
from vplus_bridge.client.outcome import Expectation, WriteRequest
from vplus_bridge.client.records import RawObject
from vplus_bridge.client.transport import path_segment

NAME_LIMIT = 255
"""Characters of a name that vPlus keeps (vplus-api.md 4.11)."""

HIGHEST_PRIORITY = 100

Body = dict[str, Any]
Plainer = Callable[[Any], Any]


def json_text(body: Body) -> str:
    """Compact JSON text; it is stored with the attempt and sent as it is. Raises Invalid for what no text can hold."""
    try:
        return msgspec.json.encode(body).decode()
    except UnicodeError:
        raise Invalid("a text holds half a character, which cannot be sent") from None


def given(**members: Any) -> Body:
    """Those members that have a value: vPlus leaves out what is not there (vplus-api.md 1.1)."""
    return {name: value for name, value in members.items() if value is not None}


def filled(members: RawObject, defaults: Mapping[str, Any]) -> Body:
    """An object with `defaults` for what it does not tell; absent and null are alike (vplus-api.md 1.1)."""
    return {**members, **{name: value for name, value in defaults.items() if members.get(name) is None}}


def checked_name(name: str) -> str:
    """The name, if vPlus can keep it (vplus-api.md 4.11). Raises Invalid."""
    if not name.strip():
        raise Invalid("a name is missing")
    if len(name) > NAME_LIMIT:
        raise Invalid(f"a name is longer than {NAME_LIMIT} characters")
    return name


def checked_priority(priority: int) -> int:
    """The priority, if it is one (vplus-api.md 2.8). Raises Invalid."""
    if not 0 <= priority <= HIGHEST_PRIORITY:
        raise Invalid("a priority is a number from 0 to 100")
    return priority


def bears_name(name: str | None, wire_name: str) -> bool:
    """Whether an object that vPlus shows as `name` is the one we wrote as `wire_name`.

    A current server may put the project before it: equal, or ending in `_<wire name>` (vplus-api.md 1.9).
    """
    return name is not None and (name == wire_name or name.endswith(f"_{wire_name}"))


_OF_A_PROJECT = re.compile(r"uuid_[0-9A-Za-z-]{1,100}_(?=.)")


def plain_name(name: str) -> str:
    """The name without the project that a current server puts before it (vplus-api.md 1.9)."""
    return _OF_A_PROJECT.sub("", name, count=1) if _OF_A_PROJECT.match(name) else name


def reference(guid: str) -> Body:
    """NameAndGuid as a request has it: only the guid counts (vplus-api.md 1.5). Raises Invalid without one."""
    if not guid:
        raise Invalid("an id is missing")
    return {"guid": guid}


def references(guids: Iterable[str]) -> list[Body]:
    """Each guid as a reference, each once, in order. Raises Invalid."""
    return [reference(guid) for guid in dict.fromkeys(guids)]


def enum(name: str) -> Body:
    """EnumNameAndDescription as a request has it (vplus-api.md 1.5)."""
    return {"name": name}


def enums(names: Iterable[str], among: Collection[str], kind: str) -> list[Body]:
    """Each name as an enum, each once, in the order of `among`. Raises Invalid for one that is not among them."""
    wanted = set(names)
    if not wanted <= set(among):
        raise Invalid(f"this is not a {kind} that vPlus knows")
    return [enum(name) for name in among if name in wanted]


def guid_in(value: Any) -> str | None:
    """The guid of a reference as it came, object or bare (vplus-api.md 1.5)."""
    guid = value.get("guid") if isinstance(value, dict) else value
    return guid if isinstance(guid, str) and guid else None


def enum_in(value: Any) -> str | None:
    """The name of an enum as it came, object or bare."""
    name = value.get("name") if isinstance(value, dict) else value
    return name if isinstance(name, str) and name else None


def plain_reference(value: Any) -> Any:
    """A reference or a list of them, as a request has it; what is no reference stays as it came."""
    if isinstance(value, list):
        return [plain_reference(item) for item in value]
    guid = guid_in(value)
    return value if guid is None else reference(guid)


def plain_enum(value: Any) -> Any:
    """An enum or a list of them, as a request has it; what is no enum stays as it came."""
    if isinstance(value, list):
        return [plain_enum(item) for item in value]
    name = enum_in(value)
    return value if name is None else enum(name)


def replacement(
    kind: str, current: RawObject, changes: Mapping[str, Any], plainers: Mapping[str, Plainer], required: Iterable[str]
) -> Body:
    """The body of a PUT, which replaces the whole object: `current` with `changes` (vplus-api.md 4.26).

    Members that we do not understand go back as they came; those named in `plainers` take the form of a request.
    Raises Invalid when neither side has one of the `required` members: the PUT would wipe it out.
    """
    body = {**current, **changes}
    for name, plain in plainers.items():
        if body.get(name) is not None:
            body[name] = plain(body[name])
    lost = [name for name in required if body.get(name) is None]
    if lost:
        raise Invalid(f"vPlus does not tell the {', '.join(lost)} of this {kind}, so a change must give it")
    return body


def create_request(collection: str, body: Body) -> WriteRequest:
    """POST a new object with a name."""
    return WriteRequest("POST", collection, json_text(body), Expectation.OBJECT, collection)


def replace_request(collection: str, body: Body) -> WriteRequest:
    """PUT a whole object, which carries its own guid. Raises Invalid without one."""
    guid = guid_in(body)
    if guid is None:
        raise Invalid("an object without an id cannot be changed")
    return WriteRequest(
        "PUT", f"{collection}/{path_segment(guid)}", json_text(body), Expectation.ANYTHING, f"{collection}/{{guid}}"
    )


def delete_request(collection: str, guid: str) -> WriteRequest:
    """DELETE one object. Raises Invalid when the guid cannot stand in a path."""
    return WriteRequest(
        "DELETE", f"{collection}/{path_segment(guid)}", "", Expectation.ANYTHING, f"{collection}/{{guid}}"
    )

"""What comes in and what goes out, before and after HTTP: requests read leniently, answers, and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

NOT_GIVEN = frozenset({"", "null", "undefined"})
"""Query values that real clients send for "nothing" (vplus-api.md 7, point 3)."""
JSON = "application/json"
LARGEST_NUMBER = 2**53
"""What JSON carries exactly; ms and bytes of this world are smaller."""
LONGEST_NAME = 255
"""Characters of the name of a policy, a rule or a schedule."""


class Refusal(Exception):
    """The server says no: a status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def bad_request(message: str) -> Refusal:
    """Return the refusal of a request that makes no sense (400)."""
    return Refusal(400, message)


def not_found(what: str, guid: str) -> Refusal:
    """Return the refusal of an unknown guid (404)."""
    return Refusal(404, f"{what} with guid {guid} was not found")


@dataclass
class Answer:
    """A status, perhaps a body with its type, and further headers."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)


def json_answer(content: Any, status: int = 200) -> Answer:
    """Return `content` as JSON."""
    return Answer(status, msgspec.json.encode(content), JSON)


def empty_answer(status: int = 204) -> Answer:
    """Return an answer without a body; it is not labelled as JSON (vplus-api.md 7.1)."""
    return Answer(status)


@dataclass(frozen=True)
class Disorder:
    """How a list is made wrong for one call: rows left out, rows too many in the total, rows of the page before."""

    missing: int = 0
    more_total: int = 0
    repeated: int = 0


@dataclass
class Request:
    """One call. `path` is the part behind the base path, without a trailing slash."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    client: str
    parts: dict[str, str] = field(default_factory=dict)
    """What stood in the braces of the path's template."""
    session: int = 0
    """The number of the sign-in, 0 where none is needed."""
    disorder: Disorder = Disorder()
    journal: int | None = None
    """The number of the journal entry that the call led to."""

    def one(self, name: str) -> str | None:
        """Return the first value of a query parameter, as a server with single-valued parameters does."""
        values = self.query.get(name)
        return values[0] if values else None

    def many(self, name: str) -> list[str]:
        """Return all values of a repeated query parameter."""
        return self.query.get(name, [])

    def whole(self, name: str) -> int | None:
        """Return a query parameter as a whole number, or refuse with 400."""
        value = self.one(name)
        return None if value is None else whole_number(value, name)

    def flag(self, name: str) -> bool | None:
        """Return a query parameter as true, false or not given."""
        value = self.one(name)
        return None if value is None else value.lower() == "true"

    def json(self) -> Any:
        """Return the decoded body, or refuse with 400."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise bad_request(f"The request body is not JSON: {error}") from error

    def json_object(self) -> dict[str, Any]:
        """Return the decoded body, which must be an object, or refuse with 400."""
        body = self.json()
        if not isinstance(body, dict):
            raise bad_request("The request body must be a JSON object")
        return body


def read_query(text: str) -> dict[str, list[str]]:
    """Return the query's parameters without those that are not given."""
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if value not in NOT_GIVEN:
            query.setdefault(name, []).append(value)
    return query


def whole_number(value: Any, name: str) -> int:
    """Read an integer that may come as a float or as digits in a string (vplus-api.md 1.5); refuse others with 400."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise bad_request(f"{name} must be a number")
    try:
        number = int(float(value))
    except (ValueError, OverflowError) as error:
        raise bad_request(f"{name} must be a number") from error
    if abs(number) > LARGEST_NUMBER:
        raise bad_request(f"{name} must not be so large")
    return number


def optional_number(body: dict[str, Any], name: str) -> int | None:
    """Read a member that may be absent, null or empty."""
    value = body.get(name)
    return None if value in (None, "") else whole_number(value, name)


def enum_name(value: Any, name: str, allowed: Sequence[str]) -> str:
    """Read an enum that comes as an object with `name` or as a bare string; refuse an unknown one with 400."""
    if isinstance(value, dict):
        value = value.get("name")
    if not isinstance(value, str) or value not in allowed:
        raise bad_request(f"{name} must be one of {', '.join(allowed)}")
    return value


def reference_guid(value: Any, name: str) -> str | None:
    """Read a NameAndGuid that comes as an object, a whole record or a bare guid; absent, null and "" are None."""
    if isinstance(value, dict):
        value = value.get("guid")
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise bad_request(f"{name} must be an object with a guid")
    return value


def reference_guids(value: Any, name: str) -> list[str]:
    """Read a list of NameAndGuid, each in any form; 400 for what is not a list, or an element without a guid."""
    if not isinstance(value, list):
        raise bad_request(f"{name} must be a list")
    guids = [reference_guid(item, name) for item in value]
    if None in guids:
        raise bad_request(f"{name} must be a list of objects with a guid")
    return [guid for guid in guids if guid is not None]


def optional_references(value: Any, name: str) -> list[str]:
    """Read a list of NameAndGuid that may be absent, null or empty; each guid once, in order."""
    return [] if value in (None, "") else list(dict.fromkeys(reference_guids(value, name)))


def enum_names(value: Any, name: str, allowed: Sequence[str]) -> list[str]:
    """Read a list of enums, each in any form, that may be absent, null or empty; each once, in their own order."""
    if value in (None, ""):
        return []
    if not isinstance(value, list):
        raise bad_request(f"{name} must be a list")
    wanted = {enum_name(item, name, allowed) for item in value}
    return [item for item in allowed if item in wanted]


def flag(body: dict[str, Any], name: str, *, default: bool) -> bool:
    """Read a boolean that may come as a word; absent, null and "" are `default`."""
    value = body.get(name)
    if value in (None, ""):
        return default
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false")
    return value


def required_name(body: dict[str, Any]) -> str:
    """Read `name`: 1 to 255 characters."""
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise bad_request("name must not be empty")
    if len(name) > LONGEST_NAME:
        raise bad_request(f"name must not be longer than {LONGEST_NAME} characters")
    return name

"""What the OpenAPI document says of every call alike: the key of a POST, and the problems that any call can end in."""

from typing import Any

from portal.api.idempotency import HEADER, REPLAY
from tenants.kept_answers import LONGEST_KEY

OF_EVERY_CALL = {
    "500": "Unknown trouble",
    "503": "Too busy, or the portal's own database is away; Retry-After says when to ask again",
}
OF_A_BODY = {
    "400": "Something that was sent is wrong",
    "413": "The body is too large",
    "415": "The body is not application/json",
}
OF_A_KEY = {
    "409": "Not as things stand; with a key also: the first request with it is still being answered",
    "422": "The key was sent before with another request",
}
KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Any new text for each deed, such as a UUID. Sent again within 24 h it does nothing again, and is "
    f"answered with the same status and body and the header {REPLAY}: true. What was refused leaves no key.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
}


def tell_what_calls_share(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add to each call of the document what it shares with the others."""
    del generator, request, public
    for item in result["paths"].values():
        for method, call in item.items():
            known = dict(OF_EVERY_CALL)
            if method in ("post", "put", "patch"):
                known |= OF_A_BODY
            if method == "post":
                known |= OF_A_KEY
                call.setdefault("parameters", []).append(dict(KEY))
                _tell_of_replays(call["responses"])
            for status, words in known.items():
                call["responses"].setdefault(status, _problem(words))
    return result


def _tell_of_replays(responses: dict[str, Any]) -> None:
    for status, answer in responses.items():
        if status.startswith("2"):
            answer.setdefault("headers", {})[REPLAY] = {
                "description": "true: this was answered before, and nothing was done again.",
                "schema": {"type": "string", "enum": ["true"]},
            }


def _problem(words: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": words, "content": {"application/problem+json": {"schema": schema}}}

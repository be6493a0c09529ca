"""The OpenAPI document, and a page that shows it to people without a script from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_safe
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.openapi_shared import OF_EVERY_CALL
from portal.api.views import ApiView

COMPONENT = "#/components/schemas/"
CHOICES = "* `"  # where drf-spectacular begins to list choices, which the type says already
SAID_ONCE = {*OF_EVERY_CALL, "413", "415", "422"}  # of each call alike, and so once on the page
METHODS = ("get", "post", "put", "patch", "delete")


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registered by its metaclass
    """How the OpenAPI document tells of tokens."""

    target_class = "portal.api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        del auto_schema
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of one person in one tenant, or at the provider.",
        }


@cache
def document() -> Mapping[str, Any]:
    """Return the OpenAPI document; it follows from the code alone, so it is made once in each process."""
    made: Mapping[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # drf-spectacular is partly untyped
    return made


@extend_schema(exclude=True)
class SchemaView(ApiView):
    """The OpenAPI document as JSON; it holds no data, so everybody may read it."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        """Return the document."""
        del request
        return Response(document(), content_type="application/vnd.oai.openapi+json")


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the OpenAPI document as a page."""
    schema = document()
    calls: dict[str, list[Call]] = {}
    for address, item in schema["paths"].items():
        for method in METHODS:
            if method in item:
                calls.setdefault(item[method]["tags"][0], []).append(_call(address, method, item[method]))
    shapes = [_shape(name, part) for name, part in schema["components"]["schemas"].items()]
    context = {"title": schema["info"]["title"], "text": schema["info"].get("description", "")}
    return render(
        request,
        "web/api_docs.html",
        {**context, "calls": calls, "shapes": shapes, "address": request.build_absolute_uri("/api/v1/")},
    )


@dataclass(frozen=True)
class Member:
    """One parameter or member: its name, its type in words, and the shape that the type is, where it is one."""

    name: str
    kind: str
    shape: str
    required: bool
    text: str
    place: str = ""


@dataclass(frozen=True)
class Answer:
    """One possible answer of a call."""

    status: str
    shape: str
    kind: str


@dataclass(frozen=True)
class Call:
    """One method of one address."""

    id: str
    method: str
    address: str
    title: str
    text: str
    parameters: list[Member]
    body: str
    answers: list[Answer]


@dataclass(frozen=True)
class Shape:
    """One object that the API takes or gives."""

    name: str
    text: str
    members: list[Member]


def _call(address: str, method: str, item: Mapping[str, Any]) -> Call:
    title, _, text = item.get("description", "").partition("\n")
    body: Mapping[str, Any] = next(iter(item.get("requestBody", {}).get("content", {}).values()), {})
    return Call(
        id=item["operationId"],
        method=method.upper(),
        address=address,
        title=title,
        text=text.strip(),
        parameters=[
            _member(one["name"], one["schema"], one.get("required", False), one.get("description", ""), one["in"])
            for one in item.get("parameters", ())
        ],
        body=_kind(body.get("schema", {}))[1],
        answers=[
            _answer(status, answer) for status, answer in sorted(item["responses"].items()) if status not in SAID_ONCE
        ],
    )


def _answer(status: str, answer: Mapping[str, Any]) -> Answer:
    content: Mapping[str, Any] = next(iter(answer.get("content", {}).values()), {})
    kind, shape = _kind(content.get("schema", {}))
    return Answer(status, shape, kind)


def _shape(name: str, part: Mapping[str, Any]) -> Shape:
    """Return a shape; one that is a choice of others has these as members, one that is a choice of words says them."""
    if "oneOf" in part:
        kinds = part.get("discriminator", {}).get("mapping", {})
        members = [Member(kind, "", shape.removeprefix(COMPONENT), False, "") for kind, shape in kinds.items()]
        return Shape(name, gettext("One of these, by its kind."), members)
    text = part.get("description", "").partition(CHOICES)[0].strip()
    return Shape(name, text or (_kind(part)[0] if "enum" in part else ""), _members(part))


def _members(part: Mapping[str, Any]) -> list[Member]:
    required = part.get("required", ())
    return [
        _member(name, schema, name in required, schema.get("description", ""))
        for name, schema in part.get("properties", {}).items()
    ]


def _member(name: str, schema: Mapping[str, Any], required: bool, text: str, place: str = "") -> Member:
    kind, shape = _kind(schema)
    text = text.partition(CHOICES)[0].strip()
    if "default" in schema and schema["default"] not in ("", None):
        text = f"{text} (default {schema['default']})".strip()
    return Member(name, kind, shape, required, text, place)


def _kind(schema: Mapping[str, Any]) -> tuple[str, str]:
    """Return a type in words, and the name of the shape that it is or is a list of, or an empty text."""
    if "$ref" in schema:
        return "", schema["$ref"].removeprefix(COMPONENT)
    for joint in ("allOf", "oneOf"):
        if joint in schema:
            kinds = [_kind(part) for part in schema[joint]]
            shape = next((shape for _, shape in kinds if shape), "")
            return " or null" if schema.get("nullable") else "", shape
    empty = " or null" if schema.get("nullable") else ""
    if schema.get("type") == "array":
        kind, shape = _kind(schema.get("items", {}))
        return f"list of {kind}".strip() + empty, shape
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"] if value not in ("", None)) + empty, ""
    known = {"date-time": "time", "uuid": "uuid", "uri": "address"}
    kind = known.get(schema.get("format", ""), schema.get("type", "any type" if schema else ""))
    return kind + empty, ""

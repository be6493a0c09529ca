"""Pages of lists: ``{"results", "next", "as_of"}`` by keyset cursors (vplus_bridge/keyset.py)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from portal.api.fields import Moment
from vplus_bridge.keyset import LONGEST_CURSOR, Page

M = TypeVar("M", bound=Model)
USUAL_SIZE, LARGEST_SIZE = 50, 200


class PageParameters(serializers.Serializer[Mapping[str, Any]]):
    """How much of a list, and from where on."""

    page_size = serializers.IntegerField(
        min_value=1,
        max_value=LARGEST_SIZE,
        default=USUAL_SIZE,
        error_messages={
            "invalid": f"Use a whole number from 1 to {LARGEST_SIZE}.",
            "min_value": f"Use a whole number from 1 to {LARGEST_SIZE}.",
            "max_value": f"Use a whole number from 1 to {LARGEST_SIZE}.",
        },
    )
    cursor = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=LONGEST_CURSOR,
        help_text="Opaque; from the address in next of the page before.",
    )


def page_answer(
    request: Request,
    page: Page[M],
    shapes: Sequence[Any],
    form: type[serializers.BaseSerializer[Any]],
    as_of: datetime | None,
) -> Response:
    """Return the answer for one page, of which ``shapes`` are the rows in the form that the serializer knows."""
    following = None
    if page.next_cursor is not None:
        following = replace_query_param(request.build_absolute_uri(), "cursor", page.next_cursor)
    return Response(
        {
            "results": form(shapes, many=True).data,
            "next": following,
            "as_of": Moment().to_representation(as_of) if as_of else None,
        }
    )


def page_of(item: type[serializers.BaseSerializer[Any]], name: str) -> type[serializers.Serializer[Any]]:
    """Return the serializer that describes a page of these items in the OpenAPI document."""
    fields = {
        "results": item(many=True),
        "next": serializers.URLField(allow_null=True, help_text="Address of the next page; null on the last."),
        "as_of": Moment(
            allow_null=True,
            help_text="When vPlus said so, null: never yet; now for what only the portal keeps.",
        ),
        "__doc__": f"One page of a list ({name}).",
    }
    return type(f"{name}Page", (serializers.Serializer,), fields)

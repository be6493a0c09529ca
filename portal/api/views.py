"""What every view of the API shares: JSON in and out whatever is asked for, a size limit, who asks, and as of when."""

import json
from collections.abc import Iterable, Mapping
from typing import IO, Any

from django.utils import timezone
from rest_framework.exceptions import APIException, ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from portal.api.authentication import IsProvider, actor_behind, provider_behind
from portal.api.idempotency import KeepsAnswers
from tenants.rights import Actor, ProviderActor

LARGEST_BODY = 1_000_000


class OnlyJson(BaseContentNegotiation):
    """Answers in JSON whatever the Accept header or a ``format`` parameter says: there is nothing else to give."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """Return the parser for the body's type; None is answered with 415."""
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the one renderer."""
        del request, format_suffix
        only = next(iter(renderers))
        return only, only.media_type


class TooLarge(APIException):
    """The body is larger than anything that the API takes."""

    status_code = 413
    default_detail = f"The body is too large; the most is {LARGEST_BODY} bytes."
    default_code = "too_large"


class BoundedJson(JSONParser):
    """Reads JSON of a bounded size; depth that Python cannot follow is bad input, not trouble of ours."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return what the body says; raise ParseError, or TooLarge."""
        del media_type, parser_context
        raw = stream.read(LARGEST_BODY + 1)
        if len(raw) > LARGEST_BODY:
            raise TooLarge
        try:
            text = raw.decode("utf-8")
            said = json.loads(text, parse_constant=_no_such_number, object_pairs_hook=_each_once)
            if "\\u" in text:  # a name or a text can hold half a character, which no answer and no row could repeat
                json.dumps(said, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ParseError("The body holds half a character, a surrogate on its own, which is no text.") from None
        except (ValueError, RecursionError):
            raise ParseError("The body is not JSON.") from None
        return said


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of a member that stands there twice, nobody knows which was meant."""
    found = dict(members)
    if len(found) != len(members):
        raise ParseError("The body names a member of an object twice.")
    return found


def _no_such_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


class ApiView(KeepsAnswers):
    """A view for a tenant's tokens."""

    http_method_names = (
        "get",
        "head",
        "post",
        "put",
        "patch",
        "delete",
    )  # no OPTIONS: the document tells what there is
    content_negotiation_class = OnlyJson
    parser_classes = (BoundedJson,)
    metadata_class = None

    @property
    def actor(self) -> Actor:
        """The member of a tenant who asks; IsActor has seen to it that there is one."""
        actor = actor_behind(self.request)
        if actor is None:
            raise RuntimeError("a view for tenants was reached without IsActor")
        return actor


class OperatorView(ApiView):
    """A view for the provider's tokens."""

    permission_classes = (IsProvider,)

    @property
    def provider(self) -> ProviderActor:
        """The provider's person who asks; IsProvider has seen to it that there is one."""
        provider = provider_behind(self.request)
        if provider is None:
            raise RuntimeError("a view for the provider was reached without IsProvider")
        return provider


def checked(serializer: type[Serializer[Any]], data: Any) -> dict[str, Any]:
    """Return what a serializer makes of data; raise ValidationError naming each field that is wrong."""
    form = serializer(data=data)
    form.is_valid(raise_exception=True)
    values: dict[str, Any] = form.validated_data
    return values


now = timezone.now

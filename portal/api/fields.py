"""Fields that are strict about what they take, say what would work, and give times in UTC whoever asks."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.utils.dateparse import parse_datetime
from rest_framework import serializers

WITH_OFFSET = "Give date, time and offset, such as 2026-11-24T02:00:00Z."


class Moment(serializers.DateTimeField):
    """An instant: ISO 8601 in UTC on the way out, ISO 8601 with an offset on the way in."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "invalid": WITH_OFFSET,
        "make_aware": WITH_OFFSET,
        "overflow": WITH_OFFSET,
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def to_internal_value(self, value: Any) -> datetime:
        """Return an aware datetime; a time without an offset could mean any hour and is refused."""
        if not isinstance(value, str):
            self.fail("invalid", format="")
        try:
            moment = parse_datetime(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("invalid", format="")
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            self.fail("invalid", format="")


class Text(serializers.CharField):
    """Text, and nothing that would have to be turned into it."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text; refuse numbers, which CharField would take."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumber(serializers.IntegerField):
    """A whole number in JSON: no text that looks like one, no true or false."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "Use a whole number."}

    def to_internal_value(self, data: Any) -> int:
        """Return the number."""
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class YesOrNo(serializers.BooleanField):
    """True or false in JSON."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "Use true or false."}

    def to_internal_value(self, data: Any) -> bool:
        """Return the value; refuse numbers and text, which BooleanField would take."""
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class OneOf(serializers.ChoiceField):
    """One of a few words; a wrong one is told which there are."""

    def __init__(self, choices: Iterable[str], **kwargs: Any) -> None:
        listed = list(choices)
        kwargs.setdefault(
            "error_messages", {"invalid_choice": f"There is no such value. Use one of {', '.join(listed)}."}
        )
        super().__init__(choices=listed, **kwargs)


class YesNoParameter(OneOf):
    """``true`` or ``false`` in an address; left out or empty it is None."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(("true", "false"), required=False, allow_blank=True, default=None, **kwargs)

    def to_internal_value(self, data: Any) -> bool | None:  # type: ignore[override]  # a choice that means a truth value
        """Return True, False or None."""
        word = super().to_internal_value(data)
        return None if word == "" else word == "true"


class Form(serializers.Serializer[Mapping[str, Any]]):
    """A body that is sent to us: a member that it does not have is refused by name, not passed over."""

    def to_internal_value(self, data: Any) -> Any:
        """Check each member; name every one that is not known."""
        if isinstance(data, Mapping) and (unknown := [str(name) for name in data if name not in self.fields]):
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {name: [f"There is no such member. Known are {known}."] for name in unknown}
            )
        return super().to_internal_value(data)


class Named(serializers.Serializer[Mapping[str, Any]]):
    """Something with a guid and a name."""

    guid = serializers.CharField()
    name = serializers.CharField(allow_blank=True)


class Warned(serializers.Serializer[Mapping[str, Any]]):
    """A warning: a code for scripts, a sentence for people."""

    code = serializers.CharField()
    message = serializers.CharField()


class Problem(serializers.Serializer[Mapping[str, Any]]):
    """A problem document (RFC 9457), as application/problem+json."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="A sentence that says what is wrong and what would work.")
    code = serializers.CharField(help_text="For scripts; it stays the same when the words change.")
    reference = serializers.CharField(help_text="The same stands in the portal's log.")
    errors = serializers.DictField(  # type: ignore[assignment]  # a field called as Serializer's own member; DRF keeps them apart
        child=serializers.ListField(child=serializers.CharField()), help_text="What is wrong with which field."
    )


def problems(*statuses: int) -> dict[tuple[int, str], type[Problem]]:
    """Return how the OpenAPI document tells of these problems."""
    return {(status, "application/problem+json"): Problem for status in statuses}

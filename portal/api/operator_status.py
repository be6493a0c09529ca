"""For the provider: how the link to vPlus is, how each reading of it goes, and what cannot be read."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Moment, problems
from portal.api.views import OperatorView
from vplus_bridge.mirror.models import ReadState
from vplus_bridge.mirror.read_state import CONTACT, all_states

GAPS = ("forbidden", "not_there")


class ContactShape(serializers.Serializer[Mapping[str, Any]]):
    """Whether vPlus answers."""

    ok = serializers.BooleanField(allow_null=True, help_text="null: nothing has been asked yet")
    last_success_at = Moment(allow_null=True)
    failing_since = Moment(allow_null=True)
    problem = serializers.CharField(allow_null=True, help_text="code")
    problem_text = serializers.CharField(allow_null=True)


class ReadingShape(serializers.Serializer[Mapping[str, Any]]):
    """How one reading goes."""

    name = serializers.CharField()
    started_at = Moment(allow_null=True)
    succeeded_at = Moment(allow_null=True)
    duration_seconds = serializers.FloatField()
    failing_since = Moment(allow_null=True)
    problem = serializers.CharField(allow_null=True, help_text="code")
    problem_text = serializers.CharField(allow_null=True)
    counts = serializers.DictField(child=serializers.JSONField(), help_text="What the last good one saw")


class GapShape(serializers.Serializer[Mapping[str, Any]]):
    """Something that the account may not read, or that this vPlus does not have; what needs it is missing."""

    name = serializers.CharField()
    problem = serializers.CharField(help_text="forbidden, not_there")
    problem_text = serializers.CharField(allow_null=True)
    since = Moment(allow_null=True)


class StatusShape(serializers.Serializer[Mapping[str, Any]]):
    """The link to vPlus."""

    contact = ContactShape()
    readings = ReadingShape(many=True)
    gaps = GapShape(many=True)


class StatusView(OperatorView):
    """The link to vPlus."""

    @extend_schema(
        operation_id="operator_status",
        tags=["operator"],
        responses={200: StatusShape, **problems(401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """Tell how the link to vPlus is, from what the last readings left behind; vPlus itself is not asked."""
        del request
        states = {state.name: state for state in all_states()}
        contact = states.pop(CONTACT, None) or ReadState(name=CONTACT)
        gaps = [state for state in states.values() if state.problem in GAPS]
        return Response(
            StatusShape(
                {
                    "contact": _contact(contact),
                    "readings": [_reading(state) for state in states.values()],
                    "gaps": [
                        {
                            "name": state.name,
                            "problem": state.problem,
                            "problem_text": state.problem_text or None,
                            "since": state.failing_since,
                        }
                        for state in gaps
                    ],
                }
            ).data
        )


def _contact(state: ReadState) -> dict[str, Any]:
    asked = state.succeeded_at is not None or state.failing_since is not None
    return {
        "ok": state.failing_since is None if asked else None,
        "last_success_at": state.succeeded_at,
        "failing_since": state.failing_since,
        "problem": state.problem or None,
        "problem_text": state.problem_text or None,
    }


def _reading(state: ReadState) -> dict[str, Any]:
    return {
        "name": state.name,
        "started_at": state.started_at,
        "succeeded_at": state.succeeded_at,
        "duration_seconds": state.duration_seconds,
        "failing_since": state.failing_since,
        "problem": state.problem or None,
        "problem_text": state.problem_text or None,
        "counts": state.counts,
    }

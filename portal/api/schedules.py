"""Schedules, each of one policy: a write is a change of that policy. And what one would come to, without writing it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import problems
from portal.api.operation_shapes import OperationShape
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.policies import VersionParameter, asked, changeable
from portal.api.policy_shapes import (
    NewScheduleForm,
    PreviewShape,
    ScheduleChangeForm,
    ScheduleMembers,
    ScheduleShape,
    draft_of_form,
    members_of,
    schedule_shape,
)
from portal.api.views import ApiView, checked, now
from tenants.refusals import Invalid, NotVisible
from tenants.rights import Actor, Right
from vplus_bridge import keyset
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.policies import SCHEDULES
from vplus_bridge.mirror.read_state import read_at
from vplus_bridge.operations.models import Operation
from vplus_bridge.protection import schedule_words, visible
from vplus_bridge.protection.drafts import ScheduleDraft, draft_of, promise_of_draft
from vplus_bridge.protection.models import Schedule
from vplus_bridge.protection.promised_runs import next_runs
from vplus_bridge.protection.request_policy import request_policy_change
from vplus_bridge.protection.rewriting import CannotCarry, admit

TAGS = ["schedules"]
RUNS = 20
IN_ORDER = Keyset("policy", (Key("policy_id"), Key("position"), Key("id")))
Schedules = list[ScheduleDraft]


class ScheduleParameters(PageParameters):
    """Which schedules."""

    policy = serializers.UUIDField(required=False, help_text="id")


class ScheduleList(ApiView):
    """The schedules of the policies that one sees."""

    @extend_schema(
        operation_id="schedules",
        tags=TAGS,
        parameters=[ScheduleParameters],
        responses={200: page_of(ScheduleShape, "Schedule"), **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """List schedules by policy; those of policies that the provider keeps stand in their policies only."""
        wanted, moment = checked(ScheduleParameters, request.query_params), now()
        rows = visible.schedules(self.actor).select_related("policy")
        if "policy" in wanted:
            rows = rows.filter(policy=wanted["policy"])
        page = keyset.page_of(rows, IN_ORDER, wanted["cursor"], wanted["page_size"])
        shapes = [schedule_shape(row, moment) for row in page.rows]
        return page_answer(request, page, shapes, ScheduleShape, read_at(SCHEDULES)[SCHEDULES])

    @extend_schema(
        operation_id="make_schedule",
        tags=TAGS,
        request=NewScheduleForm,
        responses={202: OperationShape, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Ask for one more schedule of a policy."""
        self.actor.require(Right.POLICIES)
        given = checked(NewScheduleForm, request.data)
        draft = draft_of_form(given)
        operation = _change(self.actor, given["policy"], given.get("version"), lambda held: [*held, draft])
        return asked(self.actor, operation)


class ScheduleDetail(ApiView):
    """One schedule."""

    @extend_schema(operation_id="schedule", tags=TAGS, responses={200: ScheduleShape, **problems(401, 403, 404)})
    def get(self, request: Request, schedule_id: UUID) -> Response:
        """Tell one schedule."""
        del request
        return Response(ScheduleShape(schedule_shape(_schedule(self.actor, schedule_id), now())).data)

    @extend_schema(
        operation_id="change_schedule",
        tags=TAGS,
        request=ScheduleChangeForm,
        responses={202: OperationShape, **problems(400, 401, 403, 404, 409)},
    )
    def put(self, request: Request, schedule_id: UUID) -> Response:
        """Ask for a schedule to become what is sent, which is the whole of it."""
        self.actor.require(Right.POLICIES)
        row = _schedule(self.actor, schedule_id)
        given = checked(ScheduleChangeForm, request.data)
        draft = replace(draft_of_form(given), id=row.pk)

        def changed(held: Schedules) -> Schedules:
            return [draft if one.id == row.pk else one for one in held]

        operation = _change(self.actor, row.policy_id, given["version"], changed, row.pk)
        return asked(self.actor, operation)

    @extend_schema(
        operation_id="delete_schedule",
        tags=TAGS,
        parameters=[VersionParameter],
        responses={202: OperationShape, **problems(400, 401, 403, 404, 409)},
    )
    def delete(self, request: Request, schedule_id: UUID) -> Response:
        """Ask for a schedule to be deleted; the last one of a policy cannot be."""
        self.actor.require(Right.POLICIES)
        row = _schedule(self.actor, schedule_id)
        version = checked(VersionParameter, request.query_params).get("version")

        def changed(held: Schedules) -> Schedules:
            return [one for one in held if one.id != row.pk]

        return asked(self.actor, _change(self.actor, row.policy_id, version, changed))


class SchedulePreview(ApiView):
    """What a schedule would come to."""

    @extend_schema(
        operation_id="preview_schedule",
        tags=TAGS,
        request=ScheduleMembers,
        responses={200: PreviewShape, **problems(400, 401, 403)},
    )
    def post(self, request: Request) -> Response:
        """Tell the next 20 runs of a schedule, and whether vPlus can keep it. Nothing is written."""
        self.actor.require(Right.READ)
        moment = now()
        promise, wrong = promise_of_draft(draft_of_form(checked(ScheduleMembers, request.data)))
        if promise is None or wrong:
            raise Invalid(wrong)
        plan = admit(promise, moment)
        refused = plan if isinstance(plan, CannotCarry) else None
        shape = {
            "sentence": schedule_words.sentence(promise),
            "works": refused is None,
            "refusal": schedule_words.refusal(refused) if refused else None,
            "alternatives": [members_of(other) for other in refused.alternatives] if refused else [],
            "next_runs": [
                {"at": run.utc, "local": run.local.isoformat(), "note": schedule_words.note(run)}
                for run in ([] if refused else next_runs(promise, RUNS, moment))
            ],
        }
        return Response(PreviewShape(shape).data)


def _schedule(actor: Actor, schedule_id: UUID) -> Schedule:
    row = visible.schedules(actor).select_related("policy").filter(pk=schedule_id).first()
    if row is None:
        raise NotVisible
    return row


def _change(
    actor: Actor,
    policy_id: UUID,
    version: int | None,
    changed: Callable[[Schedules], Schedules],
    schedule_id: UUID | None = None,
) -> Operation:
    """Ask for a policy with other schedules; what is wrong with this one (None: the last) is said by its own fields.

    Without a version it is the policy as it is now, which is enough for who adds or deletes: nothing else is replaced.
    """
    policy = changeable(actor, policy_id)
    version = policy.version if version is None else version
    before = draft_of(policy)
    after = replace(before, schedules=changed(list(before.schedules)))
    ids = [one.id for one in after.schedules]
    number = ids.index(schedule_id) if schedule_id in ids else len(ids) - 1  # another may have removed it meanwhile
    try:
        return request_policy_change(actor, policy_id, after, version=version, now=now())
    except Invalid as problem:
        prefix = f"schedules.{number}."
        errors: dict[str, Any] = {name.removeprefix(prefix): texts for name, texts in problem.errors.items()}
        raise Invalid(errors) from problem

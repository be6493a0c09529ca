"""For the provider: operations that need a person, what is known of each, and the three exits."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Form, Moment, Text, problems
from portal.api.operator_virtual_machines import TAGS, TenantBrief
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import OperatorView, checked, now
from vplus_bridge import keyset
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.mirror.read_state import TASKS, read_at
from vplus_bridge.operations import attention
from vplus_bridge.operations.models import Attempt, Operation
from vplus_bridge.operations.words import error_words


class ProviderOperationShape(serializers.Serializer[Mapping[str, Any]]):
    """An operation as the provider sees it."""

    id = serializers.UUIDField()
    tenant = TenantBrief()
    kind = serializers.CharField()
    state = serializers.CharField()
    virtual_machine = serializers.CharField(allow_null=True, help_text="guid")
    virtual_machine_name = serializers.CharField(allow_blank=True)
    requested_by = serializers.CharField()
    requested_at = Moment()
    send_until = Moment()
    last_news_at = Moment(allow_null=True)
    code = serializers.CharField(allow_null=True, help_text="Why it needs a person, or failed")
    message = serializers.CharField(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField(), help_text="codes")
    vendor_text = serializers.CharField(allow_null=True, help_text="vPlus's own words")
    reference = serializers.CharField(allow_blank=True)


class AttemptShape(serializers.Serializer[Mapping[str, Any]]):
    """One write: what was sent, and what became of it."""

    action = serializers.CharField(help_text="export, restore, cancel and others")
    number = serializers.IntegerField()
    sent_at = Moment(allow_null=True, help_text="null: nothing was sent")
    stamp = Moment(allow_null=True, help_text="The windowStart by which its task is looked for")
    body = serializers.CharField(allow_null=True, help_text="Exactly what was sent")
    outcome = serializers.CharField(allow_null=True, help_text="not_accepted, refused, accepted, uncertain")
    reason = serializers.CharField(allow_null=True)
    status_code = serializers.IntegerField(allow_null=True)
    vendor_text = serializers.CharField(allow_null=True)
    task = serializers.CharField(allow_null=True, help_text="guid of the task that it made")


class FoundTaskShape(serializers.Serializer[Mapping[str, Any]]):
    """A task of vPlus, as it was read."""

    guid = serializers.CharField()
    type = serializers.CharField()
    state = serializers.CharField()
    window_start = Moment(allow_null=True)
    started_at = Moment(allow_null=True)
    finished_at = Moment(allow_null=True)
    first_seen_at = Moment()
    status_info = serializers.CharField(allow_null=True, help_text="vPlus's own words")


class FoundBackupShape(serializers.Serializer[Mapping[str, Any]]):
    """A backup record of vPlus, as it was read."""

    guid = serializers.CharField()
    status = serializers.CharField()
    taken_at = Moment(allow_null=True)
    first_seen_at = Moment()


class KnownShape(ProviderOperationShape):
    """What is known of one operation: what we sent, and what vPlus has."""

    digest = serializers.CharField(help_text="Of all that is known here; give it back to send it again.")
    attempts = AttemptShape(many=True)
    tasks = FoundTaskShape(many=True, help_text="its own")
    candidates = FoundTaskShape(many=True, help_text="could be linked")
    backups = FoundBackupShape(many=True, help_text="of its virtual machine, new since it was sent")


class ReasonForm(Form):
    """Why; the tenant's admins read it in their audit."""

    reason = Text()


class SendAgainForm(ReasonForm):
    """What was known when it was decided."""

    digest = Text(help_text="The operation's digest, as it was read; if something else is known by now, 409.")


class LinkForm(ReasonForm):
    """Which task it made."""

    task = Text(help_text="guid of one of the candidates")


class AttentionList(OperatorView):
    """Operations that need a person."""

    @extend_schema(
        operation_id="operator_operations",
        tags=TAGS,
        parameters=[PageParameters],
        responses={200: page_of(ProviderOperationShape, "ProviderOperation"), **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """List operations of all tenants that need attention, oldest first."""
        wanted = checked(PageParameters, request.query_params)
        rows = attention.waiting().select_related("tenant")
        page = keyset.page_of(rows, attention.OLDEST_FIRST, wanted["cursor"], wanted["page_size"])
        shapes = [_operation(row) for row in page.rows]
        return page_answer(request, page, shapes, ProviderOperationShape, read_at(TASKS)[TASKS])


class AttentionDetail(OperatorView):
    """One operation, for the provider."""

    @extend_schema(
        operation_id="operator_operation",
        tags=TAGS,
        responses={200: KnownShape, **problems(401, 403, 404)},
    )
    def get(self, request: Request, operation_id: UUID) -> Response:
        """Tell what was sent of an operation, and what vPlus has of its virtual machine."""
        del request
        return _known(operation_id)


class LinkTask(OperatorView):
    """The first exit."""

    @extend_schema(
        operation_id="operator_link_task",
        tags=TAGS,
        request=LinkForm,
        responses={200: KnownShape, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, operation_id: UUID) -> Response:
        """Take a task as what the operation made; it is followed from there on."""
        given = checked(LinkForm, request.data)
        attention.link_task(self.provider, operation_id, task_guid=given["task"], reason=given["reason"], now=now())
        return _known(operation_id)


class SendAgain(OperatorView):
    """The second exit."""

    @extend_schema(
        operation_id="operator_send_again",
        tags=TAGS,
        request=SendAgainForm,
        responses={200: KnownShape, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, operation_id: UUID) -> Response:
        """Send it once more. Only if nothing arrived: a restore that ran twice makes two virtual machines."""
        given = checked(SendAgainForm, request.data)
        attention.send_again(self.provider, operation_id, reason=given["reason"], shown=given["digest"], now=now())
        return _known(operation_id)


class Abandon(OperatorView):
    """The third exit."""

    @extend_schema(
        operation_id="operator_abandon",
        tags=TAGS,
        request=ReasonForm,
        responses={200: KnownShape, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, operation_id: UUID) -> Response:
        """End it as failed: nobody looks for its work any more."""
        given = checked(ReasonForm, request.data)
        attention.abandon(self.provider, operation_id, reason=given["reason"], now=now())
        return _known(operation_id)


def _known(operation_id: UUID) -> Response:
    known = attention.known(operation_id)
    return Response(
        KnownShape(
            {
                **_operation(known.operation),
                "digest": known.digest,
                "attempts": [_attempt(attempt) for attempt in known.attempts],
                "tasks": _tasks(known.linked),
                "candidates": _tasks(known.candidates),
                "backups": [_backup(backup) for backup in known.backups],
            }
        ).data
    )


def _operation(row: Operation) -> dict[str, Any]:
    return {
        "id": row.pk,
        "tenant": {"slug": row.tenant.slug, "name": row.tenant.name},
        "kind": row.kind,
        "state": row.state,
        "virtual_machine": row.virtual_machine_guid or None,
        "virtual_machine_name": row.virtual_machine_name,
        "requested_by": row.requested_by_name,
        "requested_at": row.requested_at,
        "send_until": row.send_until,
        "last_news_at": row.last_news_at,
        "code": row.error_code or None,
        "message": str(error_words(row.error_code, row.kind).cause) if row.error_code else None,
        "warnings": row.warnings,
        "vendor_text": row.vendor_text or None,
        "reference": row.reference,
    }


def _attempt(row: Attempt) -> dict[str, Any]:
    return {
        "action": row.step.action,
        "number": row.number,
        "sent_at": row.sent_at,
        "stamp": row.stamp,
        "body": row.body or None,
        "outcome": row.outcome or None,
        "reason": row.outcome_reason or None,
        "status_code": row.status_code,
        "vendor_text": row.vendor_text or None,
        "task": row.task_guid or row.target_guid or None,
    }


def _tasks(rows: Sequence[Task]) -> list[dict[str, Any]]:
    return [
        {
            "guid": row.guid,
            "type": row.type,
            "state": row.state,
            "window_start": row.window_start,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "first_seen_at": row.first_seen_at,
            "status_info": row.status_info or None,
        }
        for row in rows
    ]


def _backup(row: Backup) -> dict[str, Any]:
    return {"guid": row.guid, "status": row.status, "taken_at": row.taken_at, "first_seen_at": row.first_seen_at}

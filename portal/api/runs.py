"""What was promised to a virtual machine against what was done."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Moment, problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import ApiView, checked
from vplus_bridge import keyset
from vplus_bridge.ownership import visible
from vplus_bridge.protection import strip
from vplus_bridge.protection.ledger_models import ExpectedRun
from vplus_bridge.protection.words import run_words


class RunShape(serializers.Serializer[Mapping[str, Any]]):
    """One run that a schedule promised, and what became of it."""

    due_at = Moment(help_text="When the schedule was to fire")
    window_end = Moment(help_text="Until when it might start")
    backup_type = serializers.CharField(help_text="FULL, INCREMENTAL: what the schedule asks for")
    outcome = serializers.CharField(
        help_text="waiting, running, stored, failed, cancelled, missed (did not happen), excused (not known)"
    )
    reason = serializers.CharField(allow_null=True, help_text="One sentence; null: the outcome says it all")
    next_step = serializers.CharField(allow_null=True, help_text="What to do; null: nothing")
    started_at = Moment(allow_null=True)
    task = serializers.CharField(allow_null=True, help_text="guid of the export")
    backup = serializers.CharField(allow_null=True, help_text="guid of the backup record")


class RunList(ApiView):
    """The expected runs of one virtual machine."""

    @extend_schema(
        operation_id="virtual_machine_runs",
        tags=["virtual machines"],
        parameters=[PageParameters],
        responses={200: page_of(RunShape, "Run"), **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request, guid: str) -> Response:
        """List what schedules promised to a virtual machine against what was done: the runs that were due, newest first."""
        wanted = checked(PageParameters, request.query_params)
        machine = visible.virtual_machine(self.actor, guid)
        rows = strip.runs_of(self.actor, guid).filter(due_at__lte=datetime.now(UTC)).order_by()
        page = keyset.page_of(rows, strip.NEWEST_RUNS, wanted["cursor"], wanted["page_size"])
        return page_answer(request, page, [_shape(run) for run in page.rows], RunShape, machine.history_read_at)


def _shape(run: ExpectedRun) -> dict[str, Any]:
    words = run_words(run.outcome, run.why)
    return {
        "due_at": run.due_at,
        "window_end": run.window_end,
        "backup_type": run.backup_type,
        "outcome": run.outcome,
        "reason": words.sentence or None,
        "next_step": words.next_step or None,
        "started_at": run.started_at,
        "task": run.task_guid or None,
        "backup": run.backup_guid or None,
    }

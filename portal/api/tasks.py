"""Tasks: what vPlus does, also what no operation of ours asked for; answered from the mirror."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Moment, Named, OneOf, problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import ApiView, checked
from tenants.rights import Actor
from vplus_bridge import keyset
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.models import UNKNOWN, Task
from vplus_bridge.mirror.read_state import TASKS, read_at
from vplus_bridge.mirror.tasks import in_state
from vplus_bridge.mirror.words import task_reason
from vplus_bridge.operations import visible as visible_operations
from vplus_bridge.ownership import visible
from vplus_bridge.protection import visible as schedules

NEWEST_FIRST = Keyset("-first_seen_at", (Key("first_seen_at", descending=True), Key("guid")))
STATES = ("QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED", UNKNOWN)


class TaskShape(serializers.Serializer[Mapping[str, Any]]):
    """A task of vPlus. A task that has finished is no backup: see the operation or the backup for that."""

    guid = serializers.CharField()
    type = serializers.CharField(help_text="vPlus's own: EXPORT, STORE, RESTORE, IMPORT and others")
    state = serializers.CharField(
        help_text="vPlus's own: QUEUED, RUNNING, FINISHED, FAILED, CANCELLED; UNKNOWN: it forgot it before it told its end"
    )
    progress = serializers.FloatField(allow_null=True, help_text="0 to 100; null: not given")
    virtual_machine = Named(allow_null=True)
    backup = serializers.CharField(allow_null=True, help_text="Guid of the backup it works on; null: not known")
    schedule = serializers.CharField(
        allow_null=True,
        help_text="The schedule it was born of: its id, or vPlus's guid where it has none here; null: not known",
    )
    operation = serializers.UUIDField(allow_null=True, help_text="Operation it belongs to; null: nobody asked here")
    window_start = Moment(allow_null=True)
    window_end = Moment(allow_null=True)
    started_at = Moment(allow_null=True)
    finished_at = Moment(allow_null=True)
    priority = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField(allow_null=True, help_text="Why it ended without its work done; null: nothing wrong")
    as_of = Moment(allow_null=True)


TaskPage = page_of(TaskShape, "Task")


class TaskParameters(PageParameters):
    """Which tasks; a filter that matches nothing gives an empty list."""

    virtual_machine = serializers.CharField(default="", allow_blank=True, help_text="guid")
    backup = serializers.CharField(default="", allow_blank=True, help_text="guid")
    schedule = serializers.CharField(
        default="", allow_blank=True, help_text="id of a schedule, or vPlus's guid of one that has no id here"
    )
    state = OneOf(STATES, default="", allow_blank=True)
    type = serializers.RegexField(
        r"^[A-Z_]{1,40}$",
        default="",
        allow_blank=True,
        help_text="vPlus's own name, such as EXPORT or STORE",
        error_messages={"invalid": "Use a type of vPlus in capital letters, such as EXPORT, STORE, RESTORE or IMPORT."},
    )


class TaskList(ApiView):
    """Tasks of the visible virtual machines."""

    @extend_schema(
        operation_id="tasks",
        tags=["tasks"],
        parameters=[TaskParameters],
        responses={200: TaskPage, **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """List tasks, newest first; those that schedules made are among them."""
        wanted = checked(TaskParameters, request.query_params)
        actor = self.actor
        rows = visible_operations.tasks_of_backup(actor, wanted["backup"]) if wanted["backup"] else visible.tasks(actor)
        for parameter, column in (
            ("virtual_machine", "virtual_machine_guid"),
            ("type", "type"),
        ):
            if wanted[parameter]:
                rows = rows.filter(**{column: wanted[parameter]})
        if wanted["schedule"]:
            rows = rows.filter(schedule_guid__in=schedules.carried_by(actor, wanted["schedule"]))
        if wanted["state"]:
            rows = in_state(rows, wanted["state"])
        return tasks_answer(request, actor, rows, cursor=wanted["cursor"], size=wanted["page_size"])


def tasks_answer(request: Request, actor: Actor, rows: QuerySet[Task], *, cursor: str, size: int) -> Response:
    """Return the answer with one page of tasks, newest first."""
    page = keyset.page_of(rows, NEWEST_FIRST, cursor, size)
    as_of = read_at(TASKS)[TASKS]
    return page_answer(request, page, task_shapes(actor, page.rows, as_of), TaskShape, as_of)


def task_shapes(actor: Actor, tasks: Sequence[Task], as_of: datetime | None) -> list[dict[str, Any]]:
    """Return tasks as TaskShape knows them, in the same number of SQL statements however many they are."""
    operations = visible_operations.operations_of_tasks(actor, [task.guid for task in tasks])
    named = {task.virtual_machine_guid for task in tasks if task.virtual_machine_guid}
    machines = dict(visible.virtual_machines(actor).filter(guid__in=named).values_list("guid", "name"))
    ids = schedules.our_ids(actor, {task.schedule_guid for task in tasks if task.schedule_guid})
    shapes = []
    for task in tasks:
        operation = operations.get(task.guid)
        guid = task.virtual_machine_guid
        name = machines.get(guid) or (operation.virtual_machine_name if operation else "")
        shapes.append(
            {
                "guid": task.guid,
                "type": task.type,
                "state": task.known_state,
                "progress": task.progress,
                "virtual_machine": {"guid": guid, "name": name} if guid else None,
                "backup": task.backup_guid or (operation.backup_guid if operation else "") or None,
                "schedule": ids.get(task.schedule_guid) or task.schedule_guid or None,
                "operation": operation.pk if operation else None,
                "window_start": task.window_start,
                "window_end": task.window_end,
                "started_at": task.started_at,
                "finished_at": task.finished_at,
                "priority": task.priority,
                "reason": task_reason(task),
                "as_of": as_of,
            }
        )
    return shapes

"""Virtual machines, also those that no longer exist, with their backups, restore points and tasks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.backups import NEWEST_FIRST, BackupShape, backup_shapes
from portal.api.fields import Moment, OneOf, YesNoParameter, problems
from portal.api.operation_shapes import OperationBrief, operation_brief
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.tasks import TaskPage, tasks_answer
from portal.api.views import ApiView, checked
from tenants.rights import Actor
from vplus_bridge import keyset
from vplus_bridge.mirror import listing
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.mirror.read_state import INVENTORY, read_at
from vplus_bridge.operations import visible as visible_operations
from vplus_bridge.operations.actions import allowed_actions
from vplus_bridge.operations.models import Operation
from vplus_bridge.ownership import visible
from vplus_bridge.protection.visible import policies_by_name
from vplus_bridge.protection.words import because

TAGS = ["virtual machines"]


class ProtectionShape(serializers.Serializer[Mapping[str, Any]]):
    """The portal's verdict."""

    status = serializers.CharField(help_text="protected, at_risk, not_protected, unknown")
    reason = serializers.CharField(help_text="One sentence")
    next_step = serializers.CharField(allow_null=True, help_text="What to do; null: nothing")
    promise_seconds = serializers.IntegerField(
        allow_null=True, help_text="How old the newest restore point may be; null: no promise is known"
    )


class PolicyShape(serializers.Serializer[Mapping[str, Any]]):
    """The policy that a virtual machine is in; one that is not the tenant's bears no ids and no name of its own."""

    id = serializers.UUIDField(allow_null=True, help_text="As /policies/ knows it")
    guid = serializers.CharField(allow_null=True, help_text="As vPlus knows it")
    name = serializers.CharField(allow_blank=True)


class PointBrief(serializers.Serializer[Mapping[str, Any]]):
    """A restore point in short; whole below .../restore-points/."""

    guid = serializers.CharField()
    taken_at = Moment(allow_null=True, help_text="null: the server does not tell; such a point never counts as recent")


class VirtualMachineShape(serializers.Serializer[Mapping[str, Any]]):
    """A virtual machine."""

    guid = serializers.CharField()
    uuid = serializers.CharField(allow_null=True, help_text="The platform's own id; null: not given")
    name = serializers.CharField(allow_blank=True)
    present = serializers.BooleanField(help_text="vPlus's word: it is on the platform.")
    absent_since = Moment(
        allow_null=True,
        help_text="Since when the portal saw it gone; null: it is there, or was gone before it was first seen.",
    )
    protection = ProtectionShape()
    policy = PolicyShape(allow_null=True)
    last_backup_at = Moment(allow_null=True, help_text="Point in time of the last good backup")
    last_backup_type = serializers.CharField(allow_null=True, help_text="FULL, INCREMENTAL")
    last_backup_size = serializers.IntegerField(allow_null=True, help_text="bytes")
    last_full_backup_at = Moment(allow_null=True)
    last_full_backup_size = serializers.IntegerField(allow_null=True, help_text="bytes")
    restore_point_count = serializers.IntegerField()
    newest_restore_point = PointBrief(allow_null=True)
    active_operation = OperationBrief(allow_null=True, help_text="The newest that has not ended")
    next_run_at = Moment(allow_null=True, help_text="Next run of a schedule; null: none is known to the portal")
    allowed_actions = serializers.ListField(
        child=serializers.CharField(), help_text="What you can ask for now: back_up"
    )
    as_of = Moment(allow_null=True)


class VirtualMachineParameters(PageParameters):
    """Which virtual machines, and in which order."""

    search = serializers.CharField(default="", allow_blank=True, help_text="Part of a name, or a whole guid or uuid")
    status = OneOf(
        listing.STATUSES,
        default="",
        allow_blank=True,
        help_text="A verdict, of those that are there; or gone: no longer on the platform",
    )
    present = YesNoParameter(help_text="vPlus's word. One that listings lost without a word is gone all the same.")
    policy = serializers.CharField(
        default="", allow_blank=True, help_text="Name or guid of a policy; none; or provider: one that is not yours"
    )
    has_restore_point = YesNoParameter()
    ordering = OneOf(
        listing.ORDERINGS,
        default=listing.DEFAULT_ORDERING,
        help_text="attention: worst first, then oldest restore point. What has no value comes last.",
    )


class VirtualMachineList(ApiView):
    """The virtual machines that one sees."""

    @extend_schema(
        operation_id="virtual_machines",
        tags=TAGS,
        parameters=[VirtualMachineParameters],
        responses={200: page_of(VirtualMachineShape, "VirtualMachine"), **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """List virtual machines, worst first unless asked otherwise."""
        wanted = checked(VirtualMachineParameters, request.query_params)
        size, cursor = wanted.pop("page_size"), wanted.pop("cursor")
        query = listing.VirtualMachineQuery(**wanted)
        rows = listing.filtered(visible.virtual_machines(self.actor), query)
        page = listing.page_of(rows, query.ordering, cursor, size)
        as_of = read_at(INVENTORY)[INVENTORY]
        return page_answer(request, page, _machine_shapes(self.actor, page.rows, as_of), VirtualMachineShape, as_of)


class VirtualMachineDetail(ApiView):
    """One virtual machine."""

    @extend_schema(
        operation_id="virtual_machine",
        tags=TAGS,
        responses={200: VirtualMachineShape, **problems(401, 403, 404)},
    )
    def get(self, request: Request, guid: str) -> Response:
        """Tell what is known of one virtual machine."""
        del request
        machine = visible.virtual_machine(self.actor, guid)
        shape = _machine_shapes(self.actor, [machine], read_at(INVENTORY)[INVENTORY])[0]
        return Response(VirtualMachineShape(shape).data)


class BackupList(ApiView):
    """Every backup of one virtual machine."""

    @extend_schema(
        operation_id="virtual_machine_backups",
        tags=TAGS,
        parameters=[PageParameters],
        responses={200: page_of(BackupShape, "Backup"), **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request, guid: str) -> Response:
        """List every backup of a virtual machine, good or not, newest first."""
        machine = visible.virtual_machine(self.actor, guid)
        return _backups_answer(request, self.actor, machine, visible.backups(self.actor, guid))


class RestorePointList(ApiView):
    """The restore points of one virtual machine."""

    @extend_schema(
        operation_id="virtual_machine_restore_points",
        tags=TAGS,
        parameters=[PageParameters],
        responses={200: page_of(BackupShape, "RestorePoint"), **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request, guid: str) -> Response:
        """List the backups of a virtual machine that one can restore, newest first; those without a time come last."""
        machine = visible.virtual_machine(self.actor, guid)
        return _backups_answer(request, self.actor, machine, visible.restore_points(self.actor, guid))


class MachineTaskList(ApiView):
    """The tasks of one virtual machine."""

    @extend_schema(
        operation_id="virtual_machine_tasks",
        tags=TAGS,
        parameters=[PageParameters],
        responses={200: TaskPage, **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request, guid: str) -> Response:
        """List the tasks of a virtual machine, newest first."""
        wanted = checked(PageParameters, request.query_params)
        machine = visible.virtual_machine(self.actor, guid)
        rows = visible.tasks(self.actor).filter(virtual_machine_guid=machine.guid)
        return tasks_answer(request, self.actor, rows, cursor=wanted["cursor"], size=wanted["page_size"])


def _backups_answer(request: Request, actor: Actor, machine: VirtualMachine, rows: QuerySet[Backup]) -> Response:
    wanted = checked(PageParameters, request.query_params)
    page = keyset.page_of(rows, NEWEST_FIRST, wanted["cursor"], wanted["page_size"])
    return page_answer(request, page, backup_shapes(actor, machine, page.rows), BackupShape, machine.history_read_at)


def _machine_shapes(actor: Actor, machines: Sequence[VirtualMachine], as_of: datetime | None) -> list[dict[str, Any]]:
    active = visible_operations.active_by_machine(actor, [machine.guid for machine in machines])
    held = policies_by_name(actor, {machine.policy_label for machine in machines})
    return [
        _machine_shape(actor, machine, active.get(machine.guid, []), held.get(machine.policy_label), as_of)
        for machine in machines
    ]


def _machine_shape(
    actor: Actor,
    machine: VirtualMachine,
    active: Sequence[Operation],
    policy_id: UUID | None,
    as_of: datetime | None,
) -> dict[str, Any]:
    why = because(machine, timezone.now())
    newest = {"guid": machine.newest_point_guid, "taken_at": machine.newest_point_at}
    return {
        "guid": machine.guid,
        "uuid": machine.uuid or None,
        "name": machine.name,
        "present": machine.present,
        "absent_since": machine.gone_since if machine.gone else None,
        "protection": {
            "status": machine.protection_status,
            "reason": why.sentence,
            "next_step": (why.next_step or None) if not machine.gone else None,  # all of them are of backups to come
            "promise_seconds": machine.promise_seconds,
        },
        "policy": _policy(machine, policy_id),
        "last_backup_at": machine.last_backup_at,
        "last_backup_type": machine.last_backup_type or None,
        "last_backup_size": machine.last_backup_size,
        "last_full_backup_at": machine.last_full_backup_at,
        "last_full_backup_size": machine.last_full_backup_size,
        "restore_point_count": machine.restore_point_count,
        "newest_restore_point": newest if machine.newest_point_guid else None,
        "active_operation": operation_brief(active[0]) if active else None,
        "next_run_at": None if machine.gone else machine.next_run_at,
        "allowed_actions": allowed_actions(actor, machine, active),
        "as_of": as_of,
    }


def _policy(machine: VirtualMachine, policy_id: UUID | None) -> dict[str, Any] | None:
    if machine.policy_label:
        return {"id": policy_id, "guid": machine.policy_guid or None, "name": machine.policy_label}
    in_policy = machine.policy_guid or machine.policy_name
    return {"id": None, "guid": None, "name": _("A policy of your provider")} if in_policy else None

"""What can be asked for by POST /operations/: for each kind its members, and the service that takes the wish."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers

from portal.api.fields import Form, Moment, OneOf, Text, WholeNumber
from portal.api.views import checked
from tenants.refusals import Invalid
from tenants.rights import Actor
from vplus_bridge.operations import cancel
from vplus_bridge.operations.moves import Kind
from vplus_bridge.operations.request import BACKUP_TYPES, MOST_AT_ONCE, Asked, BackupWish, request_backups
from vplus_bridge.operations.restore_request import RestoreWish, request_restore


class BackupForm(Form):
    """A backup. What is left out gets its default; members that are not named here are refused."""

    kind = OneOf([Kind.BACKUP])
    virtual_machines = serializers.ListField(
        child=Text(), help_text=f"guids, at most {MOST_AT_ONCE}; one operation is made for each"
    )
    backup_type = OneOf(BACKUP_TYPES, required=False, help_text="default FULL")
    destination = Text(required=False, help_text="guid; default: the last one used, or the only one allowed")
    priority = WholeNumber(required=False, help_text="0 to 100, default 50")
    window_start = Moment(required=False, help_text="default: now")
    window_end = Moment(required=False, help_text="default: 6 hours after its start")


class RestoreForm(Form):
    """A restore: a new virtual machine from a restore point. An existing one is never touched."""

    kind = OneOf([Kind.RESTORE])
    restore_point = Text(help_text="guid of a restore point")
    target = Text(required=False, help_text="id of a restore target; default: where it was, or the only one allowed")
    restored_name = Text(
        required=False,
        help_text="default: the virtual machine's own with a code by which the portal knows the new one as yours; "
        "under a name without it the new one may have to wait for your provider",
    )
    send_until = Moment(required=False, help_text="nothing is sent after it; default: 6 hours from now")


class CancelTaskForm(Form):
    """An end of a task that no operation made: one of a schedule, or one that somebody started in vPlus."""

    kind = OneOf([Kind.CANCEL_TASK])
    task = Text(help_text="guid")


def _backup(actor: Actor, given: dict[str, Any], now: datetime) -> Asked:
    return request_backups(actor, BackupWish(**given), now=now)


def _restore(actor: Actor, given: dict[str, Any], now: datetime) -> Asked:
    return request_restore(actor, RestoreWish(**given), now=now)


def _cancel_task(actor: Actor, given: dict[str, Any], now: datetime) -> Asked:
    operation, before = cancel.request_task_cancel(actor, given["task"], now=now)
    return Asked([operation], {operation.pk} if before else set())


@dataclass(frozen=True)
class Askable:
    """One kind: the members it takes, and who takes them."""

    form: type[Form]
    service: Callable[[Actor, dict[str, Any], datetime], Asked]


KINDS: Mapping[str, Askable] = {
    Kind.BACKUP: Askable(BackupForm, _backup),
    Kind.RESTORE: Askable(RestoreForm, _restore),
    Kind.CANCEL_TASK: Askable(CancelTaskForm, _cancel_task),
}


def ask(actor: Actor, data: Any, now: datetime) -> Asked:
    """Take a wish as it was sent; raise the refusals of the service that is asked, and Invalid or ValidationError."""
    kind = data.get("kind") if isinstance(data, Mapping) else None
    askable = KINDS.get(kind) if isinstance(kind, str) else None
    if askable is None:
        # Checked first: what else there may be follows from it.
        listed = ", ".join(KINDS)
        wrong = "This field is required." if kind is None else "This cannot be asked for."
        raise Invalid({"kind": [f"{wrong} What works is: {listed}."]})
    given = checked(askable.form, data)
    given.pop("kind")
    return askable.service(actor, given, now)


def wish_forms() -> PolymorphicProxySerializer:
    """Return what the OpenAPI document says of a wish: one of the forms, told apart by ``kind``."""
    return PolymorphicProxySerializer(
        component_name="Wish",
        serializers={str(kind): askable.form for kind, askable in KINDS.items()},
        resource_type_field_name="kind",
    )

"""What the page of a restore says: what was asked, what came of it, and the way on to the new virtual machine."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.web import shown
from portal.web.wording import moments
from tenants.rights import Actor, Right
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import State
from vplus_bridge.ownership import visible


@dataclass(frozen=True)
class Origin:
    """Where a virtual machine came from: its source, and the moment it went back to."""

    name: str
    url: str
    when: str
    operation_url: str


def asked_facts(actor: Actor, row: Operation, now: datetime) -> list[tuple[str, str]]:
    """Return what was asked for, as words and texts; an empty text is left out by the caller."""
    zone = timezone.get_current_timezone()
    point = visible.backups(actor, row.virtual_machine_guid).filter(guid=row.restore_point_guid).first()
    taken = ""
    if point and point.taken_at:
        taken = f"{moments.exact_words(point.taken_at, now, zone)} · {moments.utc_words(point.taken_at)}"
    return [
        (_("New name"), row.restored_name),
        (_("Go back to"), taken or _("a point whose time is not given")),
        (_("Where"), row.plan.get("target_label", "")),
        (_("Sent no later than"), moments.clock_words(row.send_until, now, zone)),
    ]


def outcome_words(actor: Actor, row: Operation) -> str:
    """Return the sentence of a restore that succeeded: whether the new virtual machine is known, and seen, by now."""
    if row.restored_vm_guid:
        name = {"name": row.restored_name}
        if new_machine(actor, row) is not None:
            return _("Restored. %(name)s is among the virtual machines.") % name
        if not actor.sees_all:
            return _("Restored. Ask an admin to grant %(name)s to you.") % name
        return _("Restored. %(name)s is not among your virtual machines any more. Ask your provider.") % name
    listed = _("Restored, not yet listed.")
    if row.plan.get("code"):
        words = _("The inventory is read every %(time)s; the new virtual machine appears here.")
        return f"{listed} {words % {'time': moments.duration_words(settings.VPLUS_INVENTORY_SECONDS)}}"
    return f"{listed} {_('Your provider confirms that it is yours, since its name does not carry the code of the portal.')}"


def result_facts(actor: Actor, row: Operation) -> list[tuple[str, str]]:
    """Return what came of it, as words and texts: the new virtual machine, where one sees it, and how long it took."""
    new = new_machine(actor, row)
    facts = [(_("New virtual machine"), new.name)] if new else []
    if row.state == State.SUCCEEDED and row.started_at and row.finished_at:
        facts.append((_("Took"), moments.duration_words((row.finished_at - row.started_at).total_seconds())))
    return facts


def way_on(actor: Actor, row: Operation) -> dict[str, str] | None:
    """Return the one button at the end: to the new virtual machine, to look again while it is not listed, or to try again.

    None where none of these helps.
    """
    slug = actor.tenant_slug
    if row.state == State.SUCCEEDED and (new := new_machine(actor, row)):
        url = shown.machine_url("vm_detail", slug, new.guid)
        return {"url": url, "word": _("Open %(name)s") % {"name": new.name}, "icon_name": "server-2"}
    if row.state == State.SUCCEEDED and not row.restored_vm_guid:
        return {"url": shown.operation_url(row, slug), "word": _("Look again"), "icon_name": "refresh"}
    may = actor.may(Right.RESTORE, row.virtual_machine_guid)
    if row.state in {State.FAILED, State.CANCELLED} and may and row.error_code != "vm_not_yours":
        # What is gone cannot be asked for again; the page chooses the newest then.
        point = "" if row.error_code == "point_gone" else row.restore_point_guid
        again = shown.restore_url(slug, row.virtual_machine_guid, point)
        return {"url": again, "word": _("Try again"), "icon_name": "refresh"}
    return None


def new_machine(actor: Actor, row: Operation) -> VirtualMachine | None:
    """Return the virtual machine that a restore made, where it is known and the actor sees it."""
    if not row.restored_vm_guid:
        return None
    return visible.virtual_machines(actor).filter(guid=row.restored_vm_guid).first()


def origin_of(actor: Actor, machine: VirtualMachine, now: datetime) -> Origin | None:
    """Return where a machine was restored from; None where it was not, or where the actor does not see that."""
    row = operations.operations(actor).filter(restored_vm_guid=machine.guid).order_by("-requested_at").first()
    if row is None:
        return None
    point = visible.backups(actor, row.virtual_machine_guid).filter(guid=row.restore_point_guid).first()
    zone = timezone.get_current_timezone()
    return Origin(
        name=row.virtual_machine_name,
        url=shown.machine_url("vm_detail", actor.tenant_slug, row.virtual_machine_guid),
        when=moments.said_words(point.taken_at, now, zone) if point and point.taken_at else "",
        operation_url=shown.operation_url(row, actor.tenant_slug),
    )

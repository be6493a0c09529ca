"""What rows of several pages show of an operation, a backup or a machine: figures and words, ready for the templates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.web import points
from portal.web.seven_days import Strip
from portal.web.wording import moments, operation_words
from portal.web.wording.badges import Badge, Word, backup_badge, interim_badge, operation_badge, protection_badge
from tenants.rights import Actor
from vplus_bridge.mirror.models import Backup, TimeSource, VirtualMachine
from vplus_bridge.mirror.words import why_failed
from vplus_bridge.operations import cancel
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.actions import BACK_UP, RESTORE, allowed_actions
from vplus_bridge.operations.estimate import seconds_left
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.told import news_number
from vplus_bridge.operations.words import error_words
from vplus_bridge.protection import visible as protection
from vplus_bridge.protection.verdict import Reason
from vplus_bridge.protection.words import because

OPINIONS: Mapping[str, str] = {
    Reason.VPLUS_UP_TO_DATE: "up_to_date",
    Reason.VPLUS_OUTDATED: "outdated",
    Reason.VPLUS_NO_SCHEDULE: "no_schedule",
}


@dataclass(frozen=True)
class Live:
    """Something that runs, inside a row: an operation, or a task that no operation made (then ``id`` says so)."""

    id: str
    news: int
    label: str
    url: str
    stage_word: str
    percent: float | None
    kind_word: str
    eta: float | None


def live(operation: Operation, slug: str, now: datetime) -> Live:
    """Return the running part of a row."""
    return Live(
        id=str(operation.pk),
        news=news_number(operation),
        label=operation_words.title(operation),
        url=operation_url(operation, slug),
        stage_word=operation_words.stage(operation),
        percent=operation.progress,
        kind_word=operation_words.note(operation),
        eta=seconds_left(operation, now),
    )


def operation_url(operation: Operation, slug: str) -> str:
    """Return the address of an operation's page."""
    return reverse("tenant:operation", kwargs={"tenant_slug": slug, "operation_id": operation.pk})


def badge_of_operation(operation: Operation) -> Badge:
    """Return the badge of an operation."""
    stage = operation_words.doing(operation)
    return operation_badge(operation.state, stage=stage, warnings=bool(shown_warnings(operation)))


def shown_warnings(operation: Operation) -> list[str]:
    """Return the codes that make "Done" a "Done with warnings": how we found our task is no trouble of the backup."""
    return [code for code in operation.warnings if code != "identified_by_absence_of_others"]


@dataclass(frozen=True)
class OperationRow:
    """One operation in a table."""

    id: str
    url: str
    what: str
    vm_name: str
    vm_url: str
    started_at: datetime
    badge: Badge
    reason: Word
    live: Live | None
    by: str
    cancel_url: str = ""
    by_url: str = ""


def cancel_url(operation: Operation, slug: str) -> str:
    """Return the address of the page that asks for an end of an operation."""
    return reverse("tenant:operation_cancel", kwargs={"tenant_slug": slug, "operation_id": operation.pk})


def operation_rows(actor: Actor, rows: Sequence[Operation], now: datetime) -> list[OperationRow]:
    """Return operations as table rows; a bar where one runs, the cause where one failed."""
    slug = actor.tenant_slug
    server_can = any(row.active for row in rows) and cancel.can_cancel()
    return [
        OperationRow(
            id=str(row.pk),
            url=operation_url(row, slug),
            what=operation_words.what(row),
            vm_name=row.virtual_machine_name,
            vm_url=machine_url("vm_detail", slug, row.virtual_machine_guid),
            started_at=row.requested_at,
            badge=badge_of_operation(row),
            reason=cause_in_short(row),
            live=live(row, slug, now) if row.active else None,
            by=row.requested_by_name,
            cancel_url=cancel_url(row, slug) if cancel.possible(actor, row, server_can=server_can) else "",
        )
        for row in rows
    ]


def cause_in_short(operation: Operation) -> Word:
    """Return what a row says under the badge: the title of the trouble, or its cause where the badge says the title."""
    if not operation.error_code:
        return ""
    words = error_words(operation.error_code, operation.kind)
    return words.cause if str(words.title) == str(badge_of_operation(operation).word) else words.title


@dataclass(frozen=True)
class MachineRow:
    """One virtual machine in the list."""

    guid: str
    name: str
    url: str
    policy_name: str
    gone: bool
    badge: Badge
    reason: Word
    operation: Live | None
    live: Live | None  # the operation, or else what runs without one
    last_backup_at: datetime | None
    last_backup_size: int | None
    time_not_given: bool
    can_select: bool
    can_back_up: bool
    back_up_url: str
    can_restore: bool = False
    restore_url: str = ""
    strip: Strip | None = None
    policy_url: str = ""


def machine_url(name: str, slug: str, guid: str) -> str:
    """Return the address of one of a machine's pages; empty for what is about no machine."""
    if not guid:
        return ""
    return reverse(f"tenant:{name}", kwargs={"tenant_slug": slug, "guid": guid})


def machine_badge(machine: VirtualMachine) -> Badge:
    """Return the badge of the verdict; what vPlus says where we cannot judge is its word, and never green."""
    opinion = OPINIONS.get(machine.protection_reason)
    if opinion is not None:
        return interim_badge(machine.protection_status, opinion, present=not machine.gone)
    return protection_badge(machine.protection_status, present=not machine.gone)


def policy_words(machine: VirtualMachine) -> str:
    """Return the name of a machine's policy as its tenant may read it; empty where it is in none."""
    if machine.policy_label:
        return machine.policy_label
    return _("A policy of your provider") if machine.policy_guid or machine.policy_name else ""


def machine_rows(
    rows: Sequence[VirtualMachine],
    actor: Actor,
    active: Mapping[str, Sequence[Operation]],
    now: datetime,
    strips: Mapping[str, Strip] | None = None,
    *,
    by_itself: Mapping[str, Live] | None = None,
) -> list[MachineRow]:
    """Return virtual machines as list rows. By guid: ``strips``, where the seven days are shown; ``by_itself``, what
    runs without an operation, where that is shown.
    """
    found = [_machine_row(row, actor, active.get(row.guid, ()), now) for row in rows]
    if by_itself:
        found = [replace(row, live=row.live or by_itself.get(row.guid)) for row in found]
    return [replace(row, strip=strips.get(row.guid)) for row in found] if strips else found


def _machine_row(machine: VirtualMachine, actor: Actor, active: Sequence[Operation], now: datetime) -> MachineRow:
    slug = actor.tenant_slug
    allowed = allowed_actions(actor, machine, active, or_explained=True)
    can_back_up = BACK_UP in allowed
    operation = live(active[0], slug, now) if active else None
    return MachineRow(
        guid=machine.guid,
        name=machine.name,
        url=machine_url("vm_detail", slug, machine.guid),
        policy_name=policy_words(machine),
        gone=machine.gone,
        badge=machine_badge(machine),
        reason=machine_reason(machine, now, brief=True),
        operation=operation,
        live=operation,
        last_backup_at=machine.last_backup_at,
        last_backup_size=machine.last_backup_size,
        time_not_given=machine.restore_point_count > 0 and machine.last_backup_at is None,
        can_select=can_back_up,
        can_back_up=can_back_up,
        back_up_url=back_up_url(slug, [machine.guid]),
        can_restore=RESTORE in allowed,
        restore_url=restore_url(slug, machine.guid),
    )


def back_up_url(slug: str, guids: Sequence[str]) -> str:
    """Return the address of the page that asks for backups of these machines."""
    return f"{reverse('tenant:backup_new', kwargs={'tenant_slug': slug})}?{urlencode([('vm', guid) for guid in guids])}"


def restore_url(slug: str, guid: str, point: str = "") -> str:
    """Return the address of the page that restores a machine, from one point or from its newest."""
    url = reverse("tenant:restore_new", kwargs={"tenant_slug": slug, "guid": guid})
    return f"{url}?{urlencode({'point': point})}" if point else url


def machine_reason(machine: VirtualMachine, now: datetime, *, brief: bool = False) -> Word:
    """Return the sentence beside a machine's badge: why, or since when it is gone and what is left of it."""
    if not machine.gone:
        why = because(machine, now)
        return why.brief if brief else why.sentence
    count = machine.restore_point_count
    kept = ngettext("%(n)d restore point kept.", "%(n)d restore points kept.", count) % {"n": count}
    if count == 0:
        kept = _("No restore point is kept.")
    if machine.gone_since is None:
        return f"{_('Not on the platform.')} {kept}"
    since = moments.said_words(machine.gone_since, now, timezone.get_current_timezone(), weekday=False)
    return f"{_('Not on the platform since %(since)s.') % {'since': since}} {kept}"


@dataclass(frozen=True)
class PointRow:
    """One restore point."""

    guid: str
    at: datetime | None
    seen_at: datetime
    type_word: str
    chain_words: str
    size: int | None
    destination: str
    last_good: bool
    restore_url: str = ""


@dataclass(frozen=True)
class BackupRow:
    """One backup record, good or not."""

    at: datetime
    at_known: bool
    type_word: str
    note: str
    badge: Badge
    size: int | None
    waited: float | None
    exported: float | None
    stored: float | None
    destination: str
    by: str
    reason: Word
    tasks_url: str  # what vPlus did for it


def point_rows(
    points: Iterable[Backup],
    chains: Mapping[str, datetime | None],
    places: Mapping[str, str],
    newest_guid: str,
    now: datetime,
    *,
    restore: str = "",
) -> list[PointRow]:
    """Return restore points as rows. ``chains``: by guid, when the full backup was taken that an incremental needs;
    ``places``: by guid, where each is kept.

    ``restore`` is the address of the machine's page [Restore], empty where one may not.
    """
    return [
        PointRow(
            guid=point.guid,
            at=point.taken_at,
            seen_at=point.first_seen_at,
            type_word=operation_words.type_word(point.type),
            chain_words=_chain_words(point, chains, now),
            size=point.size,
            destination=places[point.guid],
            last_good=point.guid == newest_guid,
            restore_url=f"{restore}?{urlencode({'point': point.guid})}" if restore else "",
        )
        for point in points
    ]


def _chain_words(point: Backup, chains: Mapping[str, datetime | None], now: datetime) -> str:
    taken = chains.get(point.guid)
    if taken is None:
        return ""
    when = moments.said_words(taken, now, timezone.get_current_timezone(), weekday=False)
    return _("needs Full of %(when)s") % {"when": when}


def by_schedule(schedule_guid: str, policies: Mapping[str, str]) -> str:
    """Return whose doing it is: the schedule's policy where that is one's own, else that it was one, else vPlus."""
    if not schedule_guid:
        return "vPlus"
    return policies.get(schedule_guid) or _("Schedule")


def backup_rows(actor: Actor, backups: Sequence[Backup]) -> list[BackupRow]:
    """Return backup records as rows, in the same number of SQL statements however many they are."""
    makers = operations.makers_of(actor, [backup.guid for backup in backups])
    places = points.places(actor, backups, makers)
    of_schedules = operations.schedules_of_backups(actor, backups)
    policies = protection.policy_names_of_schedules(actor, set(of_schedules.values()))
    tasks = reverse("tenant:tasks", kwargs={"tenant_slug": actor.tenant_slug})
    rows = []
    for backup in backups:
        maker, schedule = makers.get(backup.guid), of_schedules.get(backup.guid)
        by = by_schedule(schedule, policies) if schedule else _origin_words(backup.origin_type)
        tasks_url = f"{tasks}?{urlencode({'backup': backup.guid})}"
        by = maker.requested_by_name if maker else by
        rows.append(_backup_row(backup, maker, by=by, destination=places[backup.guid], tasks_url=tasks_url))
    return rows


def _backup_row(backup: Backup, maker: Operation | None, *, by: str, destination: str, tasks_url: str) -> BackupRow:
    fell_back = maker is not None and "full_instead_of_incremental" in maker.warnings
    notes = [_("full instead of incremental")] if fell_back else []
    if backup.taken_at_source == TimeSource.FINISHED:
        notes.append(_("time of the end of the copy"))
    waits = [part for part in (backup.queued_export_seconds, backup.queued_store_seconds) if part is not None]
    return BackupRow(
        at=backup.taken_at or backup.first_seen_at,
        at_known=backup.taken_at is not None,
        type_word=operation_words.type_word(backup.type),
        note=", ".join(notes),
        badge=backup_badge(backup.status),
        size=backup.size or None,
        waited=_spent(sum(waits)),
        exported=_spent(backup.export_seconds),
        stored=_spent(backup.store_seconds),
        destination=destination,
        by=by,
        reason=_failure_words(backup, maker),
        tasks_url=tasks_url,
    )


def _spent(seconds: float | None) -> float | None:
    """Return a length of time that there is something to say of: vPlus gives 0 for what it never came to."""
    return seconds if seconds and seconds >= 1 else None


def _origin_words(origin: str) -> str:
    return {"SCHEDULE": _("Schedule"), "SYSTEM_SCHEDULE": _("Schedule"), "USER": _("The provider")}.get(origin, "")


def _failure_words(backup: Backup, maker: Operation | None) -> Word:
    """Return why a backup failed, in our words: vPlus's own can name hosts and paths, and are the provider's."""
    if backup.status != "FAILED":
        return ""
    if maker is not None and maker.error_code:
        return error_words(maker.error_code).cause
    return why_failed(backup)

"""Backups: one virtual machine's history at a time, whole, and what it adds up to."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet

from tenants.scope import every_tenant
from vplus_bridge.client import BackupRecord, Completeness, VplusClient
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.instants import clean, digest_of, instant, seconds, whole
from vplus_bridge.mirror.models import Backup, Task, TimeSource, VirtualMachine

log = structlog.get_logger(__name__)
REASON = "mirror: backups"
RETRY_AFTER = timedelta(seconds=60)  # a history that could not be read gives way to others for so long
RESTORABLE = ("SUCCESS", "PARTIAL_SUCCESS")
_ENDED_BADLY = ("FAILED", "SUCCESS_REMOVED")
_WRITTEN = [
    "digest", "changed_at", "status", "status_info", "type", "taken_at", "taken_at_source", "finished_at", "size",
    "queued_export_seconds", "export_seconds", "queued_store_seconds", "store_seconds", "parent_guid", "destination_guid",
    "origin_type", "origin_guid", "warnings", "warnings_present", "gone_at",
]  # fmt: skip


# Gives the backups of these machines that are nobody's yet to their owners, in the transaction that writes them.
Attribute = Callable[[Collection[str]], None]


@dataclass
class HistoryRead:
    """What one reading of a history did to the mirror. ``outdated``: a later reading was written first, so nothing."""

    virtual_machine_guid: str
    changed: set[str] = field(default_factory=set)
    complete: bool = False
    outdated: bool = False


@dataclass
class _Listed:
    """What one listing of a virtual machine's backups held. ``foreign``: others' were among them."""

    records: list[BackupRecord]
    foreign: bool
    completeness: Completeness

    def merged(self, other: "_Listed") -> "_Listed":
        """Take in another listing of the same: what either holds is there; whole only where both were."""
        by_guid = {record.guid: record for record in (*self.records, *other.records)}
        lesser = self.completeness if not self.completeness.complete else other.completeness
        return _Listed(list(by_guid.values()), self.foreign or other.foreign, lesser)


def read_history(client: VplusClient, vm_guid: str, attribute: Attribute) -> HistoryRead:
    """Read all backups of one virtual machine, write what changed, sum up. Raises VplusError; then nothing is written.

    A list that comes without a number of rows may be short and nobody could tell: where one lacks a backup that is
    known it is asked for once more, and only what both lack is gone.

    Two workers may read one history at the same time; the answer to the later question stands.
    """
    with every_tenant(REASON):
        asked_at = database_now()
        VirtualMachine.objects.filter(guid=vm_guid).update(history_tried_at=asked_at)
    listed = _list(client, vm_guid)
    if listed.completeness.unproven and _lacks_known(vm_guid, listed.records):
        listed = listed.merged(_list(client, vm_guid))
    records, read = listed.records, HistoryRead(vm_guid, complete=listed.completeness.complete)
    with every_tenant(REASON):
        machine = VirtualMachine.objects.select_for_update().filter(guid=vm_guid).first()
        if machine is None or (machine.history_read_at is not None and machine.history_read_at > asked_at):
            read.complete, read.outdated = False, True
            return read
        if _filter_ignored(vm_guid, records, foreign=listed.foreign):
            log.warning("vPlus's list of one machine's backups holds others'", virtual_machine=vm_guid)
            records, read.complete = [record for record in records if record.vm_guid == vm_guid], False
        read.changed = _write(vm_guid, records, whole_history=read.complete)
        if read.changed:
            attribute([vm_guid])
        _sum_up(vm_guid)
        if read.complete:
            _note_read(vm_guid, asked_at)
    return read


def sum_up(vm_guids: Iterable[str]) -> None:
    """Write anew what these histories add up to, in the open wide scope: after some of it became another tenant's."""
    for guid in vm_guids:
        _sum_up(guid)


def with_history_of_others(vm_guids: Iterable[str]) -> set[str]:
    """Return those of these virtual machines of whose backups some are another tenant's, in the open wide scope."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT vm.guid FROM vplus_bridge_virtualmachine vm
                JOIN vplus_bridge_backup backup ON backup.virtual_machine_guid = vm.guid
            WHERE vm.guid = ANY(%s) AND backup.tenant_id <> vm.tenant_id
            """,
            [list(vm_guids)],
        )
        return {guid for (guid,) in cursor.fetchall()}


def _list(client: VplusClient, vm_guid: str) -> _Listed:
    listing = client.backups(vm_guid)
    records, foreign = list[BackupRecord](), False
    for page in listing:
        # The filter is never trusted (vplus-api.md 4.1).
        records += [record for record in page if record.vm_guid in (None, vm_guid)]
        foreign = foreign or any(record.vm_guid not in (None, vm_guid) for record in page)
    return _Listed(records, foreign, listing.completeness)


def _lacks_known(vm_guid: str, records: list[BackupRecord]) -> bool:
    with every_tenant(REASON):
        known = Backup.objects.filter(virtual_machine_guid=vm_guid, gone_at=None)
        return known.exclude(guid__in=[record.guid for record in records]).exists()


def due_histories(limit: int, *, oldest_allowed: timedelta, now: datetime) -> list[str]:
    """Return guids of virtual machines whose history should be read, most pressing first: wanted, then never, then old.

    Among equals the one that was tried longest ago comes first. Those that belong to somebody come before those that
    belong to nobody, and those that could not be read a moment ago wait (``RETRY_AFTER``), so that they hold up nobody.
    """
    with every_tenant(REASON):
        failed = Q(history_tried_at__isnull=False) & (
            Q(history_read_at=None) | Q(history_read_at__lt=F("history_tried_at"))
        )
        due = VirtualMachine.objects.filter(
            Q(history_wanted_at__isnull=False) | Q(history_read_at=None) | Q(history_read_at__lt=now - oldest_allowed)
        ).exclude(failed & Q(history_tried_at__gt=now - RETRY_AFTER))
        unwanted = ExpressionWrapper(Q(history_wanted_at=None), output_field=BooleanField())
        longest_ago = F("history_tried_at").asc(nulls_first=True)
        ordered = due.order_by(unwanted.asc(), longest_ago, "guid").values_list("guid", flat=True)
        found = list(ordered.filter(tenant__isnull=False)[:limit])
        if len(found) < limit:
            found += ordered.filter(tenant=None)[: limit - len(found)]
        return found


def newest_first(backups: QuerySet[Backup]) -> QuerySet[Backup]:
    """Order by point in time, newest first; those whose time is not known come last (vplus-api.md 2.3)."""
    return backups.order_by(F("taken_at").desc(nulls_last=True), "guid")


def _filter_ignored(vm_guid: str, records: Sequence[BackupRecord], *, foreign: bool) -> bool:
    """Tell whether records that name no machine may be another's.

    Usually they are of the machine asked for (vplus-api.md 4.31). Not so where the same list holds records that name
    another one, or where another one's list has held them already.
    """
    nameless = [record.guid for record in records if record.vm_guid is None]
    if not nameless:
        return False
    return foreign or Backup.objects.filter(guid__in=nameless).exclude(virtual_machine_guid=vm_guid).exists()


def _write(vm_guid: str, records: list[BackupRecord], *, whole_history: bool) -> set[str]:
    now = database_now()
    known = {backup.guid: backup for backup in Backup.objects.filter(virtual_machine_guid=vm_guid)}
    starts = _export_starts(vm_guid)
    rows, listed = [], set()
    for record in records:
        listed.add(record.guid)
        before, digest = known.get(record.guid), digest_of(record)
        row = _row(vm_guid, record=record, before=before, digest=digest, starts=starts, now=now)
        if before is None or _differs(row, before):
            rows.append(row)
    Backup.objects.bulk_create(
        rows, batch_size=500, update_conflicts=True, unique_fields=["guid"], update_fields=_WRITTEN
    )
    changed = {row.guid for row in rows}
    if whole_history:
        gone = [guid for guid, backup in known.items() if guid not in listed and backup.gone_at is None]
        Backup.objects.filter(guid__in=gone).update(gone_at=now, changed_at=now)
        changed |= set(gone)
    return changed


def _differs(row: Backup, before: Backup) -> bool:
    """Tell whether a row is to be written: its time may come from a task, so a record alone does not tell."""
    return (bytes(row.digest), row.taken_at, row.taken_at_source, row.gone_at) != (
        bytes(before.digest), before.taken_at, before.taken_at_source, before.gone_at
    )  # fmt: skip


def _export_starts(vm_guid: str) -> dict[str, datetime]:
    """Return, by backup, when the export that we saw began; for records that carry no time of their own."""
    rows = Task.objects.filter(virtual_machine_guid=vm_guid, type="EXPORT").exclude(backup_guid="")
    starts = {
        guid: started or window
        for guid, started, window in rows.values_list("backup_guid", "started_at", "window_start")
    }
    return {guid: start for guid, start in starts.items() if start}


def _row(
    vm_guid: str,
    *,
    record: BackupRecord,
    before: Backup | None,
    digest: bytes,
    starts: dict[str, datetime],
    now: datetime,
) -> Backup:
    taken_at, source = _point_in_time(record, starts)
    places = [place for place in record.destinations if place.destination_guid]
    return Backup(
        guid=record.guid,
        tenant_id=before.tenant_id if before else None,
        first_seen_at=before.first_seen_at if before else now,
        digest=digest,
        changed_at=now,
        virtual_machine_guid=vm_guid,
        # A record that does not tell its status, or not readably, takes nothing back.
        status=clean(record.status, 40) or (before.status if before else ""),
        status_info=clean(record.status_info, 4000),
        type=clean(record.type, 40),
        taken_at=taken_at,
        taken_at_source=source,
        finished_at=instant(record.backup_ms),
        size=whole(record.size),
        queued_export_seconds=seconds(record.times.queued_export_ms),
        export_seconds=seconds(record.times.export_ms),
        queued_store_seconds=seconds(record.times.queued_store_ms),
        store_seconds=seconds(record.times.store_ms),
        parent_guid=clean(record.parent_guid, 200),
        destination_guid=clean(places[0].destination_guid, 200) if places else "",
        origin_type=clean(record.origin_type, 40),
        origin_guid=clean(record.origin_guid, 200),
        warnings=[clean(text, 2000) for text in record.warnings],
        warnings_present=bool(record.warnings_present or record.warnings),
        gone_at=None,
    )


def _point_in_time(record: BackupRecord, starts: dict[str, datetime]) -> tuple[datetime | None, TimeSource]:
    """Return the moment one can go back to and where it is known from, best first (vplus-api.md 2.3)."""
    if moment := instant(record.snapshot_ms):
        return moment, TimeSource.SNAPSHOT
    copies = [instant(place.snapshot_ms) for place in record.destinations if place.status == "PRESENT"]
    if times := [moment for moment in copies if moment]:
        return min(times), TimeSource.LOCATION
    if moment := instant(record.backup_ms):
        return moment, TimeSource.FINISHED
    if moment := starts.get(record.guid):
        return moment, TimeSource.TASK
    return None, TimeSource.FIRST_SEEN


def _last_failed_at(rows: Sequence[Backup]) -> datetime | None:
    """Return when the newest ended backup failed, or None where the newest one is good.

    A failed record often has no time of its own. Our first sight of it serves then, unless it came with the first
    reading of the history, when everything is seen at once.
    """
    first_reading = min((row.first_seen_at for row in rows), default=None)
    ended: list[tuple[datetime, str]] = []
    for row in rows:
        seen = row.first_seen_at if row.first_seen_at != first_reading else None
        if (moment := row.taken_at or row.finished_at or seen) and row.status in (*RESTORABLE, *_ENDED_BADLY):
            ended.append((moment, row.status))
    newest = max(ended, default=None)
    return newest[0] if newest and newest[1] == "FAILED" else None


def _sum_up(vm_guid: str) -> None:
    """Write what the history adds up to on the virtual machine's row: as far as it is its owner's, for nobody's all of it."""
    vm = VirtualMachine.objects.filter(guid=vm_guid)
    owner = vm.values_list("tenant", flat=True).first()
    known = Backup.objects.filter(virtual_machine_guid=vm_guid, gone_at=None)
    rows = list(
        (known if owner is None else known.filter(tenant=owner))
        .order_by(F("taken_at").desc(nulls_last=True), "guid")
        .only("guid", "tenant_id", "status", "type", "taken_at", "finished_at", "first_seen_at", "size")
    )
    points = [row for row in rows if row.status in RESTORABLE]
    newest = points[0] if points else None
    full = next((row for row in points if row.type == "FULL"), None)
    vm.update(
        restore_point_count=len(points),
        newest_point_guid=newest.guid if newest else "",
        newest_point_at=newest.taken_at if newest else None,
        newest_point_time_given=bool(newest and newest.taken_at),
        last_backup_at=newest.taken_at if newest else None,
        last_backup_type=newest.type if newest else "",
        last_backup_size=newest.size if newest else None,
        last_full_backup_at=full.taken_at if full else None,
        last_full_backup_size=full.size if full else None,
        last_attempt_failed_at=_last_failed_at(rows),
    )


def _note_read(vm_guid: str, asked_at: datetime) -> None:
    """Note that a history was read whole; a wish that came while we read stands: what made it may not be in what we read."""
    vm = VirtualMachine.objects.filter(guid=vm_guid)
    vm.update(history_read_at=asked_at)
    vm.filter(history_wanted_at__lte=asked_at).update(history_wanted_at=None)

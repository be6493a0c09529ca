"""Virtual machines: pages of vPlus's inventory into a temporary table, then only what changed into the mirror.

Nothing is deleted, and a listing that is short or broken marks nothing as absent (design.md 6, Reading vPlus).
"""

from dataclasses import dataclass, field

from django.db import connection

from tenants.scope import every_tenant
from vplus_bridge.client import VirtualMachineRecord, VplusClient
from vplus_bridge.mirror.instants import clean, digest_of, instant, whole
from vplus_bridge.mirror.read_state import INVENTORY, recorded
from vplus_bridge.mirror.sole_writer import one_at_a_time

REASON = "mirror: inventory"
LISTINGS_UNTIL_ABSENT = 2
EMPTY_LISTINGS_UNTIL_ABSENT = 30
"""A list without any machine is whole, but looks the same where our account lost a right, or vPlus's database is set up anew."""

# Column of the mirror -> its type in the temporary table. Order is that of _row.
FACTS = {
    "guid": "text",
    "uuid": "text",
    "name": "text",
    "present": "boolean",
    "project_guid": "text",
    "project_name": "text",
    "manager_guid": "text",
    "manager_name": "text",
    "hypervisor_guid": "text",
    "hypervisor_name": "text",
    "cluster_name": "text",
    "platform": "text",
    "policy_guid": "text",
    "policy_name": "text",
    "up_to_date": "boolean",
    "restorable": "boolean",
    "vplus_last_backup_at": "timestamptz",
    "vplus_last_backup_size": "bigint",
    "digest": "bytea",
}


@dataclass
class InventoryRead:
    """What one reading of the inventory did to the mirror."""

    listed: int = 0
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    complete: bool = False
    shortcoming: str = ""

    @property
    def touched(self) -> list[str]:
        """Guids of every virtual machine whose row was written."""
        return [*self.added, *self.changed, *self.absent, *self.back]


def read_inventory(client: VplusClient) -> InventoryRead:
    """Read the whole inventory and write what changed; needs the right to write "inventory". Raises VplusError."""
    read = InventoryRead()
    with recorded(INVENTORY) as reading:
        _make_room()
        listing = client.virtual_machines()
        for page in listing:
            _take_in(page)
            read.listed += len(page)
        completeness = listing.completeness
        read.complete, read.shortcoming = completeness.complete, completeness.reason
        _write_changes(read)
        reading.counts = {
            "listed": read.listed,
            "added": len(read.added),
            "changed": len(read.changed),
            "absent": len(read.absent),
            "complete": read.complete,
            "shortcoming": read.shortcoming,
            "paging_ignored": completeness.paging_ignored,
            "bad_records": completeness.bad_records,
        }
    return read


def _make_room() -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in FACTS.items())
    with every_tenant(REASON), connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.listed_vm")
        cursor.execute(f"CREATE TEMPORARY TABLE listed_vm ({columns})")


def _take_in(page: list[VirtualMachineRecord]) -> None:
    copy = f"COPY pg_temp.listed_vm ({', '.join(FACTS)}) FROM STDIN"
    with every_tenant(REASON), connection.cursor() as cursor, cursor.copy(copy) as rows:
        for record in page:
            rows.write_row(_row(record))


def _row(vm: VirtualMachineRecord) -> tuple[object, ...]:
    return (
        vm.guid,
        clean(vm.uuid, 200),
        clean(vm.name, 1000),
        vm.present,
        clean(vm.project_guid, 200),
        clean(vm.project_name, 300),
        clean(vm.hv_manager_guid, 200),
        clean(vm.hv_manager_name, 300),
        clean(vm.hypervisor_guid, 200),
        clean(vm.hypervisor_name, 300),
        clean(vm.cluster_name, 300),
        clean(vm.platform, 40),
        clean(vm.policy_guid, 200),
        clean(vm.policy_name, 300),
        vm.backup_up_to_date,
        vm.restorable,
        instant(vm.last_backup_ms),
        whole(vm.last_backup_size),
        digest_of(vm),
    )


def _write_changes(read: InventoryRead) -> None:
    columns = ", ".join(FACTS)
    by_record = ("policy_guid", "policy_name")
    updates = ", ".join(f"{name} = excluded.{name}" for name in FACTS if name not in ("guid", *by_record))
    # A record that names no policy does not undo what the policies' own lists of members told.
    kept = "vm.policy_by_members AND excluded.policy_guid = '' AND excluded.policy_name = ''"
    updates += "".join(f", {name} = CASE WHEN {kept} THEN vm.{name} ELSE excluded.{name} END" for name in by_record)
    updates += f", policy_by_members = {kept}, policy_since = CASE WHEN {kept} OR vm.policy_guid = excluded.policy_guid"
    updates += " THEN vm.policy_since ELSE now() END"
    # Where another policy leads is not known before that policy is read.
    for name in ("policy_rules", "policy_leads_to"):
        updates += f", {name} = CASE WHEN {kept} OR vm.policy_guid = excluded.policy_guid THEN vm.{name} END"
    with every_tenant(REASON), connection.cursor() as cursor:
        one_at_a_time()
        cursor.execute("ANALYZE pg_temp.listed_vm")
        # The join leaves unchanged rows alone: ON CONFLICT would lock, and so write, each row it meets.
        cursor.execute(
            f"""
            INSERT INTO vplus_bridge_virtualmachine AS vm ({columns},
                policy_by_members, policy_label, policy_since,
                missed_listings, restore_point_count, newest_point_guid, newest_point_time_given, last_backup_type,
                protection_status, protection_reason, attention_rank, first_seen_at, changed_at)
            SELECT {", ".join(f"listed.{name}" for name in FACTS)},
                false, '', now(), 0, 0, '', true, '', 'unknown', 'history_not_read', 4, now(), now()
            FROM pg_temp.listed_vm listed LEFT JOIN vplus_bridge_virtualmachine known USING (guid)
            WHERE known.guid IS NULL OR known.digest <> listed.digest
            ON CONFLICT (guid) DO UPDATE SET {updates}, changed_at = now(),
                not_present_since = CASE
                    WHEN excluded.present THEN NULL
                    WHEN vm.present THEN now()
                    ELSE vm.not_present_since END,
                history_wanted_at = CASE
                    WHEN (vm.present, vm.restorable, vm.vplus_last_backup_at, vm.vplus_last_backup_size) IS DISTINCT FROM
                        (excluded.present, excluded.restorable, excluded.vplus_last_backup_at,
                         excluded.vplus_last_backup_size)
                    THEN clock_timestamp()
                    ELSE vm.history_wanted_at END
            RETURNING guid, xmax = 0
            """  # noqa: S608  # names of our own columns
        )
        for guid, added in cursor.fetchall():
            (read.added if added else read.changed).append(guid)
        cursor.execute(
            """
            UPDATE vplus_bridge_virtualmachine vm SET missed_listings = 0, absent_since = NULL, changed_at = now()
            FROM pg_temp.listed_vm listed WHERE listed.guid = vm.guid AND vm.missed_listings > 0 RETURNING vm.guid
            """
        )
        read.back = [guid for (guid,) in cursor.fetchall()]
        if read.complete:
            cursor.execute(
                """
                UPDATE vplus_bridge_virtualmachine vm SET missed_listings = missed_listings + 1, changed_at = now(),
                    absent_since = CASE WHEN missed_listings + 1 >= %s THEN now() END
                WHERE absent_since IS NULL
                    AND NOT EXISTS (SELECT FROM pg_temp.listed_vm listed WHERE listed.guid = vm.guid)
                RETURNING guid, absent_since IS NOT NULL
                """,
                [LISTINGS_UNTIL_ABSENT if read.listed else EMPTY_LISTINGS_UNTIL_ABSENT],
            )
            read.absent = [guid for guid, absent in cursor.fetchall() if absent]
        cursor.execute("DROP TABLE pg_temp.listed_vm")

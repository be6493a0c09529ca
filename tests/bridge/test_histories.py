"""Backups: one machine's history, what it adds up to, and which history is read when."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.scope import every_tenant, in_tenant
from tests.bridge.conftest import Teller
from tests.bridge.scenes import (
    T0,
    WEB,
    backup_record,
    backups,
    machine,
    machines,
    ms,
    task_row,
    vm_row,
)
from tests.client.scripted_server import answer
from tests.conftest import Bridge, Cast, StartSimulator
from vplus_bridge import jobs
from vplus_bridge.client import Unavailable, VplusError
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror import backups as reading
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.mirror.read_state import BACKUPS, state_of
from vplus_bridge.ownership.assignment import assign, attribute_backups

SNAPSHOT, LOCATION, FINISHED = (ms(T0 + timedelta(minutes=n)) for n in (0, 2, 10))


def read(client: Any, guid: str = WEB) -> reading.HistoryRead:
    return reading.read_history(client, guid, attribute_backups)


def due(limit: int = 100, *, oldest: timedelta = timedelta(days=1)) -> list[str]:
    return reading.due_histories(limit, oldest_allowed=oldest, now=database_now())


def copy(status: str, snapshot: int | None = None) -> dict[str, Any]:
    time = {} if snapshot is None else {"snapshotTime": snapshot}
    return {"guid": f"l-{status}-{snapshot}", "status": {"name": status}, "backupDestination": {"guid": "bd-1"}, **time}


@pytest.mark.parametrize(
    ("members", "taken_at", "source"),
    [
        ({"snapshotTime": SNAPSHOT, "backupTime": FINISHED, "backupLocations": [copy("PRESENT", LOCATION)]}, SNAPSHOT, "snapshot"),
        ({"backupTime": FINISHED, "backupLocations": [copy("PRESENT", LOCATION), copy("PRESENT", SNAPSHOT)]}, SNAPSHOT, "location"),
        ({"backupTime": FINISHED, "backupLocations": [copy("REMOVED", LOCATION)]}, FINISHED, "finished"),
        ({"backupTime": FINISHED, "backupLocations": [copy("PRESENT")]}, FINISHED, "finished"),
        ({"backupTime": FINISHED}, FINISHED, "finished"),
        ({"snapshotTime": 0, "backupTime": FINISHED}, FINISHED, "finished"),
        ({}, None, "first_seen"),
    ],
)  # fmt: skip
def test_the_point_in_time_comes_from_the_best_that_is_told(
    members: dict[str, Any], taken_at: int | None, source: str, database: None, vplus: Teller
) -> None:
    vm_row()
    vplus.backups(backup_record("b-1", **members))
    read(vplus.client)
    row = backups()["b-1"]
    assert (None if row.taken_at is None else ms(row.taken_at), row.taken_at_source) == (taken_at, source)
    assert machine().newest_point_time_given == (taken_at is not None)


def test_the_start_of_the_export_serves_where_no_time_is_told_also_when_it_is_known_later(
    database: None, vplus: Teller
) -> None:
    vm_row()
    vplus.backups(backup_record("b-1"))
    read(vplus.client)
    assert backups()["b-1"].taken_at is None
    task_row("t-1", state="FINISHED", backup_guid="b-1", started_at=T0)
    read(vplus.client)
    assert (backups()["b-1"].taken_at, backups()["b-1"].taken_at_source) == (T0, "task")


@pytest.mark.parametrize("richness", ["poorest", "plain", "generous"])
def test_a_history_adds_up_at_every_richness(richness: str, cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(richness=richness))
    bridge.sync()
    db = machine("vm-alpha-db")
    records = backups("vm-alpha-db")
    assert {guid: row.status for guid, row in records.items()} == {
        "backup-db-removed": "SUCCESS_REMOVED",
        "backup-db-full": "SUCCESS",
        "backup-db-inc": "SUCCESS",
        "backup-db-failed": "FAILED",
    }
    assert (db.restore_point_count, db.newest_point_guid) == (2, "backup-db-inc")
    assert db.last_backup_at == records["backup-db-inc"].taken_at
    if richness == "generous":
        assert (db.last_backup_type, db.last_full_backup_at) == ("INCREMENTAL", records["backup-db-full"].taken_at)
    else:
        assert (db.last_backup_type, db.last_full_backup_at) == ("", None), "no type told is no full backup"
    new = machine("vm-alpha-new")
    assert (new.restore_point_count, new.newest_point_guid, new.last_backup_at) == (0, "", None)
    assert new.history_read_at is not None


def test_a_record_that_is_no_longer_listed_is_gone_and_may_come_back(database: None, vplus: Teller) -> None:
    vm_row()
    both = [backup_record("b-1", backupTime=SNAPSHOT), backup_record("b-2", backupTime=FINISHED)]
    vplus.backups(*both)
    assert read(vplus.client).changed == {"b-1", "b-2"}
    vplus.backups(both[0])
    assert read(vplus.client).changed == {"b-2"}
    assert backups()["b-2"].gone_at is not None
    assert not backups()["b-2"].restorable
    assert (machine().restore_point_count, machine().newest_point_guid) == (1, "b-1")
    assert read(vplus.client).changed == set()
    vplus.backups(*both)
    assert read(vplus.client).changed == {"b-2"}
    assert backups()["b-2"].gone_at is None
    assert machine().newest_point_guid == "b-2"


def test_a_history_that_came_short_marks_nothing_gone_and_is_not_read(database: None, vplus: Teller) -> None:
    vm_row()
    vplus.backups(backup_record("b-1", backupTime=SNAPSHOT), backup_record("b-2", backupTime=FINISHED))
    read(vplus.client)
    age = machine().history_read_at
    vplus.backups(backup_record("b-1", backupTime=SNAPSHOT), {"guid": 7})
    again = read(vplus.client)
    assert not again.complete
    assert backups()["b-2"].gone_at is None
    assert machine().history_read_at == age, "the age is that of the last whole reading"


def test_removed_data_are_no_restore_point_until_they_are_there_again(database: None, vplus: Teller) -> None:
    vm_row()
    for status, count in (("SUCCESS", 1), ("SUCCESS_REMOVED", 0), ("SUCCESS", 1), ("PARTIAL_SUCCESS", 1)):
        vplus.backups(backup_record("b-1", status, backupTime=SNAPSHOT))
        read(vplus.client)
        assert machine().restore_point_count == count
        assert backups()["b-1"].restorable == bool(count)


@pytest.mark.parametrize("status", ["QUEUED", "INPROGRESS", "FAILED", "SOMETHING_NEW"])
def test_what_is_not_stored_is_no_restore_point(status: str, database: None, vplus: Teller) -> None:
    vm_row()
    vplus.backups(backup_record("b-1", status))
    read(vplus.client)
    assert machine().restore_point_count == 0
    assert backups()["b-1"].status == status


def test_a_point_without_a_time_comes_last_and_never_counts_as_young(database: None, vplus: Teller) -> None:
    vm_row()
    vplus.backups(backup_record("b-timeless"), backup_record("b-old", backupTime=SNAPSHOT))
    read(vplus.client)
    assert (machine().newest_point_guid, machine().last_backup_at) == ("b-old", T0)
    with every_tenant("test"):
        listed = reading.newest_first(Backup.objects.filter(virtual_machine_guid=WEB))
        assert [row.guid for row in listed] == ["b-old", "b-timeless"]


def test_a_failure_counts_only_while_it_is_the_newest(database: None, vplus: Teller) -> None:
    vm_row()
    good, bad = backup_record("b-1", backupTime=SNAPSHOT), backup_record("b-2", "FAILED", snapshotTime=FINISHED)
    for records, failed in (
        ([good], False),
        ([good, bad], True),
        ([good, bad, backup_record("b-3", backupTime=FINISHED + 1)], False),
    ):
        vplus.backups(*records)
        read(vplus.client)
        assert (machine().last_attempt_failed_at is not None) == failed


def test_an_unchanged_history_writes_no_record(database: None, vplus: Teller) -> None:
    vm_row()
    vplus.backups(backup_record("b-1", backupTime=SNAPSHOT))
    read(vplus.client)
    changed_at = backups()["b-1"].changed_at
    assert read(vplus.client).changed == set()
    assert backups()["b-1"].changed_at == changed_at


def test_an_answer_to_an_older_question_never_overwrites_a_newer_one(database: None, vplus: Teller) -> None:
    """Race: the sweep asked first and was answered last; in between the poll has read that the backup is stored."""
    vm_row()
    running, stored = backup_record("b-1", "INPROGRESS"), backup_record("b-1", backupTime=SNAPSHOT)
    inner: list[reading.HistoryRead] = []

    def slow(line: Any, what: Any) -> bool:
        vplus.backups(stored)
        inner.append(read(vplus.client))
        return answer([running])(line, what)

    vplus.server.on("GET /backups", slow)
    outer = read(vplus.client)
    assert inner[0].complete
    assert outer.outdated
    assert not outer.complete
    assert backups()["b-1"].status == "SUCCESS"
    assert machine().restore_point_count == 1


def test_a_wish_that_comes_while_a_history_is_read_stands(database: None, vplus: Teller) -> None:
    vm_row(history_wanted_at=timezone.now() - timedelta(minutes=5))
    vplus.backups(backup_record("b-1", backupTime=SNAPSHOT))

    def wish(line: Any, what: Any) -> bool:
        with every_tenant("test"):
            VirtualMachine.objects.update(history_wanted_at=database_now())
        return answer([])(line, what)

    vplus.server.on("GET /backups", wish)
    read(vplus.client)
    assert machine().history_wanted_at is not None
    assert due() == [WEB]
    vplus.backups()
    read(vplus.client)
    assert machine().history_wanted_at is None
    assert due() == []


def test_a_failed_reading_writes_nothing(database: None, vplus: Teller) -> None:
    vm_row()
    vplus.backups(backup_record("b-1", backupTime=SNAPSHOT))
    read(vplus.client)
    before = machine()
    vplus.raw("GET /backups", b"", status=503)
    with pytest.raises(Unavailable):
        read(vplus.client)
    after = machine()
    assert (after.history_read_at, after.restore_point_count) == (before.history_read_at, 1)


def test_somebody_elses_records_are_never_taken(cast: Cast, vplus: Teller) -> None:
    """A server that ignores the filter, and names the machine of each record."""
    vm_row(tenant_id=cast.alpha.pk)
    vplus.backups(backup_record("b-1"), backup_record("b-2", vm="vm-beta-web"))
    read(vplus.client)
    assert set(backups()) == {"b-1"}
    with in_tenant(cast.alpha.pk):
        assert backups()["b-1"].tenant_id == cast.alpha.pk


def test_nameless_records_in_a_list_that_names_others_are_not_taken(cast: Cast, vplus: Teller) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    vplus.backups(backup_record("b-1"), backup_record("b-2", vm=None), backup_record("b-3", vm="vm-beta-web"))
    once = read(vplus.client)
    assert set(backups()) == {"b-1"}
    assert not once.complete
    assert machine().history_read_at is None, "so its protection stays unknown"


def test_a_nameless_record_is_never_given_to_a_second_machine(cast: Cast, vplus: Teller) -> None:
    """A server that ignores the filter and names no machine says the same for every one of them."""
    vm_row(tenant_id=cast.alpha.pk)
    vm_row("vm-beta-web", tenant_id=cast.beta.pk)
    vplus.backups(backup_record("b-1", vm=None))
    assert read(vplus.client).complete
    other = read(vplus.client, "vm-beta-web")
    assert not other.complete
    assert backups("vm-beta-web") == {}
    assert backups()["b-1"].tenant_id == cast.alpha.pk


def test_a_record_and_its_owner_are_written_in_one_transaction(cast: Cast, vplus: Teller) -> None:
    """Crash point: a worker that dies after the record is written must not leave it without its owner."""
    vm_row(tenant_id=cast.alpha.pk)
    vplus.backups(backup_record("b-1"))

    def die(_guids: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reading.read_history(vplus.client, WEB, die)
    assert backups() == {}
    read(vplus.client)
    assert backups()["b-1"].tenant_id == cast.alpha.pk


# Which history is read when


def test_first_come_those_with_news_then_those_never_read_then_old_ones(cast: Cast) -> None:
    now = timezone.now()
    read_lately = {"history_read_at": now - timedelta(hours=1), "history_tried_at": now - timedelta(hours=1)}
    vm_row("fresh", tenant_id=cast.alpha.pk, **read_lately)
    vm_row("wanted", tenant_id=cast.alpha.pk, history_wanted_at=now, **read_lately)
    vm_row("never", tenant_id=cast.alpha.pk)
    old = now - timedelta(hours=25)
    vm_row("old", tenant_id=cast.alpha.pk, history_read_at=old, history_tried_at=old)
    vm_row("nobodys", history_wanted_at=now)
    assert due() == ["wanted", "never", "old", "nobodys"]
    assert due(2) == ["wanted", "never"]


def test_a_history_that_cannot_be_read_gives_way_to_the_others(database: None) -> None:
    """Starvation: as many broken ones as are read at once would be read again and again, and nobody else."""
    now = timezone.now()
    vm_row("broken", history_wanted_at=now, history_tried_at=now - timedelta(seconds=5))
    vm_row("waiting")
    assert due() == ["waiting"]
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid="broken").update(history_tried_at=now - timedelta(seconds=65))
    assert due() == ["broken", "waiting"]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_one_machine_whose_history_is_refused_does_not_stop_the_others(
    status: int, database: None, vplus: Teller
) -> None:
    for number in range(5):
        vm_row(f"vm-{number}")

    def behave(line: Any, what: Any) -> bool:
        guid = dict(what.query)["protected-entity"]
        if guid == "vm-1":
            return answer({"message": "no"}, status)(line, what)
        return answer([backup_record(f"b-{guid}", vm=guid, backupTime=SNAPSHOT)])(line, what)

    vplus.server.on("GET /backups", behave)
    assert jobs.histories_once(vplus.client, seconds=30, limit=10) == 4
    assert {guid for guid, vm in machines().items() if vm.history_read_at} == {"vm-0", "vm-2", "vm-3", "vm-4"}
    assert machine("vm-1").protection_status == "unknown"
    assert machine("vm-0").protection_reason == "vplus_no_schedule", "those that were read are judged"
    assert jobs.histories_once(vplus.client, seconds=30, limit=10) == 0, "it is not asked again at once"
    assert state_of(BACKUPS).failing_since is None


def test_a_machine_whose_record_the_database_refuses_does_not_stop_the_others(
    database: None, vplus: Teller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        vm_row(f"vm-{number}")
    real: Callable[..., Any] = reading.read_history

    def sometimes(client: Any, guid: str, attribute: Any) -> Any:
        if guid == "vm-1":
            raise ValueError("a defect that only this one shows")
        return real(client, guid, attribute)

    monkeypatch.setattr(reading, "read_history", sometimes)
    vplus.backups()
    assert jobs.histories_once(vplus.client, seconds=30, limit=10) == 2
    assert "vm-1" in caplog.text, "it is told by name"
    assert "a defect that only this one shows" in caplog.text


def test_an_outage_ends_the_round(database: None, vplus: Teller) -> None:
    for number in range(10):
        vm_row(f"vm-{number}")
    vplus.raw("GET /backups", b"", status=503)
    assert jobs.histories_once(vplus.client, seconds=30, limit=10) == 0
    assert vplus.asked("GET /backups") == 3, "a vPlus in trouble is not asked for all of them"


def test_without_contact_the_round_is_written_down_as_failed(database: None, vplus: Teller) -> None:
    vm_row()
    vplus.server.close()
    with pytest.raises(VplusError):
        jobs.histories_once(vplus.client, seconds=30, limit=10)
    assert state_of(BACKUPS).failing_since is not None


def test_the_first_load_takes_assigned_machines_first_and_keeps_to_the_rate(
    cast: Cast, bridge: Bridge, settings: Any
) -> None:
    jobs.inventory_once(bridge.client)
    with every_tenant("test"):
        assign(tenant_id=cast.alpha.pk, vm_guids=["vm-alpha-web", "vm-alpha-db"], by="Paula")
    settings.VPLUS_HISTORY_READS_PER_SECOND = 1
    bridge.simulator.control.clear_counters()
    assert jobs.histories_once(bridge.client, seconds=2) == 2
    assert bridge.simulator.control.counters().calls["GET /backups"] == 2
    assert {guid for guid, vm in machines().items() if vm.history_read_at} == {"vm-alpha-web", "vm-alpha-db"}


def test_the_sweep_begins_before_a_history_reaches_its_greatest_age(cast: Cast, bridge: Bridge, settings: Any) -> None:
    bridge.sync()
    assert jobs.histories_once(bridge.client, seconds=5) == 0
    with every_tenant("test"):
        old = timezone.now() - timedelta(seconds=0.95 * settings.VPLUS_HISTORY_MAX_AGE_SECONDS)
        VirtualMachine.objects.filter(guid=WEB).update(history_read_at=old, history_tried_at=old)
    assert jobs.histories_once(bridge.client, seconds=5) == 1

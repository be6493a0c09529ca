"""The inventory: what is written, what is not, and when a machine counts as gone."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tenants.scope import every_tenant, in_tenant
from tests.bridge.conftest import Teller
from tests.bridge.scenes import machine, machines, vm_record
from tests.conftest import Bridge, StartSimulator
from vplus_bridge import jobs
from vplus_bridge.client import BadAnswer, Unavailable, VplusError
from vplus_bridge.mirror.inventory import read_inventory
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.mirror.read_state import CONTACT, INVENTORY, state_of
from vplus_bridge.mirror.sole_writer import one_at_a_time, sole_writer
from vplus_simulator.faults import Fault
from vplus_simulator.seed.plan import SeedPlan


def versions() -> dict[str, str]:
    """The transaction that last wrote each row: it changes with every write, also one that changes nothing."""
    with every_tenant("test"), connection.cursor() as cursor:
        cursor.execute("SELECT guid, xmin::text FROM vplus_bridge_virtualmachine")
        return dict(cursor.fetchall())


def test_the_first_reading_brings_every_machine_as_nobodys(database: None, bridge: Bridge) -> None:
    read = read_inventory(bridge.client)
    known = machines()
    assert read.complete
    assert sorted(read.added) == sorted(known) == sorted(vm.guid for vm in bridge.simulator.control.objects("vms"))
    web = known["vm-alpha-web"]
    assert (web.name, web.uuid, web.present, web.tenant_id) == ("web-01", "uuid-alpha-web", True, None)
    assert web.protection_status == "unknown", "a history that was not read yet is not called bad"
    gone = known["vm-alpha-gone"]
    assert gone.gone
    assert gone.gone_since is None, "it was gone before we first saw it: nobody knows since when"


def test_a_rich_server_tells_more(database: None, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(richness="generous"))
    read_inventory(bridge.client)
    web = machine()
    assert (web.project_guid, web.platform, web.policy_guid) == ("project-alpha", "OPENSTACK", "policy-alpha")
    assert web.vplus_last_backup_at is not None
    assert web.restorable is True


@pytest.mark.parametrize("paging", [True, False])
def test_an_unchanged_listing_writes_no_row(paging: bool, database: None, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(paging=paging))
    read_inventory(bridge.client)
    before = versions()
    again = read_inventory(bridge.client)
    assert again.complete
    assert again.listed == len(before)
    assert again.touched == []
    assert versions() == before


def test_only_what_changed_is_written(database: None, bridge: Bridge) -> None:
    read_inventory(bridge.client)
    before = versions()
    bridge.simulator.control.rename_vm("vm-alpha-web", "web-renamed")
    bridge.simulator.control.sync()
    read = read_inventory(bridge.client)
    assert read.changed == ["vm-alpha-web"]
    assert machine().name == "web-renamed"
    after = versions()
    assert {guid for guid in after if after[guid] != before[guid]} == {"vm-alpha-web"}


def test_vplus_saying_that_a_machine_is_gone_sets_since_when(database: None, bridge: Bridge) -> None:
    read_inventory(bridge.client)
    began = timezone.now()
    bridge.simulator.control.remove_vm("vm-alpha-web")
    bridge.simulator.control.sync()
    read_inventory(bridge.client)
    gone = machine()
    assert not gone.present
    assert gone.not_present_since is not None
    assert gone.not_present_since >= began - timedelta(seconds=1)
    assert gone.absent_since is None, "it is still listed"
    since = gone.not_present_since
    with bridge.simulator.world.lock:
        bridge.simulator.world.vms["vm-alpha-web"].name = "web-01 (gone)"
        bridge.simulator.world.touch_vm(bridge.simulator.world.vms["vm-alpha-web"], listed=True)
    read_inventory(bridge.client)
    assert machine().not_present_since == since, "still gone, since the same moment"


def test_a_machine_is_absent_only_after_two_complete_listings_without_it(database: None, vplus: Teller) -> None:
    vplus.machines(vm_record("vm-1"), vm_record("vm-2"))
    read_inventory(vplus.client)
    vplus.machines(vm_record("vm-1"))
    assert read_inventory(vplus.client).absent == []
    assert machine("vm-2").absent_since is None
    assert read_inventory(vplus.client).absent == ["vm-2"]
    assert machine("vm-2").absent_since is not None
    assert machine("vm-2").gone
    before = versions()
    read_inventory(vplus.client)
    assert versions() == before, "what is absent already is not written again"
    vplus.machines(vm_record("vm-1"), vm_record("vm-2"))
    assert read_inventory(vplus.client).back == ["vm-2"]
    assert not machine("vm-2").gone
    assert machine("vm-2").missed_listings == 0


def test_one_missed_listing_between_two_good_ones_counts_for_nothing(database: None, vplus: Teller) -> None:
    both = [vm_record("vm-1"), vm_record("vm-2")]
    for listed in (both, both[:1], both, both[:1]):
        vplus.machines(*listed)
        assert read_inventory(vplus.client).absent == []
    assert machine("vm-2").absent_since is None


def test_a_short_listing_marks_nothing_and_says_so(database: None, vplus: Teller) -> None:
    vplus.machines(vm_record("vm-1"), vm_record("vm-2"))
    read_inventory(vplus.client)
    vplus.machines(vm_record("vm-1", name="renamed"), announced=2)
    for _ in range(3):
        read = read_inventory(vplus.client)
        assert not read.complete
        assert read.absent == []
    assert machine("vm-2").missed_listings == 0
    assert machine("vm-1").name == "renamed", "what did come is believed"
    assert "1 of 2 announced came" in state_of(INVENTORY).counts["shortcoming"]


def test_a_list_without_any_machine_is_believed_only_when_it_stays_so(database: None, vplus: Teller) -> None:
    vplus.machines(vm_record("vm-1"), vm_record("vm-2"))
    read_inventory(vplus.client)
    vplus.machines()
    for _ in range(29):
        assert read_inventory(vplus.client).absent == []
    vplus.machines(vm_record("vm-1"), vm_record("vm-2"))
    assert set(read_inventory(vplus.client).back) == {"vm-1", "vm-2"}
    vplus.machines()
    absent = [read_inventory(vplus.client).absent for _ in range(30)]
    assert set(absent.pop()) == {"vm-1", "vm-2"}
    assert not any(absent)


def test_a_record_that_cannot_be_read_marks_nobody_absent(database: None, vplus: Teller) -> None:
    vplus.machines(vm_record("vm-1"), vm_record("vm-2"))
    read_inventory(vplus.client)
    vplus.machines(vm_record("vm-1", name="renamed"), {"guid": "vm-2", "name": 7})
    for _ in range(3):
        read_inventory(vplus.client)
    assert machine("vm-2").absent_since is None
    assert machine("vm-1").name == "renamed", "one bad record does not keep back the others"
    assert state_of(INVENTORY).counts["bad_records"] == 1


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (b"<html><body>Service unavailable</body></html>", {"content_type": "text/html"}),
        (b'[{"guid":"vm-1","uuid":"u","name":"x"', {}),
        (b'{"message":"no list"}', {}),
        (b"", {"status": 503}),
    ],
    ids=["a web page", "cut off", "no array", "an outage"],
)
def test_a_broken_answer_keeps_the_last_good_data_and_their_age(
    content: bytes, how: dict[str, Any], database: None, vplus: Teller
) -> None:
    vplus.machines(vm_record("vm-1"), vm_record("vm-2"))
    read_inventory(vplus.client)
    good, before = state_of(INVENTORY).succeeded_at, versions()
    vplus.raw("GET /virtual-machines", content, **how)
    for _ in range(3):
        with pytest.raises((BadAnswer, Unavailable)):
            read_inventory(vplus.client)
    state = state_of(INVENTORY)
    assert versions() == before
    assert state.succeeded_at == good, "the age is that of the last good reading"
    assert state.failing_since is not None
    assert state.problem in {"unreadable_answer", "unreachable"}
    first = state.failing_since
    with pytest.raises(VplusError):
        read_inventory(vplus.client)
    assert state_of(INVENTORY).failing_since == first, "since the first failure, not the last"
    vplus.machines(vm_record("vm-1"), vm_record("vm-2"))
    read_inventory(vplus.client)
    assert (state_of(INVENTORY).failing_since, state_of(INVENTORY).problem) == (None, "")


def test_pages_that_stop_half_way_mark_nothing(database: None, start_simulator: StartSimulator, settings: Any) -> None:
    settings.VPLUS_PAGE_SIZE = 3
    bridge = Bridge(start_simulator(paging=True))
    read_inventory(bridge.client)
    bridge.simulator.control.arm(Fault(kind="html", method="GET", path="/virtual-machines", status=200))
    with pytest.raises(BadAnswer):
        read_inventory(bridge.client)
    assert not any(vm.absent_since or vm.missed_listings for vm in machines().values())


def test_contact_is_lost_and_found_with_its_since(database: None, vplus: Teller) -> None:
    vplus.machines(vm_record("vm-1"))
    read_inventory(vplus.client)
    good = state_of(CONTACT).succeeded_at
    vplus.raw("GET /virtual-machines", b"", status=503)
    with pytest.raises(Unavailable):
        read_inventory(vplus.client)
    lost = state_of(CONTACT)
    assert lost.failing_since == good, "nobody knows more than that it worked then"
    vplus.raw("GET /virtual-machines", b"", status=403)
    with pytest.raises(VplusError):
        read_inventory(vplus.client)
    assert state_of(INVENTORY).problem == "forbidden", "a gap, by its name"
    vplus.machines(vm_record("vm-1"))
    read_inventory(vplus.client)
    assert state_of(CONTACT).failing_since is None


def test_a_gap_is_no_loss_of_contact(database: None, vplus: Teller) -> None:
    vplus.raw("GET /virtual-machines", b'{"message":"no"}', status=403)
    with pytest.raises(VplusError):
        read_inventory(vplus.client)
    assert state_of(CONTACT).failing_since is None


def test_the_age_of_the_contact_never_runs_backwards(database: None) -> None:
    """A long reading that ends after shorter ones began before them."""
    from vplus_bridge.mirror.read_state import recorded

    with recorded("long"), recorded("short"):
        pass
    short = state_of("short").succeeded_at
    assert state_of("long").succeeded_at < short
    assert state_of(CONTACT).succeeded_at == short


@pytest.mark.parametrize(
    ("member", "told", "wanted"),
    [
        ("lastBackup", 1_795_000_000_000, True),
        ("restorable", True, True),
        ("present", False, True),
        ("lastSuccessfulBackupSize", 5, True),
        ("name", "another", False),
    ],
)
def test_a_history_is_wanted_when_vplus_says_that_it_changed(
    member: str, told: Any, wanted: bool, database: None, vplus: Teller
) -> None:
    vplus.machines(vm_record("vm-1"))
    read_inventory(vplus.client)
    assert machine("vm-1").history_wanted_at is None
    vplus.machines(vm_record("vm-1", **{member: told}))
    read_inventory(vplus.client)
    assert (machine("vm-1").history_wanted_at is not None) == wanted


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (b'"nul \\u0000 here"', "nul \ufffd here"),
        (b'"cut \\ud83d"', "cut \ufffd"),
        (b'"cut \\ude00"', "cut \ufffd"),
        (b'"whole \\ud83d\\ude00 and \\\\ud83d"', "whole \U0001f600 and \\ud83d"),
        ('"Zażółć gęślą jaźń"'.encode(), "Zażółć gęślą jaźń"),
        ('"\u202eright to left"'.encode(), "\u202eright to left"),
        (b'"not \xff UTF-8"', "not \ufffd UTF-8"),
        (b'"' + b"x" * 3000 + b'"', "x" * 1000),
        (b'""', ""),
    ],
)
def test_an_odd_name_hides_no_machine(written: bytes, kept: str, database: None, vplus: Teller) -> None:
    odd = b'{"guid":"vm-odd","uuid":"uuid-odd","present":true,"name":' + written + b"}"
    vplus.raw("GET /virtual-machines", b'[{"guid":"vm-1","uuid":"u","name":"plain","present":true},' + odd + b"]")
    read = read_inventory(vplus.client)
    assert sorted(read.added) == ["vm-1", "vm-odd"]
    assert machine("vm-odd").name == kept


def test_five_thousand_machines_in_pages_and_at_once(
    database: None, start_simulator: StartSimulator, settings: Any
) -> None:
    settings.VPLUS_PAGE_SIZE = 500
    bridge = Bridge(start_simulator(paging=True))
    bridge.simulator.control.seed(SeedPlan(name="scale", vms=5000, tenants=10))
    read = read_inventory(bridge.client)
    assert (len(read.added), read.complete) == (5000, True)
    assert bridge.simulator.control.counters().calls["GET /virtual-machines"] == 10
    before = versions()
    bridge.simulator.control.change(paging=False)
    bridge.simulator.control.clear_counters()
    read = read_inventory(bridge.client)
    assert (read.touched, read.complete) == ([], True)
    assert bridge.simulator.control.counters().calls["GET /virtual-machines"] == 1, "it noticed that paging is ignored"
    assert state_of(INVENTORY).counts["paging_ignored"] is True
    assert versions() == before


def test_a_second_reader_does_nothing_while_one_is_at_it(database: None, bridge: Bridge) -> None:
    done: list[Any] = []

    def second() -> None:
        try:
            done.append(jobs.inventory_once(bridge.client))
        finally:
            connection.close()

    with sole_writer(INVENTORY) as granted:
        assert granted
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(30)
    assert done == [None]
    assert machines() == {}
    assert jobs.inventory_once(bridge.client) is not None, "the right is free again"


def test_a_connection_that_is_gone_has_lost_the_right(database: None) -> None:
    holds, go_on, held_again = threading.Event(), threading.Event(), list[bool]()

    def cut_off() -> None:
        with sole_writer("test"):
            connection.close()  # as a restart of PostgreSQL or a cut cable does
            holds.set()
            go_on.wait(30)
        connection.close()

    thread = threading.Thread(target=cut_off)
    thread.start()
    assert holds.wait(30)
    for _ in range(200):  # PostgreSQL ends a session a moment after its client went
        with sole_writer("test") as granted:
            held_again.append(granted)
        if granted:
            break
        go_on.wait(0.05)
    go_on.set()
    thread.join(30)
    assert held_again[-1]


def test_writers_of_many_rows_take_turns(database: None) -> None:
    """Two that lock the same rows in different orders would be ended by PostgreSQL as a deadlock."""
    order: list[str] = []
    inside, second_asks = threading.Event(), threading.Event()

    def second() -> None:
        inside.wait(30)
        try:
            with every_tenant("test"):
                second_asks.set()
                one_at_a_time()
                order.append("second")
        finally:
            connection.close()

    thread = threading.Thread(target=second)
    thread.start()
    with every_tenant("test"):
        one_at_a_time()
        inside.set()
        second_asks.wait(30)
        thread.join(0.3)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_no_tenant_sees_what_is_nobodys(cast: Any, bridge: Bridge) -> None:
    read_inventory(bridge.client)
    with in_tenant(cast.alpha.pk):
        assert not VirtualMachine.objects.exists()

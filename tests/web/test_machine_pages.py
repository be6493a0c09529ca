"""The list of virtual machines and the pages of one: the right words in each state."""

from typing import Any

import pytest
from django.urls import reverse

from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.policies import kept
from tests.web.conftest import LIST, Visitor, ago, local_day
from vplus_bridge.models import Carrier
from vplus_bridge.protection.verdict import Reason


def cells(visitor: Visitor, name: str, **asked: Any) -> str:
    """Return the words of the row of this machine."""
    [row] = [row for row in visitor.get(LIST, **asked).rows() if any(cell.startswith(name) for cell in row)]
    return " | ".join(row)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"protection_status": "not_protected", "protection_reason": Reason.NEVER_BACKED_UP},
            ["Not protected", "No backup was ever made", "Never", "Back up"],
        ),
        (
            {"protection_status": "not_protected", "protection_reason": Reason.LAST_FAILED},
            ["Not protected", "The last backup failed, and there is no restore point."],
        ),
        ({}, ["Not known", "Its backup history was not read yet."]),
        (
            {"protection_reason": Reason.VPLUS_UP_TO_DATE, "up_to_date": True, "restore_point_count": 3},
            ["vPlus: up to date", "The portal has not judged that itself.", "Time not given"],
        ),
        (
            {"protection_reason": Reason.VPLUS_OUTDATED, "last_backup_days": 19},
            ["vPlus: outdated", "19 days ago"],
        ),
        (
            {"last_backup_days": 8 / 24, "last_backup_size": 412 * 2**30, "policy_name": "Gold daily"},
            ["8 h ago", "412 GiB", "Gold daily"],
        ),
    ],
)
def test_a_row_says_how_it_stands(
    facts: dict[str, Any], expected: list[str], cast: Cast, rows: Rows, oscar: Visitor
) -> None:
    known = dict(facts)
    if days := known.pop("last_backup_days", None):
        known["last_backup_at"] = ago(days=days, seconds=20)
    rows.machine("vm-1", cast.alpha, name="web-01", **known)
    row = cells(oscar, "web-01")
    for words in expected:
        assert words in row
    assert "Protected" not in row.replace("Not protected", ""), "nothing is called protected before it is judged"


@pytest.mark.parametrize(
    "guid", ["vm/1?x=2#y", "..", ".", "a~2Fb", "ü %2F {1} +", "'\"><b>", "g" * 180, "VM-1", "line\nbreak"]
)
def test_whatever_vplus_calls_a_machine_its_pages_open(guid: str, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    """Guids are opaque; one that had no address would end the whole list with an error."""
    rows.machine(guid, cast.alpha, name="odd one")
    assert "odd one" in cells(oscar, "odd one")
    for page in ("vm_detail", "vm_restore_points", "vm_backups", "vm_activity", "vm_protection"):
        address = reverse(f"tenant:{page}", kwargs={"tenant_slug": "alpha", "guid": guid})
        found = oscar.get(address)
        assert (found.status, found.heading) == (200, "odd one"), address


def test_links_within_the_pages_of_an_oddly_named_machine_lead_somewhere(
    cast: Cast, rows: Rows, oscar: Visitor
) -> None:
    """Views and filters lead back to the page that they stand on; its address is more than its path read back."""
    guid = "vm?a=1#b %41/c"
    rows.machine(guid, cast.alpha, name="odd one", restore_point_count=1, newest_point_at=ago())
    rows.backup("b-1", guid, cast.alpha, taken_at=ago())
    followed = set()
    for page in ("vm_restore_points", "vm_backups", "vm_activity"):
        found = oscar.get(reverse(f"tenant:{page}", kwargs={"tenant_slug": "alpha", "guid": guid}), view="list")
        named = {one.attributes.get("href", "") for one in found.main.all("a")}
        followed |= {address for address in named if address.startswith(LIST) and "?" in address}
    assert followed
    assert {address for address in followed if oscar.get(address).status != 200} == set()


def test_what_is_gone_says_since_when_and_what_is_left(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    since = ago().replace(year=ago().year - 1, month=11, day=2, hour=1, minute=10)
    rows.machine("vm-1", cast.alpha, name="files-01", present=False, not_present_since=since, restore_point_count=14)
    rows.machine("vm-2", cast.alpha, name="files-02", present=False, restore_point_count=1)
    rows.machine("vm-3", cast.alpha, name="files-03", absent_since=since)
    row = cells(oscar, "files-01")
    assert f"Not on the platform since 2 Nov {since.year}, 02:10. 14 restore points kept." in row, "in Warsaw's time"
    assert "Not on the platform. 1 restore point kept." in cells(oscar, "files-02")
    assert "No restore point is kept." in cells(oscar, "files-03")
    for name in ("files-01", "files-02", "files-03"):
        assert "Back up" not in cells(oscar, name)
        assert "Select" not in cells(oscar, name)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (("requested", "", None), "Waiting to be sent"),
        (("submitted", "export", 0.0), "Queued"),
        (("running", "export", 31.4), "Exporting, 1 of 2 31 %"),
        (("running", "store", 99.7), "Storing, 2 of 2 99 %"),
    ],
)
def test_what_runs_has_a_bar_instead_of_the_button(
    how: tuple[str, str, float | None], words: str, cast: Cast, rows: Rows, oscar: Visitor
) -> None:
    state, stage, progress = how
    rows.machine("vm-1", cast.alpha, name="web-01")
    facts = {"state": state, "stage": stage, "progress": progress, "virtual_machine_name": "web-01"}
    made = rows.operation("vm-1", cast.alpha, **facts)
    page = oscar.get(LIST)
    [row] = page.rows()
    assert words in " ".join(row).replace("\N{NO-BREAK SPACE}", " ")
    assert page.link("Watch web-01") == f"/t/alpha/operations/{made.pk}/"
    assert not page.has_link("Back up web-01")
    bar = page.one("progress")
    assert bar.attributes["aria-label"] == "Backup of web-01"
    assert bar.attributes.get("value") == (None if progress is None else f"{progress:.0f}")


def test_a_viewer_sees_no_buttons(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    page = vera.get(LIST)
    assert [one.text for one in page.one("tbody").all("a")] == ["web-01"]
    assert not page.all("input", type_="checkbox")
    assert not vera.get(f"{LIST}vm-1/").has_link("Back up")


def test_without_machines_it_says_when_they_appear(rows: Rows, vera: Visitor) -> None:
    assert "No virtual machines yet. They appear once your provider has assigned them." in vera.get(LIST).main.text
    rows.reading("inventory", ago(minutes=4, seconds=20))
    assert "Inventory was read 4 min ago." in vera.get(LIST).main.text


def test_filters_that_match_nothing_offer_to_be_cleared(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    page = vera.get(LIST, search="no such thing", presence="yes")
    assert "Nothing matches." in page.main.text
    assert {one.attributes["href"] for one in page.all("a") if one.text == "Clear filters"} == {LIST}
    none = vera.get(LIST, status="not_protected")
    assert "None. Every virtual machine on the platform has a restorable backup" in none.main.text


def test_who_was_granted_one_machine_sees_that_one(cast: Cast, rows: Rows) -> None:
    for guid in ("vm-1", "vm-2"):
        rows.machine(guid, cast.alpha, name=guid)
    rows.grant(cast.vera, "vm-2")
    vera = Visitor(cast.vera)
    page = vera.get(LIST)
    assert "You see the 1 virtual machine granted to you." in page.main.text
    assert [one.text for one in page.main.all("a", css_class="name-link")] == ["vm-2"]
    assert page.has_link("Back up vm-2"), "the grant lets a viewer back up this one"
    assert vera.get(f"{LIST}vm-1/").status == 404


def test_the_age_of_the_inventory_turns_to_a_warning_when_it_is_old(cast: Cast, rows: Rows, vera: Visitor) -> None:
    reading = rows.reading("inventory", ago(seconds=70))
    assert not vera.get(LIST).one("p", css_class="age").attributes["class"].count("stale")
    reading.succeeded_at = ago(minutes=18, seconds=20)
    reading.save()
    age = vera.get(LIST).one("p", css_class="age-stale")
    assert "18 min ago" in age.text


def test_the_bar_of_no_contact_names_no_host(no_contact: None, cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    page = vera.get(LIST)
    assert "No contact with the backup system since" in page.one(css_class="global-bar").text
    assert "web-01" in page.main.text, "what is known is still shown"
    assert "host-7" not in page.html


def test_a_suspended_tenant_reads_and_starts_nothing(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    from tenants.models import Tenant
    from tenants.scope import every_tenant

    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.destination("bd-main", cast.alpha)
    with every_tenant("test"):
        Tenant.objects.filter(slug="alpha").update(suspended_at=ago())
    page = oscar.get(LIST)
    assert "Alpha is suspended. You can read, but start nothing new. Ask your provider." in page.main.text
    assert not page.has_link("Back up web-01")


def backups(rows: Rows, cast: Cast) -> None:
    """A chain, a failure, one without a time, one that was removed."""
    rows.destination("bd-main", cast.alpha, "Vault A")
    full, newest = ago(days=3), ago(days=2)
    rows.machine("vm-1", cast.alpha, name="db-01", restore_point_count=3, newest_point_guid="b-inc")
    facts = {"destination_guid": "bd-main", "size": 20 * 2**30, "export_seconds": 720.0, "store_seconds": 90.0}
    rows.backup("b-full", "vm-1", cast.alpha, full, **facts)
    rows.backup("b-inc", "vm-1", cast.alpha, newest, type="INCREMENTAL", parent_guid="b-full", **facts)
    rows.backup("b-unsaid", "vm-1", cast.alpha, None, type="")
    rows.backup("b-failed", "vm-1", cast.alpha, ago(hours=3), status="FAILED", status_info="No space on /mnt/host-7")
    rows.backup("b-removed", "vm-1", cast.alpha, ago(days=9), status="SUCCESS_REMOVED")
    rows.backup("b-other", "vm-1", cast.alpha, ago(days=1), type="INCREMENTAL", destination_guid="bd-of-somebody")


def test_restore_points_are_those_that_can_be_restored_newest_first(cast: Cast, rows: Rows, vera: Visitor) -> None:
    backups(rows, cast)
    page = vera.get(f"{LIST}vm-1/restore-points/", view="list")
    listed = [" | ".join(row) for row in page.rows()]
    assert len(listed) == 4
    assert "Last good" in listed[1]
    assert "Incremental needs Full of" in listed[1]
    assert "20 GiB" in listed[1].replace("\N{NO-BREAK SPACE}", " ")
    assert "Vault A" in listed[1]
    assert listed[3].startswith("Time not given first seen"), "what has no time comes last, and says so"
    assert "Type not given" in listed[3]
    assert "bd-of-somebody" not in page.html, "a destination is shown under the tenant's label, or not at all"
    assert "UTC" in listed[0]


def test_backups_are_all_records_with_the_cause_in_our_words(cast: Cast, rows: Rows, vera: Visitor) -> None:
    backups(rows, cast)
    page = vera.get(f"{LIST}vm-1/backups/")
    assert len(page.rows()) == 6
    text = page.main.text
    assert "The backup system gave no reason that can be shown here. Ask your provider." in text
    assert "host-7" not in page.html, "vPlus's own words can name hosts and paths"
    assert "Removed" in text
    assert "Time not given" in text
    assert "export 12 min" in text
    tasks = {one.attributes["href"] for one in page.all("a") if one.text.startswith("Tasks")}
    assert "/t/alpha/activity/tasks/?backup=b-failed" in tasks
    assert len(vera.get(f"{LIST}vm-1/backups/", status="FAILED").rows()) == 1
    assert len(vera.get(f"{LIST}vm-1/backups/", type="INCREMENTAL").rows()) == 2
    day = local_day(days=2)
    assert 1 <= len(vera.get(f"{LIST}vm-1/backups/", from_day=day).rows()) <= 4
    assert "Nothing matches." in vera.get(f"{LIST}vm-1/backups/", to_day="2001-01-01").main.text


def test_whose_a_backup_is_and_where_it_is_kept_is_told_where_vplus_does_not(
    cast: Cast, rows: Rows, oscar: Visitor
) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.destination("bd-1", cast.alpha, label="Vault A")
    policy = kept(cast.alpha, "Gold daily", "vm-1")
    with every_tenant("test"):
        facts = {"wire_name": "w", "spec": {}, "valid_from": ago(days=9), "valid_until": ago(days=-9)}
        row = policy.schedules.get()
        Carrier.objects.create(tenant=cast.alpha, schedule=row, position=1, vplus_guid="s-1", **facts)
    for days, guid in enumerate(("b-asked", "b-planned", "b-other"), 1):
        rows.backup(guid, "vm-1", cast.alpha, ago(days=days))
    rows.operation("vm-1", cast.alpha, state="succeeded", backup_guid="b-asked", plan={"destination": "bd-1"})
    rows.task("t-1", "vm-1", cast.alpha, schedule_guid="s-1", run_backup_guid="b-planned")
    asked, planned, other = [" | ".join(row) for row in oscar.get(f"{LIST}vm-1/backups/").rows()]
    assert ("Vault A" in asked, "Alice" in asked, "Gold daily" in planned) == (True, True, True)
    assert "Vault A" not in planned + other
    assert "Gold daily" not in asked + other
    assert "Vault A" in oscar.get(f"{LIST}vm-1/restore-points/", view="list").main.text


def test_empty_tabs_say_so(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="new-01")
    overview = oscar.get(f"{LIST}vm-1/")
    assert "No restore point yet." in overview.main.text
    assert "Nothing has run yet." in overview.main.text
    assert overview.link("Back up now") == "/t/alpha/back-up/?vm=vm-1"
    assert "No restore point yet." in oscar.get(f"{LIST}vm-1/restore-points/").main.text
    assert "No backup was ever made of this virtual machine." in oscar.get(f"{LIST}vm-1/backups/").main.text
    assert "Nothing has run yet." in oscar.get(f"{LIST}vm-1/activity/").main.text


def test_what_a_schedule_ran_is_on_the_first_tab_too(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.task("t-1", "vm-1", cast.alpha, state="FAILED", backup_type="FULL", schedule_guid="s-1")
    rows.operation("vm-1", cast.alpha, state="succeeded", finished_at=ago())
    page = oscar.get(f"{LIST}vm-1/")
    last = next(one for one in page.all("section") if one.all("h2") and one.all("h2")[0].text == "Last activity")
    said = [one.text for one in last.all("li")]
    assert len(said) == 2
    assert any("Backup, full" in one and one.endswith("Failed") for one in said)
    assert "Nothing has run yet." not in page.main.text


def test_where_nothing_can_be_selected_there_is_no_tick_for_all(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="gone-01", present=False)
    assert "Select all on this page" not in oscar.get(LIST).html
    rows.machine("vm-2", cast.alpha, name="web-01")
    assert "Select all on this page" in oscar.get(LIST).html


def test_facts_of_a_machine(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    backups(rows, cast)
    rows.operation("vm-1", cast.alpha, state="succeeded", virtual_machine_name="db-01")
    page = oscar.get(f"{LIST}vm-1/")
    text = page.main.text.replace("\N{NO-BREAK SPACE}", " ")
    assert page.title == "Virtual machine: db-01 - Alpha - vPlus Portal"
    assert oscar.get(f"{LIST}vm-1/backups/").title == "Backups: db-01 - Alpha - vPlus Portal", "each tab its own"
    assert page.heading == "db-01"
    for words in ("uuid-vm-1", "No policy", "took 13 min", "20 GiB", "Backup, full", "Alice"):
        assert words in text
    crumbs = page.one("nav", aria_label="Breadcrumb")
    assert [one.text for one in crumbs.all("li")] == ["Virtual machines", "db-01"]


def test_another_tenants_machine_is_not_there(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", cast.alpha, name="secret-name")
    mallory = Visitor(cast.mallory)
    for tab in ("", "restore-points/", "backups/", "activity/"):
        for slug in ("alpha", "beta"):
            page = mallory.get(f"/t/{slug}/virtual-machines/vm-1/{tab}")
            assert page.status == 404
            assert "secret-name" not in page.html
            assert "There is nothing here that you can see." in page.main.text


NAMES = ["Ж" * 1000, "ünïcødé-数据库-01", "a b  c", "w" * 1000, "\u202eevil", "<script>alert(1)</script>"]


def test_any_name_is_shown_as_it_is(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.destination("bd-main", cast.alpha)
    for number, name in enumerate(NAMES):
        vm = f"vm-{number}"
        rows.machine(vm, cast.alpha, name=name, policy_name=name[:300])
        rows.operation(vm, cast.alpha, virtual_machine_name=name, state="failed", error_code="could_not_read")
    for number, name in enumerate(NAMES):
        shown = " ".join(name.split())
        for path in (LIST, f"{LIST}vm-{number}/", "/t/alpha/activity/"):
            page = oscar.get(path)
            assert page.status == 200
            assert shown in page.main.text
            assert "<script>alert" not in page.html
        assert f"Back up {shown}" == oscar.get("/t/alpha/back-up/", vm=f"vm-{number}").heading


HTML = """"><img src=x onerror=alert(1)> 'x' {{ 7|add:"7" }}"""


def test_html_in_names_is_only_text(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    from tenants.models import Tenant
    from tenants.scope import every_tenant

    rows.machine("vm-1", cast.alpha, name=HTML, policy_name=HTML)
    rows.destination("bd-main", cast.alpha, HTML)
    rows.destination("bd-two", cast.alpha, HTML)
    rows.backup("b-1", "vm-1", cast.alpha, ago(), destination_guid="bd-main", type=HTML[:40])
    rows.task("t-1", "vm-1", cast.alpha, state=HTML[:40], state_description=HTML, type=HTML[:40])
    done = rows.operation("vm-1", cast.alpha, virtual_machine_name=HTML, requested_by_name=HTML)
    with every_tenant("test"):
        Tenant.objects.filter(slug="alpha").update(name=HTML)
    for path in (
        LIST,
        f"{LIST}?search={HTML}",
        f"{LIST}vm-1/",
        f"{LIST}vm-1/restore-points/",
        f"{LIST}vm-1/restore-points/?view=list&find={HTML}&day={HTML}",
        f"{LIST}vm-1/restore-points/?find={HTML}&day={HTML}",
        f"{LIST}vm-1/backups/",
        f"{LIST}vm-1/activity/",
        "/t/alpha/activity/",
        f"/t/alpha/activity/?search={HTML}",
        "/t/alpha/activity/tasks/",
        f"/t/alpha/operations/{done.pk}/",
        "/t/alpha/back-up/?vm=vm-1",
    ):
        page = oscar.get(path)
        assert page.status == 200, path
        assert not page.all("img"), path
        assert not [one for one in page.walk() if any(name.startswith("on") for name in one.attributes)], path
        assert HTML.split(maxsplit=1)[0] in page.title + page.text
    assert HTML in oscar.get(f"{LIST}vm-1/").title

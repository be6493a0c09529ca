"""The page [Restore]: point, name, target and plan on one page, and what it says to wrong input and to a changed world."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.pages import Page
from tests.web.conftest import ALPHA, LIST, Visitor, ago
from vplus_bridge.mirror.models import InfrastructureItem
from vplus_bridge.models import AllowedRestoreTarget, Backup, Operation, VirtualMachine

RESTORE = f"{LIST}vm-web/restore/"


@pytest.fixture
def machine(cast: Cast, rows: Rows) -> None:
    """One machine with three points on three days, a removed and a failed backup; one target."""
    rows.target(cast.alpha, "Production, Warsaw 1")
    rows.machine("vm-web", cast.alpha, name="web-01", restore_point_count=3, last_full_backup_size=412 * 2**30)
    rows.backup("b-full", "vm-web", cast.alpha, ago(days=3), size=412 * 2**30)
    rows.backup("b-inc", "vm-web", cast.alpha, ago(days=2), type="INCREMENTAL", parent_guid="b-full")
    rows.backup("b-new", "vm-web", cast.alpha, ago(days=1), type="INCREMENTAL", parent_guid="b-inc")
    rows.backup("b-failed", "vm-web", cast.alpha, None, status="FAILED")
    rows.backup("b-removed", "vm-web", cast.alpha, ago(days=4), status="SUCCESS_REMOVED")


def asked() -> list[Operation]:
    with every_tenant("test"):
        return list(Operation.objects.filter(kind="restore"))


def press(visitor: Visitor, page: Page, path: str = RESTORE, **changes: Any) -> Page:
    return visitor.post(path, **{**page.form(path), **changes})


def plan(page: Page) -> dict[str, str]:
    """The plan as word and text."""
    facts = page.one("aside", id="plan").all(css_class="fact")
    return {fact.one("dt").text: fact.one("dd").text.replace("\N{NO-BREAK SPACE}", " ") for fact in facts}


def ticked(page: Page, name: str) -> list[str]:
    return [one.attributes["value"] for one in page.all("input", name=name) if "checked" in one.attributes]


def test_one_press_asks_for_what_the_plan_says(machine: None, oscar: Visitor) -> None:
    page = oscar.get(RESTORE)
    assert page.heading == "Restore web-01"
    assert "A new virtual machine is created. web-01 itself is not touched." in page.main.text
    shown = plan(page)
    assert list(shown) == ["Created", "From", "Where", "Lost", "Takes"]
    assert shown["Created"].startswith("web-01-restored-")
    assert "412 GiB" in shown["Created"]
    assert "Incremental, needs Full of" in shown["From"]
    assert shown["Where"] == "Production, Warsaw 1"
    assert shown["Takes"] == "No restore of this VM yet, so no estimate"
    assert "web-01 still exists." in page.main.text
    assert "Not changed: web-01, its policy, its restore points." in page.main.text
    answer = press(oscar, page)
    [operation] = asked()
    assert answer.response.request["PATH_INFO"] == f"{ALPHA}operations/{operation.pk}/"
    assert operation.restore_point_guid == "b-new", "the newest, without a choice"
    assert operation.restored_name in shown["Created"]
    assert operation.plan["target_label"] == "Production, Warsaw 1"


def test_the_point_that_was_asked_for_is_ticked(machine: None, oscar: Visitor) -> None:
    page = oscar.get(RESTORE, point="b-full")
    assert ticked(page, "point") == ["b-full"]
    assert "Full backup, needs no other point" in plan(page)["From"]
    press(oscar, page)
    assert asked()[0].restore_point_guid == "b-full"


def test_a_day_ticks_its_newest_point(machine: None, oscar: Visitor) -> None:
    day = ago(days=2).astimezone(timezone.get_default_timezone()).date().isoformat()
    assert ticked(oscar.get(RESTORE, day=day), "point") in (["b-inc"], ["b-full"], ["b-new"])
    empty = ago(days=20).date().isoformat()
    page = oscar.get(RESTORE, day=empty)
    assert ticked(page, "point") == []
    assert "Choose a day with a restore point." in page.main.text
    assert not page.all("button", css_class="button-large")


def test_days_keep_what_was_typed(machine: None, oscar: Visitor) -> None:
    page = oscar.get(RESTORE, restored_name="web-02")
    days = [one.attributes["href"] for one in page.all("a", css_class="day")]
    assert days
    assert all(parse_qs(urlsplit(day).query)["restored_name"] == ["web-02"] for day in days)


def test_without_script_the_plan_is_shown_on_request(machine: None, oscar: Visitor) -> None:
    page = press(oscar, oscar.get(RESTORE), restored_name="web-02", show_plan="yes")
    assert asked() == []
    assert plan(page)["Created"].startswith("web-02")
    assert "may have to wait until your provider" in page.main.text, "a name without the code"
    press(oscar, page)
    assert asked()[0].restored_name == "web-02"


def test_a_name_changed_after_the_plan_was_shown_is_shown_first(machine: None, oscar: Visitor) -> None:
    page = press(oscar, oscar.get(RESTORE), restored_name="web-02")
    assert page.status == 409
    assert "Something changed while you read: The new virtual machine is called web-02. Check and press again." in (
        page.main.text
    )
    assert asked() == []
    press(oscar, page)
    assert asked()[0].restored_name == "web-02"


def test_a_machine_that_went_while_one_read_is_told(machine: None, oscar: Visitor) -> None:
    page = oscar.get(RESTORE)
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid="vm-web").update(present=False)
    again = press(oscar, page)
    assert again.status == 409
    assert "web-01 is no longer on the platform now." in again.main.text
    assert "still exists" not in again.main.text
    press(oscar, again)
    assert len(asked()) == 1


def test_a_point_removed_between_page_and_press(machine: None, oscar: Visitor) -> None:
    page = oscar.get(RESTORE)
    with every_tenant("test"):
        Backup.objects.filter(guid="b-new").update(gone_at=timezone.now())
    again = press(oscar, page)
    assert again.status == 400
    assert "This restore point is gone; it was removed" in again.main.text
    assert "The nearest is" in again.main.text
    assert asked() == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"restored_name": "x" * 300}, "This has 300 characters; the platform takes at most 255."),
        ({"restored_name": "web\N{RIGHT-TO-LEFT OVERRIDE}01"}, "characters that cannot be seen"),
        ({"restored_name": "web\x07"}, "characters that cannot be seen"),
        ({"target": "not-one"}, "not allowed for Alpha"),
        ({"send_until": "2020-01-01T00:00"}, "This lies in the past"),
        ({"send_until": "yesterday"}, "Enter a valid date/time."),
    ],
)
def test_wrong_input_is_named_at_its_field_and_kept(
    fields: dict[str, str], told: str, machine: None, oscar: Visitor
) -> None:
    page = press(oscar, oscar.get(RESTORE), **fields)
    assert page.status == 400
    assert told in page.main.text
    assert not page.all("button", css_class="button-large")
    assert asked() == []
    if "restored_name" in fields:
        assert page.one("input", name="restored_name").attributes["value"] == fields["restored_name"]


def test_a_name_that_is_taken_is_allowed_and_told(machine: None, oscar: Visitor) -> None:
    page = oscar.get(RESTORE, restored_name="web-01")
    assert "You already have web-01. Two of one name are easily mixed up." in page.main.text
    press(oscar, page)
    assert asked()[0].restored_name == "web-01"


def test_a_target_on_another_platform_is_allowed_and_told(machine: None, oscar: Visitor) -> None:
    warning = "This is vCenter, and the backup is of OpenStack: such a restore may be refused there"
    assert warning not in oscar.get(RESTORE).main.text, "vPlus tells no platform"
    with every_tenant("test"):
        VirtualMachine.objects.update(platform="OPENSTACK")
        place = InfrastructureItem.objects.create(
            kind="manager", guid="hvm-1", name="one", platform="VCENTER", changed_at=timezone.now()
        )
    assert warning in plan(oscar.get(RESTORE))["Where"]
    with every_tenant("test"):
        InfrastructureItem.objects.filter(pk=place.pk).update(platform="OPENSTACK")
    assert warning not in oscar.get(RESTORE).main.text


def test_the_free_room_of_a_target_stands_beside_it(machine: None, rows: Rows, oscar: Visitor) -> None:
    with every_tenant("test"):
        AllowedRestoreTarget.objects.update(storage_uuid="storage-1")
        InfrastructureItem.objects.create(
            kind="storage", guid="s-1", uuid="storage-1", name="one", changed_at=timezone.now(),
            total_space=10 * 2**40, used_space=4 * 2**40,
        )  # fmt: skip
    rows.reading("storages", ago(minutes=3))
    assert "6 TiB free, read 3 min ago" in oscar.get(RESTORE).main.text.replace("\N{NO-BREAK SPACE}", " ")


def test_a_name_is_as_long_as_the_targets_platform_takes_it(machine: None, oscar: Visitor) -> None:
    with every_tenant("test"):
        VirtualMachine.objects.update(platform="OPENSTACK")
        InfrastructureItem.objects.create(
            kind="manager", guid="hvm-1", name="one", platform="VCENTER", changed_at=timezone.now()
        )
    page = press(oscar, oscar.get(RESTORE), restored_name="n" * 81)
    assert "This has 81 characters; the platform takes at most 80." in page.main.text


def test_of_several_targets_one_has_to_be_chosen(machine: None, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    other = rows.target(cast.alpha, "Recovery, Gdańsk")
    page = oscar.get(RESTORE)
    assert ticked(page, "target") == []
    assert "Choose where to put it." in page.main.text
    chosen = oscar.get(RESTORE, target=str(other.pk))
    assert plan(chosen)["Where"] == "Recovery, Gdańsk"
    press(oscar, chosen)
    assert asked()[0].plan["target"] == str(other.pk)


def test_where_it_was_goes_first(machine: None, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.target(cast.alpha, "Recovery, Gdańsk", manager_guid="hvm-2")
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid="vm-web").update(manager_guid="hvm-2")
    page = oscar.get(RESTORE)
    assert plan(page)["Where"] == "Recovery, Gdańsk"
    [choice] = [one for one in page.all(css_class="choice") if "Where it was" in one.text]
    assert "Recovery, Gdańsk" in choice.text


def test_a_gone_machine_is_restored_like_any_other(cast: Cast, rows: Rows, machine: None, oscar: Visitor) -> None:
    rows.machine("vm-gone", cast.alpha, name="files-01", present=False, restore_point_count=1)
    rows.backup("b-gone", "vm-gone", cast.alpha, ago(days=9))
    path = f"{LIST}vm-gone/restore/"
    page = oscar.get(path)
    assert "still exists" not in page.main.text
    assert (
        "files-01 is no longer on the platform. A new virtual machine is created from its restore point."
        in page.main.text
    )
    assert "Not changed: the restore points of files-01." in page.main.text, "nothing else is there to be left alone"
    press(oscar, page, path)
    assert asked()[0].restored_name.startswith("files-01-restored-")


def test_the_estimate_is_of_earlier_restores(machine: None, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    for minutes in (44, 50, 58, 1000):
        end = ago(days=5 + minutes)
        facts = {"kind": "restore", "state": "succeeded", "finished_at": end}
        rows.operation("vm-web", cast.alpha, started_at=end - timedelta(minutes=minutes), **facts)
    takes = plan(oscar.get(RESTORE))["Takes"]
    assert "About 50 min" in takes
    assert "Last 3 restores of this VM: 44 min to 58 min" in takes


def test_while_one_runs_it_says_so_and_leads_there(machine: None, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    running = rows.operation("vm-web", cast.alpha, kind="restore", requested_at=ago(minutes=2, seconds=5))
    page = oscar.get(RESTORE)
    assert "Alice asked for a restore of it 2 min ago." in page.main.text
    assert page.link("Watch it") == f"{ALPHA}operations/{running.pk}/"
    assert not page.all("button", css_class="button-large")


def test_pressed_twice_it_is_one(machine: None, oscar: Visitor) -> None:
    page = oscar.get(RESTORE)
    press(oscar, page)
    again = press(oscar, page)
    assert len(asked()) == 1
    assert "Oscar asked for this already; you see the same restore." in again.html


@pytest.mark.parametrize("listed", [False, True])
def test_pressed_again_after_its_end_it_is_not_made_twice(
    listed: bool, machine: None, cast: Cast, rows: Rows, oscar: Visitor
) -> None:
    """A page that was kept open, or gone back to, says what the world is like by now."""
    page = oscar.get(RESTORE)
    press(oscar, page)
    [row] = asked()
    if listed:
        rows.machine("vm-2", cast.alpha, name=row.restored_name)
    with every_tenant("test"):
        Operation.objects.update(
            state="succeeded", finished_at=timezone.now(), restored_vm_guid="vm-2" if listed else ""
        )
    again = press(oscar, page)
    assert (again.status, len(asked())) == (409, 1)
    assert f"You have {row.restored_name} by now" in again.main.text
    assert press(oscar, again).status == 200, "who has read that can still have a second one"
    assert len(asked()) == 2


def test_without_points_or_targets_or_rights(cast: Cast, rows: Rows, oscar: Visitor, vera: Visitor) -> None:
    rows.machine("vm-web", cast.alpha, name="web-01")
    page = oscar.get(RESTORE)
    assert "No restorable backup exists. Backups shows why." in page.main.text
    assert page.link("Show the backups") == f"{LIST}vm-web/backups/"
    assert oscar.get(page.link("Back up now")).heading == "Back up web-01"
    rows.backup("b-1", "vm-web", cast.alpha, ago(days=1))
    assert "No restore target is allowed for Alpha. Ask your provider." in oscar.get(RESTORE).main.text
    assert vera.get(RESTORE).status == 403
    assert oscar.get(RESTORE, point="b-of-nobody").status == 404
    assert oscar.get(RESTORE, point="b\0").status == 404


def test_buttons_lead_there(machine: None, cast: Cast, rows: Rows, oscar: Visitor, vera: Visitor) -> None:
    rows.machine("vm-new", cast.alpha, name="fresh-01")
    listed = oscar.get(LIST)
    assert listed.link("Restore web-01") == RESTORE
    assert not listed.has_link("Restore fresh-01"), "nothing to go back to"
    detail = oscar.get(f"{LIST}vm-web/")
    assert RESTORE in [one.attributes["href"] for one in detail.all("a", css_class="button-main")]
    assert f"{RESTORE}?point=b-inc" in detail.html
    assert f"{RESTORE}?point=b-full" in oscar.get(f"{LIST}vm-web/restore-points/", view="list").html
    assert "/restore/" not in vera.get(LIST).html
    assert "/restore/" not in vera.get(f"{LIST}vm-web/").html


def test_a_restore_on_its_page_and_in_the_list(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-web", cast.alpha, name="web-01")
    facts = {"kind": "restore", "restored_name": "web-01-restored-k7q2f", "restore_point_guid": "b-1"}
    plan_of = {"target_label": "Production", "code": "k7q2f"}
    row = rows.operation("vm-web", cast.alpha, state="running", stage="import", progress=61.0, plan=plan_of, **facts)
    page = oscar.get(f"{ALPHA}operations/{row.pk}/")
    assert page.heading == "Restore of vm-web"
    assert "Creating the VM, 2 of 2" in page.main.text
    assert "web-01-restored-k7q2f" in page.main.text
    assert "Restore" in oscar.get(f"{ALPHA}activity/").main.text
    with every_tenant("test"):
        Operation.objects.filter(pk=row.pk).update(state="succeeded", finished_at=timezone.now())
    page = oscar.get(f"{ALPHA}operations/{row.pk}/")
    assert "Restored, not yet listed." in page.main.text
    assert page.link("Look again") == f"{ALPHA}operations/{row.pk}/", "not to the original, which nobody waits for"
    rows.machine("vm-2", cast.alpha, name="web-01-restored-k7q2f")
    with every_tenant("test"):
        Operation.objects.filter(pk=row.pk).update(restored_vm_guid="vm-2")
    page = oscar.get(f"{ALPHA}operations/{row.pk}/")
    assert page.link("Open web-01-restored-k7q2f") == f"{LIST}vm-2/"
    new = oscar.get(f"{LIST}vm-2/")
    assert "Restored from" in new.main.text
    assert new.link("vm-web") == f"{LIST}vm-web/"


def test_a_granted_member_is_told_who_lets_them_see_the_new_machine(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-web", cast.alpha)
    rows.grant(cast.oscar, "vm-web")
    rows.machine("vm-2", cast.alpha, name="web-02")
    row = rows.operation(
        "vm-web", cast.alpha, kind="restore", state="succeeded", stage="import", restored_name="web-02",
        restored_vm_guid="vm-2", finished_at=timezone.now(),
    )  # fmt: skip
    page = oscar.get(f"{ALPHA}operations/{row.pk}/")
    assert "is among the virtual machines" not in page.main.text
    assert "Ask an admin to grant web-02 to you" in page.main.text


def test_a_restore_without_the_code_says_that_the_provider_decides(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    row = rows.operation(
        "vm-web", cast.alpha, kind="restore", state="succeeded", stage="import", restored_name="web-02",
        plan={"code": ""}, finished_at=timezone.now(),
    )  # fmt: skip
    assert "Your provider confirms that it is yours" in oscar.get(f"{ALPHA}operations/{row.pk}/").main.text


def test_a_failed_restore_leads_back_with_its_point(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    row = rows.operation(
        "vm-web", cast.alpha, kind="restore", state="failed", error_code="name_refused", restore_point_guid="b-1",
        finished_at=timezone.now(),
    )  # fmt: skip
    page = oscar.get(f"{ALPHA}operations/{row.pk}/")
    assert "Name refused." in page.main.text
    assert page.link("Try again") == f"{RESTORE}?point=b-1"

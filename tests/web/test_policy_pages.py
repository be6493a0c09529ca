"""Policies on pages without script: the list, one to read, and the editor, in which nothing typed is ever lost."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants.scope import every_tenant, in_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast, Member
from tests.pages import Page
from tests.policies import NIGHTLY, held_differently, kept
from tests.web.conftest import Visitor
from vplus_bridge.protection import asking

POLICIES = "/t/alpha/policies/"
NEW = f"{POLICIES}new/"
HIDDEN = ("csrfmiddlewaretoken",)


@pytest.fixture
def alice(cast: Cast) -> Visitor:
    return Visitor(cast.alice)


@pytest.fixture
def machines(rows: Rows, cast: Cast) -> None:
    for guid, name in (("vm-1", "web-01"), ("vm-2", "web-02"), ("vm-3", "db-01")):
        rows.machine(guid, cast.alpha, name=name)
    rows.destination("bd-main", cast.alpha, "Vault A")


def page_of(policy: Any) -> str:
    return f"{POLICIES}{policy.pk}/"


def filled(page: Page, action: str, **fields: Any) -> dict[str, Any]:
    """What the form of a page would send, with these fields changed."""
    sent: dict[str, Any] = {name: values for name, values in page.form(action).items() if name not in HIDDEN}
    return {**sent, **fields}


def operations() -> list[Any]:
    from vplus_bridge.models import Operation

    with every_tenant("test"):
        return list(Operation.objects.filter(kind="policy").order_by("requested_at"))


def running(cast: Cast, policy: Any, **facts: Any) -> Any:
    plan = {"name": policy.name, "touches": [str(policy.pk)], "machines": [], "from_version": 1, "changes": []}
    known = {"kind": "policy", "state": "running", "subject": str(policy.pk), "virtual_machine_name": "", "plan": plan}
    return Rows(cast).operation("", cast.alpha, **{**known, **facts})


# ---------------------------------------------------------------- the list


def test_without_a_policy_the_list_says_so_and_offers_one_to_admins(alice: Visitor, oscar: Visitor) -> None:
    page = alice.get(POLICIES)
    assert "No policy yet. Backups happen only by hand." in page.main.text
    assert page.link("New policy") == NEW
    assert not oscar.get(POLICIES).has_link("New policy")


def test_the_list_tells_runs_machines_next_run_and_state(alice: Visitor, cast: Cast, machines: None) -> None:
    kept(cast.alpha, "Silver", "vm-1", "vm-2")
    kept(cast.alpha, "bronze", "vm-3", paused=True)
    kept(cast.alpha, "Odd", differs_since=timezone.now(), drift=[])
    saving = kept(cast.alpha, "Being changed")
    running(cast, saving)
    kept(cast.alpha, "Theirs", attached=True)
    kept(cast.beta, "Other tenant's")
    rows = {row[0]: row[1:] for row in alice.get(POLICIES).rows()}
    assert list(rows) == ["Being changed", "bronze", "Odd", "Silver", "Theirs"]
    assert rows["Silver"][0] == "Incremental backup every day at 02:00, Warsaw time."
    assert rows["Silver"][1] == "2"
    assert {name: row[3] for name, row in rows.items()} == {
        "Being changed": "Being saved",
        "bronze": "Paused",
        "Odd": "Differs in vPlus",
        "Silver": "Active",
        "Theirs": "Read-only",
    }
    assert rows["bronze"][2] == "–"


def test_list_and_page_say_how_old_the_comparison_is(alice: Visitor, rows: Rows, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold")
    for path in (POLICIES, page_of(policy)):
        assert "Not read yet" in alice.get(path).main.text
    rows.reading("policies", timezone.now() - timedelta(minutes=10, seconds=5))
    for path in (POLICIES, page_of(policy)):
        page = alice.get(path)
        assert "Policies as of 10 min ago" in page.main.text
        assert not page.all(css_class="age-stale"), "they are read every five minutes"


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("active", ["A"]),
        ("paused", ["B"]),
        ("differs", ["C"]),
        ("saving", ["D"]),
        ("read_only", ["E"]),
        ("odd", [*"ABCDE"]),
    ],
)
def test_the_list_filters_by_state(state: str, names: list[str], alice: Visitor, cast: Cast) -> None:
    kept(cast.alpha, "A")
    kept(cast.alpha, "B", paused=True)
    kept(cast.alpha, "C", differs_since=timezone.now())
    running(cast, kept(cast.alpha, "D"))
    kept(cast.alpha, "E", attached=True)
    assert [row[0] for row in alice.get(POLICIES, state=state).rows()] == names


def test_the_list_searches_names(alice: Visitor, cast: Cast) -> None:
    kept(cast.alpha, "Gold daily")
    kept(cast.alpha, "Silver")
    assert [row[0] for row in alice.get(POLICIES, search="gOLD").rows()] == ["Gold daily"]
    assert "Nothing matches." in alice.get(POLICIES, search="zinc").main.text


def test_the_list_asks_the_same_number_of_questions_however_many_there_are(alice: Visitor, cast: Cast) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert alice.get(POLICIES).status == 200
        return len(queries)

    kept(cast.alpha, "One")
    kept(cast.alpha, "Attached", attached=True)
    alice.get(POLICIES)
    before = asked()
    for number in range(12):
        kept(cast.alpha, f"More {number}", attached=number % 3 == 0, vplus_guid=f"p-{number}")
    assert asked() == before


def test_who_sees_granted_machines_only_sees_their_policies_and_nothing_of_the_others(
    oscar: Visitor, cast: Cast, machines: None
) -> None:
    from tenants.models import Grant, Tenant

    policy = kept(cast.alpha, "Gold", "vm-1", "vm-3")
    kept(cast.alpha, "Silver", "vm-2")
    with every_tenant("test"):
        Tenant.objects.filter(pk=cast.alpha.pk).update(visibility="granted")
        Grant.objects.create(
            tenant=cast.alpha,
            membership_id=cast.oscar.actor.membership_id,
            virtual_machine_guid="vm-1",
            role="viewer",
            until=timezone.now() + timedelta(days=1),
        )
    assert [(row[0], row[2]) for row in oscar.get(POLICIES).rows()] == [("Gold", "1")]
    page = oscar.get(page_of(policy))
    assert page.has_link("web-01")
    assert "db-01" not in page.html


# ---------------------------------------------------------------- one to read


def test_a_policy_is_told_with_its_changes(alice: Visitor, cast: Cast, machines: None) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", priority=60)
    change = {"field": "priority", "before": "50", "after": "60"}
    plan = {"name": "Gold", "touches": [str(policy.pk)], "machines": [], "from_version": 1, "changes": [change]}
    running(cast, policy, state="succeeded", plan=plan, wish={"action": "change"}, requested_by_name="Jan")
    page = alice.get(page_of(policy))
    text = page.main.text
    assert page.heading == "Gold"
    for words in (
        "Incremental backup every day at 02:00, Warsaw time.",
        "Vault A",
        "web-01",
        "Jan",
        "Priority: 50 → 60",
    ):
        assert words in text
    assert page.link("Change").endswith("/change/")


def test_what_nobody_asked_for_and_what_was_accepted_stand_among_the_changes(
    alice: Visitor, cast: Cast, machines: None
) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1")
    left = {"field": "virtual_machines", "before": "web-01, web-09", "after": "web-01", "left": "web-09", "came": ""}
    sent = {"name": "Gold", "touches": [str(policy.pk)], "machines": [], "from_version": 1, "changes": [left]}
    running(cast, policy, state="succeeded", plan=sent, wish={"action": "take_out"}, requested_by_name="The portal")
    with in_tenant(cast.alpha.pk):
        asking.note_done(
            asking.author_of(cast.alice.actor),
            policy,
            wish={"action": "accept"},
            changes=[{"field": "priority", "before": "50", "after": "7"}],
            from_version=2,
            now=timezone.now(),
        )
    page = alice.get(page_of(policy))
    for words in (
        "Taken out because it no longer belongs to you",
        "The portal",
        "Virtual machines: taken out web-09",
        "Took over what was changed in vPlus",
        "Alice",
        "Priority: 50 → 7",
    ):
        assert words in page.main.text
    operation = alice.get(page.link("Took over what was changed in vPlus"))
    assert operation.status == 200
    assert operation.heading == "Change of policy Gold"
    assert alice.get("/t/alpha/activity/").status == 200


def test_members_who_may_not_change_read_only(oscar: Visitor, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold")
    page = oscar.get(page_of(policy))
    assert "Admins can change it." in page.main.text
    assert not page.has_link("Change")
    assert not page.has_link("Delete")
    for path in ("change/", "delete/"):
        assert oscar.get(page_of(policy) + path).status == 403
    assert oscar.post(f"{page_of(policy)}drift/", do="accept", version=1).status == 403


def test_what_was_not_saved_says_why_and_leads_to_its_draft(alice: Visitor, cast: Cast, machines: None) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1")
    edit = f"{page_of(policy)}change/"
    alice.post(edit, **filled(alice.get(edit), edit, name="Golden"))
    (operation,) = operations()
    from vplus_bridge.models import Operation

    with every_tenant("test"):
        Operation.objects.filter(pk=operation.pk).update(state="failed", error_code="policy_refused")
    page = alice.get(page_of(policy))
    assert "Not saved:" in page.main.text
    assert "The policy runs as before; your draft is kept." in page.main.text
    again = alice.get(page.link("Open the draft"))
    assert again.form(edit)["name"] == ["Golden"]


def test_a_difference_is_said_without_naming_what_is_not_theirs(alice: Visitor, cast: Cast, machines: None) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", differs_since=timezone.now())
    held_differently(policy, priority=80, vm_guids=["vm-2", "vm-beta"])
    page = alice.get(page_of(policy))
    text = page.main.text
    assert "Priority: 50 here, 80 there." in text
    assert "added web-02, 1 that is not yours; taken out web-01" in text
    assert {"Accept", "Put ours back"} <= {button.text for button in page.all("button")}


@pytest.mark.parametrize("do", ["accept", "put_back"])
def test_only_what_was_shown_is_accepted_or_put_back(do: str, alice: Visitor, cast: Cast, machines: None) -> None:
    """What changed in vPlus while one read is shown instead, with a sentence; so is a press that tells nothing of what it saw."""
    policy = kept(cast.alpha, "Gold", "vm-1", differs_since=timezone.now())
    held, settle = held_differently(policy, priority=80, vm_guids=["vm-1"]), f"{page_of(policy)}drift/"
    seen = filled(alice.get(page_of(policy)), settle, do=do)
    with every_tenant("test"):
        type(held).objects.update(priority=81)
    for pressed in (seen, {"version": policy.version, "do": do}):
        page = alice.post(settle, **pressed)
        assert "Something changed in vPlus while you read. Check and press again." in page.text
        assert "Priority: 50 here, 81 there." in page.main.text
        assert operations() == []
    again = alice.post(settle, **filled(page, settle, do=do))
    assert "Something changed" not in again.text
    (operation,) = operations()
    assert operation.wish == {"action": do}


def test_deleting_asks_first_and_becomes_an_operation(alice: Visitor, cast: Cast, machines: None) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", "vm-2")
    question = alice.get(f"{page_of(policy)}delete/")
    assert "2 virtual machines lose their schedule. Restore points stay." in question.main.text
    alice.post(f"{page_of(policy)}delete/", version=policy.version)
    assert [row.wish["action"] for row in operations()] == ["delete"]


def test_a_member_that_is_not_theirs_any_more_is_counted_nowhere(
    alice: Visitor, rows: Rows, cast: Cast, machines: None
) -> None:
    rows.machine("vm-given-away", cast.beta)
    rows.machine("vm-nobody", None)
    policy = kept(cast.alpha, "Gold", "vm-1", "vm-given-away", "vm-nobody")
    (row,) = alice.get(POLICIES).rows()
    assert row[2] == "1"
    assert "1 virtual machine loses its schedule." in alice.get(f"{page_of(policy)}delete/").main.text


def test_deleting_an_older_version_is_told(alice: Visitor, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", version=3)
    page = alice.post(f"{page_of(policy)}delete/", version=2)
    assert "changed this meanwhile" in page.main.text
    assert operations() == []


# ---------------------------------------------------------------- the editor


def test_a_policy_is_made_from_nothing(alice: Visitor, cast: Cast, machines: None) -> None:
    sent = filled(alice.get(NEW), NEW, name="Gold", vm=["vm-1", "vm-3"], **{"s0-time_of_day": "03:30"}, do="save")
    page = alice.post(NEW, **sent)
    (operation,) = operations()
    assert operation.wish["draft"]["virtual_machines"] == ["vm-1", "vm-3"]
    assert operation.wish["draft"]["schedules"][0]["time_of_day"] == "03:30:00"
    assert page.heading == "Gold"
    assert "Being saved" in page.main.text
    assert "The policy is being made; until it is, it runs nothing." in page.main.text
    assert "Incremental backup every day at 03:30" in page.main.text


def test_without_script_the_preview_shows_runs_local_and_utc_and_what_is_odd(
    alice: Visitor, cast: Cast, machines: None
) -> None:
    sent = filled(alice.get(NEW), NEW, name="Gold", do="preview")
    sent |= {"s0-zone": "America/New_York", "s0-time_of_day": "22:00"}
    page = alice.post(NEW, **sent)
    assert page.status == 200
    lines = [line.text for line in page.one(id="preview").all("li")]
    assert len(lines) == 20
    assert all(" = " in line for line in lines)
    assert page.one(id="next-run").text.startswith("Next run ")
    assert page.form(NEW)["name"] == ["Gold"], "nothing is lost"
    assert operations() == []


def test_what_cannot_be_kept_says_why_and_offers_what_works(alice: Visitor, machines: None) -> None:
    wanted = {"s0-zone": "Asia/Singapore", "s0-days_of_week": ["MONDAY", "WEDNESDAY", "FRIDAY"]}
    wanted |= {"s0-time_of_day": "02:00", "s0-occurrences": ["FIRST", "THIRD"]}
    page = alice.post(NEW, **filled(alice.get(NEW), NEW, do="preview", **wanted))
    assert "falls on the day before" in page.one(id="preview").text
    way = page.one(id="preview").one("button")
    assert "at 08:00" in way.text
    page = alice.post(NEW, **filled(page, NEW, do=way.attributes["value"]))
    assert page.form(NEW)["s0-time_of_day"] == ["08:00"]
    assert page.form(NEW)["s0-occurrences"] == ["FIRST", "THIRD"]
    assert page.one(id="preview").all("button") == []


def test_what_is_wrong_stands_at_its_field_and_the_input_is_kept(alice: Visitor, machines: None) -> None:
    sent = filled(alice.get(NEW), NEW, name="", vm=[], do="save", **{"s0-zone": "Mars/Olympus", "s0-days_of_week": []})
    page = alice.post(NEW, **sent)
    assert page.status == 400
    text = page.one(role="alert").text
    for words in ("Give the policy a name.", "Choose at least one", "is not a time zone", "protects nothing"):
        assert words in text
    assert page.form(NEW)["s0-zone"] == ["Mars/Olympus"]
    assert operations() == []


def test_a_time_that_is_none_is_said_at_its_field(alice: Visitor, machines: None) -> None:
    page = alice.post(NEW, **filled(alice.get(NEW), NEW, name="Gold", do="save", **{"s0-time_of_day": "25:00"}))
    assert page.status == 400
    assert "valid time" in page.one(id="id_s0-time_of_day-error").text


@pytest.mark.parametrize(
    "odd",
    [
        {"s0-frequency_minutes": "9" * 30},
        {"s0-start_window_minutes": "9" * 30},
        {"s0-start_window_minutes": "-" + "9" * 30},
        {"s0-frequency_minutes": "-" + "9" * 30, "s0-execution_type": "INTERVAL"},
        {"s0-zone": "a\0b"},
        {"paste": "a\0b"},
        {"find": "a\0b"},
        {"vm": ["a\0b"]},
        {"move": ["a\0b"]},
        {"s0-id": "odd"},
        {"schedule": ["s0", "s0", "s99", "odd"]},
        {"version": "odd"},
        {"s0-months": ["SMARCH"]},
    ],
)
@pytest.mark.parametrize(
    "do",
    ["save", "preview", "use-9-9", "use-²-0", pytest.param(f"use-{'9' * 5000}-0", id="use-long"), "remove-odd", "odd"],
)
def test_odd_input_is_never_our_trouble(odd: dict[str, Any], do: str, alice: Visitor, machines: None) -> None:
    page = alice.post(NEW, **(filled(alice.get(NEW), NEW, name="Gold", vm=["vm-1"]) | odd | {"do": do}))
    assert page.status in (200, 400)


def test_a_policy_of_thousands_of_machines_can_be_saved(alice: Visitor, rows: Rows, cast: Cast, machines: None) -> None:
    guids = [f"vm-many-{number}" for number in range(1200)]
    page = alice.post(NEW, **filled(alice.get(NEW), NEW, name="Gold", vm=guids, do="preview"))
    assert page.status == 200


def test_schedules_are_added_and_removed(alice: Visitor, machines: None) -> None:
    page = alice.post(NEW, **filled(alice.get(NEW), NEW, name="Gold", do="add"))
    assert page.form(NEW)["schedule"] == ["s0", "s1"]
    page = alice.post(NEW, **filled(page, NEW, do="remove-s0"))
    assert page.form(NEW)["schedule"] == ["s1"]
    assert page.form(NEW)["name"] == ["Gold"]


def test_what_the_provider_keeps_cannot_be_chosen_nor_left(alice: Visitor, cast: Cast, machines: None) -> None:
    kept(cast.alpha, "Theirs", "vm-2", attached=True)
    page = alice.get(NEW)
    ticks = {one.attributes["value"]: one for one in page.one(aria_label="Not in this policy").all("input")}
    assert "disabled" in ticks["vm-2"].attributes
    assert "disabled" not in ticks["vm-1"].attributes
    assert list(ticks)[-1] == "vm-2", "what can be chosen stands first"
    assert "in Theirs, kept by your provider" in page.main.text
    page = alice.post(NEW, **filled(page, NEW, name="Gold", vm=["vm-2"], do="save"))
    assert "which your provider keeps. Ask your provider to take it out." in page.one(id="id_find-error").text
    assert "leaves Theirs" not in page.main.text, "a tick for it would promise what cannot be"
    assert page.form(NEW)["vm"] == ["vm-2"], "what was chosen stays, to be taken out"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("n" * 300, "This has 300 characters; at most 120 fit."),
        (
            "web\N{RIGHT-TO-LEFT OVERRIDE}01",
            "This has characters that cannot be seen. Type it anew, with visible ones only.",
        ),
        ("", "Give the policy a name."),
    ],
)
def test_a_name_that_does_not_fit_is_kept_and_told_what_is_wrong(
    *, name: str, said: str, alice: Visitor, cast: Cast, machines: None
) -> None:
    page = alice.get(NEW)
    assert "maxlength" not in page.one(id="id_name").attributes, "a browser would cut it in silence"
    page = alice.post(NEW, **filled(page, NEW, name=name, vm=["vm-1"], do="save"))
    assert page.status == 400
    assert page.one(id="id_name-error").text == said
    assert page.form(NEW)["name"] == [name]


def test_nobody_is_asked_whether_to_delete_what_they_cannot(alice: Visitor, cast: Cast, machines: None) -> None:
    policy = kept(cast.alpha, "Theirs", "vm-1", attached=True)
    page = alice.get(f"{page_of(policy)}delete/")
    assert page.status == 409
    assert "kept by your provider" in page.main.text


def test_machines_are_found_and_pasted(alice: Visitor, machines: None) -> None:
    page = alice.post(NEW, **filled(alice.get(NEW), NEW, find="web", do="find"))
    assert "db-01" not in page.one(aria_label="Not in this policy").text
    page = alice.post(NEW, **filled(page, NEW, paste="DB-01\nuuid-vm-1, nobody", do="paste"))
    assert page.form(NEW)["vm"] == ["vm-3", "vm-1"]
    assert page.one(id="id_paste-error").text == "Not found: nobody."
    assert page.one(id="id_paste").text.strip() == "nobody"


def test_an_unknown_name_hides_nothing_else_that_is_wrong(alice: Visitor, machines: None) -> None:
    page = alice.post(NEW, **filled(alice.get(NEW), NEW, name="", priority="101", paste="nobody, db-01", do="save"))
    assert page.status == 400
    assert page.one(id="id_paste-error").text == "Not found: nobody."
    assert page.one(id="id_name-error").text
    assert page.one(id="id_priority-error").text
    assert operations() == []
    page = alice.post(NEW, **filled(page, NEW, name="Gold", priority="50", paste="nobody", do="save"))
    assert page.status == 400, "the name that nobody knows is left"
    assert operations() == []


def test_a_machine_of_another_policy_moves_only_with_a_tick(alice: Visitor, cast: Cast, machines: None) -> None:
    kept(cast.alpha, "Silver", "vm-1", "vm-2")
    page = alice.post(NEW, **filled(alice.get(NEW), NEW, name="Gold", vm=["vm-2"], do="save"))
    assert page.status == 400
    assert "web-02 leaves Silver" in page.one(id="moves").text
    assert operations() == []
    alice.post(NEW, **filled(page, NEW, move=["vm-2"], do="save"))
    assert len(operations()) == 1


def test_machines_of_others_are_as_if_they_were_not_there(
    alice: Visitor, rows: Rows, cast: Cast, machines: None
) -> None:
    rows.machine("vm-beta", cast.beta, name="beta-01")
    for guid in ("vm-beta", "vm-never"):
        page = alice.post(NEW, **filled(alice.get(NEW), NEW, name="Gold", vm=[guid], do="save"))
        assert page.status == 400
        assert f"{guid}: not found." in page.main.text
        assert "beta-01" not in page.html


def test_somebody_quicker_is_named_with_what_they_changed(alice: Visitor, cast: Cast, machines: None) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", version=2, changed_by_name="Jan", priority=70)
    change = {"field": "priority", "before": "50", "after": "70"}
    plan = {"name": "Gold", "touches": [str(policy.pk)], "machines": [], "from_version": 1, "changes": [change]}
    running(cast, policy, state="succeeded", plan=plan, wish={"action": "change"})
    edit = f"{page_of(policy)}change/"
    page = alice.post(edit, **filled(alice.get(edit), edit, version="1", name="Golden", do="save"))
    assert page.status == 409
    text = page.one(role="alert").text
    assert text.startswith("Jan changed this ")
    assert "Priority: Was 50, is now 70. Check and press again." in text
    assert page.form(edit)["name"] == ["Golden"]
    alice.post(edit, **filled(page, edit, do="save"))
    assert [row.wish["version"] for row in operations() if row.wish.get("version")] == [2]


def test_what_changes_is_said_beside_the_button(alice: Visitor, cast: Cast, machines: None) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", schedules=(NIGHTLY,))
    edit = f"{page_of(policy)}change/"
    page = alice.post(edit, **filled(alice.get(edit), edit, vm=["vm-3"], priority="80", do="preview"))
    text = page.one(id="changes").text
    assert "Virtual machines: added db-01; taken out web-01" in text
    assert "Priority: 50 → 80" in text


@pytest.mark.parametrize("who", ["oscar", "vera"])
def test_only_admins_open_the_editor(who: str, cast: Cast, visit: Callable[[Member | None], Visitor]) -> None:
    assert visit(getattr(cast, who)).get(NEW).status == 403


# ---------------------------------------------------------------- elsewhere


def test_a_machine_leads_to_its_policy_and_one_without_to_a_new_one(alice: Visitor, cast: Cast, machines: None) -> None:
    from vplus_bridge.models import VirtualMachine

    policy = kept(cast.alpha, "Gold", "vm-1")
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid="vm-1").update(policy_label="Gold", policy_guid="p")
    assert alice.get("/t/alpha/virtual-machines/").link("Gold") == page_of(policy)
    assert alice.get("/t/alpha/virtual-machines/vm-1/").link("Gold") == page_of(policy)
    new = alice.get(alice.get("/t/alpha/virtual-machines/vm-2/").link("Make one"))
    assert new.form(NEW)["vm"] == ["vm-2"]


def test_activity_and_operation_pages_name_the_policy(alice: Visitor, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold")
    row = running(cast, policy, state="succeeded", finished_at=timezone.now(), wish={"action": "change"})
    assert alice.get("/t/alpha/activity/").status == 200
    page = alice.get(f"/t/alpha/operations/{row.pk}/")
    assert page.heading == "Change of policy Gold"
    assert page.link("Open Gold") == page_of(policy)

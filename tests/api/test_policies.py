"""Policies and schedules by the API: reading for everybody, writing as operations for admins, and a preview for all."""

from datetime import time
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants.scope import every_tenant
from tests.api.conftest import Rows, Script
from tests.conftest import Cast
from tests.policies import EVERY_DAY, NIGHTLY, kept

SCHEDULE: dict[str, Any] = {
    "backup_type": "FULL",
    "execution_type": "TIME",
    "zone": "Europe/Warsaw",
    "days_of_week": ["SUNDAY"],
    "time_of_day": "02:00",
}
POLICY: dict[str, Any] = {"name": "Gold", "virtual_machines": ["vm-1"], "schedules": [SCHEDULE]}


@pytest.fixture(autouse=True)
def machines(cast: Cast) -> None:
    rows = Rows(cast)
    for guid in ("vm-1", "vm-2"):
        rows.machine(guid, cast.alpha, name=guid)
    rows.machine("vm-beta", cast.beta)
    rows.destination("bd-main", cast.alpha, "Vault A")


def draft(answer: Any) -> dict[str, Any]:
    """What an operation of the answer will write."""
    from vplus_bridge.models import Operation

    assert answer.status_code == 202, answer.content
    with every_tenant("test"):
        wish: dict[str, Any] = Operation.objects.get(pk=answer.data["id"]).wish["draft"]
    return wish


def schedule_of(policy: Any) -> str:
    with every_tenant("test"):
        return str(policy.schedules.get().pk)


def test_everybody_reads_policies_and_schedules(vera: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", "vm-2", changed_by_name="Jan")
    kept(cast.beta, "Theirs", "vm-beta")
    (row,) = vera.all("policies/")
    assert (row["name"], row["state"], row["virtual_machine_count"]) == ("Gold", "active", 2)
    assert row["changed_by"] == "Jan"
    (schedule,) = row["schedules"]
    assert schedule["sentence"] == "Incremental backup every day at 02:00, Warsaw time."
    assert (schedule["time_of_day"], schedule["days_of_week"]) == ("02:00", EVERY_DAY)
    assert row["next_run_at"] == schedule["next_run_at"] is not None
    whole = vera.get(f"policies/{policy.pk}/").data
    assert whole["virtual_machines"] == ["vm-1", "vm-2"]
    assert [one["id"] for one in vera.all("schedules/")] == [schedule["id"]]
    assert vera.get(f"schedules/{schedule['id']}/").data == schedule


def test_list_and_policy_count_the_same_machines(vera: Script, cast: Cast) -> None:
    """A member that is somebody else's or nobody's by now is in neither."""
    Rows(cast).machine("vm-nobody", None)
    policy = kept(cast.alpha, "Gold", "vm-1", "vm-beta", "vm-nobody")
    kept(cast.alpha, "Theirs by now", "vm-lent")
    counts = {row["name"]: row["virtual_machine_count"] for row in vera.all("policies/")}
    assert counts == {"Gold": 1, "Theirs by now": 0}
    whole = vera.get(f"policies/{policy.pk}/").data
    assert (whole["virtual_machine_count"], whole["virtual_machines"]) == (1, ["vm-1"])


def test_a_destination_that_is_not_the_tenants_is_not_named(vera: Script, cast: Cast) -> None:
    ours, other = kept(cast.alpha, "Gold"), kept(cast.alpha, "Silver", destination_guid="bd-secret")
    assert [row["destination"] for row in vera.all("policies/")] == ["bd-main", None]
    told = [vera.get(f"policies/{policy.pk}/").data["destination"] for policy in (ours, other)]
    assert told == ["bd-main", None]


def test_the_list_is_filtered_and_asks_the_same_number_of_questions(alice: Script, cast: Cast) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert alice.get("policies/").status_code == 200
        return len(queries)

    kept(cast.alpha, "Gold")
    kept(cast.alpha, "Silver", paused=True)
    kept(cast.alpha, "Theirs", attached=True)
    assert [row["name"] for row in alice.all("policies/", state="paused")] == ["Silver"]
    assert [row["name"] for row in alice.all("policies/", search="OLD")] == ["Gold"]
    assert "active" in alice.get("policies/", state="odd").data["errors"]["state"][0]
    before = asked()
    for number in range(10):
        kept(cast.alpha, f"More {number}", vplus_guid=f"p-{number}", attached=number % 2 == 0)
    assert asked() == before
    assert len(alice.all("policies/", page_size=4)) == 13


def test_a_policy_is_asked_for(alice: Script) -> None:
    answer = alice.post("policies/", POLICY)
    assert draft(answer)["schedules"][0]["time_of_day"] == "02:00:00"
    assert answer.data["kind"] == "policy"
    assert alice.get(f"policies/{answer.data['subject']}/").data["state"] == "saving"
    assert alice.post("policies/", POLICY).data["id"] == answer.data["id"], "the same again is that one"


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"name": " "}, "name", "Give the policy a name."),
        ({"name": "GOLDEN"}, "name", "of this name already"),
        ({"virtual_machines": []}, "virtual_machines", "protects nothing"),
        ({"virtual_machines": ["vm-2"]}, "moves", "vm-2 leaves Golden"),
        ({"schedules": []}, "schedules", "never runs"),
        ({"destination": "bd-odd"}, "destination", "Vault A"),
        ({"priority": 101}, "priority", "0 to 100"),
        ({"schedules": [{**SCHEDULE, "days_of_week": []}]}, "schedules.0.days_of_week", "Choose at least one day"),
        ({"schedules": [{**SCHEDULE, "time_of_day": 7_200_000}]}, "schedules.0.time_of_day", "02:00"),
        ({"schedules": [{**SCHEDULE, "time_of_day": "02:00:30"}]}, "schedules.0.time_of_day", "02:00"),
        ({"schedules": [SCHEDULE, {**SCHEDULE, "zone": "Mars/Olympus"}]}, "schedules.1.zone", "Europe/Warsaw"),
        ({"schedules": [{**SCHEDULE, "occurrences": ["FIFTH"]}]}, "schedules.0.occurrences", "Choose last"),
        ({"schedules": [{**SCHEDULE, "start_window_minutes": 1}]}, "schedules.0.start_window_minutes", "5 minutes"),
        ({"schedules": [{**SCHEDULE, "frequency_minutes": 10**15}]}, "schedules.0.frequency_minutes", "100000"),
        ({"schedules": [{**SCHEDULE, "start_window_minutes": 10**15}]}, "schedules.0.start_window_minutes", "100000"),
        ({"odd": 1}, "odd", "no such member"),
    ],
)
def test_what_is_wrong_is_said_by_its_path(
    changed: dict[str, Any], field: str, words: str, alice: Script, cast: Cast
) -> None:
    kept(cast.alpha, "Golden", "vm-2")
    answer = alice.post("policies/", {**POLICY, **changed})
    assert answer.status_code == 400, answer.content
    assert words in " ".join(answer.data["errors"][field])


@pytest.mark.parametrize("member", ["frequency_minutes", "start_window_minutes"])
@pytest.mark.parametrize("minutes", [-(10**30), 10**30])
@pytest.mark.parametrize("kind", ["TIME", "INTERVAL"])
def test_a_length_of_time_that_no_calendar_holds(alice: Script, member: str, minutes: int, kind: str) -> None:
    odd = {
        **SCHEDULE,
        "execution_type": kind,
        "start": "01:00",
        "end": "23:00",
        "frequency_minutes": 60,
        member: minutes,
    }
    answer = alice.post("schedules/preview/", odd)
    assert (answer.status_code, list(answer.data["errors"])) == (400, [member])
    answer = alice.post("policies/", {**POLICY, "schedules": [odd]})
    assert (answer.status_code, list(answer.data["errors"])) == (400, [f"schedules.0.{member}"])


def test_an_interval_that_ends_before_it_starts_or_never_fires(alice: Script) -> None:
    again = {**SCHEDULE, "execution_type": "INTERVAL", "time_of_day": None, "frequency_minutes": 60}
    for times, field in (
        ({"start": "22:00", "end": "04:00"}, "end"),
        ({"start": "08:00", "end": "08:30"}, "frequency_minutes"),
    ):
        answer = alice.post("policies/", {**POLICY, "schedules": [{**again, **times}]})
        assert list(answer.data["errors"]) == [f"schedules.0.{field}"]


def test_machines_of_others_are_not_there(alice: Script) -> None:
    said = [alice.post("policies/", {**POLICY, "virtual_machines": [guid]}) for guid in ("vm-beta", "vm-never")]
    assert [answer.status_code for answer in said] == [404, 404]
    assert [answer.data["errors"]["virtual_machines"] for answer in said] == [
        ["vm-beta: not found."],
        ["vm-never: not found."],
    ]


def test_a_policy_is_changed_and_an_older_version_is_told_what_changed(alice: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", version=2, changed_by_name="Jan")
    kept_id = schedule_of(policy)
    change = {"field": "priority", "before": "50", "after": "70"}
    Rows(cast).operation(
        "", cast.alpha, kind="policy", state="succeeded", subject=str(policy.pk),
        plan={"policy_name": "Gold", "touches": [], "machines": [], "from_version": 1, "changes": [change]},
    )  # fmt: skip
    body = {**POLICY, "schedules": [{**SCHEDULE, "id": kept_id}]}
    old = alice.put(f"policies/{policy.pk}/", {**body, "version": 1})
    assert (old.status_code, old.data["code"]) == (409, "changed_by_somebody")
    assert old.data["errors"] == {"priority": ["Was 50, is now 70."]}
    assert draft(alice.put(f"policies/{policy.pk}/", {**body, "version": 2}))["schedules"][0]["id"] == kept_id
    assert alice.put(f"policies/{policy.pk}/", body).data["errors"] == {"version": ["This field is required."]}


def test_a_schedule_that_is_named_twice_is_no_wish(alice: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1")
    same = {**SCHEDULE, "id": schedule_of(policy)}
    answer = alice.put(f"policies/{policy.pk}/", {**POLICY, "schedules": [same, same], "version": 1})
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["schedules.1.id"])


@pytest.mark.parametrize("other", ["gold \N{KELVIN SIGN}", "GOLD K", "gold k"])
def test_a_name_is_taken_as_the_database_has_it(alice: Script, cast: Cast, other: str) -> None:
    """Of some letters the capital of the small one is another: a name that PostgreSQL takes for the same is taken."""
    kept(cast.alpha, "Gold k", "vm-2")
    answer = alice.post("policies/", {**POLICY, "name": other})
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["name"]), answer.content


@pytest.mark.parametrize("name", ["none", "provider"])
def test_a_word_of_the_filters_is_no_name(alice: Script, name: str) -> None:
    """Machines are filtered by a policy's name, and by these words for those in none, or in one of the provider's."""
    answer = alice.post("policies/", {**POLICY, "name": f" {name}"})
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["name"])
    assert alice.post("policies/", {**POLICY, "name": name.capitalize()}).status_code == 202


def test_more_machines_than_fit_are_not_named_one_by_one(alice: Script) -> None:
    answer = alice.post("policies/", {**POLICY, "virtual_machines": [f"vm-no-{number}" for number in range(5001)]})
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["virtual_machines"])
    assert answer.data["errors"]["virtual_machines"] == ["At most 5000 fit into one policy."]


def test_more_schedules_than_fit_are_not_looked_at_one_by_one(alice: Script) -> None:
    answer = alice.post("policies/", {**POLICY, "schedules": [{**SCHEDULE, "zone": "Mars/Base"}] * 3000})
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["schedules"])


def test_a_policy_is_deleted_by_the_version_that_was_read_or_whichever_it_is(alice: Script, cast: Cast) -> None:
    gold, iron = kept(cast.alpha, "Gold", "vm-1"), kept(cast.alpha, "Iron", "vm-2", version=3)
    assert list(alice.delete(f"policies/{gold.pk}/?version=new").data["errors"]) == ["version"]
    assert alice.delete(f"policies/{gold.pk}/?version=7").status_code == 409
    assert alice.delete(f"policies/{gold.pk}/?version=1").status_code == 202
    assert alice.delete(f"policies/{iron.pk}/").status_code == 202


def test_schedules_are_added_changed_and_deleted_one_by_one(alice: Script, cast: Cast) -> None:
    weekly = {**NIGHTLY, "backup_type": "FULL", "days_of_week": ["SUNDAY"], "time_of_day": time(5, 0)}
    first, second, third = (kept(cast.alpha, name, f"vm-{name}", schedules=(NIGHTLY, weekly)) for name in "abc")
    for name in "abc":
        Rows(cast).machine(f"vm-{name}", cast.alpha)
    with every_tenant("test"):
        ids = [str(one.schedules.get(position=2).pk) for one in (second, third)]
    added = draft(alice.post("schedules/", {"policy": str(first.pk), "version": 1, **SCHEDULE}))
    assert [one["time_of_day"] for one in added["schedules"]] == ["02:00:00", "05:00:00", "02:00:00"]
    changed = draft(alice.put(f"schedules/{ids[0]}/", {"version": 1, **SCHEDULE, "time_of_day": "06:00"}))
    assert [one["time_of_day"] for one in changed["schedules"]] == ["02:00:00", "06:00:00"]
    assert changed["schedules"][1]["id"] == ids[0]
    left = draft(alice.delete(f"schedules/{ids[1]}/?version=1"))
    assert [one["time_of_day"] for one in left["schedules"]] == ["02:00:00"]


def test_who_adds_or_deletes_a_schedule_need_not_have_read_the_policy(alice: Script, cast: Cast) -> None:
    first, second = (kept(cast.alpha, name, f"vm-{name}", schedules=(NIGHTLY, NIGHTLY), version=4) for name in "ab")
    for name in "ab":
        Rows(cast).machine(f"vm-{name}", cast.alpha)
    monthly = {**SCHEDULE, "time_of_day": "04:00", "occurrences": ["LAST_IN_MONTH", "FIRST"]}  # vPlus's word and ours
    added = draft(alice.post("schedules/", {"policy": str(first.pk), **monthly}))
    assert added["schedules"][-1]["occurrences"] == ["LAST", "FIRST"]
    with every_tenant("test"):
        last = second.schedules.get(position=2).pk
    assert alice.delete(f"schedules/{last}/").status_code == 202


def test_tasks_are_found_by_the_id_of_their_schedule(alice: Script, mallory: Script, cast: Cast, rows: Rows) -> None:
    """By the id that schedules are told with; vPlus's own guid of what carries one is nowhere told."""
    from vplus_bridge.models import Carrier

    policy, foreign = kept(cast.alpha, "Gold", "vm-1"), kept(cast.beta, "Lead", "vm-b")
    with every_tenant("test"):
        for one, guid in ((policy, "s-ours"), (foreign, "s-theirs")):
            Carrier.objects.create(
                tenant_id=one.tenant_id, schedule=one.schedules.get(), position=1, wire_name=guid, vplus_guid=guid,
                spec={}, valid_from=timezone.now(), valid_until=timezone.now(),
            )  # fmt: skip
    rows.task("ours", "vm-1", cast.alpha, schedule_guid="s-ours")
    rows.task("the provider's", "vm-1", cast.alpha, schedule_guid="s-of-vplus")
    rows.task("odd", "vm-1", cast.alpha, schedule_guid="s-theirs")
    rows.backup("b-1", "vm-1", cast.alpha, origin_type="SCHEDULE", origin_guid="s-ours")
    ours, theirs = schedule_of(policy), schedule_of(foreign)
    told = {row["guid"]: row["schedule"] for row in alice.all("tasks/")}
    assert told == {"ours": ours, "the provider's": "s-of-vplus", "odd": "s-theirs"}
    for asked, found in ((ours, ["ours"]), (theirs, []), ("s-of-vplus", ["the provider's"]), (str(uuid4()), [])):
        assert [row["guid"] for row in alice.all("tasks/", schedule=asked)] == found
    assert mallory.all("tasks/", schedule=ours) == []
    [backup] = alice.all("virtual-machines/vm-1/backups/")
    assert backup["origin"]["schedule"] == ours


def test_what_is_wrong_with_one_schedule_is_said_by_its_own_fields(alice: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1")
    answer = alice.post("schedules/", {"policy": str(policy.pk), "version": 1, **SCHEDULE, "zone": "Odd"})
    assert list(answer.data["errors"]) == ["zone"]
    last = alice.delete(f"schedules/{schedule_of(policy)}/?version=1")
    assert "never runs" in last.data["errors"]["schedules"][0]


def test_what_the_provider_keeps_is_read_and_never_changed(alice: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Theirs", "vm-1", attached=True)
    assert alice.get(f"policies/{policy.pk}/").data["state"] == "read_only"
    answer = alice.delete(f"policies/{policy.pk}/?version=1")
    assert (answer.status_code, answer.data["code"]) == (409, "read_only")


def test_only_admins_write(oscar: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1")
    schedule = schedule_of(policy)
    answers = [
        oscar.post("policies/", POLICY),
        oscar.put(f"policies/{policy.pk}/", {}),
        oscar.delete(f"policies/{policy.pk}/"),
        oscar.post(f"policies/{policy.pk}/accept-drift/", {}),
        oscar.post(f"policies/{policy.pk}/put-back/", {}),
        oscar.post("schedules/", {}),
        oscar.put(f"schedules/{schedule}/", {}),
        oscar.delete(f"schedules/{schedule}/"),
    ]
    assert {answer.status_code for answer in answers} == {403}


def test_nobody_elses_policy_is_there(mallory: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1")
    schedule = schedule_of(policy)
    answers = [
        mallory.get(f"policies/{policy.pk}/"),
        mallory.put(f"policies/{policy.pk}/", {}),
        mallory.delete(f"policies/{policy.pk}/?version=1"),
        mallory.post(f"policies/{policy.pk}/accept-drift/", {"digest": "x"}),
        mallory.post(f"policies/{policy.pk}/put-back/", {"digest": "x"}),
        mallory.post("schedules/", {"policy": str(policy.pk), "version": 1, **SCHEDULE}),
        mallory.get(f"schedules/{schedule}/"),
        mallory.delete(f"schedules/{schedule}/?version=1"),
    ]
    assert {answer.status_code for answer in answers} == {404}


def test_a_preview_tells_runs_and_what_works_instead(vera: Script) -> None:
    fine = vera.post("schedules/preview/", SCHEDULE).data
    assert fine["works"] is True
    assert fine["sentence"] == "Full backup every Sunday at 02:00, Warsaw time."
    assert len(fine["next_runs"]) == 20
    assert all("T02:00:00+" in run["local"] or "T03:00:00+" in run["local"] for run in fine["next_runs"])
    odd = {**SCHEDULE, "zone": "Asia/Singapore", "occurrences": ["FIRST", "THIRD"]}
    refused = vera.post("schedules/preview/", {**odd, "days_of_week": ["MONDAY", "WEDNESDAY", "FRIDAY"]}).data
    assert refused["works"] is False
    assert "falls on the day before" in refused["refusal"]
    assert refused["alternatives"][0]["time_of_day"] == "08:00"
    assert vera.post("schedules/preview/", refused["alternatives"][0]).data["works"] is True
    assert list(vera.post("schedules/preview/", {**SCHEDULE, "zone": "Odd"}).data["errors"]) == ["zone"]

"""Policies, rules and schedules made, changed and removed by the client on the stand-in vPlus over HTTPS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vplus_bridge.client import (
    AtInterval,
    AtTime,
    Endpoint,
    IntervalRecord,
    NotFound,
    Outcome,
    OutcomeKind,
    RuleDraft,
    Timing,
    VplusClient,
    WriteRequest,
    bears_name,
)
from vplus_bridge.client.drafts import DAYS_OF_WEEK, MONTHS, OCCURRENCES
from vplus_bridge.client.paging import Listing
from vplus_simulator.faults import Fault
from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions
from vplus_simulator.settings import Settings

HOUR = 3_600_000
NIGHT = AtTime(hour_ms=22 * HOUR, start_window_ms=6 * HOUR)
LABEL = "alpha-uuid"
EVERY = [("guide", "poorest"), ("guide", "plain"), ("guide", "generous"), ("current", "generous")]
"""A current server tells its rules whole, which real clients rely on (vplus-api.md 4.31): no poor one is believable."""

Make = Callable[..., VplusClient]


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    switches = Settings(schedules_fire=False, session_idle_seconds=10.0**9)
    with SimulatorServer(ServerOptions(stepped=True, settings=switches)) as running:
        yield running


@pytest.fixture
def make(simulator: SimulatorServer) -> Iterator[Make]:
    """A client that speaks to a server of its own dialect, at a richness."""
    made: list[VplusClient] = []

    def connect(dialect: Any = "guide", richness: str = "poorest") -> VplusClient:
        simulator.control.change(
            richness=richness,
            policy_rules="required" if dialect == "current" else "separate",
            tenant_filter="current" if dialect == "current" else None,
        )
        client = VplusClient(
            Endpoint(
                url=simulator.url,
                username="portal",
                password="portal",
                ca_bundle=str(simulator.ca_path),
                dialect=dialect,
                page_size=2,
                write_total_seconds=2,
            ),
            sleep=lambda _seconds: None,
        )
        made.append(client)
        return client

    yield connect
    for client in made:
        client.sign_out()


def send(client: VplusClient, request: WriteRequest) -> Outcome:
    with client.open_write() as channel:
        return channel.send(request)


def accepted(client: VplusClient, request: WriteRequest) -> str:
    """The guid of what was made, or "" where the request makes nothing."""
    outcome = send(client, request)
    assert outcome.kind is OutcomeKind.ACCEPTED, outcome
    return outcome.named[0][0] if outcome.named else ""


def whole(listing: Listing[Any]) -> list[Any]:
    rows = [row for page in listing for row in page]
    assert listing.completeness.complete
    return rows


def schedule(client: VplusClient, name: str = "t-1-nightly", **members: Any) -> str:
    told: dict[str, Any] = {
        "name": name,
        "backup_type": "FULL",
        "timing": NIGHT,
        "days_of_week": ["MONDAY", "FRIDAY"],
        "tenant_label": LABEL,
        "project_uuid": LABEL,
    }
    return accepted(client, client.dialect.create_schedule_request(**told | members))


def policy(client: VplusClient, schedules: tuple[str, ...], name: str = "t-1-gold", **members: Any) -> str:
    """A policy with one rule, in as many steps as the dialect needs."""
    rule = RuleDraft("t-1-rule", schedules, ("bd-main",))
    embedded = client.dialect.RULE_IS_EMBEDDED
    told: dict[str, Any] = {
        "name": name,
        "vm_guids": ["vm-alpha-new"],
        "tenant_label": LABEL,
        "project_uuid": LABEL,
        "rule": rule if embedded else None,
    }
    guid = accepted(client, client.dialect.create_policy_request(**told | members))
    if not embedded:
        accepted(client, client.dialect.create_rule_request(rule, policy_guid=guid))
    return guid


@pytest.mark.parametrize(("dialect", "richness"), EVERY)
def test_from_nothing_to_a_policy_and_back_to_nothing(
    simulator: SimulatorServer, make: Make, dialect: str, richness: str
) -> None:
    client, world = make(dialect, richness), simulator.world
    before = (set(world.policies), set(world.rules), set(world.schedules))
    nightly = schedule(client)
    gold = policy(client, (nightly,))
    found = client.policy_detail(gold)
    assert found.record.vm_guids == ("vm-alpha-new",)
    assert found.rules is not None
    [rule] = found.rules
    assert client.rule_detail(rule.record.guid).record.name == "t-1-rule"
    assert world.rules[rule.record.guid].schedules == [nightly]
    assert world.rules[rule.record.guid].destinations == ["bd-main"]
    assert world.policies[gold].auto_assign_mode == "DISABLED"
    assert (world.policies[gold].tenant_id, world.schedules[nightly].tenant_id) == (LABEL, LABEL)
    assert client.schedule_detail(nightly).record.rule_guids == (rule.record.guid,)
    if richness == "generous":
        assert rule.record.schedule_guids == (nightly,)
        assert rule.record.destination_guids == ("bd-main",)

    requests = client.dialect
    accepted(client, requests.delete_policy_request(gold))
    assert send(client, requests.delete_policy_request(gold)).status == 404
    assert send(client, requests.delete_rule_request(rule.record.guid)).status == 404
    assert client.schedule_detail(nightly).record.rule_guids == ()
    accepted(client, requests.delete_schedule_request(nightly))
    again = send(client, requests.delete_schedule_request(nightly))
    assert (again.kind, again.status) == (OutcomeKind.REFUSED, 404)
    assert (set(world.policies), set(world.rules), set(world.schedules)) == before
    for read in (client.policy_detail, client.policy):
        with pytest.raises(NotFound):
            read(gold)
    with pytest.raises(NotFound):
        client.schedule_detail(nightly)
    with pytest.raises(NotFound):
        client.rule_detail(rule.record.guid)


@pytest.mark.parametrize(("dialect", "richness"), EVERY)
def test_what_was_read_is_written_back_with_one_change(
    simulator: SimulatorServer, make: Make, dialect: str, richness: str
) -> None:
    client, world = make(dialect, richness), simulator.world
    nightly = schedule(client, months=["MAY"], occurrences=["LAST_IN_MONTH"])
    gold = policy(client, (nightly,), priority=70)
    rule = world.rules_of(gold)[0].guid
    requests = client.dialect
    # What the poorest server does not tell has to be told anew.
    told: dict[str, Any] = {"tenant_label": LABEL, "project_uuid": LABEL}
    known: dict[str, Any] = {"priority": 70, "auto_remove_non_present": False}
    links: dict[str, Any] = {"destination_guids": ["bd-main"], "policy_guid": gold}

    accepted(client, requests.update_schedule_request(client.schedule_detail(nightly).raw, active=False, **told))
    kept = world.schedules[nightly]
    assert (kept.active, kept.hour, kept.months, kept.occurrences) == (False, 22 * HOUR, ["MAY"], ["LAST_IN_MONTH"])
    assert world.rules[rule].schedules == [nightly], "its rule did not get lost"
    every = AtInterval(start_hour_ms=0, end_hour_ms=6 * HOUR, frequency_ms=2 * HOUR)
    accepted(client, requests.update_schedule_request(client.schedule_detail(nightly).raw, timing=every, **told))
    assert world.schedules[nightly].interval == (0, 6 * HOUR, 2 * HOUR)
    assert client.schedule_detail(nightly).record.execution_type == "INTERVAL"

    weekly = schedule(client, name="t-1-weekly")
    alone = client.rule_detail(rule).raw
    accepted(client, requests.update_rule_request(alone, schedule_guids=[nightly, weekly], **links))
    assert world.rules[rule].schedules == [nightly, weekly]
    assert world.rules[rule].destinations == ["bd-main"]

    vms = ["vm-alpha-new", "vm-lab"]
    accepted(client, requests.update_policy_request(client.policy_detail(gold).raw, vm_guids=vms, **told, **known))
    assert list(world.members_of[gold]) == vms
    assert (world.policies[gold].priority, world.policies[gold].name) == (70, "t-1-gold")
    assert [one.guid for one in world.rules_of(gold)] == [rule]
    assert world.rules[rule].schedules == [nightly, weekly], "nor did the rule's schedules"


LENGTHS = st.integers(1, 24 * 60).map(lambda minutes: minutes * 60_000)
HOURS = st.integers(0, 24 * 60 - 1).map(lambda minutes: minutes * 60_000)
TIMINGS = st.builds(AtTime, hour_ms=HOURS, start_window_ms=LENGTHS) | st.builds(
    lambda hours, every: AtInterval(min(hours), max(hours), every), st.tuples(HOURS, HOURS), LENGTHS
)

MEMBERS = st.fixed_dictionaries(
    {
        "days_of_week": st.lists(st.sampled_from(DAYS_OF_WEEK), min_size=1, unique=True),
        "months": st.lists(st.sampled_from(MONTHS), unique=True),
        "occurrences": st.lists(st.sampled_from(OCCURRENCES), unique=True),
        "active": st.booleans(),
    }
)


@pytest.mark.parametrize(("dialect", "richness"), EVERY)
def test_every_schedule_comes_back_as_it_was_asked(make: Make, dialect: str, richness: str) -> None:
    client = make(dialect, richness)

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(number=st.integers(0, 2**60), timing=TIMINGS, members=MEMBERS)
    def asked(number: int, timing: Timing, members: dict[str, Any]) -> None:
        guid = schedule(client, name=f"t-{number}", timing=timing, **members)
        found = client.schedule_detail(guid).record
        assert found.active is members["active"]
        for name in ("days_of_week", "months", "occurrences"):
            assert set(getattr(found, name) or ()) == set(members[name])
        if isinstance(timing, AtTime):
            told = (found.execution_type, found.hour_ms, found.start_window_ms)
            assert told == ("TIME", timing.hour_ms, timing.start_window_ms)
        else:
            assert found.execution_type == "INTERVAL"
            assert found.interval == IntervalRecord(timing.start_hour_ms, timing.end_hour_ms, timing.frequency_ms)
        accepted(client, client.dialect.delete_schedule_request(guid))

    asked()


@pytest.mark.parametrize("richness", ["poorest", "plain", "generous"])
def test_lists_are_complete_whether_paged_or_not(simulator: SimulatorServer, make: Make, richness: str) -> None:
    client = make("guide", richness)
    for number in range(5):
        policy(client, (schedule(client, name=f"t-{number}-s"),), name=f"t-{number}-p", vm_guids=[])
    policies, schedules = whole(client.policies()), whole(client.schedules(type="VM_BACKUP"))
    assert {row.guid for row in policies} == set(simulator.world.policies)
    assert {row.guid for row in schedules} == set(simulator.world.schedules)
    assert {row.guid for row in whole(client.rules("policy-beta"))} == {"rule-beta"}
    assert {row.guid for row in whole(client.schedules(vm_guid="vm-beta-web"))} == {"schedule-beta"}
    mine = {row.guid for row in whole(client.policies(tenant_label=LABEL))}
    assert ("policy-beta" in mine) is (richness != "generous"), "a filter is a hint"


def test_a_list_that_lost_rows_is_not_complete_on_a_generous_server(simulator: SimulatorServer, make: Make) -> None:
    client = make("guide", "generous")
    simulator.control.arm(Fault(kind="missing_rows", path="/schedules", rows=1))
    listing = client.schedules()
    list(listing)
    assert not listing.completeness.complete


def test_what_was_made_without_an_answer_is_found_by_its_name(simulator: SimulatorServer, make: Make) -> None:
    client = make()
    simulator.control.change(created_object="empty", put_response="empty", prefix_names=True)
    assert schedule(client) == ""
    [found] = [row for row in whole(client.schedules()) if bears_name(row.name, "t-1-nightly")]
    assert found.name != "t-1-nightly"
    accepted(
        client,
        client.dialect.update_schedule_request(
            client.schedule_detail(found.guid).raw, active=False, tenant_label=LABEL
        ),
    )
    assert simulator.world.schedules[found.guid].name == "t-1-nightly"


@pytest.mark.parametrize(
    ("answer", "kind"), [(409, OutcomeKind.REFUSED), (400, OutcomeKind.REFUSED), (500, OutcomeKind.UNCERTAIN)]
)
def test_a_name_that_somebody_has(simulator: SimulatorServer, make: Make, answer: int, kind: OutcomeKind) -> None:
    client = make()
    simulator.control.change(duplicate_name=answer)
    outcome = send(client, client.dialect.create_policy_request(name="beta silver", vm_guids=[], tenant_label=LABEL))
    assert (outcome.kind, outcome.status) == (kind, answer)
    assert "beta silver" in (outcome.vendor_text or "")


def test_a_server_that_wants_a_rule_refuses_a_policy_without_one(simulator: SimulatorServer, make: Make) -> None:
    client = make("guide")
    simulator.control.change(policy_rules="required")
    outcome = send(client, client.dialect.create_policy_request(name="t", vm_guids=[], tenant_label=LABEL))
    assert (outcome.kind, outcome.status) == (OutcomeKind.REFUSED, 400)
    assert "rules" in (outcome.vendor_text or "")


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("call", ["schedule", "policy", "rule", "replace", "delete"])
def test_a_cut_at_each_call_is_uncertain(simulator: SimulatorServer, make: Make, call: str, phase: Any) -> None:
    client = make()
    nightly, requests = schedule(client), client.dialect
    raw = client.schedule_detail(nightly).raw
    request = {
        "schedule": requests.create_schedule_request(
            name="t-2", backup_type="FULL", timing=NIGHT, days_of_week=["MONDAY"], tenant_label=LABEL
        ),
        "policy": requests.create_policy_request(name="t-2", vm_guids=[], tenant_label=LABEL),
        "rule": requests.create_rule_request(RuleDraft("t-2", (), ("bd-main",)), policy_guid="policy-beta"),
        "replace": requests.update_schedule_request(raw, name="t-2", tenant_label=LABEL),
        "delete": requests.delete_schedule_request(nightly),
    }[call]
    accepted_before = len(simulator.control.journal())
    simulator.control.arm(Fault(kind="cut", phase=phase, calls="write", count=1))
    assert send(client, request).kind is OutcomeKind.UNCERTAIN
    assert len(simulator.control.journal()) - accepted_before == (phase == "after")
    again = send(client, request)
    assert again.kind is (
        OutcomeKind.REFUSED if phase == "after" and call in {"schedule", "policy", "delete"} else OutcomeKind.ACCEPTED
    ), "a name is the key, a rule's is not"

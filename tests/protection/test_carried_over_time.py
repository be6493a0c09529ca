"""What vPlus does with our carriers, rewritten in time, is exactly what was promised; computed twice, once naively."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.protection.oracle import meant_runs, vplus_fires, wire
from tests.protection.promises import (
    EVERY_DAY,
    SAT,
    SUN,
    WORKDAYS,
    at,
    every,
    repeated_promises,
    starts,
    timed_promises,
)
from vplus_bridge.protection.carriers import MAX_CARRIERS
from vplus_bridge.protection.promised_runs import expected_runs
from vplus_bridge.protection.rewriting import CannotCarry, Plan, Reason, admit, carrier_timeline, quiet_moment, replan
from vplus_bridge.protection.schedule_words import note, refusal, told
from vplus_bridge.protection.wall_time import Promise, mistakes

TWO_YEARS = timedelta(days=731)
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def plans(promise: Promise, start: datetime, end: datetime) -> list[Plan]:
    """Return the plans of an accepted promise; a later refusal would be a schedule that goes silent."""
    found = list(carrier_timeline(promise, start, end))
    assert all(isinstance(plan, Plan) for plan in found)
    return [plan for plan in found if isinstance(plan, Plan)]


def fired(timeline: list[Plan], end: datetime) -> list[datetime]:
    """Return what vPlus does while it holds these, one after the other."""
    instants: list[datetime] = []
    for plan, following in zip(timeline, [*timeline[1:], None], strict=True):
        until = min(following.made_at, end) if following else end
        instants += vplus_fires([wire(carrier) for carrier in plan.carriers], plan.made_at, until)
    return instants


def check_shape(timeline: list[Plan]) -> None:
    for plan in timeline:
        assert len(plan.carriers) <= MAX_CARRIERS
        assert plan.rewrite_at is not None
        assert plan.rewrite_by is not None
        assert plan.made_at < plan.rewrite_at <= plan.rewrite_by
        for carrier in plan.carriers:
            assert carrier.interval is None or carrier.interval.start_hour_ms <= carrier.interval.end_hour_ms


def check_exact(promise: Promise, start: datetime, end: datetime) -> list[Plan]:
    timeline = plans(promise, start, end)
    check_shape(timeline)
    assert fired(timeline, end) == [run.utc for run in meant_runs(promise, start, end)]
    assert not any(plan.deviations for plan in timeline)
    return timeline


@settings(RELAXED, max_examples=200)
@given(timed_promises, starts)
def test_a_time_is_kept_for_two_years_or_refused(promise: Promise, start: datetime) -> None:
    first = admit(promise, start)
    if isinstance(first, CannotCarry):
        event("refused")
        assert not promise.any_date
        for other in first.alternatives:
            assert not mistakes(other)
            assert isinstance(admit(other, start), Plan)
        assert first.alternatives
        # Had it been accepted and become too much only later, it would still be kept, by writing more often.
        check_exact(promise, start, start + TWO_YEARS / 4)
        return
    event("in several carriers" if len(first.carriers) > 1 else "in one carrier")
    timeline = check_exact(promise, start, start + TWO_YEARS)
    assert timeline[0] == first
    assert not any(plan.inside_window for plan in timeline)


@settings(RELAXED, max_examples=150)
@given(timed_promises, starts, st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_any_moment_of_the_rewrite_will_do(promise: Promise, start: datetime, lateness: list[float]) -> None:
    if isinstance(admit(promise, start), CannotCarry):
        return
    end, at_, timeline = start + TWO_YEARS, start, []
    while at_ < end:
        plan = replan(promise, at_)
        assert isinstance(plan, Plan)
        assert plan.rewrite_at is not None
        assert plan.rewrite_by is not None
        timeline.append(plan)
        at_ = plan.rewrite_at + (plan.rewrite_by - plan.rewrite_at) * lateness[len(timeline) % len(lateness)]
        if plan.reason is Reason.HORIZON:
            at_ = min(quiet_moment(promise, at_), plan.rewrite_by)
    assert fired(timeline, end) == [run.utc for run in meant_runs(promise, start, end)]


@settings(RELAXED, max_examples=120)
@given(repeated_promises, starts)
def test_an_interval_is_kept_but_for_days_of_clock_changes_which_are_told(promise: Promise, start: datetime) -> None:
    first = admit(promise, start)
    if isinstance(first, CannotCarry):
        event("refused")
        assert not promise.any_date
        assert all(isinstance(admit(other, start), Plan) for other in first.alternatives)
        return
    end = start + TWO_YEARS
    timeline = plans(promise, start, end)
    check_shape(timeline)
    meant = Counter(run.utc for run in meant_runs(promise, start, end))
    done = Counter(fired(timeline, end))
    told = [deviation for plan in timeline for deviation in plan.deviations]
    missing = sorted(d.promised for d in told if d.promised and d.promised < end)
    extra = sorted(d.actual for d in told if d.actual and d.actual < end)
    assert missing == sorted((meant - done).elements())
    assert extra == sorted((done - meant).elements())
    event(f"{min(len(told), 3)} deviations")
    changes = list(clock_changes(promise, start - timedelta(days=3), end + timedelta(days=3))) if told else []
    for instant in missing + extra:
        # The change itself lies on this UTC day, or its repeated hour, or the day it left out, reaches into it.
        k = bisect_left(changes, (instant + timedelta(days=1), timedelta()))
        moment, by = changes[k - 1] if changes[k - 1][0].date() <= instant.date() else changes[k]
        assert moment.date() == instant.date() or moment <= instant <= moment + by


def clock_changes(promise: Promise, start: datetime, end: datetime) -> Iterator[tuple[datetime, timedelta]]:
    """Give when the zone's offset changes, to the minute, and by how much."""
    zone = promise.tzinfo
    while start < end:
        after = start + timedelta(hours=18)
        by = start.astimezone(zone).utcoffset() - after.astimezone(zone).utcoffset()  # type: ignore[operator]  # a zone knows
        if by:
            low, high = start, after
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                same = middle.astimezone(zone).utcoffset() == start.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            yield high, abs(by)
        start = after


@settings(RELAXED, max_examples=100)
@given(timed_promises | repeated_promises, starts)
def test_promised_runs_are_those_of_the_wall_clock(promise: Promise, start: datetime) -> None:
    end = start + timedelta(days=400)
    assert [(run.promised, run.utc) for run in expected_runs(promise, start, end)] == [
        (run.wall, run.utc) for run in meant_runs(promise, start, end)
    ]
    assert expected_runs(replace(promise, active=False), start, end) == []


START = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "promise",
    [
        at("02:00", "America/New_York"),
        at("19:30", "America/New_York"),
        at("19:30", "America/New_York", [SUN]),
        at("23:59", "America/New_York", months=[1, 7]),
        at("22:00", "America/New_York", [SAT], occurrences=[1]),
        at("22:00", "America/New_York", [SAT], occurrences=[5]),
        at("02:00", "Asia/Kathmandu", WORKDAYS),
        at("05:44", "Asia/Kathmandu", [SUN], occurrences=[1, 5]),
        at("02:10", "Australia/Lord_Howe"),
        at("01:45", "Australia/Lord_Howe", [SUN]),
        at("10:45", "Australia/Lord_Howe", [SUN]),
        at("02:00", "Pacific/Apia", [SAT], occurrences=[5]),
        at("13:30", "Pacific/Apia"),
        at("02:30", "Africa/Casablanca"),
        at("00:30", "Africa/Casablanca", [SUN], occurrences=[1]),
        at("00:01", "America/St_Johns"),
        at("21:00", "America/St_Johns", [SAT], occurrences=[1]),
        at("02:00", "Asia/Singapore", [SAT], occurrences=[1]),
        at("02:30", "Europe/Berlin"),
        at("02:30", "Europe/Berlin", [SUN]),
        at("02:30", "Europe/Berlin", start_window=timedelta(hours=20)),
    ],
    ids=lambda promise: (
        f"{promise.zone} {promise.time_of_day:%H:%M} {len(promise.days_of_week)} {sorted(promise.occurrences)}"
    ),
)
def test_named_times_are_kept(promise: Promise) -> None:
    assert isinstance(admit(promise, START), Plan)
    check_exact(promise, START, START + TWO_YEARS)


def test_the_samoan_day_that_was_left_out() -> None:
    start, end = datetime(2011, 12, 1, tzinfo=UTC), datetime(2012, 2, 1, tzinfo=UTC)
    for days in ([4], [5], EVERY_DAY):
        check_exact(at("02:00", "Pacific/Apia", days), start, end)


def test_berlin_half_past_two_across_both_changes() -> None:
    promise, start = at("02:30", "Europe/Berlin"), datetime(2026, 10, 24, tzinfo=UTC)
    timeline = check_exact(promise, start, start + timedelta(days=365))
    autumn = expected_runs(promise, start, start + timedelta(days=3))
    assert [f"{run.utc:%d %H:%M} {note(run)}" for run in autumn] == [
        "24 00:30 ",
        "25 00:30 02:30 comes twice; runs the first time",
        "26 01:30 ",
    ]
    spring = expected_runs(promise, datetime(2027, 3, 27, tzinfo=UTC), datetime(2027, 3, 30, tzinfo=UTC))
    assert [f"{run.local:%d %H:%M} {run.utc:%H:%M} {note(run)}" for run in spring] == [
        "27 02:30 01:30 ",
        "28 03:30 01:30 no 02:30 that night",
        "29 02:30 00:30 ",
    ]
    assert [f"{plan.rewrite_at:%m-%d %H:%M}" for plan in timeline] == ["10-25 06:32", "03-28 07:32", "10-31 06:32"]


def test_a_first_saturday_night_in_new_york_needs_the_second_sunday_of_some_months() -> None:
    plan = admit(at("22:00", "America/New_York", [SAT], occurrences=[1]), datetime(2026, 11, 4, tzinfo=UTC))
    assert isinstance(plan, Plan)
    said = [
        (
            [m.name for m in sorted(c.months)],
            [d.name for d in c.days_of_week],
            [o.name for o in c.occurrences],
            c.hour_ms,
        )
        for c in plan.carriers
    ]
    hour = 3 * 3_600_000
    assert said == [
        (["JANUARY", "FEBRUARY", "MARCH", "APRIL", "DECEMBER"], ["SUNDAY"], ["FIRST"], hour),
        (["NOVEMBER"], ["SUNDAY"], ["SECOND"], hour),
    ] or said[1] == (["NOVEMBER"], ["SUNDAY"], ["SECOND"], hour)


def test_an_interval_west_of_utc_is_two_carriers_and_keeps_its_days() -> None:
    promise = every(120, "08:00", "20:00", "America/Los_Angeles", WORKDAYS)
    plan = admit(promise, START)
    assert isinstance(plan, Plan)
    hours = [
        (c.interval.start_hour_ms // 3_600_000, c.interval.end_hour_ms // 3_600_000)
        for c in plan.carriers
        if c.interval
    ]
    assert hours == [(15, 23), (1, 3)]
    assert [sorted(c.days_of_week) for c in plan.carriers] == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]
    check_exact(promise, START, START + TWO_YEARS)


def test_an_hourly_interval_through_the_repeated_hour_runs_once_more_and_says_so() -> None:
    promise = every(60, "00:00", "23:00", "America/Los_Angeles")
    timeline = plans(promise, START, START + timedelta(days=365))
    deviations = [deviation for plan in timeline for deviation in plan.deviations]
    assert [(d.promised, d.actual) for d in deviations] == [(None, datetime(2026, 11, 1, 9, tzinfo=UTC))]


def test_the_rewrite_of_an_interval_is_made_where_the_fewest_runs_differ() -> None:
    promise = every(45, "00:00", "23:45", "America/Los_Angeles", [SUN])
    timeline = plans(promise, START, START + timedelta(days=365))
    assert [told(deviation, promise) for plan in timeline for deviation in plan.deviations] == [
        "One run more than promised, Sun 1 Nov 2026 01:30.",
        "The run of Sun 14 Mar 2027 03:00 does not happen.",
    ]


def test_made_within_the_repeated_hour_it_is_held_back_until_that_is_over() -> None:
    promise = at("02:30", "Europe/Berlin", [SUN])
    start = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    timeline = check_exact(promise, start, start + timedelta(days=60))
    assert timeline[0].reason is Reason.HELD
    assert [carrier.active for carrier in timeline[0].carriers] == [False]
    assert timeline[1].made_at == datetime(2026, 10, 25, 1, 32, tzinfo=UTC)


def test_a_yearly_run_that_is_far_away_is_carried_from_now_on() -> None:
    promise = at("02:30", "Asia/Tokyo", [SUN], months=[2], occurrences=[5])
    timeline = check_exact(promise, datetime(2026, 3, 3, tzinfo=UTC), datetime(2031, 3, 3, tzinfo=UTC))
    assert all(plan.carriers for plan in timeline)


def test_paused_it_is_held_upstream_inactive_and_never_rewritten() -> None:
    (plan,) = plans(at("02:30", "Europe/Berlin", active=False), START, START + TWO_YEARS)
    assert plan.reason is Reason.PAUSED
    assert plan.rewrite_at is None
    assert not any(carrier.active for carrier in plan.carriers)
    assert plan.deviations == ()


def test_refused_with_the_nearest_times_that_can_be_kept() -> None:
    refused = admit(at("02:00", "Asia/Kathmandu", occurrences=[1]), START)
    assert isinstance(refused, CannotCarry)
    assert "the day before" in refusal(refused)
    assert [f"{other.time_of_day:%H:%M}" for other in refused.alternatives] == ["05:45"]
    evening = admit(at("22:00", "America/New_York", occurrences=[1]), START)
    assert isinstance(evening, CannotCarry)
    assert "the next day" in refusal(evening)
    assert [f"{other.time_of_day:%H:%M}" for other in evening.alternatives] == ["18:45"]


def test_refused_an_interval_is_offered_cut_to_one_utc_day() -> None:
    refused = admit(every(120, "08:00", "20:00", "America/Los_Angeles", WORKDAYS, occurrences=[1]), START)
    assert isinstance(refused, CannotCarry)
    (shorter,) = refused.alternatives
    assert (f"{shorter.start:%H:%M}", f"{shorter.end:%H:%M}") == ("08:00", "14:00")


def test_an_accepted_promise_that_becomes_too_much_is_kept_by_writing_more_often() -> None:
    for promise in (
        at("02:00", "Asia/Kathmandu", occurrences=[1]),
        at("22:00", "America/New_York", occurrences=[1, 3, 5]),
    ):
        assert isinstance(admit(promise, START), CannotCarry)
        check_exact(promise, START, START + TWO_YEARS)


def test_a_portal_that_is_down_over_the_horizon_leaves_carriers_that_go_on() -> None:
    promise = at("02:00", "Asia/Singapore", [SAT], occurrences=[1])
    plan = admit(promise, START)
    assert isinstance(plan, Plan)
    after = plan.horizon_end + timedelta(days=28)
    fires = vplus_fires([wire(carrier) for carrier in plan.carriers], plan.horizon_end, after)
    assert fires == [run.utc for run in meant_runs(promise, plan.horizon_end, after)] != []

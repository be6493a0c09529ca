"""Figures, times and badges as people read them: pure functions, no database."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.web.wording import badges, browsers, moments, numbers

NOW = datetime(2026, 11, 23, 9, 12, tzinfo=UTC)
WARSAW = ZoneInfo("Europe/Warsaw")
GIB = 1024**3


def plain(words: str) -> str:
    return words.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1024, "1 KiB"),
        (int(37.9 * GIB), "37.9 GiB"),
        (61 * GIB, "61 GiB"),
        (412 * GIB, "412 GiB"),
        (int(1.8 * 1024 * GIB), "1.8 TiB"),
        (int(99.97 * GIB), "100 GiB"),
        (int(999.6 * GIB), "0.98 TiB"),
    ],
)
def test_sizes_are_binary_with_three_digits(size: int, words: str) -> None:
    assert plain(numbers.size_words(size)) == words


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        numbers.size_words(-1)


@given(st.integers(min_value=0, max_value=2**63))
def test_no_size_shows_more_than_three_digits_until_exbibytes(size: int) -> None:
    figure, unit = plain(numbers.size_words(size)).split(" ")
    assert sum(letter.isdigit() for letter in figure) <= 3 or unit == "EiB"


@pytest.mark.parametrize(
    ("share", "words"), [(0, "0 %"), (63.9, "63 %"), (99.99, "99 %"), (100, "100 %"), (140, "100 %")]
)
def test_a_share_is_never_rounded_up(share: float, words: str) -> None:
    assert plain(numbers.percent_words(share)) == words


def test_ranges() -> None:
    assert numbers.range_words(1, 50, 148) == "1–50 of 148"
    assert numbers.range_words(1, 50, None) == "1–50 of more than 10,000"
    assert numbers.range_words(0, 0, 0) == "None"


@given(st.lists(st.tuples(st.sampled_from(["bad", "warn", "ok", "idle"]), st.integers(0, 100_000)), max_size=6))
def test_a_coverage_bar_fills_its_width_and_hides_nobody(parts: list[tuple[str, int]]) -> None:
    segments = numbers.coverage_segments(parts)
    assert len(segments) == sum(count > 0 for _fill, count in parts)
    assert all(segment.width >= 1.99 for segment in segments)
    if segments:
        assert segments[0].x == 0
        assert segments[-1].x + segments[-1].width == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=0.4), "now"),
        (timedelta(seconds=12.9), "12 s ago"),
        (timedelta(minutes=3, seconds=59), "3 min ago"),
        (timedelta(hours=8, minutes=59), "8 h ago"),
        (timedelta(hours=47, minutes=59), "47 h ago"),
        (timedelta(hours=48), "2 days ago"),
        (timedelta(days=19, hours=8), "19 days ago"),
        (timedelta(minutes=-4), "in 4 min"),
    ],
)
def test_relative_words_round_down(before: timedelta, words: str) -> None:
    assert moments.relative_words(NOW - before, NOW) == words


def test_exact_words_use_the_readers_zone() -> None:
    moment = datetime(2026, 11, 22, 1, 12, tzinfo=UTC)
    assert moments.exact_words(moment, NOW, WARSAW) == "Sun 22 Nov, 02:12"
    assert moments.exact_words(moment, NOW, WARSAW, weekday=False) == "22 Nov, 02:12"
    assert moments.exact_words(moment, NOW, ZoneInfo("America/New_York")) == "Sat 21 Nov, 20:12"
    assert moments.exact_words(moment.replace(year=2025), NOW, WARSAW) == "Sat 22 Nov 2025, 02:12"
    assert moments.exact_words(NOW, NOW, WARSAW) == "Today, 10:12"
    assert moments.utc_words(moment) == "01:12 UTC"


def test_today_is_the_readers_today() -> None:
    late = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)  # in Warsaw it is already Monday
    assert moments.clock_words(late, NOW, WARSAW) == "00:30"
    assert moments.clock_words(late, NOW, ZoneInfo("UTC")) == "Sun 22 Nov, 23:30"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (45, "45 s"), (720, "12 min"), (18_600, "5 h 10 min"), (115_200, "1 day 8 h"), (864_000, "10 days")],
)
def test_durations(seconds: int, words: str) -> None:
    assert moments.duration_words(seconds) == words


def test_an_estimate_that_is_missing_is_said() -> None:
    assert moments.time_left_words(None) == "time left not known"
    assert moments.time_left_words(59) == "less than a minute left"
    assert moments.time_left_words(250) == "about 4 min left"


@pytest.mark.parametrize("opinion", ["up_to_date", "outdated", "no_schedule", None, "something new"])
@pytest.mark.parametrize("status", ["not_protected", "unknown"])
@pytest.mark.parametrize("present", [True, False])
def test_before_verdicts_exist_nothing_is_green(status: str, opinion: str | None, *, present: bool) -> None:
    assert badges.interim_badge(status, opinion, present=present).colour != "ok"


def test_our_own_not_protected_goes_before_what_vplus_says() -> None:
    assert badges.interim_badge("not_protected", "up_to_date") is badges.PROTECTION["not_protected"]
    assert badges.interim_badge("unknown", None).word == "Not known"
    assert badges.interim_badge("not_protected", None, present=False).word == "Gone"


def test_a_finished_task_is_no_backup() -> None:
    assert badges.task_badge("FINISHED").colour == "idle"
    assert badges.task_badge("PREPARING", "Getting ready").word == "Getting ready"
    assert badges.backup_badge("SOMETHING_NEW").word == "SOMETHING_NEW"


def test_an_operation_names_its_stage_and_its_warnings() -> None:
    assert badges.operation_badge("running", stage="Storing").word == "Storing"
    assert badges.operation_badge("succeeded", warnings=True).colour == "warn"
    assert badges.operation_badge("succeeded").colour == "ok"
    with pytest.raises(KeyError):
        badges.operation_badge("finished")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1 Version/17.0 Safari/605.1", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) CriOS/140.0 Mobile Safari/604.1", "Chrome on iPhone"),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.0", "curl/8.0"),
        ("x" * 300, "x" * 60),
        ("", "Unknown browser"),
    ],
)
def test_browsers_by_the_names_that_people_know(said: str, words: str) -> None:
    assert browsers.browser_words(said) == words


def test_a_moment_of_today_inside_a_sentence() -> None:
    assert moments.exact_words(NOW, NOW, WARSAW) == "Today, 10:12"
    assert moments.said_words(NOW, NOW, WARSAW) == "today, 10:12"
    assert moments.said_words(NOW - timedelta(days=1), NOW, WARSAW) == "Sun 22 Nov, 10:12"

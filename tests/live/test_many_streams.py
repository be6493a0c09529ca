"""Many streams on few connections, a server told to stop, and Redis going away: each with a web server of its own."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.conftest import Cast
from tests.live.listening import Ears, cookies_of
from tests.processes import Processes, collect_static_files, eventually, redis_url
from tests.relay import Relay
from vplus_bridge import changes

MANY = 200
SESSIONS = 10  # a session may hold 30


@pytest.fixture
def own_web(cast: Cast, tmp_path: Path) -> Iterator[Processes]:
    collect_static_files()
    processes = Processes(tmp_path, DATABASE_POOL_SIZE="5", LIVE_RIGHTS_SECONDS="2", LIVE_HEARTBEAT_SECONDS="1")
    processes.start_web()
    yield processes
    processes.end_all()


def test_pages_answer_beside_200_open_streams_and_ctrl_c_ends_them_in_good_order(
    own_web: Processes, cast: Cast
) -> None:
    cookies = [cookies_of(cast.oscar) for _ in range(SESSIONS)]
    with Ears(own_web) as ears:
        streams = [ears.listen("alpha", cookies[number % SESSIONS], wait=False) for number in range(MANY)]
        ears.until(lambda: all(one.names()[:1] == ["hello"] for one in streams), "all streams are open")

        def page(number: int) -> int:
            header = {"Cookie": cookies[number % SESSIONS]}
            return requests.get(f"{own_web.url}/t/alpha/activity/", headers=header, timeout=10).status_code

        with ThreadPoolExecutor(8) as people:
            assert set(people.map(page, range(40))) == {200}
        changes.tell([changes.Change("policy", "p-1", cast.alpha.pk)])
        ears.until(lambda: all(one.changes("policy") for one in streams), "every one is told")
        assert not any(one.ended for one in streams)
        web = own_web.signal("web", signal.SIGINT)
        ears.until(lambda: all(one.ended for one in streams), "every stream is ended")
        assert web.wait(15) in (0, -signal.SIGINT)
    log = own_web.log("web")
    assert "Traceback" not in log
    assert "ASGI callable returned without completing response" not in log
    assert "Cancel" not in log
    assert len(log.splitlines()) < 30, log


def test_while_redis_is_away_the_stream_says_so_and_pages_read_again_when_it_is_back(
    cast: Cast, tmp_path: Path
) -> None:
    collect_static_files()
    base = redis_url()
    if not base.startswith("unix://"):
        pytest.skip("this Redis has no socket file to stand before")
    path, _, number = base.removeprefix("unix://").partition("?db=")
    relay = Relay(path)
    processes = Processes(tmp_path, REDIS_URL=f"redis://127.0.0.1:{relay.port}/{number}", LIVE_HEARTBEAT_SECONDS="1")
    try:
        processes.start_web()
        with Ears(processes) as ears:
            cookies = cookies_of(cast.oscar)
            heard = ears.listen("alpha", cookies)
            ears.until(lambda: heard.names()[-1] == "resync", "the process hears Redis")
            relay.cut()
            ears.until(lambda: heard.names()[-1] == "paused", "it says that nothing is heard")
            page = requests.get(f"{processes.url}/t/alpha/activity/", headers={"Cookie": cookies}, timeout=10)
            assert page.status_code == 200
            late = ears.listen("alpha", cookies)
            ears.until(lambda: late.names() == ["hello", "paused"], "who comes now is told too")
            relay.mend()
            for one in (heard, late):
                ears.until(lambda one=one: one.names()[-1] == "resync", "and to read again")
            changes.tell([changes.Change("policy", "p-1", cast.alpha.pk)])
            ears.until(lambda: heard.changes("policy"), "the next change is told")
            assert not heard.ended
    finally:
        processes.end_all()
        relay.close()
    assert "Traceback" not in processes.log("web")


def test_a_change_is_never_held_up_by_a_redis_that_is_away_and_is_made_up_for(
    cast: Cast, own_web: Processes, settings: object
) -> None:
    """What could not be told is told as "read again" with the next change that can be."""
    base = redis_url()
    if not base.startswith("unix://"):
        pytest.skip("this Redis has no socket file to stand before")
    path, _, number = base.removeprefix("unix://").partition("?db=")
    relay = Relay(path)
    settings.REDIS_URL = f"redis://127.0.0.1:{relay.port}/{number}"  # type: ignore[attr-defined]
    with Ears(own_web) as ears:
        heard = ears.listen("alpha", cookies_of(cast.oscar))
        ears.until(lambda: heard.comments > 0, "the process hears Redis")
        before = heard.names().count("resync")
        relay.cut()
        for number in range(200):
            changes.tell([changes.Change("policy", f"lost-{number}", cast.alpha.pk)])
        relay.mend()

        def told_again() -> bool:
            changes.tell([changes.Change("policy", "kept", cast.alpha.pk)])
            return any(one["id"] == "kept" for one in heard.changes("policy"))

        eventually("a change is told again", told_again)
        assert heard.names().count("resync") == before + 1
        time.sleep(0.1)
        assert not [one for one in heard.changes("policy") if one["id"].startswith("lost")]
    relay.close()

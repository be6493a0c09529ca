"""The embedded servers: kept data, clean ends, and nothing left behind by a launcher that was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from local_stack.folder import CLONE, SHARED, data_folder, make_private
from local_stack.postgres_server import PostgresServer
from local_stack.problem import StackProblem
from local_stack.redis_server import RedisServer
from local_stack.servers import servers


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def is_alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_rows_survive_a_stop_and_a_kill_of_the_server(folder: Path) -> None:
    server = PostgresServer(folder / "postgres", shelf=folder)
    server.start()
    with psycopg.connect(server.url("owner")) as connection:
        connection.execute("CREATE TABLE kept (id int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    server.stop()
    server.start()
    with psycopg.connect(server.url("owner")) as connection:
        connection.execute("INSERT INTO kept VALUES (2)")
    assert server.process_id
    os.kill(server.process_id, signal.SIGKILL)
    wait_until(lambda: not server.is_running())
    server.start()
    with psycopg.connect(server.url("owner")) as connection:
        assert connection.execute("SELECT id FROM kept ORDER BY id").fetchall() == [(1,), (2,)]
    server.stop()


def test_only_a_throwaway_server_lets_its_owner_make_databases(folder: Path) -> None:
    server = PostgresServer(folder / "postgres", shelf=folder, throwaway=True)
    server.start()
    with psycopg.connect(server.url("owner"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE another")
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
    server.stop()


def test_half_made_data_is_made_again(folder: Path) -> None:
    (folder / "postgres" / "data").mkdir(parents=True)
    (folder / "postgres" / "data" / "left").touch()
    server = PostgresServer(folder / "postgres", shelf=folder)
    server.start()
    assert server.is_running()
    server.stop()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = PostgresServer(folder / "postgres", shelf=folder)
    server.start()
    server.stop()
    (folder / "postgres" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(StackProblem, match="no_such_setting"):
        server.start()
    assert not server.is_running()


def test_redis_listens_on_its_socket_only_and_keeps_nothing(folder: Path) -> None:
    server = RedisServer(folder / "redis")
    server.start()
    with redis.Redis.from_url(server.url(3), decode_responses=True) as client:
        client.set("a", "b")
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}
    server.stop()
    server.start()
    with redis.Redis.from_url(server.url(3)) as client:
        assert client.get("a") is None
    server.stop()


def test_too_long_a_path_is_refused_in_a_sentence(folder: Path) -> None:
    long = folder / ("long" * 20)
    with pytest.raises(StackProblem, match="too long"):
        PostgresServer(long, shelf=folder)
    with pytest.raises(StackProblem, match="too long"):
        RedisServer(long)


def test_servers_that_the_environment_names_are_used_and_none_is_started(folder: Path) -> None:
    given = {"DATABASE_URL": "postgresql://a@b/c", "DATABASE_OWNER_URL": "postgresql://d@b/c", "REDIS_URL_FILE": "/f"}
    with servers(given, folder, folder) as running:
        assert running.addresses == {}
        running.check()
    assert list(folder.iterdir()) == []


def test_a_database_without_its_owner_is_refused(folder: Path) -> None:
    with pytest.raises(StackProblem, match="DATABASE_OWNER_URL"), servers({"DATABASE_URL": "x"}, folder, folder):
        pytest.fail("it went on")


def test_a_server_that_went_by_itself_is_noticed(folder: Path) -> None:
    given = {"DATABASE_URL": "x", "DATABASE_OWNER_URL": "x"}
    with servers(given, folder, folder) as running:
        with redis.Redis.from_url(running.addresses["REDIS_URL"]) as client:
            client.shutdown(nosave=True)
        wait_until(lambda: not (folder / "redis" / "redis.sock").exists())
        with pytest.raises(StackProblem, match="Redis stopped by itself"):
            wait_until(lambda: running.check() is not None, seconds=5)


LAUNCHER = """
import signal, sys
from pathlib import Path
from local_stack.postgres_server import PostgresServer
from local_stack.redis_server import RedisServer
folder = Path(sys.argv[1])
postgres, redis = PostgresServer(folder / "postgres", shelf=folder), RedisServer(folder / "redis")
postgres.start()
redis.start()
print(postgres.process_id, redis.process_id, flush=True)
signal.pause()
"""


def test_nothing_outlives_a_launcher_that_was_killed_and_the_next_one_starts_at_once(folder: Path) -> None:
    command = [sys.executable, "-c", LAUNCHER, str(folder)]
    with subprocess.Popen(command, cwd=CLONE, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout
        children = [int(word) for word in launcher.stdout.readline().split()]
        assert len(children) == 2
        assert all(is_alive(child) for child in children)
        launcher.kill()
    again = PostgresServer(folder / "postgres", shelf=folder)
    again.start()
    wait_until(lambda: not any(is_alive(child) for child in children))
    again.stop()


def test_the_data_folder_is_inside_the_clone_where_a_socket_fits_and_root_has_one_outside() -> None:
    assert data_folder(Path("/home/ada/portal"), user=1000) == Path("/home/ada/portal/.local")
    long = data_folder(Path("/home/ada/" + "long/" * 20), user=1000)
    root = data_folder(Path("/home/ada/portal"), user=0)
    assert long.parent == root.parent == SHARED
    assert root != data_folder(Path("/home/ada/portal2"), user=0)


def test_a_folder_that_is_not_ours_is_refused(folder: Path) -> None:
    (folder / "theirs").mkdir()
    (folder / "link").symlink_to(folder / "theirs")
    with pytest.raises(StackProblem, match="not a folder of this user"):
        make_private(folder / "link")
    if os.geteuid() == 0:
        os.chown(folder / "theirs", 65534, 65534)
        with pytest.raises(StackProblem, match="not a folder of this user"):
            make_private(folder / "theirs")

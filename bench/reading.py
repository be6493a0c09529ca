"""The list of virtual machines, 100 rows of one tenant: 20,000 machines of 200 tenants in the mirror (100,000 and 1,000 with
--large).

Time of whole requests in this process, SQL statements and buffers that PostgreSQL touched; the same page with 10 tenants in
the mirror first. Baseline, in the same run: a bare view with the same session, frame and row partial over one indexed query.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, connections
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from bench.ground import database
from tests.conftest import make_cast

FEW, MANY, LARGE_MANY = (1_000, 10), (20_000, 200), (100_000, 1_000)
ROUNDS = 60
WARM = 10
DEPTHS = 20
LIST = "/t/alpha/virtual-machines/?size=100"
TEMPLATES = Path(__file__).parent / "templates"


def main(*, large: bool) -> None:
    """Print the figures."""
    bare_templates = [{**settings.TEMPLATES[0], "DIRS": [*settings.TEMPLATES[0]["DIRS"], TEMPLATES]}]
    with database(), override_settings(ROOT_URLCONF="bench.bare_page", TEMPLATES=bare_templates):
        cast = make_cast()
        client = Client()
        client.force_login(cast.oscar.row)
        _fill(cast, *FEW)
        few = _look(client, "10 tenants")
        _fill(cast, *(LARGE_MANY if large else MANY))
        many = _look(client, f"{(LARGE_MANY if large else MANY)[1]:,} tenants")
        bare = _times(lambda: client.get(f"/bare/?tenant={cast.alpha.pk}"))
        print(f"   baseline, the bare view: median {bare * 1000:.1f} ms")
        print(f"   list / bare: {many['seconds'] / bare:.2f} x (to beat: 2 x)")
        print(
            f"   SQL statements {few['statements']} and {many['statements']}, "
            f"buffers {few['buffers']:,} and {many['buffers']:,} (to beat: the same with few tenants and with many)"
        )


def _look(client: Client, what: str) -> dict[str, Any]:
    client.get(LIST)  # what is done once a session is not counted
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(LIST)
    assert answer.status_code == 200, answer.status_code
    assert answer.content.count(b'<tr id="vm-') == 100, "not a hundred rows"
    statements = [query["sql"] for query in asked.captured_queries]
    seconds = _times(lambda: client.get(LIST))
    reads = [sql for sql in statements if sql.lstrip().upper().startswith("SELECT")]
    print(f"   the list with {what}: median {seconds * 1000:.1f} ms, {len(statements)} SQL statements")
    return {"seconds": seconds, "statements": len(statements), "buffers": _buffers(reads)}


def _times(ask: Callable[[], Any]) -> float:
    """Return the median, over stacks of many depths: Python 3.11 keeps frames in chunks of 16 KiB, and code that calls and
    returns just at the end of one is a third slower, which would be the luck of how deep the measuring stands."""
    taken = []
    for number in range(WARM + ROUNDS):
        seconds = _deeper(number % DEPTHS * 8, ask)
        if number >= WARM:
            taken.append(seconds)
    return statistics.median(taken)


def _deeper(frames: int, ask: Callable[[], Any]) -> float:
    if frames:
        return _deeper(frames - 1, ask)
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def _buffers(statements: list[str]) -> int:
    """Return the pages that PostgreSQL touches for these statements, as the owner (who sees the same rows)."""
    total = 0
    with connections["owner"].cursor() as cursor:
        for sql in statements:
            if "set_config" in sql or "current_setting" in sql:
                continue
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
            [[plan]] = cursor.fetchall()
            top = plan[0]["Plan"]
            total += top.get("Shared Hit Blocks", 0) + top.get("Shared Read Blocks", 0)
    return total


def _fill(cast: Any, machines: int, tenants: int) -> None:
    """Fill the mirror: Alpha has 150 machines, the rest is spread over so many tenants."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM vplus_bridge_virtualmachine")
        cursor.execute(
            """
            INSERT INTO tenants_tenant (id, slug, name, vplus_tenant_id, time_zone, visibility, created_at)
            SELECT gen_random_uuid(), 't-' || n, 'Tenant ' || n, '', 'UTC', 'all', now()
            FROM generate_series((SELECT count(*) FROM tenants_tenant), %s - 1) n
            """,
            [tenants],
        )
        cursor.execute(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
            "WHERE table_name = 'vplus_bridge_virtualmachine'"
        )
        values = {
            "guid": "'vm-' || n",
            "tenant_id": f"CASE WHEN n <= 150 THEN '{cast.alpha.pk}'::uuid "
            "ELSE others.ids[1 + n % array_length(others.ids, 1)] END",
            "digest": "''::bytea",
            "name": "'server-' || n",
            "uuid": "'uuid-' || n",
            "present": "true",
            "policy_name": "'Gold daily'",
            "protection_status": "CASE WHEN n % 7 = 0 THEN 'not_protected' ELSE 'unknown' END",
            "protection_reason": "CASE WHEN n % 7 = 0 THEN 'never_backed_up' ELSE 'history_not_read' END",
            "attention_rank": "CASE WHEN n % 7 = 0 THEN 0 ELSE 4 END",
            "restore_point_count": "5",
            "newest_point_at": "now() - n * interval '1 minute'",
            "newest_point_time_given": "true",
            "last_backup_at": "now() - n * interval '1 minute'",
        }
        plain = {"timestamp with time zone": "now()", "boolean": "false", "jsonb": "'[]'"}
        for name, kind, nullable in cursor.fetchall():
            if name not in values and nullable == "NO":
                number = kind in {"integer", "smallint", "bigint", "double precision"}
                values[name] = "0" if number else plain.get(kind, "''")
        cursor.execute(
            f"""
            INSERT INTO vplus_bridge_virtualmachine ({", ".join(values)})
            SELECT {", ".join(values.values())} FROM generate_series(1, {machines}) n,
                (SELECT array_agg(id) AS ids FROM tenants_tenant WHERE slug <> 'alpha') others
            """  # noqa: S608  # words of this module
        )
        cursor.execute("ANALYZE vplus_bridge_virtualmachine")

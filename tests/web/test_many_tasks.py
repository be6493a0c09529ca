"""Lists of tasks where there are many: PostgreSQL walks an index in the order shown and stops, on every page."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from tenants.scope import in_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.web.conftest import ACTIVITY, Visitor
from vplus_bridge.models import Task

EACH = 6_000
"""Tasks of each tenant; half of Alpha's are of its operation, a dozen are under way."""
TASKS = f"{ACTIVITY}tasks/"


@pytest.fixture
def many(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.operation("vm-1", cast.alpha, state="succeeded", tasks=("t-of-operation",))
    given: dict[str, Any] = {field.column: _plain(field) for field in Task._meta.concrete_fields if not field.generated}
    given |= {
        "guid": "'t-' || md5(n::text)",
        "tenant_id": f"CASE WHEN n % 2 = 0 THEN '{cast.alpha.pk}'::uuid ELSE '{cast.beta.pk}'::uuid END",
        "virtual_machine_guid": "'vm-1'",
        "type": "'EXPORT'",
        "state": "CASE WHEN n <= 24 THEN 'RUNNING' ELSE 'FINISHED' END",
        "live": "n <= 24",
        "first_seen_at": "now() - n * interval '1 minute'",
        "started_at": "CASE WHEN n % 3 = 0 THEN NULL ELSE now() - n * interval '1 minute' - interval '7 s' END",
        "window_start": "CASE WHEN n % 5 = 0 THEN NULL ELSE now() - n * interval '1 minute' - interval '9 s' END",
        "run_ended": "n > 24",
        "of_operation": "n % 4 = 0 AND n > 24",
    }
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            f"INSERT INTO vplus_bridge_task ({', '.join(given)}) SELECT {', '.join(given.values())}"
            f" FROM generate_series(1, {2 * EACH}) n"
        )
        cursor.execute(
            "INSERT INTO vplus_bridge_chaintask (tenant_id, task_guid, attempt_id, stage, linked_at, linked_by)"
            " SELECT task.tenant_id, task.guid, attempt.id, 'export', now(), 'answer'"
            " FROM vplus_bridge_task task, vplus_bridge_attempt attempt WHERE task.of_operation"
        )
        cursor.execute("ANALYZE vplus_bridge_task, vplus_bridge_chaintask")


def _plain(field: Any) -> str:
    if field.null:
        return "NULL"
    return {"DateTimeField": "now()", "BooleanField": "false", "BinaryField": "''::bytea"}.get(
        field.get_internal_type(), "''"
    )


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from nodes(one)


def plans(cast: Cast, asked: CaptureQueriesContext) -> list[list[dict[str, Any]]]:
    """Return, of each statement that read a page of tasks, the nodes of its plan, as the portal's own login runs it."""
    found = []
    with in_tenant(cast.alpha.pk), connection.cursor() as cursor:
        for one in asked.captured_queries:
            if 'FROM "vplus_bridge_task"' in one["sql"] and one["sql"].endswith("LIMIT 26"):
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {one['sql']}")
                [[plan]] = cursor.fetchall()
                found.append(list(nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])))
    return found


@pytest.mark.parametrize(("path", "index"), [(TASKS, "task_by_time"), (ACTIVITY, "run_ended_last")])
def test_a_page_of_tasks_is_read_from_an_index_in_the_order_shown(
    many: None, cast: Cast, oscar: Visitor, path: str, index: str
) -> None:
    way = f"{path}?size=25"
    for direction in ("Next", "Next", "Previous", "Next"):
        with CaptureQueriesContext(connection) as asked:
            page = oscar.get(way)
        assert len(page.rows()) == 25
        [plan] = plans(cast, asked)
        assert index in {node.get("Index Name") for node in plan}, plan
        walked = max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in plan)
        assert walked < EACH // 20, "a page's worth, not the list, nor the way to its place"
        way = page.link(direction)


def test_nobody_counts_on_beyond_ten_thousand(many: None, oscar: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"1–25 of {EACH:,}" in oscar.get(TASKS, size="25").main.text
    assert f"1–25 of {EACH // 2 + 7:,}" in oscar.get(ACTIVITY, size="25").main.text
    monkeypatch.setattr("portal.web.wording.numbers.MOST_COUNTED", 1_000)
    with CaptureQueriesContext(connection) as asked:
        assert "1–25 of more than 1,000" in oscar.get(TASKS, size="25").main.text
    counts = [one["sql"] for one in asked.captured_queries if "COUNT(*)" in one["sql"] and "bridge_task" in one["sql"]]
    [of_the_list] = [sql for sql in counts if "LIMIT 1001" in sql]
    assert [sql for sql in counts if '"run_ended"' not in sql] == [of_the_list], "what runs is few, and counted whole"

"""The OpenAPI document is valid, tells what the API really gives, and can be read as a page without a script."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.validation import validate_schema

from portal.api.openapi import document
from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast
from tests.policies import held_differently, kept


def test_the_document_is_made_without_a_warning(tmp_path: Any) -> None:
    call_command("spectacular", fail_on_warn=True, validate=True, file=str(tmp_path / "schema.yml"))


def test_everybody_may_read_the_document_and_the_page(cast: Cast) -> None:
    answer = Client().get("/api/schema/")
    assert answer.status_code == 200
    validate_schema(answer.json())
    calls = {(method, address) for address, item in answer.json()["paths"].items() for method in item}
    assert ("post", "/api/v1/operations/") in calls
    assert ("get", "/api/v1/virtual-machines/{guid}/restore-points/") in calls
    page = Client().get("/api/docs/")
    assert page.status_code == 200
    assert "default-src 'self'" in page["Content-Security-Policy"]
    text = page.content.decode()
    for method, address in calls:
        assert f"{method.upper()} {address}" in text
    assert " style=" not in text
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    links, ids = set(re.findall(r'href="#([^"]+)"', text)), set(re.findall(r' id="([^"]+)"', text))
    assert len(links) > 20
    assert '<a href="#shape-RestoreForm">' in text, "a wish is told by its kinds"
    assert "one of backup" in text
    assert links <= ids


def test_a_page_that_is_no_get_is_refused(cast: Cast) -> None:
    assert Client().post("/api/docs/").status_code == 405


@pytest.fixture
def full(cast: Cast, rows: Rows) -> Any:
    """A row of each kind with as much in it as there can be."""
    rows.reading("inventory", NOW)
    rows.reading("contact", NOW)
    rows.machine("vm-1", cast.alpha, policy_name="Gold", newest_point_guid="b-1", newest_point_at=NOW)
    rows.destination("bd-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, NOW, destination_guid="bd-1", warnings_present=True)
    rows.task("t-1", "vm-1", cast.alpha, state="FAILED")
    return rows.operation("vm-1", cast.alpha, tasks=("t-1",), backup_guid="b-1", stage="export", error_code="vm_gone",
                          warnings=["vplus_warnings"])  # fmt: skip


def test_answers_are_what_the_document_says(full: Any, alice: Script, paula: Script, cast: Cast) -> None:
    paths = document()["paths"]
    made = alice.post("tokens/", {"name": "one"})
    _fits(
        made.data, paths["/api/v1/tokens/"]["post"]["responses"]["201"]["content"]["application/json"]["schema"], "new"
    )
    token = made.data["id"]
    policy = kept(cast.alpha, "Gold", "vm-1", differs_since=NOW)
    held_differently(policy, priority=80, vm_guids=["vm-2"])
    schedule = alice.get("schedules/").data["results"][0]["id"]
    for address, item in paths.items():
        if "get" not in item:
            continue
        script = paula if "/operator/" in address else alice
        path = address.replace("{guid}", "vm-1").replace("{operation_id}", str(full.pk)).replace("{token_id}", token)
        path = path.replace("{policy_id}", str(policy.pk)).replace("{schedule_id}", schedule)
        answer = script.get(path)
        assert answer.status_code == 200, path
        _fits(answer.data, item["get"]["responses"]["200"]["content"]["application/json"]["schema"], path)
    asked = alice.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"], "priority": 1})
    responses = paths["/api/v1/operations/"]["post"]["responses"]
    _fits(asked.data, responses["409"]["content"]["application/problem+json"]["schema"], "a problem")


def _fits(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Check that a value has exactly the members and types that the document promises."""
    if "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if value is None:
        assert schema.get("nullable"), f"{where} is null"
        return
    if "allOf" in schema:
        _fits(value, schema["allOf"][0], where)
        return
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), f"{where} is {value!r}"
    if "properties" in schema:
        assert set(value) == set(schema["properties"]), where
        for name, part in schema["properties"].items():
            _fits(value[name], part, f"{where} {name}")
    for number, one in enumerate(value if "items" in schema else ()):
        _fits(one, schema["items"], f"{where} {number}")

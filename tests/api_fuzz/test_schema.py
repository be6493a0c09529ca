"""The API against its own OpenAPI document: made-up requests, good and bad, at the real web server, with everybody's tokens.

No answer is 5xx; each has a status, a type, headers and a body that the document promises. Bounded by the number of
examples of each call; FUZZ_EXAMPLES in the environment makes it more.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from portal.api.openapi import METHODS, document
from tenants.scope import every_tenant
from tests.api.conftest import NOW, Rows
from tests.conftest import Cast
from tests.policies import held_differently, in_vplus, kept
from tests.processes import Processes, collect_static_files

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "6"))
PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
LONGEST_QUERY = 50_000
OPTIONS = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    collect_static_files()
    processes = Processes(tmp_path_factory.mktemp("web"))
    processes.start_web()
    yield processes
    processes.end_all()


@dataclass
class World:
    """Where to ask, as whom, and ids that are there."""

    url: str
    tokens: list[str]
    ids: dict[str, list[str]]


@pytest.fixture
def world(web: Processes, cast: Cast) -> World:
    rows = Rows(cast)
    for name in ("inventory", "contact", "tasks"):
        rows.reading(name, NOW)
    for number in range(4):
        rows.machine(f"vm-{number}", cast.alpha, policy_name="Gold", newest_point_guid="b-1", newest_point_at=NOW)
        rows.backup(f"b-{number}", f"vm-{number}", cast.alpha, NOW, destination_guid="bd-1", warnings_present=True)
    rows.destination("bd-1", cast.alpha)
    operations = [
        rows.operation(
            f"vm-{number}", cast.alpha, tasks=(f"t-{number}",), state=state, stage="export", backup_guid=f"b-{number}"
        )
        for number, state in enumerate(("requested", "running", "failed", "needs_attention"))
    ]
    for number in range(4):
        rows.task(f"t-{number}", f"vm-{number}", cast.alpha, state="RUNNING", live=True)
    people = (cast.alice, cast.oscar, cast.vera, cast.mallory, cast.paula, cast.arthur)
    tokens = [member.token() for member in people] + [cast.alice.token("read"), cast.alice.token("tokens"), "vpp_none"]
    own = requests.get(
        f"{web.url}/api/v1/tokens/", headers={"Authorization": f"Bearer {cast.mallory.token()}"}, timeout=20
    )
    in_vplus("p-old", name="customer-x and y", vm_guids=["vm-0"])
    policies = [
        kept(cast.alpha, name, f"vm-{number}", differs_since=NOW if name == "Silver" else None)
        for number, name in enumerate(("Gold", "Silver"))
    ]
    held_differently(policies[1], priority=80, vm_guids=["vm-2", "vm-other"])
    with every_tenant("test"):
        schedules = [str(schedule.pk) for policy in policies for schedule in policy.schedules.all()]
    ids = {
        "policy_id": [str(policy.pk) for policy in policies],
        "schedule_id": schedules,
        "guid": [*(f"vm-{number}" for number in range(4)), "p-old"],
        "operation_id": [str(operation.pk) for operation in operations],
        "token_id": [row["id"] for row in own.json()["results"]],
    }
    return World(web.url, tokens, ids)


def test_no_answer_breaks_the_document(world: World) -> None:
    schema = schemathesis.openapi.from_dict(document())
    calls = [found.ok() for found in schema.get_all_operations()]
    assert len(calls) > 20
    asked: set[int] = set()
    broken = [text for call in calls for text in broken_promises(call, world, asked)]
    assert not broken, "\n\n".join(broken)
    assert {200, 202, 204, 400, 401, 403, 404} <= asked, "the requests reached too little to tell anything"


def broken_promises(call: Any, world: World, asked: set[int]) -> Iterator[str]:
    """Ask one call with good and with bad requests; give what it did against the document."""
    session = requests.Session()
    session.trust_env = False
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        if mode is GenerationMode.NEGATIVE and not (call.query or call.body or call.path_parameters):
            continue  # there is nothing in it that could be wrong

        @OPTIONS
        @given(case=call.as_strategy(generation_mode=mode), token=st.sampled_from(world.tokens), data=st.data())
        def ask(case: Any, token: str, data: st.DataObject) -> None:
            for name in case.path_parameters or ():
                known = world.ids.get(name)
                if known and data.draw(st.booleans(), label="an id that is there"):
                    case.path_parameters[name] = data.draw(st.sampled_from(known))
            case.headers["Authorization"] = f"Bearer {token}"
            # Longer ones are refused by the web server itself, before there is an application to answer.
            assume(sum(len(quote(str(value))) for value in (case.query or {}).values()) < LONGEST_QUERY)
            answer = case.call(base_url=world.url, session=session, timeout=20)
            asked.add(answer.status_code)
            case.validate_response(answer, checks=PROMISES)

        try:
            ask()
        except FailureGroup as failures:
            yield f"{call.label}, {mode.name}: {failures}"


def test_methods_that_are_not_there_are_405(world: World) -> None:
    token = world.tokens[0]
    for path, item in document()["paths"].items():
        address = path
        for name, ids in world.ids.items():
            address = address.replace(f"{{{name}}}", ids[0])
        for method in {*METHODS, "options", "trace", "query"} - set(item):
            answer = requests.request(
                method, world.url + address, headers={"Authorization": f"Bearer {token}"}, timeout=20
            )
            expected = {404, 405} if "/operator/" in path else {405}
            assert answer.status_code in expected, f"{method} {path}"
            assert answer.headers["Content-Type"] == "application/problem+json", f"{method} {path}"
            assert answer.json()["reference"] == answer.headers["X-Reference"]

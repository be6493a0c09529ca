"""Whatever a body holds, it is taken or refused with a sentence, and the world stays one that can be told and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vplus_simulator.http import SimulatorServer
from vplus_simulator.messages import Answer, Request
from vplus_simulator.options import ServerOptions
from vplus_simulator.settings import Settings
from vplus_simulator.world import Snapshot

from .test_policies import CURRENT_RULE, GOLD, POLICIES, RULES
from .test_schedules import HOURLY, NIGHTLY

BODIES: dict[str, dict[str, Any]] = {
    "/schedules": NIGHTLY | {"interval": HOURLY["interval"]},
    POLICIES: GOLD | {"rules": [CURRENT_RULE], "backupRetryCount": 1, "mailingList": {"guid": "m"}},
    RULES: CURRENT_RULE | {"policy": {"guid": "policy-beta"}, "backupDestinations": ["bd-main"]},
}
SEEDED = {"/schedules": "schedule-beta", POLICIES: "policy-beta", RULES: "rule-beta"}
KNOWN = ["vm-lab", "rule-beta", "schedule-beta", "policy-beta", "bd-main", "MONDAY", "INTERVAL", "NaN", "1e999", ""]
LEAF = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.sampled_from(KNOWN)
MEMBER = st.sampled_from(["guid", "name", "mode", "startHour", "endHour", "frequency", "backupDestination", "roleType"])
STRANGE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBER, inner, max_size=3))


class Service:
    """A server that is asked without a connection, and whose world can be saved after every answer."""

    def __init__(self, tls_dir: Path, rules: Any) -> None:
        options = ServerOptions(
            stepped=True, tls_dir=tls_dir, settings=Settings(richness="generous", policy_rules=rules)
        )
        self._server = SimulatorServer(options)
        login = self._ask("POST", "/session/login", {"login": "portal", "password": "portal"}, {})
        self._cookie = {"cookie": dict(login.headers)["Set-Cookie"].split(";")[0]}

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        answer = self._ask(method, path, body, self._cookie)
        msgspec.json.decode(msgspec.json.encode(self._server.world.snapshot()), type=Snapshot)
        return answer

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        text = b"" if body is None else msgspec.json.encode(body)
        return self._server.service.handle(Request(method, path, {}, headers, text, "127.0.0.1"))


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("rules", ["separate", "required"])
def test_no_body_breaks_the_server(tls_dir: Path, path: str, rules: str) -> None:
    service = Service(tls_dir, rules)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(number=st.integers(0, 10**9), changed=st.dictionaries(st.sampled_from(sorted(BODIES[path])), STRANGE))
    def tried(number: int, changed: dict[str, Any]) -> None:
        body = BODIES[path] | {"name": f"n{number}"} | changed
        for method, where in (("POST", path), ("PUT", f"{path}/{SEEDED[path]}")):
            answer = service.ask(method, where, body)
            assert answer.status in {200, 201, 400, 409}, answer
            assert answer.body
        for listing in (*BODIES, "/virtual-machines"):
            assert service.ask("GET", listing).status == 200

    tried()

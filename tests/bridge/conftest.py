"""A vPlus that says exactly what a test tells it to say, for answers that no simulator would give; and a roomy tenant."""

from collections.abc import Iterator
from typing import Any

import pytest

from tenants.scope import every_tenant
from tests.bridge.policy_scenes import look
from tests.client.conftest import authority, ca_file, endpoint, server_context  # noqa: F401  # fixtures used by name
from tests.client.scripted_server import ScriptedServer, answer
from tests.conftest import Bridge, Cast
from vplus_bridge.client import VplusClient
from vplus_bridge.models import VirtualMachine
from vplus_bridge.ownership.assignment import assign


class Teller:
    """Lists and single objects as a test wrote them, by the path under which vPlus has them."""

    def __init__(self, server: ScriptedServer, client: VplusClient) -> None:
        self.server, self.client = server, client

    def machines(self, *records: Any, announced: int | None = None) -> None:
        """The whole inventory, on one page; ``announced`` is what the total says."""
        headers = None if announced is None else [("X-Total-Count", str(announced))]
        self.server.on("GET /virtual-machines", answer(list(records), headers=headers))

    def raw(self, what: str, content: bytes, **how: Any) -> None:
        self.server.on(what, answer(content, **how))

    def tasks(self, *records: Any) -> None:
        """All tasks, whatever is asked for: this server ignores every filter. Each can be asked for by itself."""
        self.server.on("GET /tasks", answer(list(records)))
        for record in records:
            self.server.on(f"GET /tasks/{record['guid']}", answer(record))

    def task(self, guid: str, record: Any = None, status: int = 200, **how: Any) -> None:
        self.server.on(f"GET /tasks/{guid}", answer(record, status, **how))

    def backups(self, *records: Any, status: int = 200) -> None:
        """The backups of every machine, whichever is asked for: this server ignores every filter."""
        self.server.on("GET /backups", answer(list(records), status))

    def asked(self, what: str) -> int:
        return len(self.server.asked_for(what))


@pytest.fixture
def vplus(server_context: Any, endpoint: Any, server: ScriptedServer) -> Teller:  # noqa: F811  # a fixture, not a name anew
    return Teller(server, VplusClient(endpoint(read_tries=1), sleep=lambda _seconds: None))


@pytest.fixture
def server(server_context: Any) -> Iterator[ScriptedServer]:  # noqa: F811  # a fixture, not a name anew
    scripted = ScriptedServer(server_context)
    yield scripted
    scripted.close()


@pytest.fixture
def roomy(cast: Cast, mirrored: Bridge) -> Bridge:
    """Alpha has three machines that no policy of vPlus has, and the mirror holds vPlus's policies."""
    control = mirrored.simulator.control
    for name in ("alpha-second", "alpha-third"):
        control.add_vm(name, project="project-alpha")
    control.sync()
    mirrored.sync()
    with every_tenant("test"):
        new = list(VirtualMachine.objects.filter(tenant=None, name__startswith="alpha-").values_list("guid", flat=True))
        assign(tenant_id=cast.alpha.pk, vm_guids=new, by="test")
    look(mirrored)
    return mirrored

"""A script with a token, and rows of the mirror as a reading would have left them."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.conftest import Cast, Member

NOW = timezone.now().replace(microsecond=0)


class Script:
    """Someone's script: asks with a token, gets status and JSON."""

    def __init__(self, token: str = "") -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = Client(raise_request_exception=False)

    def get(self, path: str, **parameters: Any) -> Any:
        return self._with_json(self.client.get(self._address(path), parameters, headers=self.headers))

    def post(self, path: str, body: Any, content_type: str = "application/json", key: str | None = None) -> Any:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        headers = self.headers if key is None else {**self.headers, "Idempotency-Key": key}
        return self._with_json(self.client.post(self._address(path), text, content_type=content_type, headers=headers))

    def put(self, path: str, body: Any) -> Any:
        text, kind = json.dumps(body), "application/json"
        return self._with_json(self.client.put(self._address(path), text, content_type=kind, headers=self.headers))

    def delete(self, path: str) -> Any:
        return self._with_json(self.client.delete(self._address(path), headers=self.headers))

    def all(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Every row of a list, by following ``next``."""
        rows, answer = [], self.get(path, **parameters)
        while True:
            assert answer.status_code == 200, answer.content
            rows += answer.data["results"]
            assert len(rows) < 1000, "the pages never end"
            if answer.data["next"] is None:
                return rows
            answer = self._with_json(self.client.get(answer.data["next"], headers=self.headers))

    @staticmethod
    def _address(path: str) -> str:
        return path if path.startswith("/") else f"/api/v1/{path}"

    @staticmethod
    def _with_json(response: Any) -> Any:
        response.data = json.loads(response.content) if "json" in response.get("Content-Type", "") else None
        return response


@pytest.fixture
def script_of(cast: Cast) -> Callable[..., Script]:
    def make(member: Member, *scopes: str) -> Script:
        return Script(member.token(*scopes))

    return make


@pytest.fixture
def alice(cast: Cast) -> Script:
    return Script(cast.alice.token())


@pytest.fixture
def vera(cast: Cast) -> Script:
    return Script(cast.vera.token())


@pytest.fixture
def oscar(cast: Cast) -> Script:
    return Script(cast.oscar.token())


@pytest.fixture
def mallory(cast: Cast) -> Script:
    return Script(cast.mallory.token())


@pytest.fixture
def paula(cast: Cast) -> Script:
    return Script(cast.paula.token())


class Rows:
    """Makes rows in the wide scope, with what a test does not care about filled in."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.count = 0

    def machine(self, guid: str, tenant: Any = None, **facts: Any) -> Any:
        from vplus_bridge.models import VirtualMachine

        # A policy that a test names is one whose name the tenant may read.
        facts.setdefault("policy_label", facts.get("policy_name", ""))
        return self._made(
            VirtualMachine, guid=guid, tenant=tenant, **{"name": guid, "present": True, "uuid": f"uuid-{guid}", **facts}
        )

    def backup(self, guid: str, vm: str, tenant: Any, taken_at: datetime | None = None, **facts: Any) -> Any:
        from vplus_bridge.models import Backup

        known = {"status": "SUCCESS", "type": "FULL", "taken_at_source": "snapshot" if taken_at else "first_seen"}
        return self._made(
            Backup, guid=guid, tenant=tenant, virtual_machine_guid=vm, taken_at=taken_at, **{**known, **facts}
        )

    def target(self, tenant: Any, label: str = "Production", **places: Any) -> Any:
        from tenants.scope import every_tenant
        from vplus_bridge.models import AllowedRestoreTarget

        with every_tenant("test"):
            return AllowedRestoreTarget.objects.create(
                tenant=tenant, label=label, **{"manager_guid": "hvm-1", **places}
            )

    def task(self, guid: str, vm: str, tenant: Any, **facts: Any) -> Any:
        from vplus_bridge.models import Task

        self.count += 1
        known = {"type": "EXPORT", "state": "FINISHED", "live": False}
        # What has ended was judged, as it told itself.
        ends = {"FINISHED": "finished", "FAILED": "failed", "CANCELLED": "cancelled"}
        if not facts.get("live"):
            known |= {"run_ended": True, "run_state": ends.get(facts.get("state", "FINISHED"), "unknown")}
        seen = NOW - timedelta(days=1) + timedelta(seconds=self.count)
        return self._made(
            Task, guid=guid, tenant=tenant, virtual_machine_guid=vm, **{"first_seen_at": seen, **known, **facts}
        )

    def operation(self, vm: str, tenant: Any, *, tasks: tuple[str, ...] = (), **facts: Any) -> Any:
        from tenants.scope import every_tenant
        from vplus_bridge.models import Attempt, ChainTask, Operation, Step

        self.count += 1
        known = {
            "kind": "backup",
            "state": "running",
            "subject": vm,
            "virtual_machine_guid": vm,
            "virtual_machine_name": vm,
            "plan": {"backup_type": "FULL"},
            "requested_by_id": tenant.pk,
            "requested_by_name": "Alice",
            "requested_via": "page",
            "requested_at": NOW - timedelta(hours=2) + timedelta(seconds=self.count),
            "send_until": NOW + timedelta(hours=4),
            "reference": "7F3K-29QD",
        }
        with every_tenant("test"):
            operation = Operation.objects.create(tenant=tenant, **{**known, **facts})
            step = Step.objects.create(tenant=tenant, operation=operation, position=1, action="export")
            attempt = Attempt.objects.create(tenant=tenant, step=step, task_guid=tasks[0] if tasks else None)
            for task in tasks:
                ChainTask.objects.create(
                    tenant=tenant, attempt=attempt, task_guid=task, stage="export", linked_by="answer"
                )
        return operation

    def destination(self, guid: str, tenant: Any, label: str = "Vault A") -> Any:
        from tenants.scope import every_tenant
        from vplus_bridge.models import AllowedDestination

        with every_tenant("test"):
            return AllowedDestination.objects.create(tenant=tenant, destination_guid=guid, label=label)

    def reading(self, name: str, at: datetime | None, **facts: Any) -> Any:
        from vplus_bridge.models import ReadState

        return ReadState.objects.create(name=name, succeeded_at=at, **facts)

    def grant(self, member: Member, vm: str, role: str = "operator") -> None:
        """Let a tenant's members see only what is granted, and grant this to one."""
        from tenants.models import Grant, Membership, Tenant
        from tenants.scope import every_tenant

        with every_tenant("test"):
            Tenant.objects.filter(slug=member.slug).update(visibility="granted")
            membership = Membership.objects.get(email=member.email)
            Grant.objects.create(
                tenant_id=membership.tenant_id,
                membership=membership,
                virtual_machine_guid=vm,
                role=role,
                granted_by_name="A",
            )

    @staticmethod
    def _made(model: Any, **facts: Any) -> Any:
        from tenants.scope import every_tenant

        with every_tenant("test"):
            return model.objects.create(digest=b"0", **facts)


@pytest.fixture
def rows(cast: Cast) -> Rows:
    return Rows(cast)

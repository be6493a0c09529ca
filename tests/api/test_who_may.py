"""Tokens: none, wrong, narrowed, the provider's; and what is another tenant's."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast

TENANT_PATHS = [
    "virtual-machines/",
    "virtual-machines/vm-1/",
    "virtual-machines/vm-1/backups/",
    "virtual-machines/vm-1/restore-points/",
    "virtual-machines/vm-1/tasks/",
    "operations/",
    "operations/00000000-0000-4000-8000-000000000001/",
    "tasks/",
    "backup-destinations/",
    "tokens/",
    "audit-events/",
]
OPERATOR_PATHS = ["operator/virtual-machines/", "operator/tenants/", "operator/status/"]


@pytest.mark.parametrize("path", ["me/", *TENANT_PATHS, *OPERATOR_PATHS])
@pytest.mark.parametrize("token", ["", "vpp_nonsense"])
def test_without_a_valid_token_everything_is_401(cast: Cast, path: str, token: str) -> None:
    answer = Script(token).get(path)
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.data["code"] == "not_authenticated"
    assert answer.data["reference"] == answer["X-Reference"]


@pytest.mark.parametrize("path", TENANT_PATHS)
def test_the_providers_token_is_told_where_it_belongs(paula: Script, path: str) -> None:
    answer = paula.get(path)
    assert (answer.status_code, answer.data["code"]) == (403, "provider_token")
    assert "/api/v1/operator/" in answer.data["detail"]


def test_the_providers_token_starts_nothing(paula: Script) -> None:
    assert paula.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]}).status_code == 403


@pytest.mark.parametrize("path", OPERATOR_PATHS)
def test_to_a_tenants_admin_the_providers_addresses_do_not_exist(alice: Script, path: str) -> None:
    assert alice.get(path).status_code == 404
    assert alice.post(path, {}).status_code == 404


def test_an_auditor_of_the_provider_reads_and_changes_nothing(
    cast: Cast, rows: Rows, script_of: Callable[..., Script]
) -> None:
    rows.machine("vm-1")
    arthur = script_of(cast.arthur)
    assert arthur.get("operator/virtual-machines/").status_code == 200
    answer = arthur.post("operator/virtual-machines/", {"tenant": "alpha", "virtual_machines": ["vm-1"]})
    assert (answer.status_code, answer.data["code"]) == (403, "role_too_low")


def test_another_tenants_machine_is_404_in_every_form(cast: Cast, rows: Rows, alice: Script, mallory: Script) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, NOW)
    rows.task("t-1", "vm-1", cast.alpha)
    rows.destination("bd-1", cast.beta)
    operation = rows.operation("vm-1", cast.alpha, tasks=("t-1",))
    for path in ("", "backups/", "restore-points/", "tasks/"):
        assert alice.get(f"virtual-machines/vm-1/{path}").status_code == 200
        assert mallory.get(f"virtual-machines/vm-1/{path}").status_code == 404
    assert alice.get(f"operations/{operation.pk}/").status_code == 200
    assert mallory.get(f"operations/{operation.pk}/").status_code == 404
    for path in ("virtual-machines/", "operations/", "tasks/"):
        assert len(alice.all(path)) == 1
        assert mallory.all(path) == []
    assert mallory.all("tasks/", backup="b-1") == []
    assert [row["guid"] for row in mallory.all("backup-destinations/")] == ["bd-1"]
    assert alice.all("backup-destinations/") == []
    answer = mallory.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]})
    assert answer.status_code == 404
    assert answer.data["errors"] == {"virtual_machines": ["vm-1: not found."]}


def test_what_is_nobodys_is_seen_by_no_tenant(rows: Rows, alice: Script) -> None:
    rows.machine("vm-1")
    assert alice.all("virtual-machines/") == []
    assert alice.get("virtual-machines/vm-1/").status_code == 404


def test_only_what_is_granted_is_seen(cast: Cast, rows: Rows, script_of: Callable[..., Script]) -> None:
    for guid in ("vm-1", "vm-2"):
        rows.machine(guid, cast.alpha)
        rows.task(f"t-{guid}", guid, cast.alpha)
        rows.operation(guid, cast.alpha, tasks=(f"t-{guid}",))
    rows.grant(cast.vera, "vm-1", role="operator")
    vera = script_of(cast.vera)
    assert [row["guid"] for row in vera.all("virtual-machines/")] == ["vm-1"]
    assert [row["guid"] for row in vera.all("tasks/")] == ["t-vm-1"]
    assert [row["subject"] for row in vera.all("operations/")] == ["vm-1"]
    assert vera.get("virtual-machines/vm-2/").status_code == 404
    me = vera.get("me/").data
    assert me["sees"] == "granted"
    assert me["grants"] == [{"virtual_machine": "vm-1", "role": "operator"}]


def test_a_grant_lets_a_viewer_back_up_that_one(cast: Cast, rows: Rows, script_of: Callable[..., Script]) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.destination("bd-1", cast.alpha)
    vera = script_of(cast.vera)
    assert vera.get("virtual-machines/vm-1/").data["allowed_actions"] == []
    refused = vera.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]})
    assert (refused.status_code, refused.data["code"]) == (403, "role_too_low")
    rows.grant(cast.vera, "vm-1", role="operator")
    assert vera.get("virtual-machines/vm-1/").data["allowed_actions"] == ["back_up"]
    assert vera.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]}).status_code == 202


def test_a_token_can_be_narrowed(cast: Cast, rows: Rows, script_of: Callable[..., Script]) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.destination("bd-1", cast.alpha)
    reader, starter = script_of(cast.alice, "read"), script_of(cast.alice, "backup")
    assert reader.get("virtual-machines/vm-1/").data["allowed_actions"] == []
    answer = reader.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]})
    assert (answer.status_code, answer.data["code"]) == (403, "scope_missing")
    answer = starter.get("virtual-machines/")
    assert (answer.status_code, answer.data["code"]) == (403, "scope_missing")
    assert starter.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]}).status_code == 202
    assert starter.get("me/").data["rights"] == ["backup"]


def test_me_for_a_member_and_for_the_provider(alice: Script, paula: Script) -> None:
    me = alice.get("me/").data
    assert (me["person"]["email"], me["tenant"]["slug"], me["role"]) == ("alice@alpha.example", "alpha", "admin")
    assert (me["sees"], me["token"]) == ("all", {"name": "test", "scopes": [], "expires_at": None})
    provider = paula.get("me/").data
    assert (provider["tenant"], provider["role"]) == (None, "operator")


def test_an_expired_token_is_nobody(cast: Cast, alice: Script) -> None:
    from tenants.models import Token
    from tenants.scope import every_tenant

    assert alice.get("me/").status_code == 200
    with every_tenant("test"):
        Token.objects.update(expires_at=NOW - timedelta(days=1))
    assert alice.get("me/").status_code == 401


def test_a_refusal_is_audited_and_a_wrong_read_is_not(cast: Cast, rows: Rows, vera: Script) -> None:
    from tenants.models import AuditEvent
    from tenants.scope import every_tenant

    rows.machine("vm-1", cast.alpha)
    vera.get("virtual-machines/nobody-knows/")
    answer = vera.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]})
    with every_tenant("test"):
        event = AuditEvent.objects.get()
    assert (event.result, event.code, event.tenant_id) == ("refused", "role_too_low", cast.alpha.pk)
    assert event.reference == answer["X-Reference"]

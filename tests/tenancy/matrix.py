"""Every named address with what it answers to whom: the table that test_matrix.py walks.

A new address has to be put here: until then the walk fails. ``Asked`` says what is asked for; ids and fields are filled
in by the world of test_matrix.py, where everything of Alpha's, Beta's and nobody's bears a mark.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

# Who asks: nobody, Alpha's people by role, Beta's admin, and the provider's people.
ROLES = ("nobody", "viewer", "operator", "admin", "other", "provider", "auditor")
MEMBERS = ("viewer", "operator", "admin")


@dataclass(frozen=True)
class Asked:
    """One address: what it answers to each role on GET and on POST, what a good POST carries, and which scopes each needs."""

    get: Mapping[str, int]
    post: Mapping[str, int]
    kwargs: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ("read",)
    post_scopes: tuple[str, ...] = ("backup",)


def answers(
    everybody: int | None = None, *, members: int | None = None, provided: int | None = None, **one: int
) -> dict[str, int]:
    """Return the status for each role; the narrower word wins."""
    table = dict.fromkeys(ROLES, everybody)
    table |= dict.fromkeys(MEMBERS, members) if members else {}
    table |= dict.fromkeys(("provider", "auditor"), provided) if provided else {}
    table |= one
    assert None not in table.values(), table
    return {role: status for role, status in table.items() if status is not None}


SLUG = {"tenant_slug": "alpha"}
VM = {**SLUG, "guid": "vm-{alpha}"}
POLICY = {**SLUG, "policy_id": "{policy}"}

# A tenant's pages: people of other tenants and of the provider learn no more than that there is nothing.
_page = answers(404, nobody=302, members=200)
_read_only = answers(404, nobody=302, members=405)
_admins = answers(404, nobody=302, members=403, admin=200)
TENANT_PAGES = {
    "tenant:overview": Asked(_page, _read_only, SLUG),
    "tenant:vm_list": Asked(_page, _read_only, SLUG),
    "tenant:vm_detail": Asked(_page, _read_only, VM),
    "tenant:vm_restore_points": Asked(_page, _read_only, VM),
    "tenant:vm_backups": Asked(_page, _read_only, VM),
    "tenant:vm_activity": Asked(_page, _read_only, VM),
    "tenant:vm_protection": Asked(_page, _read_only, VM),
    "tenant:backup_new": Asked(
        answers(404, nobody=302, members=200, viewer=403),
        answers(404, nobody=302, members=302, viewer=403),
        SLUG,
        query={"vm": "vm-{alpha}"},
        body={"vm": "vm-{alpha}"},
    ),
    "tenant:restore_new": Asked(
        answers(404, nobody=302, members=200, viewer=403),
        answers(404, nobody=302, members=302, viewer=403),
        VM,
        body={"point": "b-{alpha}", "restored_name": "copy"},
    ),
    "tenant:policy_list": Asked(_page, _read_only, SLUG),
    "tenant:policy_detail": Asked(_page, _read_only, POLICY),
    "tenant:policy_new": Asked(_admins, answers(404, nobody=302, members=403, admin=400), SLUG),
    "tenant:policy_edit": Asked(_admins, answers(404, nobody=302, members=403, admin=409), POLICY),
    "tenant:policy_drift": Asked(
        answers(404, nobody=302, members=405), answers(404, nobody=302, members=403, admin=302), POLICY
    ),
    "tenant:policy_delete": Asked(_admins, answers(404, nobody=302, members=403, admin=302), POLICY),
    "tenant:activity": Asked(_page, _read_only, SLUG),
    "tenant:tasks": Asked(_page, _read_only, SLUG),
    "tenant:live": Asked(_page, _read_only, SLUG),
    "tenant:token_list": Asked(_page, _read_only, SLUG),
    "tenant:token_new": Asked(
        _page,
        answers(404, nobody=302, members=201),
        SLUG,
        body={"name": "script", "scopes": "read", "days": "30"},
    ),
    "tenant:token_revoke": Asked(
        answers(404, nobody=302, admin=200),
        answers(404, nobody=302, admin=302),
        {**SLUG, "token_id": "{token}"},
    ),
    "tenant:operation": Asked(_page, _read_only, {**SLUG, "operation_id": "{operation}"}),
    "tenant:operation_cancel": Asked(
        answers(404, nobody=302, members=302, viewer=403),  # it has ended, so it is shown
        answers(404, nobody=302, members=302, viewer=403),
        {**SLUG, "operation_id": "{operation}"},
    ),
    "tenant:task_cancel": Asked(
        answers(404, nobody=302, members=200, viewer=403),
        answers(404, nobody=302, members=302, viewer=403),
        {**SLUG, "guid": "t-{alpha}"},
    ),
}

CONSOLE_PAGES = {
    "console:overview": Asked(answers(404, nobody=302, provided=302), answers(404, nobody=302, provided=302)),
    "console:operations": Asked(answers(404, nobody=302, provided=200), answers(404, nobody=302, provided=405)),
    "console:operation": Asked(
        answers(404, nobody=302, provided=200),
        answers(404, nobody=302, provider=302, auditor=403),
        {"operation_id": "{operation}"},
        body={"exit": "abandon", "reason": "because"},
    ),
    "console:policies": Asked(
        answers(404, nobody=302, provided=200),
        answers(404, nobody=302, provider=400, auditor=403),
        body={"policy": "p-never", "tenant": "alpha"},
    ),
    "console:inbox": Asked(
        answers(404, nobody=302, provided=200),
        answers(404, nobody=302, provider=302, auditor=403),
        body={"vm": "vm-{nobody}", "tenant": "alpha"},
    ),
}

_signed_in = answers(200, nobody=302)
OWN_PAGES = {
    "home": Asked(answers(302), answers(302)),
    "chooser": Asked(_signed_in, _signed_in),
    "account": Asked(_signed_in, answers(302)),
    "theme": Asked(answers(405, nobody=302), answers(302), body={"theme": "dark"}),
}

OPEN_PAGES = {
    "gallery": Asked(answers(200), answers(200)),
    "healthz": Asked(answers(200), answers(200)),
    "readyz": Asked(answers(200), answers(200)),
    "metrics": Asked(answers(200), answers(200)),
    "api:schema": Asked(answers(200), answers(405)),
    "api:docs": Asked(answers(200), answers(405)),
}

# The API: no token 401, the provider's token is told where it belongs, and to a tenant the provider's part is not there.
_list = answers(200, nobody=401, provided=403)
_object = answers(nobody=401, members=200, other=404, provided=403)
_no_post = answers(405, nobody=401, provided=403)
_MACHINE = {"guid": "vm-{alpha}"}
_SCHEDULE = {
    "backup_type": "FULL",
    "execution_type": "TIME",
    "zone": "Europe/Warsaw",
    "days_of_week": ["MONDAY"],
    "time_of_day": "02:00",
}
API = {
    # First: who asks elsewhere for what is not theirs finds their own words again in their own audit.
    "api:audit_events": Asked(answers(403, nobody=401, admin=200, other=200), _no_post, scopes=("read", "audit")),
    "api:me": Asked(answers(200, nobody=401), answers(405, nobody=401)),
    "api:virtual_machines": Asked(_list, _no_post),
    "api:virtual_machine": Asked(_object, _no_post, _MACHINE),
    "api:virtual_machine_backups": Asked(_object, _no_post, _MACHINE),
    "api:virtual_machine_restore_points": Asked(_object, _no_post, _MACHINE),
    "api:virtual_machine_tasks": Asked(_object, _no_post, _MACHINE),
    "api:virtual_machine_runs": Asked(_object, _no_post, _MACHINE),
    "api:operations": Asked(
        _list,
        answers(nobody=401, members=202, viewer=403, other=404, provided=403),
        body={"kind": "backup", "virtual_machines": ["vm-{alpha}"]},
    ),
    "api:operation": Asked(_object, _no_post, {"operation_id": "{operation}"}),
    "api:operation_cancel": Asked(
        answers(405, nobody=401, provided=403),
        answers(nobody=401, members=409, viewer=403, other=404, provided=403),  # it has ended
        {"operation_id": "{operation}"},
        post_scopes=("cancel",),
    ),
    "api:policies": Asked(
        _list,
        answers(nobody=401, members=403, admin=400, other=404, provided=403),  # the machine is Gold's only one
        body={"name": "Silver", "virtual_machines": ["vm-{alpha}"], "schedules": [_SCHEDULE]},
    ),
    "api:policy": Asked(_object, _no_post, {"policy_id": "{policy}"}),
    **{
        f"api:policy_{name}": Asked(
            answers(405, nobody=401, provided=403),
            answers(nobody=401, members=403, admin=409, other=404, provided=403),  # vPlus holds what stands here
            {"policy_id": "{policy}"},
            body={"digest": "of-nothing"},
        )
        for name in ("accept_drift", "put_back")
    },
    "api:schedules": Asked(
        _list,
        answers(nobody=401, members=403, admin=202, other=404, provided=403),
        body={"policy": "{policy}", "version": 1, **_SCHEDULE},
    ),
    "api:schedule": Asked(_object, _no_post, {"schedule_id": "{schedule}"}),
    "api:schedule_preview": Asked(
        answers(405, nobody=401, provided=403),
        answers(200, nobody=401, provided=403),
        body=_SCHEDULE,
        post_scopes=("read",),
    ),
    "api:tasks": Asked(_list, _no_post),
    "api:backup_destinations": Asked(_list, _no_post),
    "api:restore_targets": Asked(_list, _no_post),
    "api:tokens": Asked(
        _list,
        answers(201, nobody=401, provided=403),
        body={"name": "script", "scopes": ["tokens"]},
        scopes=("read", "tokens"),
        post_scopes=("tokens",),
    ),
    "api:token": Asked(
        answers(404, nobody=401, admin=200, provided=403), _no_post, {"token_id": "{token}"}, scopes=("read", "tokens")
    ),
    "api:operator_virtual_machines": Asked(
        answers(404, nobody=401, provided=200),
        answers(404, nobody=401, provider=200, auditor=403),
        body={"tenant": "alpha", "virtual_machines": ["vm-{nobody}"]},
    ),
    "api:operator_tenants": Asked(answers(404, nobody=401, provided=200), answers(404, nobody=401, provided=405)),
    "api:operator_operations": Asked(answers(404, nobody=401, provided=200), answers(404, nobody=401, provided=405)),
    "api:operator_operation": Asked(
        answers(404, nobody=401, provided=200),
        answers(404, nobody=401, provided=405),
        {"operation_id": "{operation}"},
    ),
    **{
        f"api:operator_operation_{name}": Asked(
            answers(404, nobody=401, provided=405),
            answers(404, nobody=401, provider=409, auditor=403),  # Alpha's operation waits for nobody
            {"operation_id": "{operation}"},
            body={"reason": "because", **more},
        )
        for name, more in (("link_task", {"task": "t-{alpha}"}), ("send_again", {"digest": "x"}), ("abandon", {}))
    },
    "api:operator_policies": Asked(answers(404, nobody=401, provided=200), answers(404, nobody=401, provided=405)),
    **{
        f"api:operator_policy_{name}": Asked(
            answers(404, nobody=401, provided=405),
            answers(404, nobody=401, provider=404, auditor=403),  # vPlus has no such policy
            {"guid": "p-{alpha}"},
            body=body,
        )
        for name, body in (("attach", {"tenant": "alpha"}), ("detach", {}))
    },
    "api:operator_status": Asked(answers(404, nobody=401, provided=200), answers(404, nobody=401, provided=405)),
}


def _library(nobody: int, signed_in: int, nobody_post: int, signed_in_post: int, **kwargs: str) -> Asked:
    return Asked(answers(signed_in, nobody=nobody), answers(signed_in_post, nobody=nobody_post), kwargs)


# Signing in and one's own account, by allauth: GET as nobody, GET signed in, an empty POST as nobody, the same signed in.
SIGN_IN = {
    "account_login": _library(200, 302, 200, 302),
    "account_logout": _library(302, 200, 302, 302),
    "account_inactive": _library(200, 200, 405, 405),
    "account_signup": _library(200, 302, 200, 302),
    "account_reauthenticate": _library(302, 200, 302, 200),
    "account_email": _library(404, 404, 404, 404),  # closed: portal/urls.py says why
    "account_email_verification_sent": _library(200, 200, 405, 405),
    "account_change_password": _library(302, 200, 302, 200),
    "account_set_password": _library(302, 302, 302, 302),
    "account_reset_password": _library(200, 200, 200, 200),
    "account_confirm_login_code": _library(302, 302, 302, 302),
    "account_confirm_email": _library(200, 200, 404, 404, key="x"),
    "account_reset_password_from_key_done": _library(200, 200, 405, 405),
    "account_reset_password_from_key": _library(200, 200, 200, 200, uidb36="x", key="y"),
    "account_reset_password_done": _library(200, 200, 405, 405),
    "mfa_index": _library(302, 200, 302, 405),
    "mfa_authenticate": _library(302, 302, 302, 302),
    "mfa_reauthenticate": _library(302, 302, 302, 302),
    "mfa_activate_totp": _library(302, 302, 302, 302),
    "mfa_deactivate_totp": _library(302, 404, 302, 404),
    "mfa_view_recovery_codes": _library(302, 404, 302, 405),
    "mfa_generate_recovery_codes": _library(302, 302, 302, 302),
    "mfa_download_recovery_codes": _library(302, 404, 302, 404),
    "mfa_list_webauthn": _library(302, 200, 302, 405),
    "mfa_add_webauthn": _library(302, 302, 302, 302),
    "mfa_reauthenticate_webauthn": _library(302, 302, 302, 302),
    "mfa_remove_webauthn": _library(302, 302, 302, 302, pk="1"),
    "mfa_edit_webauthn": _library(302, 302, 302, 302, pk="1"),
    "mfa_login_webauthn": _library(302, 302, 302, 302),
    "socialaccount_login_cancelled": _library(200, 200, 405, 405),
    "socialaccount_login_error": _library(401, 401, 405, 405),
    "socialaccount_signup": _library(302, 302, 302, 302),
    "socialaccount_connections": _library(302, 200, 302, 200),
    "openid_connect_login": _library(404, 404, 404, 404, provider_id="none"),
    "openid_connect_callback": _library(404, 404, 404, 404, provider_id="none"),
    "usersessions_list": _library(302, 200, 302, 302),
}

PAGES = {**TENANT_PAGES, **CONSOLE_PAGES, **OWN_PAGES, **OPEN_PAGES, **SIGN_IN}


def named_addresses(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[str]:
    """Give the name of each address that the portal answers, also of those that a library brings."""
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            yield from named_addresses(entry, f"{prefix}{entry.namespace}:" if entry.namespace else prefix)
        elif isinstance(entry, URLPattern):
            yield f"{prefix}{entry.name or entry.pattern}"

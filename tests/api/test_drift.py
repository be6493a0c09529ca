"""What somebody changed in vPlus, by the API: told as far as it is the tenant's, and settled by the digest of what was read."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tenants.scope import every_tenant
from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast
from tests.policies import held_differently, kept

BOTH = ["accept-drift", "put-back"]


@pytest.fixture(autouse=True)
def machines(cast: Cast) -> None:
    rows = Rows(cast)
    for guid in ("vm-1", "vm-2"):
        rows.machine(guid, cast.alpha)
    rows.machine("vm-beta", cast.beta)
    rows.destination("bd-main", cast.alpha, "Vault A")


@pytest.fixture
def policy(cast: Cast) -> Any:
    return kept(cast.alpha, "Gold", "vm-1", differs_since=NOW)


def operations() -> list[Any]:
    from vplus_bridge.models import Operation

    with every_tenant("test"):
        return list(Operation.objects.filter(kind="policy"))


def carrier_of(policy: Any, guid: str) -> Any:
    """What fires the policy's schedule in vPlus, by our rows."""
    from vplus_bridge.models import Carrier

    with every_tenant("test"):
        schedule = policy.schedules.get()
        known = {"position": 1, "wire_name": "wire-schedule", "spec": {}, "valid_from": NOW, "valid_until": NOW}
        return Carrier.objects.create(tenant_id=policy.tenant_id, schedule=schedule, vplus_guid=guid, **known)


def test_a_difference_is_told_without_naming_what_is_not_theirs(
    alice: Script, vera: Script, cast: Cast, rows: Rows, policy: Any
) -> None:
    carrier = carrier_of(policy, "s-secret")
    held_differently(
        policy,
        priority=80,
        vm_guids=["vm-2", "vm-beta"],
        rules=[{"guid": name, "name": name, "active": True, "marked_for_deletion": False,
                "schedule_guids": ["s-secret", "s-other"], "destination_guids": ["bd-secret"]}
               for name in (policy.rule_guid, "r-secret")],
    )  # fmt: skip
    answer = alice.get(f"policies/{policy.pk}/")
    drift = answer.data["drift"]
    assert drift["since"] == answer.data["differs_since"] is not None
    told = {one.pop("field"): one for one in drift["differences"]}
    sentences = {field: one.pop("sentence") for field, one in told.items()}
    nothing = {"ours": None, "theirs": None, "others": 0, "schedule": None}
    assert told == {
        "virtual_machines": {**nothing, "ours": ["vm-1"], "theirs": ["vm-2"], "others": 1},
        "priority": {**nothing, "ours": 50, "theirs": 80},
        "destination": {**nothing, "ours": ["bd-main"], "theirs": [], "others": 1},
        "rule_schedules": {**nothing, "others": 1},
        "other_rules": {**nothing, "others": 1},
        "schedule": {**nothing, "schedule": str(carrier.schedule_id)},
    }
    assert sentences["virtual_machines"] == "Virtual machines: added vm-2, 1 that is not yours; taken out vm-1."
    assert sentences["priority"] == "Priority: 50 here, 80 there."
    assert sentences["destination"] == "Backup destination: another one."
    assert all(sentences.values())
    for hidden in ("vm-beta", "secret", "s-other", "wire-schedule"):
        assert hidden not in answer.content.decode()
    assert vera.get(f"policies/{policy.pk}/").data["drift"]["digest"] == drift["digest"]
    rows.grant(cast.vera, "vm-1")
    assert vera.get(f"policies/{policy.pk}/").data["drift"]["differences"] == []


def test_a_machine_that_became_anothers_is_only_counted(alice: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", "vm-beta", differs_since=NOW)
    held_differently(policy, vm_guids=["vm-beta"])
    answer = alice.get(f"policies/{policy.pk}/")
    (told,) = answer.data["drift"]["differences"]
    assert (told["ours"], told["theirs"], told["others"]) == (["vm-1"], [], 1)
    assert "vm-beta" not in answer.content.decode()


def test_without_a_difference_there_is_none_to_tell_or_settle(alice: Script, cast: Cast) -> None:
    policy = kept(cast.alpha, "Silver", "vm-1")
    assert alice.get(f"policies/{policy.pk}/").data["drift"] is None
    theirs = kept(cast.alpha, "Theirs", attached=True)
    for deed in BOTH:
        for one, code in ((policy, "no_difference"), (theirs, "read_only")):
            answer = alice.post(f"policies/{one.pk}/{deed}/", {"digest": "x"})
            assert (answer.status_code, answer.data["code"]) == (409, code)


def test_accepting_takes_over_what_was_read(alice: Script, policy: Any) -> None:
    held_differently(policy, priority=80, vm_guids=["vm-1", "vm-2"])
    digest = alice.get(f"policies/{policy.pk}/").data["drift"]["digest"]
    answer = alice.post(f"policies/{policy.pk}/accept-drift/", {"digest": digest})
    assert (answer.status_code, answer.data["state"], answer.data["subject"]) == (202, "succeeded", str(policy.pk))
    assert answer.data["requested_by"]["via"] == "token test"
    assert alice.get(f"operations/{answer.data['id']}/").data["state"] == "succeeded"
    whole = alice.get(f"policies/{policy.pk}/").data
    assert (whole["priority"], whole["virtual_machines"], whole["version"]) == (80, ["vm-1", "vm-2"], 2)
    assert (whole["state"], whole["drift"], whole["differs_since"]) == ("active", None, None)


def test_accepting_that_it_was_deleted_is_an_operation_too(alice: Script, policy: Any) -> None:
    digest = alice.get(f"policies/{policy.pk}/").data["drift"]["digest"]
    answer = alice.post(f"policies/{policy.pk}/accept-drift/", {"digest": digest})
    assert (answer.status_code, answer.data["state"]) == (202, "succeeded")
    assert alice.get(f"policies/{policy.pk}/").status_code == 404


def test_what_cannot_be_said_here_is_not_accepted(alice: Script, policy: Any) -> None:
    held_differently(policy, priority=80, vm_guids=["vm-1", "vm-beta"])
    digest = alice.get(f"policies/{policy.pk}/").data["drift"]["digest"]
    answer = alice.post(f"policies/{policy.pk}/accept-drift/", {"digest": digest})
    assert (answer.status_code, answer.data["code"]) == (409, "cannot_be_accepted")
    whole = alice.get(f"policies/{policy.pk}/").data
    assert (whole["priority"], whole["version"], whole["drift"]["digest"]) == (50, 1, digest)
    assert operations() == []


def test_putting_back_is_an_operation_and_asked_once(alice: Script, policy: Any) -> None:
    held_differently(policy, priority=80, vm_guids=["vm-1"])
    wish = {"digest": alice.get(f"policies/{policy.pk}/").data["drift"]["digest"]}
    answer = alice.post(f"policies/{policy.pk}/put-back/", wish, key="once")
    assert (answer.status_code, answer.data["state"], answer.data["subject"]) == (202, "requested", str(policy.pk))
    again = alice.post(f"policies/{policy.pk}/put-back/", wish, key="once")
    assert (again.content, again["Idempotent-Replay"]) == (answer.content, "true")
    assert alice.post(f"policies/{policy.pk}/put-back/", wish).data["id"] == answer.data["id"]
    (operation,) = operations()
    assert operation.wish == {"action": "put_back"}
    whole = alice.get(f"policies/{policy.pk}/").data
    assert (whole["state"], whole["drift"], whole["active_operation"]["id"]) == ("saving", None, answer.data["id"])


@pytest.mark.parametrize("deed", BOTH)
def test_what_was_changed_since_it_was_read_is_not_settled(deed: str, alice: Script, policy: Any) -> None:
    held = held_differently(policy, priority=80, vm_guids=["vm-1"])
    digest = alice.get(f"policies/{policy.pk}/").data["drift"]["digest"]
    with every_tenant("test"):
        type(held).objects.update(priority=81, detail_read_at=held.detail_read_at + timedelta(seconds=1))
    answer = alice.post(f"policies/{policy.pk}/{deed}/", {"digest": digest})
    assert (answer.status_code, answer.data["code"]) == (409, "difference_changed")
    assert operations() == []
    read = alice.get(f"policies/{policy.pk}/").data["drift"]
    assert [one["theirs"] for one in read["differences"]] == [81]
    assert alice.post(f"policies/{policy.pk}/{deed}/", {"digest": read["digest"]}).status_code == 202


@pytest.mark.parametrize("deed", BOTH)
def test_a_digest_is_asked_for_and_nothing_else(deed: str, alice: Script, policy: Any) -> None:
    for body, field in (({}, "digest"), ({"digest": 7}, "digest"), ({"digest": "x", "version": 1}, "version")):
        answer = alice.post(f"policies/{policy.pk}/{deed}/", body)
        assert (answer.status_code, list(answer.data["errors"])) == (400, [field])


@pytest.mark.parametrize("deed", BOTH)
def test_a_token_needs_the_scope_of_policies(
    deed: str, cast: Cast, policy: Any, script_of: Callable[..., Script]
) -> None:
    held_differently(policy, priority=80, vm_guids=["vm-1"])
    reader, writer = script_of(cast.alice, "read"), script_of(cast.alice, "policies")
    wish = {"digest": reader.get(f"policies/{policy.pk}/").data["drift"]["digest"]}
    refused = reader.post(f"policies/{policy.pk}/{deed}/", wish)
    assert (refused.status_code, refused.data["code"]) == (403, "scope_missing")
    assert writer.post(f"policies/{policy.pk}/{deed}/", wish).status_code == 202

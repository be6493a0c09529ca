"""A policy made from nothing, against the poorest vPlus: what is sent, what is kept, and what is refused."""

from tests.bridge.policy_scenes import (
    asked_to_create,
    carried_out,
    journal,
    policy_of,
    same_in_both,
    upstream,
)
from tests.conftest import Bridge, Cast


def test_a_policy_is_made_with_its_rule_and_schedules(cast: Cast, mirrored: Bridge) -> None:
    operation = carried_out(mirrored, asked_to_create(cast.alice))
    assert (operation.state, operation.error_code) == ("succeeded", "")
    assert [call.split()[1] for call in journal(mirrored)] == [
        "/schedules",
        "/schedules",
        "/policies/vm-backup",
        "/rules/vm-backup",
    ]
    policy = policy_of(operation)
    assert (policy.state, policy.version, policy.changed_by_name) == ("kept", 1, "Alice")
    assert policy.vplus_guid
    assert policy.rule_guid
    same_in_both(mirrored)
    assert len(upstream(mirrored)) == 3

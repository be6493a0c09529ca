"""The writes of policies, rules and schedules, each one step of an operation of kind POLICY."""

from vplus_bridge.operations.writes import register
from vplus_bridge.protection.writes.changing import (
    PolicyCheck,
    PolicyDelete,
    PolicyTakeOut,
    PolicyUpdate,
    RuleDelete,
    RuleUpdate,
    ScheduleDelete,
    ScheduleUpdate,
)
from vplus_bridge.protection.writes.creating import PolicyCreate, RuleCreate, ScheduleCreate


def register_writes() -> None:
    """Make them known to sending; called when Django starts."""
    register(
        ScheduleCreate(),
        ScheduleUpdate(),
        ScheduleDelete(),
        PolicyCreate(),
        PolicyUpdate(),
        PolicyTakeOut(),
        PolicyDelete(),
        RuleCreate(),
        RuleUpdate(),
        RuleDelete(),
        PolicyCheck(),
    )

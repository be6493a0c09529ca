"""Gathers the tables of the rooms below, for Django."""

from vplus_bridge.mirror.models import (
    Backup,
    BackupDestination,
    InfrastructureItem,
    Project,
    ReadState,
    Task,
    VirtualMachine,
    VplusPolicy,
    VplusSchedule,
)
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Step
from vplus_bridge.ownership.models import AllowedDestination, AllowedRestoreTarget, Assignment, OwnershipChange
from vplus_bridge.protection.ledger_models import ContactOutage, ExpectedRun, FailureTold, PolicyPromise, TroubleMail
from vplus_bridge.protection.models import Carrier, Policy, PolicyMember, Schedule

__all__ = [
    "AllowedDestination",
    "AllowedRestoreTarget",
    "Assignment",
    "Attempt",
    "Backup",
    "BackupDestination",
    "Carrier",
    "ChainTask",
    "ContactOutage",
    "ExpectedRun",
    "FailureTold",
    "InfrastructureItem",
    "Operation",
    "OwnershipChange",
    "Policy",
    "PolicyMember",
    "PolicyPromise",
    "Project",
    "ReadState",
    "Schedule",
    "Step",
    "Task",
    "TroubleMail",
    "VirtualMachine",
    "VplusPolicy",
    "VplusSchedule",
]

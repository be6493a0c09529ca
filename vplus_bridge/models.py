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

__all__ = [
    "AllowedDestination",
    "AllowedRestoreTarget",
    "Assignment",
    "Attempt",
    "Backup",
    "BackupDestination",
    "ChainTask",
    "InfrastructureItem",
    "Operation",
    "OwnershipChange",
    "Project",
    "ReadState",
    "Step",
    "Task",
    "VirtualMachine",
    "VplusPolicy",
    "VplusSchedule",
]

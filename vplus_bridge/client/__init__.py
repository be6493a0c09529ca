"""The client of vPlus: HTTP and records, no Django and no rows."""

from vplus_bridge.client.errors import (
    AuthFailed,
    BadAnswer,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TlsFailed,
    Unavailable,
    VplusError,
)
from vplus_bridge.client.guide import cancel_queued_request, cancel_running_request, export_request
from vplus_bridge.client.outcome import Expectation, Outcome, OutcomeKind, WriteRequest
from vplus_bridge.client.paging import Completeness, Listing
from vplus_bridge.client.records import (
    BackupRecord,
    DestinationRecord,
    InfrastructureRecord,
    LocationRecord,
    PolicyRecord,
    ProjectRecord,
    RuleRecord,
    SessionInfo,
    TaskRecord,
    TaskTimes,
    VirtualMachineRecord,
)
from vplus_bridge.client.transport import Endpoint
from vplus_bridge.client.vplus import VplusClient
from vplus_bridge.client.writing import WriteChannel

__all__ = [
    "AuthFailed",
    "BackupRecord",
    "BadAnswer",
    "Completeness",
    "Conflict",
    "DestinationRecord",
    "Endpoint",
    "Expectation",
    "Forbidden",
    "InfrastructureRecord",
    "Invalid",
    "Listing",
    "LocationRecord",
    "NotFound",
    "Outcome",
    "OutcomeKind",
    "PolicyRecord",
    "ProjectRecord",
    "RuleRecord",
    "SessionInfo",
    "TaskRecord",
    "TaskTimes",
    "TlsFailed",
    "Unavailable",
    "VirtualMachineRecord",
    "VplusClient",
    "VplusError",
    "WriteChannel",
    "WriteRequest",
    "cancel_queued_request",
    "cancel_running_request",
    "export_request",
]

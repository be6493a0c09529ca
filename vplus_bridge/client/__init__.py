"""The client of vPlus: HTTP and records, no Django and no rows."""

from vplus_bridge.client.bodies import bears_name
from vplus_bridge.client.dialect import Dialect
from vplus_bridge.client.drafts import AtInterval, AtTime, RuleDraft, Timing
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
    Detail,
    InfrastructureRecord,
    IntervalRecord,
    LocationRecord,
    PolicyDetail,
    PolicyRecord,
    ProjectRecord,
    RawObject,
    RestoreJobRecord,
    RestoreTimes,
    RuleRecord,
    ScheduleRecord,
    SessionInfo,
    TaskRecord,
    TaskTimes,
    VirtualMachineRecord,
)
from vplus_bridge.client.transport import Endpoint
from vplus_bridge.client.vplus import VplusClient
from vplus_bridge.client.writing import WriteChannel

__all__ = [
    "AtInterval",
    "AtTime",
    "AuthFailed",
    "BackupRecord",
    "BadAnswer",
    "Completeness",
    "Conflict",
    "DestinationRecord",
    "Detail",
    "Dialect",
    "Endpoint",
    "Expectation",
    "Forbidden",
    "InfrastructureRecord",
    "IntervalRecord",
    "Invalid",
    "Listing",
    "LocationRecord",
    "NotFound",
    "Outcome",
    "OutcomeKind",
    "PolicyDetail",
    "PolicyRecord",
    "ProjectRecord",
    "RawObject",
    "RestoreJobRecord",
    "RestoreTimes",
    "RuleDraft",
    "RuleRecord",
    "ScheduleRecord",
    "SessionInfo",
    "TaskRecord",
    "TaskTimes",
    "Timing",
    "TlsFailed",
    "Unavailable",
    "VirtualMachineRecord",
    "VplusClient",
    "VplusError",
    "WriteChannel",
    "WriteRequest",
    "bears_name",
    "cancel_queued_request",
    "cancel_running_request",
    "export_request",
]

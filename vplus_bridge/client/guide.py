"""The wire of the guide dialect: what we ask vPlus to do, as exact requests (vplus-api.md 2.2)."""

from __future__ import annotations

from typing import Any

import msgspec

from vplus_bridge.client.outcome import Expectation, WriteRequest
from vplus_bridge.client.transport import path_segment


def _json(body: dict[str, Any]) -> str:
    """Compact JSON text; the text is stored with the attempt and sent as it is."""
    return msgspec.json.encode(body).decode()


def export_request(
    *,
    vm_guid: str,
    destination_guid: str | None,
    backup_type: str,
    priority: int,
    window_start_ms: int,
    window_end_ms: int,
    tenant_label: str | None = None,
) -> WriteRequest:
    """Ask for one backup of one VM (vplus-api.md 2.2.3).

    The window is in ms UTC by vPlus's clock; `priority` is 0..100; `backup_type` FULL or INCREMENTAL.
    Without `destination_guid` the server chooses. `tenant_label` is the `tenantId` that the guide's own
    client sent: a label, never proof of ownership.
    """
    body: dict[str, Any] = {
        "windowStart": window_start_ms,
        "windowEnd": window_end_ms,
        "priority": priority,
        "backupType": {"name": backup_type},
    }
    if destination_guid is not None:
        body["backupDestination"] = {"guid": destination_guid}
    body["protectedEntities"] = [{"guid": vm_guid}]
    if tenant_label is not None:
        body["tenantId"] = tenant_label
    return WriteRequest("POST", "/tasks/export", _json(body), Expectation.TASK, "/tasks/export")


def cancel_running_request(task_guid: str) -> WriteRequest:
    """Ask vPlus to stop a RUNNING task; asked once, never escalated (vplus-api.md 3.7).

    Raises Invalid when the guid cannot stand in a path.
    """
    body = _json({"state": {"name": "CANCELLED"}, "statusInfo": "Canceled by user"})
    return WriteRequest(
        "PUT", f"/tasks/{path_segment(task_guid)}/state", body, Expectation.ANYTHING, "/tasks/{guid}/state"
    )


def cancel_queued_request(task_guid: str) -> WriteRequest:
    """Remove a QUEUED task. On a running one this would cancel, and a second time force (vplus-api.md 3.7, 4.22).

    Raises Invalid when the guid cannot stand in a path.
    """
    return WriteRequest("DELETE", f"/tasks/{path_segment(task_guid)}", "", Expectation.ANYTHING, "/tasks/{guid}")

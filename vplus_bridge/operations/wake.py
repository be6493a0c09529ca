"""Waking the sender: a hint in Redis, never a promise. Where it is lost, the sweeper finds the row within seconds."""

from uuid import UUID

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)
SEND = "vplus_bridge.send_attempt"


def wake_sender(tenant_id: UUID, attempt_id: UUID) -> None:
    """Ask a worker to send this attempt now."""
    try:
        current_app.send_task(SEND, [str(tenant_id), str(attempt_id)], queue="send", retry=False, expires=60)
    except (OperationalError, OSError) as problem:
        log.warning(
            "could not wake a worker; the sweeper will", attempt=str(attempt_id), problem=type(problem).__name__
        )

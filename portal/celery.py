"""The Celery application: queues, beat, and nothing durable in Redis (everything that matters is a row in PostgreSQL)."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_queue="poll",
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
    timezone="UTC",
)
app.autodiscover_tasks(["vplus_bridge"], related_name="jobs")
app.autodiscover_tasks(["vplus_bridge"], related_name="protection_jobs")


@setup_logging.connect
def _our_logging(**_: Any) -> None:
    """Celery leaves logging alone when this signal has a receiver; Django has set it up already."""


@app.on_after_finalize.connect
def _beat(sender: Celery, **_: Any) -> None:
    from vplus_bridge.jobs import beat_schedule  # the settings have to be ready first

    sender.conf.beat_schedule = beat_schedule()

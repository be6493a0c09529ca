"""Whether this process lives (/healthz), whether it can serve (/readyz), and figures (/metrics)."""

import json
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from psycopg_pool import PoolTimeout

from vplus_bridge.mirror.models import ReadState
from vplus_bridge.mirror.read_state import CONTACT, INVENTORY

log = structlog.get_logger(__name__)
REDIS_PATIENCE = 2.0


def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the process answers; asks nobody else, so that a slow database never gets it killed."""
    del request
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether pages can be served, with the age of the mirror; 503 without the database.

    Redis and vPlus being away is told, but pages are served without them (design.md 2, rule 1).
    """
    del request
    parts: dict[str, Any] = {"redis": _redis_answers()}
    try:
        states = {row.name: row for row in ReadState.objects.filter(name__in=[INVENTORY, CONTACT])}
        parts["database"] = True
    except (DatabaseError, PoolTimeout) as problem:
        log.warning("not ready: no database", problem=type(problem).__name__)
        parts["database"], states = False, {}
    inventory, contact = states.get(INVENTORY), states.get(CONTACT)
    succeeded = inventory.succeeded_at if inventory else None
    parts["inventory_age_seconds"] = round((timezone.now() - succeeded).total_seconds(), 1) if succeeded else None
    parts["vplus_contact"] = bool(contact and contact.failing_since is None)
    parts["no_contact_since"] = contact.failing_since.isoformat() if contact and contact.failing_since else None
    ready = parts["database"]
    body = json.dumps({"status": "ready" if ready else "not ready", **parts})
    return HttpResponse(body, status=200 if ready else 503, content_type="application/json")


def metrics(request: HttpRequest) -> HttpResponse:
    """Return figures in Prometheus's text form, of all processes where PROMETHEUS_MULTIPROC_DIR is set."""
    del request
    registry = CollectorRegistry()
    if settings.PROMETHEUS_MULTIPROC_DIR:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library is typed in part
    registry.register(_MirrorAges())
    return HttpResponse(generate_latest(registry), content_type="text/plain; version=0.0.4; charset=utf-8")


class _MirrorAges:
    """Ages and durations of each reading, from the rows that the workers write."""

    def collect(self) -> Any:
        """Yield the gauges."""
        from prometheus_client.core import GaugeMetricFamily

        age = GaugeMetricFamily("vplus_portal_reading_age_seconds", "Age of the last good reading", labels=["reading"])
        took = GaugeMetricFamily(
            "vplus_portal_reading_duration_seconds", "How long the last one took", labels=["reading"]
        )
        failing = GaugeMetricFamily("vplus_portal_reading_failing", "1 while a reading fails", labels=["reading"])
        now = timezone.now()
        for row in ReadState.objects.order_by("name"):
            if row.succeeded_at:
                age.add_metric([row.name], (now - row.succeeded_at).total_seconds())
            took.add_metric([row.name], row.duration_seconds)
            failing.add_metric([row.name], 1.0 if row.failing_since else 0.0)
        yield from (age, took, failing)


def _redis_answers() -> bool:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_PATIENCE, socket_connect_timeout=REDIS_PATIENCE
        ) as connection:
            return bool(connection.ping())
    except redis.RedisError:
        return False

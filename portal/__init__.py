"""Entrances and faces: web pages, API, live streams. Owns no table and holds no rule (design record 0001)."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]

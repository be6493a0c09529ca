"""The app's registration."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Who may."""

    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

"""The app's registration."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Who may."""

    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Watch the rows that decide on rights."""
        from tenants.rights_changed import watch_rows  # needs the registry of apps

        watch_rows()

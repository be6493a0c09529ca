"""The app's registration: system checks live here."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Entrances and faces."""

    name = "portal"

    def ready(self) -> None:
        """Register the system checks, and tell watching pages of changed rights."""
        from portal import checks  # needs the registry of apps
        from portal.live import rights

        del checks, rights

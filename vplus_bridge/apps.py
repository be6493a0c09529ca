"""The app's registration."""

from django.apps import AppConfig


class VplusBridgeConfig(AppConfig):
    """The bridge to vPlus."""

    name = "vplus_bridge"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let whatever saves an operation tell open pages of it, and sending know the writes of the rooms above it."""
        from vplus_bridge.operations import told  # needs the registry of apps
        from vplus_bridge.protection.writes import register_writes

        del told
        register_writes()

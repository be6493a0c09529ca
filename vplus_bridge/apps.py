"""The app's registration."""

from django.apps import AppConfig


class VplusBridgeConfig(AppConfig):
    """The bridge to vPlus."""

    name = "vplus_bridge"
    default_auto_field = "django.db.models.BigAutoField"

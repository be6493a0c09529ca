"""Parts of addresses that Django has no converter for."""

from django.urls import register_converter


class VplusGuid:
    """A guid of vPlus: opaque, so only what cannot be one (control characters, spaces, slashes) is turned away."""

    regex = r"[0-9A-Za-z._~:-]{1,64}"

    def to_python(self, value: str) -> str:
        """Return the guid as it stands in the address."""
        return value

    def to_url(self, value: str) -> str:
        """Return the guid as it is put into an address."""
        return value


register_converter(VplusGuid, "vplus_guid")

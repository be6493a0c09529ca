"""Parts of addresses that Django has no converter for."""

import re

from django.urls import register_converter

_ESCAPED = {"~": "~7E", "/": "~2F", ".": "~2E"}
_MEANT = {escaped: sign for sign, escaped in _ESCAPED.items()}


class VplusGuid:
    """A guid of vPlus. It is opaque: what vPlus may call a thing has an address here, or one odd guid would end a whole list.

    A slash cannot stand inside one part of an address however it is encoded, nor a part be one of the two that mean "here"
    and "up"; these are written as ``~2F`` and ``~2E``, and a tilde that would be taken for such a one as ``~7E``.
    """

    regex = r"[^/\0]{1,600}"

    def to_python(self, value: str) -> str:
        """Return the guid that an address means."""
        return re.sub("~(?:7E|2F|2E)", lambda found: _MEANT[found[0]], value)

    def to_url(self, value: str) -> str:
        """Return the guid as it is put into an address; what needs percent signs gets them where the address is made."""
        if value in {".", ".."}:
            return _ESCAPED["."] * len(value)
        return re.sub("~(?=7E|2F|2E)|/", lambda found: _ESCAPED[found[0]], value)


register_converter(VplusGuid, "vplus_guid")

"""A signal for whoever keeps somebody's rights for longer than a request: they may be others now.

Saving or deleting one of the rows below sends it. Code that changes rights by ``update()`` sends it itself.
"""

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import Signal

rights_changed = Signal()

_DECIDE = ("tenants.Tenant", "tenants.Membership", "tenants.Grant", "tenants.Person")
_SIGNED_IN = frozenset({"last_login"})  # each sign-in writes it, and it gives or takes nothing


def watch_rows() -> None:
    """Send the signal with each saving or deleting of a row that decides on rights. Called once, when apps are ready."""
    for model in _DECIDE:
        post_save.connect(_saved, sender=model, dispatch_uid=f"rights by {model} saved")
        post_delete.connect(_deleted, sender=model, dispatch_uid=f"rights by {model} deleted")


def _saved(sender: Any, update_fields: frozenset[str] | None = None, **_: Any) -> None:
    if update_fields != _SIGNED_IN:
        rights_changed.send(sender)


def _deleted(sender: Any, **_: Any) -> None:
    rights_changed.send(sender)

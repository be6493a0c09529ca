"""Changed rights are told to every web process, so that a stream whose right has ended is ended there."""

from typing import Any

from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver

from tenants.rights_changed import rights_changed
from vplus_bridge import changes


@receiver((rights_changed, user_logged_out), dispatch_uid="rights told")
def _tell(**_: Any) -> None:
    changes.tell_rights()

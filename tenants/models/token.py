"""An API token: one person in one tenant, or one of the provider's people."""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from tenants.scope import TenantOwned


class Token(TenantOwned):
    """What a script shows: only a digest is kept; ``tenant`` is empty for the provider's own tokens."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(  # type: ignore[assignment]  # the provider's own, beside a tenant's
        "tenants.Tenant", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    owner_name = models.CharField(max_length=254, help_text="name or e-mail address of the person, for lists")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the token, hexadecimal")
    tail = models.CharField(max_length=4, help_text="last characters, so that people can tell tokens apart")
    scopes = ArrayField(
        models.CharField(max_length=32), default=list, blank=True, help_text="empty: all the person may"
    )
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        pass

    def __str__(self) -> str:
        return f"{self.name} (..{self.tail})"

"""An answer of the API that is kept for a while, so that a script that asks again with the same key gets the same one."""

import uuid

from django.db import models
from django.utils import timezone

from tenants.scope import TenantOwned


class KeptAnswer(TenantOwned):
    """What was answered to a key of a token; ``tenant`` is empty for the provider's own tokens, ``status`` while it is made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(  # type: ignore[assignment]  # the provider's own, beside a tenant's
        "tenants.Tenant", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    token = models.ForeignKey("tenants.Token", on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was asked, hexadecimal")
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status; empty only inside the transaction")
    body = models.BinaryField(default=bytes, help_text="sealed with what the token says, which is kept nowhere")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        constraints = (models.UniqueConstraint(fields=["token", "key"], name="kept_answer_once"),)
        indexes = (models.Index(fields=["created_at"], name="kept_answer_age"),)

    def __str__(self) -> str:
        return f"{self.status} of {self.created_at}"

"""The audit: each operation, change and refusal, also the provider's on a tenant.

Rows are added, never changed; those older than AUDIT_KEEP_DAYS are removed.
"""

import uuid

from django.db import models
from django.utils import timezone

from tenants.scope import TenantOwned


class AuditResult(models.TextChoices):
    """How it ended."""

    DONE = "done", "Done"
    REFUSED = "refused", "Refused"


class AuditEvent(TenantOwned):
    """Who did, or was refused, what, to what, from where and why; ``tenant`` is empty for the provider's own affairs."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(  # type: ignore[assignment]  # the provider's own, beside a tenant's
        "tenants.Tenant", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    at = models.DateTimeField(default=timezone.now)
    actor_id = models.UUIDField(null=True, help_text="person; empty: the portal itself or a command")
    actor_name = models.CharField(max_length=254)
    actor_role = models.CharField(max_length=20, blank=True)
    via = models.CharField(max_length=120, help_text="page, or the token's name, or command")
    address = models.GenericIPAddressField(null=True, blank=True)
    action = models.CharField(max_length=64, help_text="verb.object, such as operation.backup or members.invite")
    object_kind = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=200, blank=True)
    object_name = models.CharField(max_length=300, blank=True)
    result = models.CharField(max_length=8, choices=AuditResult.choices)
    code = models.CharField(max_length=64, blank=True, help_text="of the refusal")
    detail = models.JSONField(default=dict, blank=True, help_text="before and after, or what was asked; never a secret")
    reason = models.CharField(max_length=500, blank=True)
    reference = models.CharField(max_length=9, blank=True)

    class Meta(TenantOwned.Meta):
        indexes = (
            models.Index(fields=["tenant", "-at"], name="audit_newest"),
            models.Index(fields=["at"], name="audit_age"),
        )

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.action} {self.result}"

"""A tenant: one customer of the provider."""

import uuid
from typing import Any

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from tenants.scope import TenantManager, TenantScopeMissing, WrongTenant, current_scope

valid_slug = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "Use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends.",
)


class Visibility(models.TextChoices):
    """Which virtual machines of the tenant its members see."""

    ALL = "all", "All of them"
    GRANTED = "granted", "Only those granted to them"


class _TenantItself(TenantManager["Tenant"]):
    path = "id"


class Tenant(models.Model):
    """One customer: its name, where it is in vPlus, its time zone and whether it may start anything."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[valid_slug])
    name = models.CharField(max_length=200)
    vplus_tenant_id = models.CharField(
        max_length=64, blank=True, help_text="OpenStack project uuid; written as a label on what we make in vPlus"
    )
    time_zone = models.CharField(max_length=64, default="UTC", help_text="IANA zone")
    visibility = models.CharField(max_length=8, choices=Visibility.choices, default=Visibility.ALL)
    suspended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = _TenantItself()

    class Meta:
        base_manager_name = "objects"
        constraints = (
            models.UniqueConstraint(
                fields=["vplus_tenant_id"], condition=~models.Q(vplus_tenant_id=""), name="tenant_vplus_id_once"
            ),
        )

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save in the wide scope or in the tenant's own."""
        scope = current_scope()
        if scope is None:
            raise TenantScopeMissing("Tenant was saved with no tenant in scope")
        if scope.tenant_id is not None and scope.tenant_id != self.pk:
            raise WrongTenant("another tenant was about to be saved")
        super().save(*args, **kwargs)

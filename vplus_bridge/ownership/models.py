"""Tables of ownership: what the provider assigned, what moved when, and what tenants may use."""

import uuid

from django.db import models
from django.utils import timezone

from tenants.scope import TenantOwned


class AssignmentSource(models.TextChoices):
    """Who or what decided."""

    PROVIDER = "provider", "Assigned by the provider"
    RESTORED = "restored", "Restored by the tenant"
    PROJECT = "project", "In the tenant's project"
    NOBODY = "", "Nobody's"


class Assignment(TenantOwned):
    """One virtual machine is this tenant's, whatever its project says."""

    virtual_machine_guid = models.CharField(max_length=200, primary_key=True)
    source = models.CharField(max_length=8, choices=AssignmentSource.choices)
    assigned_by = models.CharField(max_length=254)
    assigned_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        pass

    def __str__(self) -> str:
        return self.virtual_machine_guid


class OwnershipChange(models.Model):
    """The owner of a virtual machine changed: the provider's record, and where a move splits history."""

    virtual_machine_guid = models.CharField(max_length=200)
    virtual_machine_name = models.CharField(
        max_length=1000,
        blank=True,
        help_text="as the one before knew it: what the new owner calls it is not theirs to read",
    )
    from_tenant = models.ForeignKey("tenants.Tenant", null=True, on_delete=models.PROTECT, related_name="+")
    to_tenant = models.ForeignKey("tenants.Tenant", null=True, on_delete=models.PROTECT, related_name="+")
    source = models.CharField(max_length=8, choices=AssignmentSource.choices, blank=True)
    changed_by = models.CharField(max_length=254, blank=True)
    at = models.DateTimeField(default=timezone.now)
    handed_over = models.BooleanField(default=False, help_text="history went along with the move")

    class Meta:
        indexes = (models.Index(fields=["virtual_machine_guid", "at"], name="ownership_of_vm"),)

    def __str__(self) -> str:
        return f"{self.virtual_machine_guid} at {self.at:%Y-%m-%d}"


class AllowedDestination(TenantOwned):
    """A backup destination that a tenant may use, under the label its people see."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    destination_guid = models.CharField(max_length=200)
    label = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        constraints = (models.UniqueConstraint(fields=["tenant", "destination_guid"], name="destination_allowed_once"),)

    def __str__(self) -> str:
        return self.label


class AllowedRestoreTarget(TenantOwned):
    """Where a tenant may restore to: one bundle of platform places under one label."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    label = models.CharField(max_length=200)
    hypervisor_guid = models.CharField(max_length=200, blank=True)
    manager_guid = models.CharField(max_length=200, blank=True)
    cluster_uuid = models.CharField(max_length=200, blank=True, help_text="uuid, not guid (vplus-api.md 1.4)")
    storage_uuid = models.CharField(max_length=200, blank=True, help_text="uuid, not guid (vplus-api.md 1.4)")
    data_center = models.CharField(max_length=300, blank=True)
    project = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        constraints = (
            models.UniqueConstraint(fields=["tenant", "label"], name="target_label_once"),
            models.CheckConstraint(
                condition=(models.Q(hypervisor_guid="") ^ models.Q(manager_guid="")), name="target_one_platform"
            ),
        )

    def __str__(self) -> str:
        return self.label

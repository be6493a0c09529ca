"""A grant: one member, one virtual machine, a role, until an end."""

import uuid

from django.db import models
from django.utils import timezone

from tenants.models.membership import Membership, Role
from tenants.scope import TenantOwned


class Grant(TenantOwned):
    """Adds to what a member may do and see, for one virtual machine, until it ends."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="grants")
    virtual_machine_guid = models.CharField(max_length=200)
    role = models.CharField(max_length=8, choices=Role.choices)
    until = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    granted_by_name = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=["membership", "virtual_machine_guid"],
                condition=models.Q(ended_at=None),
                name="grant_once_while_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} on {self.virtual_machine_guid}"

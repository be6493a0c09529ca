"""A person's place in a tenant."""

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from tenants.scope import TenantOwned


class Role(models.TextChoices):
    """What a member may do; on which virtual machines is the visible set's to say."""

    ADMIN = "admin", "Admin"
    OPERATOR = "operator", "Operator"
    VIEWER = "viewer", "Viewer"


class Membership(TenantOwned):
    """A person in a tenant. Carries the name and e-mail address that others may see, so that nobody reads Person."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    role = models.CharField(max_length=8, choices=Role.choices)
    name = models.CharField(max_length=200, blank=True)
    email = models.EmailField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        constraints = (models.UniqueConstraint(fields=["tenant", "person"], name="membership_once"),)
        indexes = (models.Index(fields=["person"], name="membership_person"),)

    def __str__(self) -> str:
        return self.name or self.email

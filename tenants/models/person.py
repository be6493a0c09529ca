"""A person who signs in; the only table of people, read by the entrance and by sign-in alone."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone


class ProviderRole(models.TextChoices):
    """What a person may do at the provider."""

    OPERATOR = "operator", "Operator"
    AUDITOR = "auditor", "Auditor"


class PersonManager(BaseUserManager["Person"]):
    """Makes people by e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "Person":
        """Create a person; without a password nobody can sign in until one is set through an invitation."""
        person = self.model(email=self.normalize_email(email).lower(), **fields)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def get_by_natural_key(self, username: str | None) -> "Person":
        """Return the person of an e-mail address, however its letters are cased."""
        return self.get(email=(username or "").lower())


class Person(AbstractBaseUser):
    """Who signs in: an e-mail address, a name, and perhaps a role at the provider. Belongs to no tenant by itself."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=200, blank=True)
    provider_role = models.CharField(max_length=10, choices=ProviderRole.choices, blank=True)
    time_zone = models.CharField(max_length=64, blank=True, help_text="IANA zone; empty: the tenant's")
    theme = models.CharField(max_length=5, choices=[("", "System"), ("light", "Light"), ("dark", "Dark")], blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_tenant_slug = models.SlugField(max_length=63, blank=True, help_text="where / leads")

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = PersonManager()

    class Meta:
        constraints = (models.UniqueConstraint(Lower("email"), name="person_email_any_case"),)

    def __str__(self) -> str:
        return self.name or self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save with the e-mail address in lower case, so that it is one person however it is typed."""
        self.email = self.email.lower()
        super().save(*args, **kwargs)

"""Tables of protection: policies and schedules as a tenant's people mean them, and what vPlus holds so that they come true.

The rows say what was last written to vPlus and seen there. A wish that is still under way is the plan of its operation.
"""

import uuid
from typing import Any

from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from tenants.scope import TenantOwned
from vplus_bridge.protection.wall_time import BackupType, ExecutionType


class PolicyState(models.TextChoices):
    """Whether vPlus holds it."""

    MAKING = "making", "Being made"
    KEPT = "kept", "In vPlus"
    NOT_MADE = "not_made", "Not made"
    DELETED = "deleted", "Deleted"


LIVING = (PolicyState.MAKING, PolicyState.KEPT)


class Policy(TenantOwned):
    """Which virtual machines are backed up where; its schedules say when. In vPlus it is a policy with one rule."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, help_text="as its people call it; vPlus knows the wire name")
    state = models.CharField(max_length=8, choices=PolicyState.choices, default=PolicyState.MAKING)
    priority = models.PositiveSmallIntegerField(default=50)
    destination_guid = models.CharField(max_length=200, blank=True)
    auto_remove_gone = models.BooleanField(
        default=False, help_text="vPlus takes out machines that left the platform, by itself"
    )
    paused = models.BooleanField(default=False, help_text="all its schedules are held inactive")
    wire_name = models.CharField(max_length=255, blank=True, help_text="generated; unique over everybody in vPlus")
    vplus_guid = models.CharField(max_length=200, blank=True)
    rule_wire_name = models.CharField(max_length=255, blank=True)
    rule_guid = models.CharField(max_length=200, blank=True)
    attached = models.BooleanField(
        default=False, help_text="was in vPlus before us: shown, and never changed from here"
    )
    version = models.PositiveIntegerField(default=1, help_text="counts changes; who edits names the one they saw")
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    changed_by_name = models.CharField(max_length=254, blank=True)
    compared_at = models.DateTimeField(
        null=True, help_text="when vPlus was last found to hold what stands here, or not"
    )
    differs_since = models.DateTimeField(null=True, help_text="when it was first seen that vPlus holds something else")
    drift = models.JSONField(default=list, help_text="[{field, schedule, ours, theirs}] while it differs")

    class Meta(TenantOwned.Meta):
        constraints = (
            models.UniqueConstraint(
                "tenant", Lower("name"), condition=models.Q(state__in=sorted(LIVING)), name="policy_name_once"
            ),
            models.UniqueConstraint(
                fields=["vplus_guid"],
                condition=models.Q(state__in=sorted(LIVING)) & ~models.Q(vplus_guid=""),
                name="policy_in_vplus_once",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def living(self) -> bool:
        """Whether it is in vPlus, or on its way there."""
        return self.state in LIVING


class PolicyMember(TenantOwned):
    """A virtual machine is in a policy, and in no other."""

    id = models.BigAutoField(primary_key=True)
    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="members")
    virtual_machine_guid = models.CharField(max_length=200)

    class Meta(TenantOwned.Meta):
        constraints = (
            models.UniqueConstraint(fields=["tenant", "virtual_machine_guid"], name="one_policy_for_each_machine"),
        )

    def __str__(self) -> str:
        return self.virtual_machine_guid


class Schedule(TenantOwned):
    """When a policy's machines are backed up, in wall times of a zone. Its carriers make it come true in vPlus."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="schedules")
    position = models.PositiveSmallIntegerField(default=1)
    backup_type = models.CharField(max_length=12, choices=[(kind.value, kind.value) for kind in BackupType])
    execution_type = models.CharField(max_length=8, choices=[(kind.value, kind.value) for kind in ExecutionType])
    zone = models.CharField(max_length=64, help_text="IANA")
    time_of_day = models.TimeField(null=True, help_text="TIME")
    start_time = models.TimeField(null=True, help_text="INTERVAL: the first run of a day")
    end_time = models.TimeField(null=True, help_text="INTERVAL: no run after it")
    frequency_minutes = models.PositiveIntegerField(null=True, help_text="INTERVAL")
    days_of_week = models.JSONField(default=list, help_text="vPlus's names, of the local day")
    months = models.JSONField(default=list, help_text="vPlus's names; empty: any")
    occurrences = models.JSONField(default=list, help_text="FIRST to FOURTH, LAST; empty: any")
    start_window_minutes = models.PositiveIntegerField(default=360, help_text="how late a run may start")
    active = models.BooleanField(default=True)
    planned_at = models.DateTimeField(null=True, help_text="for which moment its carriers were computed")
    exact_until = models.DateTimeField(null=True, help_text="until then its carriers fire as promised")
    rewrite_at = models.DateTimeField(null=True, help_text="when its carriers are to be written anew; empty: never")
    rewrite_by = models.DateTimeField(null=True, help_text="after this runs may be off")
    rewrite_reason = models.CharField(max_length=16, blank=True)
    runs_off = models.JSONField(default=list, help_text="[{promised, actual}] of the last late rewrite")
    runs_off_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        indexes = (
            models.Index(
                fields=["rewrite_at"], name="schedule_rewrite_due", condition=models.Q(rewrite_at__isnull=False)
            ),
        )
        ordering = ("position", "id")

    def __str__(self) -> str:
        return f"{self.backup_type} of {self.policy_id}"


class Carrier(TenantOwned):
    """One schedule of vPlus that carries one of ours, or a part of it, exactly as it was last written."""

    id = models.BigAutoField(primary_key=True)
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="carriers")
    position = models.PositiveSmallIntegerField()
    wire_name = models.CharField(max_length=255, unique=True)
    vplus_guid = models.CharField(max_length=200)
    spec: Any = models.JSONField(help_text="protection/stored.py: what it fires at, in UTC")
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField()
    written_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        constraints = (models.UniqueConstraint(fields=["schedule", "position"], name="carrier_once"),)
        ordering = ("position",)

    def __str__(self) -> str:
        return self.wire_name

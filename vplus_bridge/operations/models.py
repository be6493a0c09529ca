"""Tables of operations: the wish, its steps, each attempt at a write, and the tasks that came of it."""

import uuid

from django.db import models
from django.utils import timezone

from tenants.scope import TenantOwned
from vplus_bridge.operations.moves import ACTIVE, Kind, State


class Operation(TenantOwned):
    """What a person asked for, and how far it is. One active operation for each subject and kind."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    state = models.CharField(max_length=16, choices=State.choices, default=State.REQUESTED)
    subject = models.CharField(max_length=200, help_text="guid of the virtual machine, or id of the policy")
    virtual_machine_guid = models.CharField(max_length=200, blank=True)
    virtual_machine_name = models.CharField(max_length=1000, blank=True, help_text="as it was called when asked")
    wish = models.JSONField(default=dict, help_text="the fields that were given, as given")
    plan = models.JSONField(default=dict, help_text="what is sent: the wish with every default filled in")
    requested_by_id = models.UUIDField(help_text="membership")
    requested_by_name = models.CharField(max_length=254)
    requested_via = models.CharField(max_length=120, blank=True)
    requested_at = models.DateTimeField(default=timezone.now)
    send_until = models.DateTimeField(help_text="after this nothing is sent any more")
    reference = models.CharField(max_length=9)

    stage = models.CharField(max_length=16, blank=True, help_text="export or store")
    progress = models.FloatField(null=True, help_text="0 to 100 over the whole chain; empty: not known")
    estimate_seconds = models.FloatField(null=True, help_text="of the whole work, from this VM's own history")
    estimate_basis = models.CharField(max_length=40, blank=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    last_news_at = models.DateTimeField(null=True)
    backup_guid = models.CharField(max_length=200, blank=True, help_text="the record that this operation made")
    restore_point_guid = models.CharField(max_length=200, blank=True, help_text="the backup that is restored")
    restored_name = models.CharField(max_length=255, blank=True, help_text="what the new virtual machine is called")
    restored_vm_guid = models.CharField(max_length=200, blank=True, help_text="the new one, once it is known for sure")
    cancel_asked_at = models.DateTimeField(null=True)
    cancel_asked_by_id = models.UUIDField(null=True, help_text="membership")
    cancel_asked_by_name = models.CharField(max_length=254, blank=True)
    warnings = models.JSONField(default=list, help_text="codes")
    error_code = models.CharField(max_length=40, blank=True)
    vendor_text = models.TextField(blank=True, help_text="vPlus's own words: for the provider only")

    class Meta(TenantOwned.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=["subject", "kind"],
                condition=models.Q(state__in=sorted(ACTIVE)),
                name="one_active_operation",
            ),
        )
        indexes = (
            models.Index(fields=["tenant", "-requested_at", "id"], name="operation_newest"),
            models.Index(fields=["virtual_machine_guid", "-requested_at"], name="operation_of_vm"),
            models.Index(fields=["state"], name="operation_active", condition=models.Q(state__in=sorted(ACTIVE))),
            models.Index(
                fields=["requested_at"],
                name="operation_needs_attention",
                condition=models.Q(state=State.NEEDS_ATTENTION),
            ),
            models.Index(
                fields=["restored_name"], name="operation_restored_name", condition=~models.Q(restored_name="")
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} of {self.virtual_machine_name or self.subject}"

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ACTIVE


class Step(TenantOwned):
    """One write of an operation, in order."""

    id = models.BigAutoField(primary_key=True)
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    action = models.CharField(max_length=24, help_text="export, restore, cancel: a name in operations/writes")
    spec = models.JSONField(default=dict, help_text="what it writes, where the operation's plan does not say it")

    class Meta(TenantOwned.Meta):
        constraints = (models.UniqueConstraint(fields=["operation", "position"], name="step_once"),)

    def __str__(self) -> str:
        return f"{self.action} ({self.position})"


class Outcome(models.TextChoices):
    """What became of a write (design record 0003): four, and empty while it is not known that there is one."""

    NOT_ACCEPTED = "not_accepted", "Not accepted"
    REFUSED = "refused", "Refused"
    ACCEPTED = "accepted", "Accepted"
    UNCERTAIN = "uncertain", "Uncertain"


class Attempt(TenantOwned):
    """One try at a write. ``sent_at`` is the mark: set and committed before the first byte goes out, never cleared."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField(default=1)
    due_at = models.DateTimeField(default=timezone.now, help_text="not sent before; moved on by backing off")
    fence = models.PositiveIntegerField(default=0, help_text="counts claims; only the newest claim may write")
    claimed_until = models.DateTimeField(null=True)
    setbacks = models.PositiveIntegerField(default=0, help_text="times it was not accepted")
    sent_at = models.DateTimeField(null=True, help_text="the mark")
    target_guid = models.CharField(max_length=200, blank=True, help_text="the task or object that it is about")
    stamp = models.DateTimeField(null=True, help_text="what we look for in vPlus: an export's windowStart")
    body = models.TextField(blank=True, help_text="exactly what was sent")
    baseline_tasks = models.JSONField(default=list, help_text="guids of this VM's tasks that were there before")
    baseline_backups = models.JSONField(default=list, help_text="guids of this VM's backups that were there before")
    absent_since = models.DateTimeField(
        null=True, help_text="first whole read, after the waits, that had nothing of it"
    )
    outcome = models.CharField(max_length=12, choices=Outcome.choices, blank=True)
    outcome_at = models.DateTimeField(null=True)
    outcome_reason = models.CharField(max_length=300, blank=True)
    status_code = models.PositiveSmallIntegerField(null=True)
    vendor_text = models.TextField(blank=True, help_text="vPlus's own words: for the provider only")
    task_guid = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001  # unique, so absence is NULL
    object_name = models.CharField(max_length=255, blank=True, help_text="generated name by which it is looked up")
    object_guid = models.CharField(max_length=200, blank=True, help_text="of the object that it made")

    class Meta(TenantOwned.Meta):
        constraints = (models.UniqueConstraint(fields=["step", "number"], name="attempt_once"),)
        indexes = (
            models.Index(fields=["due_at"], name="attempt_unsent", condition=models.Q(sent_at=None, outcome="")),
            models.Index(
                fields=["sent_at"], name="attempt_unsettled", condition=models.Q(task_guid=None, sent_at__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"attempt {self.number} of step {self.step_id}"


class ChainTask(TenantOwned):
    """A task of vPlus that belongs to an attempt: the one that was made, and those that the server made of it."""

    task_guid = models.CharField(max_length=200, primary_key=True)
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="tasks")
    stage = models.CharField(max_length=16)
    linked_at = models.DateTimeField(default=timezone.now)
    linked_by = models.CharField(max_length=24, help_text="answer, stamp, parent, backup, order, absence_of_others")

    class Meta(TenantOwned.Meta):
        pass

    def __str__(self) -> str:
        return f"{self.stage} {self.task_guid}"

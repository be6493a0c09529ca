"""Tables of what was promised against what was done. Rows are written by ledger.py, promises.py and notices.py alone."""

from django.db import models
from django.utils import timezone

from tenants.scope import TenantOwned


class PromiseState(models.TextChoices):
    """What is known of the schedules that back up a policy's machines."""

    KNOWN = "known", "Known"
    NONE = "none", "No schedule runs"
    CANNOT_TELL = "cannot_tell", "Cannot be told"


class PolicyPromise(TenantOwned):
    """What a policy's schedules promise to one tenant's machines in it, computed ahead so that pages only read."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(  # type: ignore[assignment]  # nobody's machines have promises too, for the provider
        "tenants.Tenant", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    policy_guid = models.CharField(max_length=200)
    state = models.CharField(max_length=12, choices=PromiseState.choices)
    timetables = models.JSONField(default=list, help_text="timetable.Timetable, in JSON's terms")
    gap_seconds = models.BigIntegerField(null=True, help_text="the longest between two runs")
    allowance_seconds = models.BigIntegerField(null=True, help_text="that, and how late the next may start")
    next_run_at = models.DateTimeField(null=True)
    written_until = models.DateTimeField(default=timezone.now, help_text="expected runs are in the ledger up to here")
    computed_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        constraints = (
            models.UniqueConstraint(fields=["tenant", "policy_guid"], name="promise_once", nulls_distinct=False),
        )
        indexes = (
            models.Index(fields=["next_run_at"], name="promise_due", condition=models.Q(next_run_at__isnull=False)),
        )

    def __str__(self) -> str:
        return f"promise of {self.policy_guid}"


class RunOutcome(models.TextChoices):
    """What became of an expected run."""

    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    STORED = "stored", "Stored"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    MISSED = "missed", "Did not happen"
    EXCUSED = "excused", "Not known"


OPEN_OUTCOMES = (RunOutcome.WAITING, RunOutcome.RUNNING)
TROUBLE = (RunOutcome.FAILED, RunOutcome.MISSED)


class ExpectedRun(TenantOwned):
    """One run that a schedule promised for one virtual machine, and what became of it."""

    id = models.BigAutoField(primary_key=True)
    virtual_machine_guid = models.CharField(max_length=200)
    policy_guid = models.CharField(max_length=200)
    timetable_key = models.CharField(max_length=220)
    schedule_guids = models.JSONField(default=list, help_text="of vPlus: what a task of this run may name")
    backup_type = models.CharField(max_length=12)
    due_at = models.DateTimeField()
    window_end = models.DateTimeField()
    outcome = models.CharField(max_length=9, choices=RunOutcome.choices, default=RunOutcome.WAITING)
    why = models.CharField(max_length=24, blank=True, help_text="a code of evidence.Why")
    started_at = models.DateTimeField(null=True)
    task_guid = models.CharField(max_length=200, blank=True)
    backup_guid = models.CharField(max_length=200, blank=True)
    standing = models.CharField(
        max_length=24,
        blank=True,
        help_text="held: promised and due until its window was over; a code of evidence.Why: not so; empty: not known yet",
    )
    settled_at = models.DateTimeField(null=True, help_text="when the outcome was found")
    look_at = models.DateTimeField(null=True, help_text="when it is looked at next; empty: settled")
    told_at = models.DateTimeField(null=True, help_text="when its trouble was put into a mail, or found to need none")

    class Meta(TenantOwned.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=["virtual_machine_guid", "timetable_key", "due_at", "tenant"], name="run_once"
            ),
        )
        indexes = (
            models.Index(fields=["virtual_machine_guid", "-due_at"], name="run_of_vm"),
            models.Index(fields=["tenant", "-due_at"], name="run_trouble", condition=models.Q(outcome__in=TROUBLE)),
            models.Index(fields=["look_at"], name="run_open", condition=models.Q(look_at__isnull=False)),
            models.Index(
                fields=["settled_at"],
                name="run_untold",
                condition=models.Q(outcome__in=TROUBLE, told_at__isnull=True),
            ),
            models.Index(fields=["due_at"], name="run_by_age"),
        )

    def __str__(self) -> str:
        return f"run of {self.virtual_machine_guid} due {self.due_at}"


class ContactOutage(models.Model):
    """A time without contact to vPlus: what was due in it and left no trace may not be held against anybody."""

    id = models.BigAutoField(primary_key=True)
    began_at = models.DateTimeField(unique=True)
    ended_at = models.DateTimeField(null=True, help_text="empty: not over yet")

    def __str__(self) -> str:
        return f"no contact from {self.began_at}"


class TroubleMail(TenantOwned):
    """A mail to a tenant's admins about backups that failed or did not happen. Written before it is sent; sent once."""

    id = models.BigAutoField(primary_key=True)
    made_at = models.DateTimeField(default=timezone.now)
    troubles = models.JSONField(default=list, help_text="[{virtual_machine, name, kind, due_at, why, operation}]")
    more = models.PositiveIntegerField(default=0, help_text="troubles beyond those named")
    tries = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    sent_to = models.PositiveIntegerField(default=0, help_text="how many addresses")
    given_up_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        indexes = (
            models.Index(fields=["due_at"], name="mail_unsent", condition=models.Q(sent_at=None, given_up_at=None)),
        )

    def __str__(self) -> str:
        return f"mail of {self.made_at}"


class FailureTold(TenantOwned):
    """That the failure of an operation was put into a mail, so that it is told once."""

    operation = models.OneToOneField(
        "vplus_bridge.Operation", primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    told_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        pass

    def __str__(self) -> str:
        return f"told of {self.operation_id}"

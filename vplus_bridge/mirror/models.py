"""Tables of the mirror. Names are the portal's words; where a member comes from stands in vplus-api.md section 2."""

from typing import Any, Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Cast, Coalesce, Collate, Lower
from django.utils import timezone

from tenants.scope import TenantOwned


class ProtectionStatus(models.TextChoices):
    """The portal's verdict on one virtual machine."""

    NOT_PROTECTED = "not_protected", "Not protected"
    AT_RISK = "at_risk", "At risk"
    UNKNOWN = "unknown", "Not known"
    PROTECTED = "protected", "Protected"


class MirrorRow(TenantOwned):
    """A fact from vPlus. ``tenant`` is written by ownership/ alone; empty means nobody's, which no tenant sees."""

    guid = models.CharField(max_length=200, primary_key=True, help_text="vPlus's own id")
    tenant = models.ForeignKey(  # type: ignore[assignment]  # nobody's, beside somebody's
        "tenants.Tenant", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    digest = models.BinaryField(max_length=16, help_text="of the record as read; a row is written only when it differs")
    first_seen_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        abstract = True


class VirtualMachine(MirrorRow):
    """A virtual machine of vPlus's inventory, also one that no longer exists; and what its history adds up to.

    Each writer has its own columns: mirror/inventory.py and mirror/policies.py the facts, mirror/backups.py the summary
    of the history, protection/verdict.py the verdict.
    """

    uuid = models.CharField(max_length=200, blank=True, help_text="the platform's id")
    name = models.CharField(max_length=1000)
    present = models.BooleanField(help_text="vPlus's word: on the platform")
    not_present_since = models.DateTimeField(null=True, help_text="when we saw vPlus's word change to no")
    absent_since = models.DateTimeField(null=True, help_text="ours: two complete listings came without it")
    missed_listings = models.PositiveSmallIntegerField(default=0)
    project_guid = models.CharField(max_length=200, blank=True)
    project_name = models.CharField(max_length=300, blank=True)
    manager_guid = models.CharField(max_length=200, blank=True)
    manager_name = models.CharField(max_length=300, blank=True)
    hypervisor_guid = models.CharField(max_length=200, blank=True)
    hypervisor_name = models.CharField(max_length=300, blank=True)
    cluster_name = models.CharField(max_length=300, blank=True)
    platform = models.CharField(max_length=40, blank=True, help_text="such as OPENSTACK or VCENTER")
    policy_guid = models.CharField(max_length=200, blank=True)
    policy_name = models.CharField(
        max_length=300, blank=True, help_text="vPlus's: never for a tenant; see policy_label"
    )
    policy_by_members = models.BooleanField(
        default=False, help_text="the policy's list of members told it, since the machine's record does not"
    )
    policy_since = models.DateTimeField(
        default=timezone.now, help_text="when we first saw it in this policy, or in none"
    )
    policy_rules = models.PositiveIntegerField(
        null=True, help_text="active rules of its policy; empty: not known. Kept where exports go by rules"
    )
    policy_leads_to = ArrayField(
        models.CharField(max_length=200), null=True, help_text="where backups by these rules go; empty: not told"
    )
    policy_label = models.CharField(
        max_length=300,
        blank=True,
        help_text="the policy's name as its tenant may read it; empty: none, or the provider's",
    )
    up_to_date = models.BooleanField(null=True, help_text="vPlus's word; empty: no schedule, or not said")
    restorable = models.BooleanField(null=True)
    vplus_last_backup_at = models.DateTimeField(null=True)
    vplus_last_backup_size = models.BigIntegerField(null=True, help_text="bytes")

    history_read_at = models.DateTimeField(null=True, help_text="when its backups were last read whole")
    history_tried_at = models.DateTimeField(null=True, help_text="when a reading last began, whether it worked or not")
    history_wanted_at = models.DateTimeField(null=True, help_text="newest wish that a reading is to begin after")
    restore_point_count = models.PositiveIntegerField(default=0)
    newest_point_guid = models.CharField(max_length=200, blank=True)
    newest_point_at = models.DateTimeField(null=True)
    newest_point_time_given = models.BooleanField(default=True)
    last_backup_at = models.DateTimeField(null=True, help_text="point in time of the last good backup")
    last_backup_type = models.CharField(max_length=20, blank=True)
    last_backup_size = models.BigIntegerField(null=True, help_text="bytes")
    last_full_backup_at = models.DateTimeField(null=True)
    last_full_backup_size = models.BigIntegerField(null=True, help_text="bytes")
    last_attempt_failed_at = models.DateTimeField(null=True, help_text="set while the newest backup is a failed one")

    protection_status = models.CharField(
        max_length=13, choices=ProtectionStatus.choices, default=ProtectionStatus.UNKNOWN
    )
    protection_reason = models.CharField(
        max_length=40, default="history_not_read", help_text="a code; words are the faces'"
    )
    attention_rank = models.PositiveSmallIntegerField(default=4, help_text="0 is worst; orders lists")
    promise_seconds = models.BigIntegerField(null=True, help_text="how old its newest restore point may be")
    next_run_at = models.DateTimeField(null=True, help_text="of any schedule of its policy")
    turns_at = models.DateTimeField(null=True, help_text="when the verdict gets worse by itself")

    class Meta(MirrorRow.Meta):
        indexes = (
            models.Index(fields=["tenant", "attention_rank", "newest_point_at", "guid"], name="vm_worst_first"),
            models.Index("tenant", Lower("name"), "guid", name="vm_by_name"),
            models.Index(fields=["tenant", "last_backup_at", "guid"], name="vm_by_last_backup"),
            models.Index(fields=["project_guid"], name="vm_by_project"),
            models.Index(fields=["uuid"], name="vm_by_uuid"),
            models.Index(
                fields=["history_wanted_at"],
                name="vm_history_wanted",
                condition=models.Q(history_wanted_at__isnull=False),
            ),
            models.Index(fields=["history_read_at"], name="vm_history_age"),
            models.Index(fields=["policy_guid"], name="vm_by_policy"),
            models.Index(fields=["turns_at"], name="vm_turns", condition=models.Q(turns_at__isnull=False)),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def gone(self) -> bool:
        """Whether it is no longer on the platform, by vPlus's word or because listings no longer have it."""
        return not self.present or self.absent_since is not None

    @property
    def gone_since(self) -> Any:
        """When it went (datetime, UTC), or None where it was gone before the portal first saw it."""
        return self.not_present_since or self.absent_since


class TimeSource(models.TextChoices):
    """Where a backup's point in time comes from, best first (vplus-api.md 2.3)."""

    SNAPSHOT = "snapshot", "Snapshot"
    LOCATION = "location", "Stored copy"
    FINISHED = "finished", "End of the copy"
    TASK = "task", "Start of the export"
    FIRST_SEEN = "first_seen", "Time not given"


class Backup(MirrorRow):
    """One backup record of vPlus, good or not."""

    virtual_machine_guid = models.CharField(max_length=200)
    status = models.CharField(max_length=40, help_text="vPlus's, open set; SUCCESS can be restored")
    status_info = models.TextField(blank=True, help_text="vPlus's own text: for the provider only")
    type = models.CharField(max_length=40, blank=True, help_text="empty: not given")
    taken_at = models.DateTimeField(null=True, help_text="the point in time one can go back to")
    taken_at_source = models.CharField(max_length=10, choices=TimeSource.choices)
    finished_at = models.DateTimeField(null=True)
    size = models.BigIntegerField(null=True, help_text="bytes")
    queued_export_seconds = models.FloatField(null=True)
    export_seconds = models.FloatField(null=True)
    queued_store_seconds = models.FloatField(null=True)
    store_seconds = models.FloatField(null=True)
    parent_guid = models.CharField(max_length=200, blank=True)
    destination_guid = models.CharField(max_length=200, blank=True)
    origin_type = models.CharField(max_length=40, blank=True)
    origin_guid = models.CharField(max_length=200, blank=True)
    warnings = models.JSONField(default=list)
    warnings_present = models.BooleanField(default=False)
    gone_at = models.DateTimeField(null=True, help_text="a complete history of its VM came without it")

    class Meta(MirrorRow.Meta):
        indexes = (models.Index(fields=["virtual_machine_guid", "-taken_at", "guid"], name="backup_of_vm"),)

    def __str__(self) -> str:
        return f"backup {self.guid}"

    @property
    def restorable(self) -> bool:
        """Whether one can restore it: stored, and still listed."""
        return self.status in {"SUCCESS", "PARTIAL_SUCCESS"} and self.gone_at is None


ENDED: Final = frozenset({"FINISHED", "FAILED", "CANCELLED"})
"""States of tasks that never change again (vplus-api.md 3.1)."""
UNKNOWN: Final = "UNKNOWN"
"""How a task is told to stand that vPlus forgot before it said how it ended; never a state of its own."""

# As PostgreSQL and Python order it alike, so that tasks can be told apart in a list with other rows.
TASK_ID: Final = Collate(Cast("guid", models.TextField()), "C")


class Task(MirrorRow):
    """What vPlus does: one task. Kept after vPlus has forgotten it.

    ``of_operation`` and what begins with ``run`` are the operations' to write: a run is what vPlus does one after the other
    that nobody here asked for, such as EXPORT and STORE of a schedule's backup. Its first task bears what became of it.
    """

    virtual_machine_guid = models.CharField(max_length=200, blank=True)
    type = models.CharField(max_length=40)
    type_description = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=40)
    state_description = models.CharField(max_length=200, blank=True)
    progress = models.FloatField(null=True, help_text="0 to 100; empty: not given")
    backup_guid = models.CharField(max_length=200, blank=True)
    parent_guid = models.CharField(max_length=200, blank=True)
    destination_vm_guid = models.CharField(max_length=200, blank=True)
    backup_type = models.CharField(max_length=40, blank=True)
    schedule_guid = models.CharField(max_length=200, blank=True)
    origin_type = models.CharField(max_length=40, blank=True)
    window_start = models.DateTimeField(null=True)
    window_end = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    priority = models.PositiveSmallIntegerField(null=True)
    status_info = models.TextField(blank=True, help_text="vPlus's own text: for the provider only")
    live = models.BooleanField(default=True, help_text="neither finished, failed nor cancelled when last read")
    ended_seen_at = models.DateTimeField(null=True, help_text="when we first saw that it had ended")
    vanished_at = models.DateTimeField(null=True, help_text="vPlus no longer knows it")
    # A column: PostgreSQL looks nothing up in an index by COALESCE where row-level security stands before it.
    shown_at = models.GeneratedField(
        expression=Coalesce("started_at", "window_start", "first_seen_at"),
        output_field=models.DateTimeField(),
        db_persist=True,
        help_text="when it was, as lists show and order it",
    )
    of_operation = models.BooleanField(
        default=False, help_text="written by operations/: known to be of one. A hint for lists; the chain is the truth"
    )
    run_guid = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="first task of the run that it goes on with; empty: it is the first",
    )
    run_state = models.CharField(
        max_length=10, blank=True, default="", help_text="of the whole run; empty: not judged yet"
    )
    run_ended = models.BooleanField(default=False, help_text="of the whole run")
    run_backup_guid = models.CharField(
        max_length=200, blank=True, default="", help_text="the record that the whole run makes, where it can be told"
    )
    run_changed_at = models.DateTimeField(null=True, help_text="when what is said of the whole run last changed")

    class Meta(MirrorRow.Meta):
        indexes = (
            models.Index(fields=["virtual_machine_guid", "-first_seen_at"], name="task_of_vm"),
            models.Index(fields=["tenant", "-first_seen_at", "guid"], name="task_newest"),
            models.Index(
                fields=["destination_vm_guid"],
                name="task_of_destination",
                condition=~models.Q(destination_vm_guid=""),
            ),
            models.Index(fields=["tenant", "-shown_at", "guid"], name="task_by_time"),
            models.Index(
                "tenant",
                "run_ended",
                models.F("shown_at").desc(),
                TASK_ID,
                name="run_ended_last",
                condition=models.Q(of_operation=False, run_guid=""),
            ),
            models.Index(
                fields=["guid"],
                name="task_run_open",
                condition=models.Q(of_operation=False, run_guid="", run_ended=False),
            ),
            models.Index(fields=["run_guid"], name="task_of_run", condition=~models.Q(run_guid="")),
            models.Index(fields=["run_backup_guid"], name="run_of_backup", condition=~models.Q(run_backup_guid="")),
            models.Index(
                fields=["virtual_machine_guid", "guid"], name="task_live_of_vm", condition=models.Q(live=True)
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.guid}"

    @property
    def known_state(self) -> str:
        """Its state for people and scripts: vPlus's word, or UNKNOWN where it was forgotten before it told its end."""
        return UNKNOWN if self.vanished_at is not None and self.state not in ENDED else self.state


class VplusPolicy(MirrorRow):
    """A backup policy as vPlus has it, ours or not. Its tenant is who it was attached to; members and rules need its detail."""

    name = models.CharField(max_length=1000, help_text="vPlus's: never for a tenant that it is not attached to")
    active = models.BooleanField(null=True, help_text="empty: not told, and then it is")
    priority = models.PositiveSmallIntegerField(null=True)
    auto_remove_non_present = models.BooleanField(null=True)
    auto_assign_mode = models.CharField(max_length=40, blank=True)
    vm_guids = ArrayField(
        models.CharField(max_length=200), null=True, help_text="its whole set of members; empty: not told"
    )
    rules = models.JSONField(
        null=True,
        help_text="[{guid, name, active, marked_for_deletion, schedule_guids, destination_guids}]; empty: not told",
    )
    tenant_label = models.CharField(max_length=200, blank=True, help_text="as written upstream: a label, never proof")
    detail_digest = models.BinaryField(max_length=16, default=b"", help_text="of the detail as read")
    detail_for_digest = models.BinaryField(
        max_length=16, default=b"", help_text="digest of the listed one it was read for"
    )
    detail_read_at = models.DateTimeField(null=True, help_text="when members and rules were last read")
    detail_tried_at = models.DateTimeField(null=True)
    gone_at = models.DateTimeField(null=True, help_text="a complete listing came without it")

    class Meta(MirrorRow.Meta):
        indexes = (models.Index(fields=["tenant", "guid"], name="vplus_policy_of_tenant"),)

    def __str__(self) -> str:
        return f"policy {self.guid}"


class VplusSchedule(MirrorRow):
    """A schedule as vPlus has it, ours or not. Hours and days are UTC; an empty list restricts nothing (vplus-api.md 3.9)."""

    name = models.CharField(max_length=1000, help_text="vPlus's: never for a tenant")
    active = models.BooleanField(null=True, help_text="empty: not told, and then it is")
    type = models.CharField(max_length=40, blank=True, help_text="VM_BACKUP for virtual machines")
    execution_type = models.CharField(max_length=40, blank=True, help_text="TIME or INTERVAL")
    backup_type = models.CharField(max_length=40, blank=True)
    hour_ms = models.PositiveIntegerField(null=True, help_text="TIME: after midnight UTC")
    start_window_ms = models.BigIntegerField(null=True, help_text="TIME: how late an export may start")
    interval_start_ms = models.PositiveIntegerField(null=True)
    interval_end_ms = models.PositiveIntegerField(null=True)
    interval_frequency_ms = models.BigIntegerField(null=True)
    days_of_week = ArrayField(models.CharField(max_length=40), default=list)
    months = ArrayField(models.CharField(max_length=40), default=list)
    occurrences = ArrayField(models.CharField(max_length=40), default=list)
    rule_guids = ArrayField(models.CharField(max_length=200), null=True, help_text="rules it fires; empty: not told")
    policy_guids = ArrayField(models.CharField(max_length=200), null=True)
    tenant_label = models.CharField(max_length=200, blank=True, help_text="as written upstream: a label, never proof")
    last_run_at = models.DateTimeField(null=True)
    gone_at = models.DateTimeField(null=True, help_text="a complete listing came without it")

    class Meta(MirrorRow.Meta):
        indexes = (models.Index(fields=["tenant", "guid"], name="vplus_schedule_of_tenant"),)

    def __str__(self) -> str:
        return f"schedule {self.guid}"


class BackupDestination(models.Model):
    """Where copies are kept. The provider's; a tenant sees only what was allowed to it, under the label given there."""

    guid = models.CharField(max_length=200, primary_key=True)
    name = models.CharField(max_length=300, blank=True)
    type = models.CharField(max_length=40, blank=True)
    is_default = models.BooleanField(default=False)
    total_space = models.BigIntegerField(null=True, help_text="bytes; vPlus calls it available (vplus-api.md 4.27)")
    used_space = models.BigIntegerField(null=True, help_text="bytes")
    gone_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name or self.guid


class Project(models.Model):
    """A platform's project: joins a tenant's OpenStack project uuid to the guid that a virtual machine carries."""

    guid = models.CharField(max_length=200, primary_key=True)
    uuid = models.CharField(max_length=200, blank=True)
    name = models.CharField(max_length=300, blank=True)
    gone_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name or self.guid


class InfrastructureKind(models.TextChoices):
    """What a piece of the platforms is."""

    MANAGER = "manager", "Hypervisor manager"
    HYPERVISOR = "hypervisor", "Hypervisor"
    CLUSTER = "cluster", "Cluster"
    STORAGE = "storage", "Storage"


class InfrastructureItem(models.Model):
    """A manager, hypervisor, cluster or storage, for the provider's choices; ``uuid`` is the platform's id (vplus-api.md 1.4)."""

    kind = models.CharField(max_length=10, choices=InfrastructureKind.choices)
    guid = models.CharField(max_length=200)
    uuid = models.CharField(max_length=200, blank=True)
    name = models.CharField(max_length=300, blank=True)
    platform = models.CharField(max_length=40, blank=True)
    parent_guid = models.CharField(max_length=200, blank=True, help_text="manager it belongs to")
    total_space = models.BigIntegerField(null=True, help_text="bytes")
    used_space = models.BigIntegerField(null=True, help_text="bytes")
    gone_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["kind", "guid"], name="infrastructure_once"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.guid}"


class ReadState(models.Model):
    """How one reading of vPlus goes: when it last worked, since when it does not, and why. No tenant's data in it."""

    name = models.CharField(max_length=30, primary_key=True)
    started_at = models.DateTimeField(null=True)
    succeeded_at = models.DateTimeField(null=True, help_text="the age of figures: what was read then is what is shown")
    duration_seconds = models.FloatField(default=0)
    failing_since = models.DateTimeField(null=True)
    problem = models.CharField(max_length=40, blank=True, help_text="code")
    problem_text = models.CharField(max_length=500, blank=True, help_text="for the provider; no secrets")
    counts = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.name

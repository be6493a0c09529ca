"""The two generations of vPlus's interface behind one set of names (vplus-api.md 0.1).

`VplusClient.dialect` is one of them, chosen by `Endpoint.dialect`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, Unpack

from vplus_bridge.client import current, guide
from vplus_bridge.client.drafts import (
    NewPolicy,
    NewSchedule,
    PolicyMembers,
    RestorePlace,
    RuleDraft,
    RuleMembers,
    ScheduleMembers,
)
from vplus_bridge.client.outcome import WriteRequest
from vplus_bridge.client.records import RawObject

DialectName = Literal["guide", "current"]


class Dialect(Protocol):
    """How requests are spelt. Everything here is pure: a request is made, nothing is sent.

    Both take the same arguments and each uses what it knows: `tenant_label` is the guide's `tenantId`, a mere
    label; `project_uuid` is the OpenStack project on whose behalf the current dialect acts (query and headers).
    All raise Invalid, before anything is asked of vPlus, for what vPlus would misunderstand: names over 255
    characters, seconds for milliseconds, guids that cannot stand in a path.

    An `update_...` takes the JSON that the object has now (`Detail.raw`) and what is to change; None keeps what
    is there. vPlus replaces an object by a PUT, so what is not understood goes back as it came, and what neither
    side tells raises Invalid instead of being wiped out (vplus-api.md 4.26); but for what every object of ours is
    made with in the current dialect, such as `active`, which a poor server does not tell.

    Creating: the answer's object stands in `Outcome.named`; where it is empty, the object was accepted and its
    guid must be looked up by name (`bears_name`). Updating and deleting: any 2xx is accepted.
    """

    TASK_TYPES: frozenset[str]
    """Known types of tasks; a server may have more."""
    SCHEDULE_TYPES: frozenset[str]
    POLICY_LIST_QUERY: tuple[tuple[str, str], ...]
    """What makes a list of policies tell the rules."""
    RULE_IS_EMBEDDED: bool
    """Whether a policy is created with its rule, in one call; else policy first, then rule (vplus-api.md 3.8)."""

    EXPORTS_BY_RULE: bool
    """Whether an export names a rule of the VM's policy, which says where the backup goes; else that place itself."""
    RESTORES_A_COPY: bool
    """Whether a restore names the copy that is read (vplus-api.md 2.4)."""
    PROJECTS_BY_ID: bool
    """Whether a restore names its project by the platform's id; else by its name (vplus-api.md 4.9)."""

    def tenant_query(self, tenant_label: str | None, project_uuid: str | None) -> list[tuple[str, str]]:
        """Parameters that ask a list for one tenant's objects; a server may ignore them (vplus-api.md 4.1)."""

    def export_request(
        self,
        *,
        vm_guid: str,
        destination_guid: str | None,
        backup_type: str,
        priority: int,
        window_start_ms: int,
        window_end_ms: int,
        tenant_label: str | None = None,
        rules: Sequence[RawObject] | None = None,
        project_uuid: str | None = None,
    ) -> WriteRequest:
        """One backup of one VM; the window is ms UTC by vPlus's clock, `priority` 0..100 (vplus-api.md 2.2.3).

        `rules`, which the current dialect needs and the guide's does not use, are rules of the VM's policy
        (`PolicyDetail.rules`, their `raw`), and choose the destination there.
        """

    def restore_and_import_request(
        self,
        *,
        backup_guid: str,
        project_name: str | None = None,
        tenant_label: str | None = None,
        location_guid: str | None = None,
        project_uuid: str | None = None,
        **place: Unpack[RestorePlace],
    ) -> WriteRequest:
        """A new VM from a backup, never over an existing one (vplus-api.md 2.2.4).

        Exactly one of hypervisor and manager. Storage and cluster go by the platform's uuid, not by guid (1.4).
        Without `restored_name` it gets the original one. `location_guid` is the copy to read
        (`BackupRecord.destinations`), used by the current dialect.
        """

    def cancel_running_request(self, task_guid: str) -> WriteRequest:
        """Stop a RUNNING task; asked once (vplus-api.md 3.7)."""

    def cancel_queued_request(self, task_guid: str) -> WriteRequest:
        """Remove a QUEUED task (vplus-api.md 3.7, 4.22)."""

    def create_schedule_request(
        self,
        *,
        tenant_label: str | None = None,
        project_uuid: str | None = None,
        **schedule: Unpack[NewSchedule],
    ) -> WriteRequest:
        """A schedule for VM backups; days, months and occurrences are in UTC, the last two empty for any (2.7, 4.2)."""

    def update_schedule_request(
        self,
        current: RawObject,
        *,
        tenant_label: str | None = None,
        project_uuid: str | None = None,
        **changes: Unpack[ScheduleMembers],
    ) -> WriteRequest:
        """A schedule changed; `rule_guids` and the other lists are the whole new lists."""

    def delete_schedule_request(self, guid: str, *, project_uuid: str | None = None) -> WriteRequest:
        """A schedule gone."""

    def create_policy_request(
        self,
        *,
        rule: RuleDraft | None = None,
        tenant_label: str | None = None,
        project_uuid: str | None = None,
        **policy: Unpack[NewPolicy],
    ) -> WriteRequest:
        """A VM backup policy that takes in no VM by itself (vplus-api.md 2.8, 4.25).

        `rule` is given exactly where RULE_IS_EMBEDDED; anything else raises Invalid.
        """

    def update_policy_request(
        self,
        current: RawObject,
        *,
        tenant_label: str | None = None,
        project_uuid: str | None = None,
        **changes: Unpack[PolicyMembers],
    ) -> WriteRequest:
        """A policy changed; `vm_guids` is the whole new set of VMs, auto-assignment is off whatever it was."""

    def delete_policy_request(self, guid: str, *, project_uuid: str | None = None) -> WriteRequest:
        """A policy gone, with its rules; schedules stay (vplus-api.md 3.8)."""

    def create_rule_request(
        self, rule: RuleDraft, *, policy_guid: str, project_uuid: str | None = None
    ) -> WriteRequest:
        """A rule for a policy that is there."""

    def update_rule_request(
        self,
        current: RawObject,
        *,
        destination_guids: Sequence[str] | None = None,
        project_uuid: str | None = None,
        **changes: Unpack[RuleMembers],
    ) -> WriteRequest:
        """A rule changed; the lists are the whole new lists. An embedded rule may need its `policy_guid` told."""

    def delete_rule_request(self, guid: str, *, project_uuid: str | None = None) -> WriteRequest:
        """A rule gone."""


DIALECTS: Mapping[DialectName, Dialect] = {"guide": guide, "current": current}

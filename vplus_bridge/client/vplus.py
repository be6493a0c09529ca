"""The client: one method for each thing that can be asked of vPlus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from vplus_bridge.client import decoding
from vplus_bridge.client.bodies import references
from vplus_bridge.client.decoding import Shape
from vplus_bridge.client.dialect import DIALECTS, Dialect
from vplus_bridge.client.errors import Forbidden, Invalid, NotFound, VplusError
from vplus_bridge.client.paging import Listing
from vplus_bridge.client.records import (
    BackupRecord,
    CopyRecord,
    DestinationRecord,
    Detail,
    InfrastructureRecord,
    NodeRecord,
    PolicyDetail,
    PolicyRecord,
    ProjectRecord,
    RestoreJobRecord,
    RuleRecord,
    ScheduleRecord,
    SessionInfo,
    TaskRecord,
    VirtualMachineRecord,
)
from vplus_bridge.client.session import Params, Reader, ServerClock, SessionKeeper, note_call
from vplus_bridge.client.transport import (
    Answer,
    Deadline,
    Endpoint,
    ReadDoor,
    TlsPolicy,
    connection_class,
    path_segment,
)
from vplus_bridge.client.wire import WireObject
from vplus_bridge.client.writing import WriteChannel

W = TypeVar("W", bound=WireObject)
T = TypeVar("T")


class VplusClient:
    """Talks to one vPlus with one account. Thread-safe; one per process is meant.

    Making one calls nobody. Reads share pooled connections and one session, and raise VplusError. Filters of
    listings are asked for and never relied upon: a server may ignore them, so the caller filters again
    (vplus-api.md 4.1). `sleep` is what waits between the tries of a read. `dialect` makes the requests that
    `open_write` sends.

    Raises OSError (ssl.SSLError) when `ca_bundle` is missing or holds no certificate.
    """

    def __init__(self, endpoint: Endpoint, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.dialect: Dialect = DIALECTS[endpoint.dialect]
        self._endpoint = endpoint
        self._connection = connection_class(endpoint, TlsPolicy(endpoint))
        self._door = ReadDoor(endpoint, self._connection)
        self._clock = ServerClock()
        self._keeper = SessionKeeper(endpoint, self._door, self._clock)
        self._reader = Reader(endpoint, self._door, self._keeper, self._clock, sleep)

    def __repr__(self) -> str:
        return "<VplusClient>"

    @property
    def clock_offset_ms(self) -> int | None:
        """vPlus's clock minus ours in ms, from the last answers' `Date` (to half a second); None before the first."""
        return self._clock.offset_ms

    # Session

    def sign_in(self) -> SessionInfo:
        """Sign in afresh.

        Raises AuthFailed (at once and without a call for a while after a refusal), Unavailable, TlsFailed,
        BadAnswer and what else a status stands for.
        """
        return self._keeper.fresh().info

    def ensure_session(self) -> None:
        """Sign in when there is no session, or the last one was rejected. Raises as `sign_in`."""
        self._keeper.current()

    def sign_out(self) -> None:
        """End the session, also at the server if it can be reached, and close idle connections. Never raises."""
        signed_in = self._keeper.take()
        if signed_in is not None:
            started = time.monotonic()
            status, problem = None, None
            try:
                deadline = Deadline(self._endpoint.read_total_seconds)
                status = self._door.call(signed_in.http, "POST", "/session/logout", deadline=deadline).status
            except VplusError as error:
                problem = error.user_message  # the server's idle timeout will end the session
            note_call("POST", "/session/logout", status, time.monotonic() - started, problem)
        self._door.close()

    # Listings

    def virtual_machines(self) -> Listing[VirtualMachineRecord]:
        """Every VM vPlus knows, also those that no longer exist (vplus-api.md 2.1)."""
        return self._listing(decoding.VIRTUAL_MACHINE, "/virtual-machines", [("orderBy", "name"), ("direction", "asc")])

    def tasks(
        self,
        *,
        state: str | None = None,
        vm_guid: str | None = None,
        type: str | None = None,
        backup_guid: str | None = None,
    ) -> Listing[TaskRecord]:
        """Tasks, with filters that a server may ignore (vplus-api.md 2.2.1).

        Both spellings of the VM's parameter are sent (vplus-api.md 4.13).
        """
        params: Params = []
        if vm_guid is not None:
            params += [("protectedEntity", vm_guid), ("protected-entity", vm_guid)]
        wanted = (("state", state), ("type", type), ("backup", backup_guid))
        params += [(name, value) for name, value in wanted if value is not None]
        return self._listing(decoding.TASK, "/tasks", params)

    def backups(self, vm_guid: str) -> Listing[BackupRecord]:
        """One VM's backups in every status (vplus-api.md 2.3); check `vm_guid` of each where it is given."""
        return self._listing(decoding.BACKUP, "/backups", [("protected-entity", vm_guid)])

    def copies(self, vm_guid: str) -> Listing[CopyRecord]:
        """The copies that restores of one VM can read, in the current dialect: Forbidden, NotFound (vplus-api.md 2.4).

        A server may give those of other VMs too: `backup_guid` of each tells which backup it is of.
        """
        return self._listing(decoding.COPY, "/backup-locations/for-restore", [("protected-entity", vm_guid)])

    def backup_destinations(self) -> Listing[DestinationRecord]:
        """Every backup destination (vplus-api.md 2.9)."""
        return self._listing(decoding.DESTINATION, "/backup-destinations")

    def projects(self) -> Listing[ProjectRecord]:
        """Projects of the platforms; the account may lack the right: Forbidden, NotFound (vplus-api.md 2.10)."""
        return self._listing(decoding.PROJECT, "/projects")

    def nodes(self) -> Listing[NodeRecord]:
        """Nodes; the account may lack the right: Forbidden, NotFound (vplus-api.md 2.10)."""
        return self._listing(decoding.NODE, "/nodes")

    def hypervisors(self) -> Listing[InfrastructureRecord]:
        """Hypervisors (vplus-api.md 2.10)."""
        return self._listing(decoding.INFRASTRUCTURE, "/hypervisors")

    def hypervisor_managers(self, *, for_backup: str | None = None) -> Listing[InfrastructureRecord]:
        """Hypervisor managers, or those that the backup of guid `for_backup` can go to (vplus-api.md 2.10)."""
        params = [] if for_backup is None else [("backup-to-be-restored", for_backup)]
        return self._listing(decoding.INFRASTRUCTURE, "/hypervisor-managers", params)

    def hypervisor_clusters(self, manager_guid: str | None = None) -> Listing[InfrastructureRecord]:
        """Clusters, of one manager where the server heeds it (vplus-api.md 2.10)."""
        return self._listing(decoding.INFRASTRUCTURE, "/hypervisor-clusters", _of_manager(manager_guid))

    def hypervisor_storages(self, manager_guid: str | None = None) -> Listing[InfrastructureRecord]:
        """Storages, of one manager where the server heeds it (vplus-api.md 2.10)."""
        return self._listing(decoding.INFRASTRUCTURE, "/hypervisor-storages", _of_manager(manager_guid))

    def restore_jobs(
        self, vm_guid: str, *, from_ms: int | None = None, to_ms: int | None = None
    ) -> Listing[RestoreJobRecord]:
        """Restores of one VM's backups, where the server has that call: Forbidden, NotFound (vplus-api.md 2.6).

        `from_ms` and `to_ms` are ms UTC on the time of the restore.
        """
        params: Params = [("protected-entity", vm_guid)]
        params += [(name, str(value)) for name, value in (("from", from_ms), ("to", to_ms)) if value is not None]
        return self._listing(decoding.RESTORE_JOB, "/restore-jobs", params)

    def policies(self, *, tenant_label: str | None = None, project_uuid: str | None = None) -> Listing[PolicyRecord]:
        """VM backup policies in brief; members and rules are in the detail (vplus-api.md 2.8)."""
        params = [*self.dialect.POLICY_LIST_QUERY, *self.dialect.tenant_query(tenant_label, project_uuid)]
        return self._listing(decoding.POLICY, "/policies/vm-backup", params)

    def rules(self, policy_guid: str) -> Listing[RuleRecord]:
        """Rules of VM backup policies; a server that ignores the filter gives everybody's (vplus-api.md 4.12).

        Where `policy_guid` of a record is None nothing tells whose it is: `policy_detail` does.
        """
        return self._listing(decoding.RULE, "/rules/vm-backup", [("policy", policy_guid)])

    def schedules(
        self,
        *,
        type: str | None = None,
        vm_guid: str | None = None,
        tenant_label: str | None = None,
        project_uuid: str | None = None,
    ) -> Listing[ScheduleRecord]:
        """Schedules; `type` such as VM_BACKUP, `vm_guid` for those that touch this VM (vplus-api.md 2.7)."""
        wanted = (("type", type), ("protected-entity", vm_guid))
        params = [(name, value) for name, value in wanted if value is not None]
        return self._listing(
            decoding.SCHEDULE, "/schedules", params + self.dialect.tenant_query(tenant_label, project_uuid)
        )

    def destinations_usable_for(self, vm_guids: Iterable[str]) -> tuple[DestinationRecord, ...]:
        """Backup destinations that every one of these VMs can use, at least one VM (vplus-api.md 2.9).

        A POST that only asks: repeated as a read is. What could not be read is left out. Raises the read errors.
        """
        vms = references(vm_guids)
        if not vms:
            raise Invalid("usable for which virtual machines?")
        answer = self._reader.post("/backup-destinations/usable-for-vms", vms)
        found, _bad = decoding.DESTINATION.page(answer.content)
        return tuple(decoding.DESTINATION.flatten(destination) for destination in found)

    # Single objects

    def virtual_machine(self, guid: str) -> VirtualMachineRecord:
        """One VM. Raises NotFound and the other read errors."""
        return self._one(decoding.VIRTUAL_MACHINE, "/virtual-machines", guid)

    def task(self, guid: str) -> TaskRecord:
        """One task. Raises NotFound, also when vPlus has cleared it away (vplus-api.md 3.1)."""
        return self._one(decoding.TASK, "/tasks", guid)

    def policy(self, guid: str) -> PolicyRecord:
        """One policy with its VMs and rules. Raises NotFound and the other read errors.

        Where exports go by rules, a rule whose destinations its policy does not tell is asked for by itself.
        """
        if not self.dialect.EXPORTS_BY_RULE:
            return self._one(decoding.POLICY, "/policies/vm-backup", guid)
        detail = self.policy_detail(guid)
        if detail.rules is None:
            return detail.record
        rules = tuple(rule.record for rule in self.whole_rules(detail))
        return msgspec.structs.replace(detail.record, rules=rules)

    def restore_job(self, guid: str) -> RestoreJobRecord:
        """One restore job, where the server has that call. Raises NotFound, Forbidden (vplus-api.md 2.6)."""
        return self._one(decoding.RESTORE_JOB, "/restore-jobs", guid)

    # Single objects to be changed

    def policy_detail(self, guid: str) -> PolicyDetail:
        """One policy with its VMs and rules, ready to be changed (vplus-api.md 2.8). Raises NotFound."""
        return decoding.policy_detail(self._object("/policies/vm-backup", guid).content)

    def whole_rules(self, policy: PolicyDetail) -> tuple[Detail[RuleRecord], ...]:
        """The rules of a policy; those whose destinations it does not tell as they are by themselves, if they are told.

        Raises the read errors.
        """
        return tuple(
            rule if rule.record.destination_guids is not None else self._with_what_it_says(rule)
            for rule in policy.rules or ()
        )

    def _with_what_it_says(self, rule: Detail[RuleRecord]) -> Detail[RuleRecord]:
        try:
            alone = self.rule_detail(rule.record.guid)
        except (NotFound, Forbidden):
            return rule
        return decoding.rule_of_both(rule.raw, alone.raw)

    def rule_detail(self, guid: str) -> Detail[RuleRecord]:
        """One rule with all its destinations, ready to be changed. Raises NotFound, also where this call is unknown.

        `policy_detail` gives the rules on every server (vplus-api.md 2.8, 4.12).
        """
        # Without this a destination that is switched off is left out, and a PUT would drop it.
        params = [("only-active-destinations", "false")]
        return decoding.RULE.detail(self._object("/rules/vm-backup", guid, params).content)

    def schedule_detail(self, guid: str) -> Detail[ScheduleRecord]:
        """One schedule, ready to be changed (vplus-api.md 2.7). Raises NotFound."""
        return decoding.SCHEDULE.detail(self._object("/schedules", guid).content)

    # Writes

    def open_write(self) -> WriteChannel:
        """A fresh connection, ready to carry one write with the session's cookies.

        Nothing that changes vPlus has been sent when it returns. Raises the read errors.
        """
        signed_in = self._keeper.current()
        return WriteChannel(
            self._endpoint,
            self._connection,
            signed_in.cookie_header(self._endpoint.url),
            self._clock,
            lambda: self._keeper.reject(signed_in),
        )

    def _listing(self, shape: Shape[W, T], path: str, params: Params | None = None) -> Listing[T]:
        return Listing(
            self._reader,
            shape,
            path,
            params,
            page_size=self._endpoint.page_size,
            page_cap=self._endpoint.page_cap,
            seconds=self._endpoint.listing_total_seconds,
        )

    def _one(self, shape: Shape[W, T], path: str, guid: str) -> T:
        return shape.one(self._object(path, guid).content)

    def _object(self, path: str, guid: str, params: Params | None = None) -> Answer:
        return self._reader.get(f"{path}/{path_segment(guid)}", f"{path}/{{guid}}", params)


def _of_manager(guid: str | None) -> Params:
    return [] if guid is None else [("hypervisor-manager", guid)]

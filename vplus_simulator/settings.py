"""Every switch of the simulator, with its default; all can be set at start and changed while it runs."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Richness = Literal["poorest", "plain", "generous"]
Dialect = Literal["guide", "current"]
TenantFilter = Literal["guide", "current", "ignored"]
TaskResponse = Literal["default", "one", "array", "batch", "empty"]


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The switches. Names ending in `_seconds` are simulated seconds; None means "as the richness says"."""

    dialect: Dialect = "guide"
    """Which generation of the API this server speaks, and demands (vplus-api.md 0.1)."""

    # What the answers contain (vplus-api.md 4.31).
    richness: Richness = "poorest"
    show: list[str] = msgspec.field(default_factory=list)
    """Members emitted although the richness leaves them out, as "task.progress" (record kind, member)."""
    hide: list[str] = msgspec.field(default_factory=list)
    """Members left out although the richness has them."""
    paging: bool | None = None
    """Whether `page` and `size` are honoured and `X-Total-Count` is sent."""
    tenant_filter: TenantFilter | None = None
    """Which spelling of the tenant filter works (vplus-api.md 4.1)."""
    task_response: TaskResponse | None = None
    """The shape of the answer to a POST that creates tasks (vplus-api.md 2.2.2)."""
    projects: Literal["listed", "forbidden", "missing"] | None = None
    """How GET /projects is answered: 200, 403 or 404."""
    restore_jobs: Literal["listed", "forbidden", "missing"] | None = None
    """How GET /restore-jobs is answered: 200, 403 or 404."""
    import_names: Literal["source", "restored"] = "source"
    """Whom `dstProtectedEntity` of a finished IMPORT names: the VM of the backup (vplus-api.md 2.2.2), or the new one."""
    restore_project: Literal["name", "uuid"] = "name"
    """What `restoreProject` must carry (vplus-api.md 4.9)."""
    taken_name: Literal["refused", "allowed"] = "refused"
    """Whether the platform refuses a second VM of one name in one project."""
    state_filter: Literal["honoured", "ignored"] = "honoured"
    """Whether `state` on GET /tasks narrows the list."""
    window_start: Literal["exact", "server_time", "minute"] = "exact"
    """Whether a task shows the posted `windowStart`, the instant at which the server took the POST, or its full minute."""
    put_response: Literal["body", "empty"] = "body"
    """Whether a PUT answers 200 with the record (guide) or 204 (vplus-api.md 1.8)."""
    unauthorized_body: Literal["json", "html"] = "json"
    """What a 401 carries (vplus-api.md 1.3)."""
    cancel: Literal["accepted", "missing"] = "accepted"
    """Whether this server can cancel tasks: "missing" answers 405 to PUT state and to DELETE of a running task."""

    # Policies, rules and schedules (vplus-api.md 2.7, 2.8, 4.7, 4.11).
    duplicate_name: Literal[409, 400, 500] = 409
    """What a policy or a schedule with a name that somebody has is answered."""
    policy_rules: Literal["separate", "required"] | None = None
    """None: as the dialect has it. separate: a policy comes first, its rule by a call of its own (guide), and `rules` of
    a policy's body are not looked at. required: a policy without rules in its body is refused, and a PUT replaces them
    too (current)."""
    second_rule: Literal["accepted", "refused"] = "accepted"
    """Whether a policy can have more than one rule (vplus-api.md 4.6)."""
    put_without_tenant: Literal["keeps", "clears"] = "keeps"
    """What a PUT without a tenant does to the label of a policy or a schedule (vplus-api.md 7.1)."""
    prefix_names: bool | None = None
    """Whether names of labelled objects come back as `uuid_<project>_<name>` (vplus-api.md 1.9); None: in current."""
    created_object: Literal["body", "empty"] = "body"
    """Whether creating a policy, a rule or a schedule answers 201 with the record, or with nothing."""
    schedule_in_use: Literal["removed", "refused"] = "removed"
    """Whether a schedule that a rule uses can be deleted; refused is 409."""

    # Sessions.
    session_idle_seconds: float = 1800
    second_cookie: bool = False
    """Whether login sets two cookies, both needed on later calls (the guide: save cookies)."""

    # How long work takes on the node, and how much it does at once.
    pickup_seconds: float = 1.0
    """From the birth of a task until a node sees it: it stays QUEUED at least so long."""
    export_seconds: tuple[float, float] = (20.0, 35.0)
    snapshot_seconds: float = 2.0
    """From the start of an export to its snapshot."""
    store_gap_seconds: float = 2.0
    """Between the end of an export and the birth of its store task: a moment without a live task (3.2)."""
    store_seconds: tuple[float, float] = (10.0, 20.0)
    auto_retry: int = 0
    """How often a failed export or store is tried again by a copy, where the POST names no `retryCount` (3.2)."""
    retry_gap_seconds: float = 1.0
    """Between a failure and the birth of its copy."""
    restore_seconds: tuple[float, float] = (4.0, 8.0)
    import_gap_seconds: float = 2.0
    """Between the end of a restore and the birth of its import task."""
    import_seconds: tuple[float, float] = (12.0, 24.0)
    restore_threads: int = 4
    import_threads: int = 4
    restore_window_seconds: float = 18_000
    import_window_seconds: float = 18_000
    restore_failure_rate: float = 0.0
    import_failure_rate: float = 0.0
    cancel_seconds: float = 6.0
    """From a cancel of a running task until the node really stops (3.7)."""
    export_threads: int = 6
    export_threads_per_source: int = 0
    """Exports at once from one hypervisor manager; 0 means no such limit."""
    store_threads: int = 6
    export_window_seconds: float = 18_000
    """The window of an export whose POST names no end (2.2.3)."""
    store_window_seconds: float = 18_000
    export_failure_rate: float = 0.0
    store_failure_rate: float = 0.0

    # What happens by itself.
    schedules_fire: bool = True
    """Whether schedules fire; what is due while they do not is missed for good (vplus-api.md 3.9)."""
    inventory_sync_seconds: float = 60.0
    """0 switches the periodic sync off; the control API can always force one."""
    task_retention_seconds: float = 172_800.0
    """How long an ended task stays listed; 0 keeps it for ever."""
    daily_cleanup: bool = True
    """Whether backups beyond their rule's retention are removed once a day, at 03:00 UTC, by a task without a VM."""

    @property
    def pages(self) -> bool:
        """Whether lists are paged when asked to."""
        return self.richness != "poorest" if self.paging is None else self.paging

    @property
    def tenants(self) -> TenantFilter:
        """The tenant filter that works."""
        return self.tenant_filter or (self.dialect if self.richness == "generous" else "ignored")

    @property
    def current(self) -> bool:
        """Whether the current dialect is spoken."""
        return self.dialect == "current"

    @property
    def embeds_rules(self) -> bool:
        """Whether a policy and its rules are written in one call (vplus-api.md 3.8)."""
        return self.current if self.policy_rules is None else self.policy_rules == "required"

    @property
    def prefixes(self) -> bool:
        """Whether names come back with their project before them."""
        return self.current if self.prefix_names is None else self.prefix_names

    @property
    def created_tasks(self) -> TaskResponse:
        """The answer to a POST that creates tasks."""
        return self.task_response or ("empty" if self.richness == "poorest" else "default")

    @property
    def projects_call(self) -> Literal["listed", "forbidden", "missing"]:
        """How GET /projects is answered."""
        return self.projects or ("forbidden" if self.richness == "poorest" else "listed")

    @property
    def restore_jobs_call(self) -> Literal["listed", "forbidden", "missing"]:
        """How GET /restore-jobs is answered."""
        return self.restore_jobs or ("missing" if self.richness == "poorest" else "listed")


def changed(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Return `settings` with `changes` applied; msgspec.ValidationError names an unknown switch or a wrong value."""
    merged: dict[str, Any] = msgspec.to_builtins(settings) | changes
    return msgspec.convert(merged, Settings)


def from_words(words: list[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` words of the command line; a value is JSON where it can be, else a string.

    Raises ValueError for a word without `=`.
    """
    changes: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not NAME=VALUE")
        try:
            changes[name] = msgspec.json.decode(value.encode())
        except msgspec.DecodeError:
            changes[name] = value
    return changes

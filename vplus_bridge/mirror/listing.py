"""The list of virtual machines: what it can be searched, filtered and ordered by. Pages and API ask the same here."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Lower

from tenants.refusals import Invalid
from vplus_bridge import keyset
from vplus_bridge.keyset import Key, Keyset, Page
from vplus_bridge.mirror.models import ProtectionStatus, VirtualMachine

GONE = "gone"
STATUSES = (*ProtectionStatus.values, GONE)
NO_POLICY = "none"
OF_PROVIDER = "provider"
DEFAULT_ORDERING = "attention"
LONGEST_SEARCH = 200

_GUID = Key("guid")
_NAME = Lower("name")
ORDERINGS: Mapping[str, Keyset] = {
    order.name: order
    for order in (
        Keyset("attention", (Key("attention_rank"), Key("newest_point_at", nullable=True), _GUID)),
        Keyset("name", (Key(_NAME), _GUID)),
        Keyset("-name", (Key(_NAME, descending=True), _GUID)),
        Keyset("last_backup_at", (Key("last_backup_at", nullable=True), _GUID)),
        Keyset("-last_backup_at", (Key("last_backup_at", descending=True, nullable=True), _GUID)),
        Keyset("last_backup_size", (Key("last_backup_size", nullable=True), _GUID)),
        Keyset("-last_backup_size", (Key("last_backup_size", descending=True, nullable=True), _GUID)),
    )
}


@dataclass(frozen=True)
class VirtualMachineQuery:
    """What a person looks for; each field left at its default filters nothing.

    ``search`` is part of a name, or a whole guid or uuid. ``status`` is one of STATUSES: a verdict, of machines that
    are not gone, or "gone". ``present`` is vPlus's own word; a machine that listings lost is "gone" all the same.
    ``policy`` is a policy's name in any case, its guid, "none", or "provider": one whose name is not the tenant's.
    ``ordering`` is one of ORDERINGS; "attention" is
    worst first, then oldest restore point.
    """

    search: str = ""
    status: str = ""
    present: bool | None = None
    policy: str = ""
    has_restore_point: bool | None = None
    ordering: str = DEFAULT_ORDERING

    def __post_init__(self) -> None:
        """Raise Invalid naming each field with a value that there is not, and the values that there are."""
        errors: dict[str, list[str]] = {}
        if len(self.search) > LONGEST_SEARCH:
            errors["search"] = [f"This is too long; use at most {LONGEST_SEARCH} characters."]
        if self.status and self.status not in STATUSES:
            errors["status"] = [f"There is no such status. Use one of {', '.join(STATUSES)}."]
        if self.ordering not in ORDERINGS:
            errors["ordering"] = [f"There is no such order. Use one of {', '.join(ORDERINGS)}."]
        for name in ("search", "policy"):
            if "\0" in getattr(self, name):
                errors[name] = ["This holds a character that no name can have (NUL)."]
        if errors:
            raise Invalid(errors)


def filtered(rows: QuerySet[VirtualMachine], query: VirtualMachineQuery) -> QuerySet[VirtualMachine]:
    """Return those of ``rows`` that the query asks for; their order is page_of's."""
    if search := query.search.strip():
        rows = rows.filter(Q(name__icontains=search) | Q(guid=search) | Q(uuid=search))
    if query.status == GONE:
        rows = rows.filter(_gone())
    elif query.status:
        rows = rows.filter(~_gone(), protection_status=query.status)
    if query.present is not None:
        rows = rows.filter(present=query.present)
    if query.policy == NO_POLICY:
        rows = rows.filter(policy_guid="", policy_name="")
    elif query.policy == OF_PROVIDER:
        rows = rows.filter(_in_policy(), policy_label="")
    elif query.policy:
        of_theirs = Q(policy_guid=query.policy) & ~Q(policy_label="")
        rows = rows.filter(of_theirs | Q(policy_label__iexact=query.policy))
    if query.has_restore_point is not None:
        rows = rows.filter(restore_point_count__gt=0) if query.has_restore_point else rows.filter(restore_point_count=0)
    return rows


def page_of(rows: QuerySet[VirtualMachine], ordering: str, cursor: str, size: int) -> Page[VirtualMachine]:
    """Return one page of virtual machines in one of ORDERINGS; raise Invalid naming ``cursor`` where it is broken."""
    return keyset.page_of(rows, ORDERINGS[ordering], cursor, size)


def status_counts(rows: QuerySet[VirtualMachine]) -> dict[str, int]:
    """Return how many there are, in one SQL statement: ``all``, each verdict of those not gone, and ``gone``."""
    here = ~_gone()
    counts: dict[str, int] = rows.aggregate(
        all=Count("guid"),
        **{status: Count("guid", filter=here & Q(protection_status=status)) for status in ProtectionStatus.values},
        gone=Count("guid", filter=_gone()),
    )
    return counts


def _in_policy() -> Q:
    return ~Q(policy_guid="", policy_name="")


def _gone() -> Q:
    """Return the condition that VirtualMachine.gone tells of one row."""
    return Q(present=False) | Q(absent_since__isnull=False)

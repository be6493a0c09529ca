"""Whose a restored virtual machine is, and which restore made it; in the open wide scope.

vPlus does not say it on any server known (vplus-api.md 2.2.2). So, in this order (design.md 6, Whose it is): the guid that
the IMPORT or the restore job names, where it was unknown before the restore was sent; what the project says; the name,
where it carries the code that the portal put into it and one never-seen guid bears exactly that name. Else it is nobody's
and waits for the provider. Whatever could be somebody else's is left alone.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.ownership.assignment import attribute
from vplus_bridge.ownership.models import Assignment, AssignmentSource

log = structlog.get_logger(__name__)
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Letters and digits that nobody mistakes for another when reading a name aloud."""
CODE_LENGTH = 5
INFIX = "-restored-"
LONGEST_NAME = 255


def code_for(tenant_id: UUID, vm_guid: str, number: int) -> str:
    """Return the code of a tenant's restore number so-and-so of one virtual machine.

    It is made with the portal's key, so that a name carries a tenant's code only where the portal proposed it to that
    very tenant; the same question has the same answer, so nothing is kept before somebody presses.
    """
    digest = salted_hmac(
        "vplus_bridge.ownership.restored", f"{tenant_id}:{vm_guid}:{number}", algorithm="sha256"
    ).digest()
    rest, letters = int.from_bytes(digest[:8], "big"), ""
    for _ in range(CODE_LENGTH):
        rest, place = divmod(rest, len(ALPHABET))
        letters += ALPHABET[place]
    return letters


def default_name(vm_name: str, code: str, *, longest: int = LONGEST_NAME) -> str:
    """Return the name that is proposed: the source's, cut as needed, and the code."""
    plain = "".join(sign for sign in vm_name if unicodedata.category(sign)[0] != "C").strip() or "vm"
    tail = f"{INFIX}{code}"
    return f"{plain[: longest - len(tail)].rstrip()}{tail}"


def carries(name: str, code: str) -> bool:
    """Tell whether a name carries a code, set apart from the letters and digits around it."""
    return bool(code) and re.search(rf"(?<![0-9a-zA-Z]){re.escape(code)}(?![0-9a-zA-Z])", name) is not None


@dataclass(frozen=True)
class RestoreMade:
    """A restore that is done and whose new virtual machine is not known yet.

    ``code`` is empty where the name does not carry it. ``named`` are guids that its IMPORT or restore job names as the
    destination. ``rivals`` are the tenants of other restores that asked for the same name, that were sent and whose new
    virtual machine is not known either; a tenant can be its own rival.
    """

    operation: UUID
    tenant_id: UUID
    source_guid: str
    name: str
    code: str
    sent_at: datetime
    manager_guid: str = ""
    named: frozenset[str] = frozenset()
    rivals: frozenset[UUID] = field(default=frozenset())


def recognise(restores: Sequence[RestoreMade], *, taken: Iterable[str]) -> tuple[dict[UUID, str], list[str]]:
    """Give new virtual machines to the tenants that restored them.

    Returns which restore made which, where that is sure, and the guids whose owner changed. ``taken`` are guids that
    restores are known to have made already. What the provider assigned, and what is another tenant's, stays as it is.
    """
    if not restores:
        return {}, []
    one_at_a_time()
    gone_by = set(taken)
    claims = Counter(guid for restore in restores for guid in restore.named)
    made: dict[UUID, str] = {}
    assigned: list[Assignment] = []
    for restore in restores:
        row, sure = _new_machine(restore, gone_by, claims)
        if row is None:
            continue
        if row.tenant_id is None:
            assigned.append(_assignment(row, restore))
        if sure:
            made[restore.operation] = row.guid
            gone_by.add(row.guid)
        log.info("found what a restore made", operation=str(restore.operation), virtual_machine=row.guid, sure=sure)
    if not assigned:
        return made, []
    Assignment.objects.bulk_create(assigned, ignore_conflicts=True)
    return made, attribute()


def alike(restores: Sequence[RestoreMade], vm_guids: Iterable[str]) -> dict[str, list[RestoreMade]]:
    """Return, by guid of a machine that is nobody's, the restores that may have made it: a suggestion, never a decision."""
    found: dict[str, list[RestoreMade]] = {}
    rows = list(VirtualMachine.objects.filter(guid__in=list(vm_guids), tenant=None))
    for row in rows:
        fitting = [r for r in restores if r.name == row.name and row.first_seen_at >= r.sent_at and _place_fits(r, row)]
        if fitting:
            found[row.guid] = fitting
    return found


def _new_machine(restore: RestoreMade, taken: set[str], claims: Counter[str]) -> tuple[VirtualMachine | None, bool]:
    """Return the machine that a restore made, where it may be its tenant's, and whether it is sure which restore it was."""
    fresh = [row for row in _fresh(restore) if row.guid not in taken and row.tenant_id in (None, restore.tenant_id)]
    named = [row for row in fresh if row.guid in restore.named and claims[row.guid] == 1]
    if len(named) == 1:
        return named[0], True
    alike_ones = [row for row in fresh if row.name == restore.name and _place_fits(restore, row)]
    if named or len(alike_ones) != 1:
        return None, False
    [row] = alike_ones
    if row.tenant_id == restore.tenant_id:
        return row, not restore.rivals
    if not restore.code or restore.rivals - {restore.tenant_id}:
        return None, False
    return row, not restore.rivals


def _fresh(restore: RestoreMade) -> list[VirtualMachine]:
    """Return machines of which neither guid nor platform id was known before the restore was sent."""
    new = VirtualMachine.objects.filter(
        Q(guid__in=restore.named) | Q(name=restore.name), first_seen_at__gte=restore.sent_at
    ).exclude(guid=restore.source_guid)
    rows = list(new.order_by("first_seen_at", "guid"))
    known = VirtualMachine.objects.filter(
        uuid__in=[row.uuid for row in rows if row.uuid], first_seen_at__lt=restore.sent_at
    )
    before = set(known.values_list("uuid", flat=True))
    return [row for row in rows if row.uuid not in before]


def _place_fits(restore: RestoreMade, row: VirtualMachine) -> bool:
    return not (restore.manager_guid and row.manager_guid and restore.manager_guid != row.manager_guid)


def _assignment(row: VirtualMachine, restore: RestoreMade) -> Assignment:
    return Assignment(
        virtual_machine_guid=row.guid,
        tenant_id=restore.tenant_id,
        source=AssignmentSource.RESTORED,
        assigned_by=f"restore {restore.operation}",
        assigned_at=timezone.now(),
    )

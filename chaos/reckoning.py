"""The reckoning: what the portal says of its operations, against what the simulated vPlus wrote down itself.

The terms, exactly:

asked            operations that the API accepted (202), or that stand in the portal's table.
settled          of these, the ones that ended: succeeded, failed, cancelled.
needs attention  of these, the ones that the portal handed to a person because it does not know, and says so.
lost             an operation that the API accepted and that is in no table; or that neither ended nor needs attention
                 when everything has come to rest; or that succeeded without what it was asked for: a stored record of its
                 virtual machine made by one of its own tasks, or the virtual machine that a restore makes; or a restore
                 that cannot say which virtual machine it made, for then nobody finds it.
doubled          an operation for which vPlus accepted two exports or two restores, and that does not tell ("ran twice").
misreported      an operation whose end the journal contradicts: failed or cancelled and there all the same; failed in
                 a way that only happens in vPlus although vPlus never had it, or in a way that means vPlus never had it
                 although it had. Also what was made for one tenant and given to another, and a write in the journal that
                 no operation in the portal's table stands for.

A write of the portal and an entry of the journal belong together when their keys are the same. An export's is virtual
machine and stamp (``windowStart``), for the portal gives each attempt a stamp of its own; a restore's is the name that the
new virtual machine gets, which bears a code of the operation's own.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STORED = frozenset({"SUCCESS", "PARTIAL_SUCCESS"})
ENDED = frozenset({"succeeded", "failed", "cancelled"})
NEEDS_ATTENTION = "needs_attention"
EXPORT = "POST /tasks/export"
RESTORE = "POST /tasks/restore-and-import"
RESTORED = "restore"
Key = tuple[str, int | str]
"""What a write of ours can be told by: (virtual machine, stamp in ms), or ("restore", name of the new one)."""
NEVER_SENT = frozenset(
    {
        "not_sent_in_time",
        "refused_by_vplus",
        "destination_not_allowed",
        "vm_not_yours",
        "vm_gone",
        "cannot_be_worded",
        "cancelled_before_sending",
        "target_not_allowed",
        "point_gone",
    }
)
"""Reasons of a failure that say: vPlus never had this."""
DECIDED_BY_A_PERSON = "abandoned"


@dataclass(frozen=True)
class Told:
    """What the portal says of one operation: its end, and by which keys its writes are known.

    ``made`` is the guid of what came of it, where the portal tells: a backup's record, a restore's virtual machine.
    """

    id: str
    virtual_machine: str
    state: str
    error: str = ""
    made: str = ""
    warnings: Collection[str] = ()
    keys: Collection[Key] = ()
    owned: bool = True
    """False: what it made is given to another tenant than the one that asked."""

    @property
    def is_restore(self) -> bool:
        """Whether it makes a virtual machine."""
        return any(what == RESTORED for what, _ in self.keys)

    @property
    def comes_to_more(self) -> bool:
        """Whether something will still be told of it: it has not ended, or what it made is not known yet."""
        unnamed = self.is_restore and self.state == "succeeded" and not self.made
        return unnamed or self.state not in ENDED | {NEEDS_ATTENTION}


@dataclass
class Reckoning:
    """The figures, and one line for each operation that is not as it should be."""

    asked: int = 0
    settled: int = 0
    needs_attention: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    misreported: list[str] = field(default_factory=list)
    ran_twice: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or misreported."""
        return not (self.lost or self.doubled or self.misreported)

    def words(self) -> str:
        """Return the figures, one on each line, and then what is wrong."""
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        lines = [
            f"asked            {self.asked}",
            f"settled          {self.settled}  ({ends})",
            f"lost             {len(self.lost)}",
            f"doubled          {len(self.doubled)}  (and {self.ran_twice} that ran twice and say so)",
            f"misreported      {len(self.misreported)}",
            f"needs attention  {self.needs_attention}",
        ]
        wrong = (("lost", self.lost), ("doubled", self.doubled), ("misreported", self.misreported))
        return "\n".join([*lines, *(f"{what}: {line}" for what, found in wrong for line in found)])


def reckon(
    accepted: Iterable[str],
    told: Sequence[Told],
    *,
    journal: Sequence[Mapping[str, Any]],
    backups: Iterable[Mapping[str, Any]],
    machines: Iterable[Mapping[str, Any]] = (),
) -> Reckoning:
    """Compare what the portal tells of its operations with the simulator's journal, backup records and virtual machines.

    ``accepted`` are ids of operations for which the API answered 202. Meant for the moment when everything is at rest.
    """
    result = Reckoning()
    by_id = {one.id: one for one in told}
    stored = {one["guid"]: one["vm"] for one in backups if one["status"] in STORED}
    born: dict[Key, set[str]] = {}
    for machine in machines:
        born.setdefault((RESTORED, machine["name"]), set()).add(machine["guid"])
    entries = _by_key(journal)
    claimed: set[Key] = set()
    result.asked = len(set(accepted) | by_id.keys())
    result.lost += [f"{id_}: accepted, and in no table" for id_ in sorted(set(accepted) - by_id.keys())]
    for one in told:
        claimed |= set(one.keys)
        mine = [entry for key in one.keys for entry in entries.get(key, [])]
        # A restore's entry names the backup that it reads, which it did not make.
        exports = [entry for entry in mine if entry["call"] == EXPORT]
        made = {guid for entry in exports for guid in entry["backups"] if stored.get(guid) == one.virtual_machine}
        made |= {guid for key in one.keys for guid in born.get(key, ())}
        result.ends[one.state] += 1
        result.settled += one.state in ENDED
        result.needs_attention += one.state == NEEDS_ATTENTION
        _judge(one, mine, made, result)
    strangers = [key for key in entries if key not in claimed]
    result.misreported += [f"{what} {which}: in the journal, and of no operation" for what, which in strangers]
    return result


def _judge(one: Told, mine: Sequence[Mapping[str, Any]], made: Collection[str], result: Reckoning) -> None:
    name = f"{one.id} of {one.virtual_machine} ({one.state} {one.error})".replace(" )", ")")
    twice = "ran_twice" in one.warnings
    result.ran_twice += twice
    if len(mine) > 1 and not twice:
        result.doubled.append(f"{name}: vPlus accepted it {len(mine)} times")
    if not one.owned:
        result.misreported.append(f"{name}: {one.made} is another tenant's")
    if one.state not in ENDED | {NEEDS_ATTENTION}:
        result.lost.append(f"{name}: has not come to an end")
    elif one.state == "succeeded":
        if (one.made and one.made not in made) or not made:
            result.lost.append(f"{name}: nothing of it is there (told: {one.made or 'nothing named'})")
        elif one.comes_to_more:
            result.lost.append(f"{name}: there as {', '.join(sorted(made))}, and nobody is told")
    elif one.state in {"failed", "cancelled"} and one.error != DECIDED_BY_A_PERSON:
        if made:
            result.misreported.append(f"{name}: there as {', '.join(sorted(made))}")
        elif one.error in NEVER_SENT and mine:
            result.misreported.append(f"{name}: vPlus had it")
        elif one.state == "failed" and one.error not in NEVER_SENT and not mine:
            result.misreported.append(f"{name}: vPlus never had it")


def _by_key(journal: Iterable[Mapping[str, Any]]) -> dict[Key, list[Mapping[str, Any]]]:
    entries: dict[Key, list[Mapping[str, Any]]] = {}
    for entry in journal:
        asked = entry["asked"]
        if entry["call"] == EXPORT:
            for machine in asked["protectedEntities"]:
                entries.setdefault((machine["guid"], asked.get("windowStart", 0)), []).append(entry)
        elif entry["call"] == RESTORE:
            entries.setdefault((RESTORED, asked.get("restoredPeName") or ""), []).append(entry)
    return entries

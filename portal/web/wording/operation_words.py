"""What an operation is called, and what it does at this moment, by its kind: one place for pages and live updates."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind, State

STAGES: Mapping[str, Mapping[str, tuple[Promise, Promise]]] = {
    Kind.BACKUP: {
        "export": (lazy("Exporting"), lazy("Exporting, 1 of 2")),
        "store": (lazy("Storing"), lazy("Storing, 2 of 2")),
    },
    Kind.RESTORE: {
        "restore": (lazy("Reading the copy"), lazy("Reading the copy, 1 of 2")),
        "import": (lazy("Creating the VM"), lazy("Creating the VM, 2 of 2")),
    },
}
"""By kind and stage: the word of a badge, and the same with the stage counted. The first stage is where it begins."""


def type_words() -> Mapping[str, str]:
    """Return vPlus's backup types as words; an unknown one is shown as it came."""
    return {
        "FULL": _("Full"),
        "INCREMENTAL": _("Incremental"),
        "SYNCHRONIZATION": _("Synchronization"),
        "SYNTHETIC": _("Synthetic"),
        "": _("Type not given"),
    }


def type_word(name: str) -> str:
    """Return one backup type as a word."""
    return type_words().get(name, name)


def title(operation: Operation) -> str:
    """Return what it is, with its object: "Backup of web-01"."""
    name = operation.virtual_machine_name or operation.plan.get("name", "")
    words = {
        Kind.BACKUP: _("Backup of %(name)s"),
        Kind.RESTORE: _("Restore of %(name)s"),
        Kind.CANCEL_TASK: _("Cancel of a task of %(name)s"),
        Kind.POLICY: _("Change of policy %(name)s"),
    }
    return words[Kind(operation.kind)] % {"name": name}


def what(operation: Operation) -> str:
    """Return what was asked for, beside the name of its machine: "Backup, full"; of a policy with its own name."""
    if operation.kind == Kind.POLICY:
        return title(operation)
    if operation.kind == Kind.BACKUP:
        return _("Backup, %(type)s") % {"type": type_word(operation.plan.get("backup_type", "")).lower()}
    words = {Kind.RESTORE: _("Restore"), Kind.CANCEL_TASK: _("Cancel of a task")}
    return words[Kind(operation.kind)]


def note(operation: Operation) -> str:
    """Return the small word beside a running bar: a backup's type, a restore's new name."""
    return (
        type_word(operation.plan.get("backup_type", "")) if operation.kind == Kind.BACKUP else operation.restored_name
    )


def stage(operation: Operation) -> str:
    """Return what it does at this moment, with the stage counted: "Storing, 2 of 2"."""
    if operation.state == State.REQUESTED:
        return _("Waiting to be sent")
    if operation.kind == Kind.CANCEL_TASK:
        return _("Cancel asked")
    if operation.kind == Kind.POLICY:
        return _("Being saved")
    if operation.state == State.SUBMITTED:
        return _("Queued")
    return str(_stage(operation)[1])


def doing(operation: Operation) -> str:
    """Return the word of its badge while it runs."""
    return str(_stage(operation)[0]) if operation.kind in STAGES else _("Running")


def _stage(operation: Operation) -> tuple[Promise, Promise]:
    stages = STAGES[operation.kind]
    return stages.get(operation.stage) or next(iter(stages.values()))

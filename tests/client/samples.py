"""A good record of each kind, as JSON has it, and how records can be odd."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

REFERENCE = {"guid": "r-1", "name": "ref"}
SAMPLES: dict[str, dict[str, Any]] = {
    "virtual machines": {
        "guid": "vm-1",
        "uuid": "u-1",
        "name": "web-01",
        "present": True,
        "project": REFERENCE,
        "hypervisor": REFERENCE,
        "hvManager": REFERENCE,
        "hvCluster": REFERENCE,
        "hvmType": {"name": "OPENSTACK", "description": "OpenStack"},
        "vmBackupPolicy": REFERENCE,
        "backupUpToDate": False,
        "restorable": True,
        "lastBackup": 1795600800000,
        "lastSuccessfulBackupSize": 10,
        "lastSuccessfulFullBackupSize": 20,
        "tags": ["a", {"name": "b"}],
    },
    "tasks": {
        "guid": "t-1",
        "type": {"name": "EXPORT", "description": "Export"},
        "state": {"name": "RUNNING", "description": "Running"},
        "progress": 66.5,
        "protectedEntity": {"guid": "vm-1", "name": "web-01", "type": {"name": "VM"}},
        "dstProtectedEntity": {"guid": "vm-2", "name": "web-02", "uuid": "u-2"},
        "backup": REFERENCE,
        "parentTask": REFERENCE,
        "backupType": {"name": "FULL"},
        "windowStart": 1795600800000,
        "priority": 50,
        "statusInfo": "text",
        "originEntity": {"type": {"name": "USER"}},
        "backupDestination": REFERENCE,
        "retryCount": 0,
    },
    "backups": {
        "guid": "b-1",
        "status": {"name": "SUCCESS"},
        "type": {"name": "FULL"},
        "snapshotTime": 1795600800000,
        "size": 5,
        "taskTimeStats": {"exportTime": 7},
        "protectedEntity": REFERENCE,
        "backupLocations": [{"guid": "l-1", "backupDestination": REFERENCE, "status": {"name": "PRESENT"}}],
        "warnings": ["careful"],
        "warningsPresent": True,
    },
    "infrastructure": {"guid": "h-1", "uuid": "u", "name": "n", "type": {"name": "KVM"}, "clusters": [REFERENCE]},
    "backup destinations": {"guid": "d-1", "name": "n", "type": {"name": "S3"}, "totalAvailableSpace": 9},
    "policies": {
        "guid": "p-1",
        "name": "gold",
        "priority": 50,
        "vms": [REFERENCE],
        "rules": [{"guid": "ru-1", "schedules": [REFERENCE], "backupDestinations": ["d-1"]}],
        "autoRemoveNonPresent": False,
        "autoAssignSettings": {"mode": {"name": "DISABLED"}, "includeTags": []},
        "vmCount": 1,
        "tenantId": "label",
    },
    "rules": {
        "guid": "ru-1",
        "name": "Default",
        "active": True,
        "policy": REFERENCE,
        "schedules": [REFERENCE],
        "ruleBackupDestinations": [{"backupDestination": REFERENCE, "roleType": {"name": "PRIMARY"}}],
    },
    "schedules": {
        "guid": "s-1",
        "name": "nightly",
        "active": True,
        "type": {"name": "VM_BACKUP"},
        "executionType": {"name": "TIME", "description": "Time"},
        "backupType": {"name": "FULL"},
        "hour": 3600000,
        "startWindowLength": 21600000,
        "interval": {"startHour": 0, "endHour": 79140000, "frequency": 7200000},
        "daysOfWeek": [{"name": "MONDAY", "shortName": "Mon"}, "THURSDAY"],
        "months": [],
        "dayOfWeekOccurrences": [{"name": "LAST_IN_MONTH"}],
        "rules": [REFERENCE],
        "policies": [REFERENCE],
        "lastRun": 1795600800000,
        "tenantId": "label",
    },
    "restore jobs": {
        "guid": "rj-1",
        "status": {"name": "SUCCESS"},
        "statusInfo": "text",
        "restoreType": {"name": "RESTORE_AND_IMPORT"},
        "restoreTime": 1795600800000,
        "backup": {"guid": "b-1", "snapshotTime": 1795600700000, "size": 5},
        "protectedEntity": REFERENCE,
        "dstProtectedEntity": {"guid": "vm-2", "name": "web-02", "uuid": "u-2", "type": {"name": "VM"}},
        "restoredPeName": "web-02",
        "taskTimeStats": {"restoreTime": 3, "importTime": 4},
    },
    "projects": {"guid": "pr-1", "uuid": "u", "name": "n"},
}

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=8) | st.just("a\0b")
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("guid"), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def odd(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A record of this kind of which some members hold anything, and some are missing."""
    sample = SAMPLES[kind]
    record = sample | draw(st.dictionaries(st.sampled_from(sorted(sample)), JSON, min_size=1, max_size=3))
    for member in draw(st.sets(st.sampled_from(sorted(sample)), max_size=2)):
        record.pop(member, None)
    return record

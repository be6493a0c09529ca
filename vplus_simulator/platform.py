"""What the virtualization platform says to a new VM: where it can go, by which name, and whether it fits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .entities import Manager, PlatformVm, RestoreJob, Storage
from .settings import Settings
from .world import World

LONGEST_NAME = {"OPENSTACK": 255, "VCENTER": 80}
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%\u200b-\u200f\u202a-\u202e\u2066-\u2069]')
"""Control and bidi characters, and those that neither platform takes in a VM's name."""


class Refused(Exception):
    """The platform says no, in its own words."""


@dataclass(frozen=True)
class Place:
    """Where a new VM goes; the project is None where the platform has none."""

    manager: Manager
    project: str | None
    cluster: str | None
    hypervisor: str | None
    storage: Storage


def find_place(world: World, job: RestoreJob, settings: Settings) -> Place:
    """Return where the VM of a restore job goes; raises Refused for ids that the platform does not know.

    `restoreStorageId` and `restoreClusterId` are uuids: a guid is not found (vplus-api.md 1.4).
    """
    manager = world.managers.get(job.manager)
    if manager is None:
        raise Refused("Hypervisor manager does not exist")
    source = world.managers[world.vms[job.vm].manager]
    if source.type != manager.type:
        raise Refused(f"A backup of {source.type} cannot be imported to {manager.type} ({manager.url})")
    cluster = next((c for c in world.clusters.values() if c.manager == manager.guid), None)
    host = world.hypervisors.get(job.hypervisor or "")
    if host is not None:
        cluster = world.clusters.get(host.cluster)
    if job.cluster_id:
        cluster = next(
            (c for c in world.clusters.values() if c.uuid == job.cluster_id and c.manager == manager.guid), None
        )
        if cluster is None:
            raise Refused(f"Cluster {job.cluster_id} was not found on {manager.url}")
    if host is None and cluster is not None:
        host = next((h for h in world.hypervisors.values() if h.cluster == cluster.guid), None)
    return Place(
        manager=manager,
        project=_project(world, job, manager, settings),
        cluster=None if cluster is None else cluster.guid,
        hypervisor=None if host is None else host.guid,
        storage=_storage(world, job, manager, None if cluster is None else cluster.guid),
    )


def _project(world: World, job: RestoreJob, manager: Manager, settings: Settings) -> str | None:
    if manager.type != "OPENSTACK":
        return None
    if not job.project:
        backup = world.backups.get(job.backup)
        return None if backup is None else backup.project
    by_uuid = settings.restore_project == "uuid"
    found = next((p for p in world.projects.values() if job.project == (p.uuid if by_uuid else p.name)), None)
    if found is None:
        raise Refused(f"Project {job.project} was not found on {manager.url}")
    return found.guid


def _storage(world: World, job: RestoreJob, manager: Manager, cluster: str | None) -> Storage:
    """Return the storage asked for, else the one with the most room that the cluster reaches."""
    reachable = [
        s for s in world.storages.values() if s.manager == manager.guid and (cluster is None or cluster in s.clusters)
    ]
    if job.storage_id:
        reachable = [storage for storage in reachable if storage.uuid == job.storage_id]
    if not reachable:
        raise Refused(f"Storage {job.storage_id or ''} was not found on {manager.url}")
    return max(reachable, key=lambda storage: storage.free)


def refuse_name(world: World, job: RestoreJob, place: Place, *, taken: Literal["refused", "allowed"]) -> None:
    """Raise Refused for a name that is too long, holds what a name must not, or is taken in this place."""
    longest = LONGEST_NAME.get(place.manager.type, 255)
    if len(job.name) > longest:
        raise Refused(f"Invalid VM name: longer than {longest} characters")
    if FORBIDDEN.search(job.name) or job.name != job.name.strip():
        raise Refused(f"Invalid VM name: {job.name!r} contains characters that are not allowed")
    if taken == "refused" and not job.overwrite and same_name(world, job, place):
        raise Refused(f"Virtual machine with name {job.name} already exists")


def refuse_room(world: World, job: RestoreJob, place: Place) -> None:
    """Raise Refused where the VM does not fit, whatever the statistics of the last sync said."""
    size = world.vms[job.vm].size
    if size > place.storage.free:
        raise Refused(
            f"Not enough space on storage {place.storage.name}: {size} bytes needed, {place.storage.free} free"
        )


def same_name(world: World, job: RestoreJob, place: Place) -> list[PlatformVm]:
    """Return the VMs that bear the new VM's name in its place (manager and project)."""
    return [
        vm
        for vm in world.platform.values()
        if (vm.name, vm.manager, vm.project) == (job.name, place.manager.guid, place.project)
    ]

"""What every seeded world stands on: hypervisor managers, clusters, hosts, storages, backup destinations."""

from __future__ import annotations

from ..entities import Cluster, Destination, Hypervisor, Manager, PlatformVm, Storage, VirtualMachine
from ..world import World

GIB = 2**30
TIB = 2**40


def add_manager(world: World, guid: str, kind: str, name: str, url: str, *, clusters: list[str], hosts: int) -> Manager:
    """Add a hypervisor manager with clusters, `hosts` hosts in each, and two storages reachable from all clusters."""
    manager = Manager(guid, name, url, kind)
    world.managers[guid] = manager
    host_type = "KVM" if kind == "OPENSTACK" else "ESXI"
    cluster_guids = []
    for cluster_name in clusters:
        cluster = Cluster(
            f"cluster-{guid}-{cluster_name}", world.guid_of("cluster", guid + cluster_name), cluster_name, guid
        )
        world.clusters[cluster.guid] = cluster
        cluster_guids.append(cluster.guid)
        for number in range(1, hosts + 1):
            host = Hypervisor(
                f"hv-{guid}-{cluster_name}-{number}",
                f"{cluster_name}-{number:02d}.hv.internal",
                host_type,
                guid,
                cluster.guid,
            )
            world.hypervisors[host.guid] = host
    for storage_name, total in (("fast-ssd", 60 * TIB), ("bulk", 240 * TIB)):
        storage = Storage(
            f"storage-{guid}-{storage_name}",
            world.guid_of("storage", guid + storage_name),
            storage_name,
            guid,
            cluster_guids,
            total,
            int(total * 0.62),
        )
        world.storages[storage.guid] = storage
    return manager


def add_destination(world: World, destination: Destination) -> Destination:
    """Add a backup destination."""
    world.destinations[destination.guid] = destination
    return destination


class Placement:
    """Spreads VMs over the hosts of a manager, one after the other."""

    def __init__(self, world: World, manager: str) -> None:
        self.manager = manager
        self._hosts = [host for host in world.hypervisors.values() if host.manager == manager]
        self._next = 0

    def host(self) -> Hypervisor:
        """Return the next host."""
        host = self._hosts[self._next % len(self._hosts)]
        self._next += 1
        return host


def add_vm(
    world: World,
    placement: Placement,
    *,
    guid: str,
    uuid: str,
    name: str,
    project: str | None,
    policy: str | None = None,
    size: int = 40 * GIB,
    incremental: bool = True,
    present: bool = True,
) -> VirtualMachine:
    """Add a VM to the inventory and, where it is present, to the platform."""
    host = placement.host()
    if present:
        world.platform[uuid] = PlatformVm(
            uuid=uuid,
            name=name,
            manager=placement.manager,
            project=project,
            cluster=host.cluster,
            hypervisor=host.guid,
            size=size,
            incremental=incremental,
        )
    return world.add_vm(
        VirtualMachine(
            guid=guid,
            uuid=uuid,
            name=name,
            manager=placement.manager,
            present=present,
            project=project,
            cluster=host.cluster,
            hypervisor=host.guid,
            policy=policy,
            size=size,
            incremental=incremental,
        )
    )

"""Small listings: projects, destinations, and the platforms' places. What the account may not read is a named gap."""

from collections.abc import Callable

from vplus_bridge.client import InfrastructureRecord, VplusClient
from vplus_bridge.client.paging import Listing
from vplus_bridge.mirror.instants import clean, whole
from vplus_bridge.mirror.models import BackupDestination, InfrastructureItem, InfrastructureKind, Project
from vplus_bridge.mirror.small_listing import read_listing

PROJECTS, DESTINATIONS = "projects", "destinations"
LISTINGS = (PROJECTS, DESTINATIONS, *(f"{kind}s" for kind in InfrastructureKind.values))


def read_infrastructure(client: VplusClient) -> None:
    """Read every small listing; one that cannot be read leaves the others alone. Raises VplusError when contact is lost."""
    read_listing(
        PROJECTS,
        client.projects,
        Project,
        {},
        lambda r: {"uuid": clean(r.uuid, 200), "name": clean(r.name, 300)},
        steady=["uuid"],  # without it all machines of the project would be nobody's until the next reading
    )
    read_listing(
        DESTINATIONS,
        client.backup_destinations,
        BackupDestination,
        {},
        lambda r: {
            "name": clean(r.name, 300),
            "type": clean(r.type, 40),
            "is_default": bool(r.default),
            "total_space": whole(r.total_space),
            "used_space": whole(r.used_space),
        },
    )
    calls: dict[str, Callable[[], Listing[InfrastructureRecord]]] = {
        InfrastructureKind.MANAGER: client.hypervisor_managers,
        InfrastructureKind.HYPERVISOR: client.hypervisors,
        InfrastructureKind.CLUSTER: client.hypervisor_clusters,
        InfrastructureKind.STORAGE: client.hypervisor_storages,
    }
    for kind, call in calls.items():
        read_listing(
            f"{kind}s",
            call,
            InfrastructureItem,
            {"kind": kind},
            lambda r: {
                "uuid": clean(r.uuid, 200),
                "name": clean(r.name, 300),
                "platform": clean(r.type, 40),
                "parent_guid": clean(r.parent_guid, 200),
                "total_space": whole(r.total_space),
                "used_space": whole(r.used_space),
            },
        )

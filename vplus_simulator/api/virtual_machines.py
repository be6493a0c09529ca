"""Virtual machines, and which policy one has (vplus-api.md 2.1)."""

from __future__ import annotations

from collections.abc import Iterable

from ..entities import VirtualMachine
from ..listing import answer_list, has_text, matches_text, vms_in_order
from ..messages import Answer, bad_request, empty_answer, json_answer, not_found, reference_guid
from .call import Call, Route
from .tenant_filter import wanted_project


def listing(call: Call) -> Answer:
    """List the inventory, VMs that are gone included."""
    return answer_list(call.request, call.painter, "vm", _filtered(call))


def _filtered(call: Call) -> list[VirtualMachine]:
    request, world = call.request, call.world
    uuid = request.one("uuid")
    if uuid is not None:
        guid = world.vm_by_uuid.get(uuid)
        found: Iterable[VirtualMachine] = [world.vms[guid]] if guid is not None else []
    else:
        found = vms_in_order(request, call.painter)
    project = wanted_project(call, "tenantid")
    if project is not None:
        found = [vm for vm in found if vm.project in project]
    kind = request.one("hypervisor-manager-type")
    if kind is not None:
        found = [vm for vm in found if world.managers[vm.manager].type == kind]
    if has_text(request):
        found = [vm for vm in found if matches_text(request, vm.name)]
    return list(found)


def one(call: Call) -> Answer:
    """Return one VM in detail."""
    guid = call.request.parts["guid"]
    vm = call.world.vms.get(guid)
    if vm is None:
        raise not_found("Virtual machine", guid)
    return json_answer(call.painter.record("vm", vm, detail=True))


def settings(call: Call) -> Answer:
    """Take a VM's settings, of which only its policy counts here; one that is not named is taken away (2.1)."""
    guid = call.request.parts["guid"]
    vm = call.world.vms.get(guid)
    if vm is None:
        raise not_found("Virtual machine", guid)
    policy = reference_guid(call.request.json_object().get("vmBackupPolicy"), "vmBackupPolicy")
    if policy is not None and policy not in call.world.policies:
        raise bad_request(f"vmBackupPolicy: VM backup policy with guid {policy} does not exist")
    call.world.assign_policy(vm, policy)
    if call.settings.put_response == "empty":
        return empty_answer()
    return json_answer(call.painter.record("vm", vm, detail=True))


ROUTES = (
    Route(
        "GET",
        "/virtual-machines",
        listing,
        "list; `tenantid`, `project-uuid`, `uuid`, `hypervisor-manager-type`, `filter`, `nameLike`, paging",
    ),
    Route("GET", "/virtual-machines/{guid}", one, "one"),
    Route("PUT", "/virtual-machines/{guid}/settings", settings, "sets or clears its policy", changes=True),
)

"""Policies: which virtual machines are backed up where and when. A write is an operation that carries it out."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.drift_shapes import SettleForm, drift_shape
from portal.api.fields import OneOf, problems
from portal.api.operation_shapes import OperationShape, operation_shapes
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.policy_shapes import (
    PolicyChangeForm,
    PolicyForm,
    PolicyInList,
    PolicyWhole,
    draft_of_form,
    policy_shape,
    whole_policy,
)
from portal.api.views import ApiView, checked, now
from tenants.rights import Actor, Right
from vplus_bridge import keyset
from vplus_bridge.mirror.policies import POLICIES
from vplus_bridge.mirror.read_state import read_at
from vplus_bridge.operations.models import Operation
from vplus_bridge.ownership import visible as owned
from vplus_bridge.protection import listing, visible
from vplus_bridge.protection.accept import accept_drift
from vplus_bridge.protection.drafts import PolicyDraft
from vplus_bridge.protection.models import Policy
from vplus_bridge.protection.request_policy import (
    request_policy_change,
    request_policy_create,
    request_policy_delete,
    request_put_back,
)

TAGS = ["policies"]


class PolicyParameters(PageParameters):
    """Which policies."""

    search = serializers.CharField(default="", allow_blank=True, max_length=200, help_text="Part of a name")
    state = OneOf([one.value for one in listing.Standing], default="", allow_blank=True)


class VersionParameter(serializers.Serializer[Any]):
    """Which version was read, where that matters to who deletes."""

    version = serializers.IntegerField(
        required=False,
        help_text="The one that was read; if it is not the newest, 409 tells what changed. Left out: whichever it is",
    )


class PolicyList(ApiView):
    """The policies that one sees."""

    @extend_schema(
        operation_id="policies",
        tags=TAGS,
        parameters=[PolicyParameters],
        responses={200: page_of(PolicyInList, "Policy"), **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """List policies by name, also those that the provider keeps and one can only read."""
        wanted, moment = checked(PolicyParameters, request.query_params), now()
        changing = listing.being_changed()
        everything = visible.policies(self.actor)
        rows = listing.filtered(everything, state=wanted["state"], search=wanted["search"], changing=changing)
        counted = listing.counted(self.actor, rows).prefetch_related("schedules")
        page = keyset.page_of(counted, listing.BY_NAME, wanted["cursor"], wanted["page_size"])
        promises, places = listing.promises(page.rows), _places(self.actor)
        shapes = [
            policy_shape(
                row,
                listing.standing(row, changing),
                promises=promises[row.pk],
                machines=row.machines,  # type: ignore[attr-defined]  # annotated by counted()
                places=places,
                moment=moment,
            )
            for row in page.rows
        ]
        return page_answer(request, page, shapes, PolicyInList, read_at(POLICIES)[POLICIES])

    @extend_schema(
        operation_id="make_policy",
        tags=TAGS,
        request=PolicyForm,
        responses={202: OperationShape, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Ask for a policy; the operation's subject is its id. The same again, while it is under way, is that operation."""
        self.actor.require(Right.POLICIES)
        draft = _draft(checked(PolicyForm, request.data))
        return asked(self.actor, request_policy_create(self.actor, draft, now=now()))


class PolicyDetail(ApiView):
    """One policy."""

    @extend_schema(operation_id="policy", tags=TAGS, responses={200: PolicyWhole, **problems(401, 403, 404)})
    def get(self, request: Request, policy_id: UUID) -> Response:
        """Tell one policy with its virtual machines."""
        del request
        row, moment = visible.policy(self.actor, policy_id), now()
        guids = row.members.order_by("pk").values_list("virtual_machine_guid", flat=True)
        seen = set(owned.virtual_machines(self.actor).filter(guid__in=list(guids)).values_list("guid", flat=True))
        machines = [guid for guid in guids if guid in seen]
        standing = listing.standing(row, listing.being_changed())
        promises = listing.promises([row])[row.pk]
        places = _places(self.actor)
        shape = policy_shape(row, standing, promises=promises, machines=len(machines), places=places, moment=moment)
        running = visible.active_operation(row.pk)
        drift = drift_shape(self.actor, row, places) if standing == listing.Standing.DIFFERS else None
        return Response(PolicyWhole(whole_policy(shape, machines, running, drift, self.actor)).data)

    @extend_schema(
        operation_id="change_policy",
        tags=TAGS,
        request=PolicyChangeForm,
        responses={202: OperationShape, **problems(400, 401, 403, 404, 409)},
    )
    def put(self, request: Request, policy_id: UUID) -> Response:
        """Ask for a policy to become what is sent, which is the whole of it.

        A schedule without an id is new; one of the policy's that is left out is deleted.
        """
        changeable(self.actor, policy_id)
        given = checked(PolicyChangeForm, request.data)
        version = given.pop("version")
        operation = request_policy_change(self.actor, policy_id, _draft(given), version=version, now=now())
        return asked(self.actor, operation)

    @extend_schema(
        operation_id="delete_policy",
        tags=TAGS,
        parameters=[VersionParameter],
        responses={202: OperationShape, **problems(400, 401, 403, 404, 409)},
    )
    def delete(self, request: Request, policy_id: UUID) -> Response:
        """Ask for a policy to be deleted with its schedules. Restore points stay."""
        policy = changeable(self.actor, policy_id)
        version = checked(VersionParameter, request.query_params).get("version", policy.version)
        return asked(self.actor, request_policy_delete(self.actor, policy_id, version=version, now=now()))


class AcceptDrift(ApiView):
    """What somebody changed in vPlus, taken over."""

    @extend_schema(
        operation_id="accept_drift",
        tags=TAGS,
        request=SettleForm,
        responses={202: OperationShape, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, policy_id: UUID) -> Response:
        """Let a policy be what vPlus holds. Nothing is written there, so the operation has ended.

        What cannot be said here is refused by 409, which names it; then it can be put back.
        """
        policy = changeable(self.actor, policy_id)
        digest = checked(SettleForm, request.data)["digest"]
        return asked(self.actor, accept_drift(self.actor, policy.pk, version=policy.version, now=now(), shown=digest))


class PutBack(ApiView):
    """What somebody changed in vPlus, undone."""

    @extend_schema(
        operation_id="put_back",
        tags=TAGS,
        request=SettleForm,
        responses={202: OperationShape, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, policy_id: UUID) -> Response:
        """Ask for vPlus to hold again what stands here. Asked again while it is under way, it is that operation."""
        policy = changeable(self.actor, policy_id)
        digest = checked(SettleForm, request.data)["digest"]
        operation = request_put_back(self.actor, policy.pk, version=policy.version, now=now(), shown=digest)
        return asked(self.actor, operation)


def _places(actor: Actor) -> set[str]:
    return set(owned.destinations(actor).values_list("destination_guid", flat=True))


def changeable(actor: Actor, policy_id: UUID) -> Policy:
    """Return a policy that is there, for who may change policies: asked before the body is looked at."""
    policy = visible.policy(actor, policy_id)  # first: of what is not one's own nobody learns that others may change it
    actor.require(Right.POLICIES)
    return policy


def asked(actor: Actor, operation: Operation) -> Response:
    """Answer with the operation that carries a wish out."""
    return Response(OperationShape(operation_shapes(actor, [operation], now())[0]).data, status=202)


def _draft(given: dict[str, Any]) -> PolicyDraft:
    return PolicyDraft(**{**given, "schedules": [draft_of_form(one) for one in given["schedules"]]})

"""Tokens: a person's own, and for those who may see them all of the tenant's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Form, Moment, OneOf, Text, YesNoParameter, problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import ApiView, checked, now
from tenants import tokens
from tenants.models.token import Token
from tenants.rights import Right
from vplus_bridge import keyset
from vplus_bridge.keyset import Key, Keyset

TAGS = ["tokens"]
NEWEST_FIRST = Keyset("-created_at", (Key("created_at", descending=True), Key("id")))


class TokenShape(serializers.Serializer[Mapping[str, Any]]):
    """A token: what it is for and what became of it, never what it says."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    owner = serializers.CharField(help_text="Whose it is; it does what this person may.")
    tail = serializers.CharField(help_text="Its last characters, to tell tokens apart.")
    scopes = serializers.ListField(child=serializers.CharField(), help_text="Empty: all that the person may.")
    works = serializers.BooleanField(help_text="Neither expired nor revoked.")
    created_at = Moment()
    expires_at = Moment(allow_null=True, help_text="null: it does not end by itself.")
    last_used_at = Moment(allow_null=True, help_text="To the minute; null: never.")
    revoked_at = Moment(allow_null=True)


class NewToken(TokenShape):
    """A token that was made just now."""

    token = serializers.CharField(help_text="Keep it now. It is not shown again.")


class TokenParameters(PageParameters):
    """Which tokens."""

    works = YesNoParameter(help_text="true: those that can be used; false: those that have expired or are revoked.")


class TokenForm(Form):
    """What the new token is for, what it may do, and until when."""

    name = Text(help_text=f"at most {tokens.LONGEST_NAME} characters")
    scopes = serializers.ListField(
        child=OneOf(list(Right)),
        required=False,
        help_text="Left out or empty: all that you may. A narrowed token gives no more than it has.",
    )
    expires_at = Moment(
        required=False,
        help_text=f"default: in {tokens.USUAL_LIFE.days} days; at the latest in {tokens.LONGEST_LIFE.days}, "
        "and not after the token that asks.",
    )


class TokenList(ApiView):
    """Tokens that one sees."""

    @extend_schema(
        operation_id="tokens",
        tags=TAGS,
        parameters=[TokenParameters],
        responses={200: page_of(TokenShape, "Token"), **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """List your tokens, newest first; admins see everybody's."""
        wanted, moment = checked(TokenParameters, request.query_params), now()
        rows = tokens.visible_tokens(self.actor)
        if wanted["works"] is not None:
            usable = tokens.working(rows, moment)
            rows = usable if wanted["works"] else rows.exclude(pk__in=usable.values("pk"))
        page = keyset.page_of(rows, NEWEST_FIRST, wanted["cursor"], wanted["page_size"])
        return page_answer(request, page, [token_shape(row, moment) for row in page.rows], TokenShape, moment)

    @extend_schema(
        operation_id="make_token",
        tags=TAGS,
        request=TokenForm,
        responses={201: NewToken, **problems(400, 401, 403, 409)},
    )
    def post(self, request: Request) -> Response:
        """Make a token for yourself, in the tenant of the token that asks.

        The text of the new one is in this answer and nowhere else.
        """
        given, moment = checked(TokenForm, request.data), now()
        row, text = tokens.issue(self.actor, **given, now=moment)
        shape = NewToken({**token_shape(row, moment), "token": text}).data
        return Response(shape, status=201, headers={"Cache-Control": "no-store"})


class TokenDetail(ApiView):
    """One token."""

    @extend_schema(operation_id="token", tags=TAGS, responses={200: TokenShape, **problems(401, 403, 404)})
    def get(self, request: Request, token_id: UUID) -> Response:
        """Tell what is known of one token."""
        del request
        return Response(TokenShape(token_shape(tokens.token(self.actor, token_id), now())).data)

    @extend_schema(operation_id="revoke_token", tags=TAGS, responses={204: None, **problems(401, 403, 404)})
    def delete(self, request: Request, token_id: UUID) -> Response:
        """Revoke a token: from now on it is answered with 401. Doing so again changes nothing."""
        del request
        tokens.revoke(self.actor, token_id, now=now())
        return Response(status=204)


def token_shape(row: Token, moment: datetime) -> dict[str, Any]:
    """Return a token as TokenShape knows it."""
    ended = row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= moment)
    return {
        "id": row.pk,
        "name": row.name,
        "owner": row.owner_name,
        "tail": row.tail,
        "scopes": row.scopes,
        "works": not ended,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
        "revoked_at": row.revoked_at,
    }

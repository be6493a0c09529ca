"""The header Idempotency-Key: a POST that is sent twice with one key is carried out once and answered twice."""

from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.authentication import actor_behind, provider_behind
from tenants import kept_answers
from tenants.kept_answers import Answer, Claim

HEADER = "Idempotency-Key"
REPLAY = "Idempotent-Replay"


class AnsweredBefore(Exception):
    """The key has its answer; nothing is done again."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.response = HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)
        self.response[REPLAY] = "true"
        self.response["Cache-Control"] = "no-store"


class KeepsAnswers(APIView):
    """Keeps what a POST with a key is answered, in the transaction of the deed; a refusal leaves nothing, also no key."""

    claim: Claim | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let in who may come in, then see whether the key has been answered."""
        super().initial(request, *args, **kwargs)
        bearer = actor_behind(request) or provider_behind(request)
        key = request.headers.get(HEADER)
        if request.method != "POST" or key is None or bearer is None:
            return
        try:
            found = kept_answers.claim(
                bearer,
                key=key,
                secret=request.headers["Authorization"].partition(" ")[2].strip(),
                method=request.method,
                address=request.get_full_path(),
                asked=request.data,
            )
        except RecursionError:
            raise ParseError("The body is not JSON.") from None
        if isinstance(found, Answer):
            raise AnsweredBefore(found)
        self.claim = found

    def handle_exception(self, exc: Exception) -> Response:
        """Give the answer of before; everything else is handled as ever."""
        if isinstance(exc, AnsweredBefore):
            return exc.response  # type: ignore[return-value]  # DRF takes any response of Django's here
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Keep the answer as soon as it is in words."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if self.claim is not None and not request._request.failed:  # type: ignore[attr-defined]  # set by the request's scope
            final.add_post_render_callback(self._keep)
        return final

    def _keep(self, response: Any) -> None:
        if self.claim is not None:
            self.claim.keep(Answer(response.status_code, response["Content-Type"], response.content))

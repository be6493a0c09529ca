"""A no, and unknown trouble, as a page or as a problem document (RFC 9457): the same words everywhere."""

import sys
from typing import Any

import structlog
from django.http import Http404 as DjangoHttp404
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from rest_framework import exceptions as drf
from rest_framework.response import Response

from portal.database_away import is_away, is_busy
from portal.scoped_request import ScopedRequest
from tenants.refusals import Invalid, NotSignedIn, NotVisible, Refusal

log = structlog.get_logger(__name__)
PROBLEM = "application/problem+json"
UNKNOWN_TROUBLE = "This could not be answered right now. Your virtual machines and backups are not affected."
BUSY = "Too many people ask at the same moment. Nothing was lost; try again in a few seconds."
AWAY = "The portal's own database cannot be reached at the moment."
UNTOUCHED = "Your virtual machines and backups are not affected."
UNSAVED = "Nothing of what you asked for was saved, and nothing was sent; ask again in a few seconds."
UNSURE = "What you asked for may have been saved, or not: if it was, it is carried out; if not, nothing was sent."
LOOK = "Look at Activity before you ask again."
UNSURE_ELSEWHERE = "What you sent may have been saved, or not: look before you send it again."
LOOK_BY_SCRIPT = "Asked again with the same Idempotency-Key it is done once; without one, look at the operations first."


def refusal_page(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Return the page of a refusal: title, sentence, what is wrong with which field, reference."""
    context = {"refusal": refusal, "reference": _reference(request)}
    template = "404.html" if isinstance(refusal, NotVisible) else "refusal.html"
    return render(request, template, context, status=refusal.status)


def api_exception_handler(problem: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a view of the API raised into a problem document, and see to it that the transaction is rolled back."""
    request: ScopedRequest = context["request"]._request  # DRF offers no other way to Django's request
    request.failed = True
    refusal = _as_refusal(problem)
    if refusal is None:
        return None
    if isinstance(problem, Refusal):
        request.refusal = refusal
    response = Response(document(request, refusal), status=refusal.status, content_type=PROBLEM)
    if refusal.status == 401:  # noqa: PLR2004
        response["WWW-Authenticate"] = 'Bearer realm="vPlus Portal"'
    if refusal.retry_after is not None:
        response["Retry-After"] = str(refusal.retry_after)
    return response


def document(request: HttpRequest, refusal: Refusal) -> dict[str, Any]:
    """Return the members of a problem document."""
    return {
        "type": f"urn:vplus-portal:problem:{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
        "reference": _reference(request),
        "errors": refusal.errors,
    }


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer what no path or object matches (handler404)."""
    del exception
    return _trouble(request, NotVisible(), "404.html")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request that is refused before a view (handler403)."""
    del exception
    return _trouble(request, _Plain(403, "forbidden", "Not allowed", "This is not allowed."), "403.html")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request that cannot be understood (handler400)."""
    if is_away(exception):  # Django takes a session that cannot be written for one that was ended
        return _database_away(request, exception)
    return _trouble(
        request, _Plain(400, "bad_request", "Bad request", "This request cannot be understood."), "400.html"
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer unknown trouble with one calm sentence and the reference that is also in the log (handler500)."""
    problem = sys.exc_info()[1]
    if is_away(problem):
        return _database_away(request, problem)
    if is_busy(problem):
        response = _trouble(request, _Plain(503, "busy", "Busy", BUSY), "500.html")
        response["Retry-After"] = "5"
        return response
    log.error("unknown trouble", path=request.path, exc_info=problem)
    return _trouble(request, _Plain(500, "unknown_trouble", "Unknown trouble", UNKNOWN_TROUBLE), "500.html")


def _database_away(request: HttpRequest, problem: BaseException | None) -> HttpResponse:
    """Answer that the database is away, and what that means for what was asked: not saved, or not known."""
    log.warning("the database cannot be reached", path=request.path, problem=repr(problem))
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        words = UNTOUCHED
    elif not getattr(request, "may_be_saved", False):
        words = UNSAVED
    elif request.path_info.startswith("/api/"):
        words = f"{UNSURE} {LOOK_BY_SCRIPT}"
    else:
        words = f"{UNSURE} {LOOK}" if request.path_info.startswith(("/t/", "/console/")) else UNSURE_ELSEWHERE
    response = _trouble(request, _Plain(503, "database_away", "Not available right now", f"{AWAY} {words}"), "500.html")
    response["Retry-After"] = "10"
    return response


class _Plain(Refusal):
    """A refusal whose status and title are given."""

    def __init__(self, status: int, code: str, title: str, message: str) -> None:
        super().__init__(code, message)
        self.status, self.title = status, title


def _trouble(request: HttpRequest, refusal: Refusal, template: str) -> HttpResponse:
    if request.path_info.startswith("/api/"):
        return JsonResponse(document(request, refusal), status=refusal.status, content_type=PROBLEM)
    return render(request, template, {"refusal": refusal, "reference": _reference(request)}, status=refusal.status)


def _as_refusal(problem: Exception) -> Refusal | None:
    if isinstance(problem, Refusal):
        return problem
    if isinstance(problem, DjangoHttp404 | drf.NotFound):
        return NotVisible()
    if isinstance(problem, drf.ValidationError):
        return Invalid(_flat(problem.detail))
    if isinstance(problem, drf.NotAuthenticated | drf.AuthenticationFailed):
        return NotSignedIn()
    if isinstance(problem, drf.APIException):
        return _Plain(problem.status_code, str(problem.default_code), "This cannot be done", str(problem.detail))
    return None


def _flat(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Return errors by field from DRF's nested shape; an item of a list is named by its index."""
    if isinstance(detail, dict):
        items = [(f"{path}.{key}" if path else str(key), value) for key, value in detail.items()]
    elif isinstance(detail, list) and any(isinstance(value, dict | list) for value in detail):
        items = [(f"{path}.{index}" if path else str(index), value) for index, value in enumerate(detail) if value]
    else:
        texts = detail if isinstance(detail, list) else [detail]
        return {path or "non_field_errors": [str(text) for text in texts]}
    errors: dict[str, list[str]] = {}
    for name, value in items:
        errors.update(_flat(value, name))
    return errors


def _reference(request: HttpRequest) -> str:
    return getattr(request, "reference", "")

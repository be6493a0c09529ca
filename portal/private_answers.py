"""Who may keep an answer: what a person is shown stays in their own browser, and what a script is told is kept by nobody."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

PAGE = "private, no-cache"
"""No proxy keeps it; the browser asks again before it shows it anew, save where one goes back to it."""
API = "no-store"


class PrivateAnswersMiddleware:
    """Says so in each answer that does not say it itself; static files are answered before."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the header Cache-Control."""
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", API if request.path_info.startswith("/api/v1/") else PAGE)
        return response

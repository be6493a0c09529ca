"""The stream of a tenant's page: /t/<slug>/live/, server-sent events of what changed.

The view passes the same door as every page, and its transaction ends with it. What follows runs in the event loop and
never asks the database: rights are looked at by the hub, for all streams at once.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.db import connections
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_GET

from portal.live.events import framed
from portal.live.subscriptions import Stream, hub
from portal.scoped_request import ScopedRequest
from tenants.entrance import Sight, Watcher

STILL_HERE = b": still here\n\n"
MOST_OF_ONE_SESSION = 30
BUSY_SECONDS = "10"


@require_GET
def live(request: ScopedRequest, tenant_slug: str) -> HttpResponseBase:
    """Tell what changes, for as long as the browser listens and its person may see it.

    ``since``: when the page was made, in seconds since 1970; what changed after it is told first. A browser that comes
    back after a break is told to read its page again.
    """
    del tenant_slug
    actor = request.actor
    watcher = Watcher(
        actor.membership_id, request.session.session_key or "", str(request.session.get(HASH_SESSION_KEY, ""))
    )
    if hub.closing or hub.count >= settings.LIVE_MOST_STREAMS or hub.watched_by(watcher) >= MOST_OF_ONE_SESSION:
        return HttpResponse(
            "Too many live pages at the moment.\n",
            status=503,
            headers={"Retry-After": BUSY_SECONDS},
            content_type="text/plain; charset=utf-8",
        )
    came_back = "Last-Event-ID" in request.headers
    stream = Stream(
        watcher,
        actor.tenant_id,
        Sight(actor.sees_all, frozenset(actor.grants)),
        None if came_back else _seconds(request.GET.get("since", "")),
    )
    response = StreamingHttpResponse(_events(stream), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def _events(stream: Stream) -> AsyncIterator[bytes]:
    # First of all, in the thread that opened it: else each stream would hold a connection of the pool until it ends.
    await sync_to_async(connections.close_all)()
    _end_streams_on_exit()
    if hub.closing:
        return
    hub.open(stream)
    try:
        yield b"id: 1\n" + framed("hello", {"spread": hub.spread_seconds})
        while True:
            try:
                async with asyncio.timeout(settings.LIVE_HEARTBEAT_SECONDS):
                    event = await stream.waiting.get()
            except TimeoutError:
                yield STILL_HERE
                continue
            if event is None:
                return
            yield event
    finally:
        hub.close(stream)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value > 0 else None


_watching_signals = False


def _end_streams_on_exit() -> None:
    """End the streams when the server is told to stop: else it would wait for them, and cut them with a traceback each."""
    global _watching_signals  # noqa: PLW0603  # a process has one set of handlers
    if _watching_signals or threading.current_thread() is not threading.main_thread():
        return
    _watching_signals = True
    for number in (signal.SIGINT, signal.SIGTERM):
        servers = signal.getsignal(number)

        def handler(number: int, frame: FrameType | None, servers: Any = servers) -> None:
            hub.call_soon(hub.end_all)
            if callable(servers):
                servers(number, frame)

        signal.signal(number, handler)

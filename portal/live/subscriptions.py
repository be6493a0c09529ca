"""The hub of a web process: one subscription to Redis, fanned out to the streams that are open here.

Everything in this module runs in the event loop's thread, so nothing is locked; only the look at rights, which asks the
database, runs in a thread of its own and gives its connection back there.
"""

import asyncio
import contextvars
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import time
from typing import Any
from uuid import UUID

import msgspec
import redis.asyncio
import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connections
from django.utils import timezone
from psycopg_pool import PoolTimeout

from portal.live.events import for_browsers, framed
from tenants import entrance
from tenants.entrance import Sight, Watcher
from vplus_bridge import changes

log = structlog.get_logger(__name__)
PAUSED, RESYNC = framed("paused", {}), framed("resync", {})
ENDED = framed("ended", {})
# What is kept for browsers whose page was made a moment before their stream opened.
KEPT, KEPT_SECONDS = 5000, 60.0
LEEWAY = 2.0  # a page's clock is read while it is made, a little after the rows
GATHER_SECONDS = 0.05  # several changes of rights at once are one look
ONCE_MORE_SECONDS = 1.0  # who told may not have been finished with what it did
LONGEST_PAUSE = 5.0
PAGES_A_SECOND, LONGEST_SPREAD = 50, 20.0
UNCHECKED = 3  # intervals without a look at rights, after which streams end
READ_TIMEOUT = 10.0
# What comes of a message of another version of the portal, while one replaces the other.
_ODD = (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError)


@dataclass(eq=False)
class Stream:
    """One open stream: who watches, what they see, and what waits to be sent to them."""

    watcher: Watcher
    tenant_id: UUID
    sight: Sight
    since: float | None  # when the page was made (seconds since 1970); None: it has to be read again
    asked_at: float = field(default_factory=time)
    waiting: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(settings.LIVE_QUEUE))

    def put(self, event: bytes) -> bool:
        """Let an event wait for the browser; False where too many do."""
        try:
            self.waiting.put_nowait(event)
        except asyncio.QueueFull:
            return False
        return True

    def end(self, last: bytes | None = None) -> None:
        """Send nothing more of what waits, at most this one event, and end."""
        while not self.waiting.empty():
            self.waiting.get_nowait()
        if last is not None:
            self.put(last)
        self.put_end()

    def put_end(self) -> None:
        """Let the end wait; a queue of one that is full ends at once, by losing what waits."""
        if self.waiting.full():
            self.waiting.get_nowait()
        self.waiting.put_nowait(None)


@dataclass(eq=False)
class _Kept:
    """A message for those who are here, and for those who come a moment later; worded once, when there is anybody."""

    at: float
    channel: str
    virtual_machine_guid: str
    message: bytes
    event: bytes | None = None

    def worded(self) -> bytes | None:
        """Return the event that browsers get; None for a message that cannot be understood."""
        if self.event is None:
            try:
                self.event = for_browsers(msgspec.json.decode(self.message), timezone.now())
            except _ODD as problem:
                _log_odd(problem)
        return self.event


class Hub:
    """The streams of this process and what feeds them; made once, started by the first stream."""

    def __init__(self) -> None:
        self._streams: dict[UUID, set[Stream]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._kept: deque[_Kept] = deque(maxlen=KEPT)
        self._heard_since: float | None = None  # since when nothing was missed; None while Redis is away
        self._look = asyncio.Event()
        self._rights_told_at = 0.0
        self._checked_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._by_watcher: Counter[Watcher] = Counter()
        self.count = 0
        self.closing = False

    def watched_by(self, watcher: Watcher) -> int:
        """Return how many streams this session of a member has open; from any thread."""
        return self._by_watcher[watcher]

    @property
    def spread_seconds(self) -> float:
        """Over how many seconds browsers should spread what they read again: about fifty pages a second."""
        return min(LONGEST_SPREAD, max(1.0, self.count / PAGES_A_SECOND))

    def open(self, stream: Stream) -> None:
        """Take in a stream; it first gets what happened since its page was made, or is told to read again."""
        self._start()
        self._streams.setdefault(stream.tenant_id, set()).add(stream)
        self.count += 1
        self._by_watcher[stream.watcher] += 1
        # Rights may have changed between the door and here.
        if self._heard_since is None or self._rights_told_at >= stream.asked_at - LEEWAY:
            self._look.set()
        if self._heard_since is None:
            stream.put(PAUSED)
        elif stream.since is None or stream.since - LEEWAY < self._kept_since():
            stream.put(RESYNC)
        else:
            for kept in list(self._kept):
                meant = kept.at >= stream.since - LEEWAY and self._meant(
                    kept.channel, kept.virtual_machine_guid, stream
                )
                if meant and (event := kept.worded()):
                    self._deliver(stream, event)

    def close(self, stream: Stream) -> None:
        """Forget a stream; harmless where it is forgotten already."""
        streams = self._streams.get(stream.tenant_id, set())
        if stream not in streams:
            return
        streams.discard(stream)
        if not streams:
            del self._streams[stream.tenant_id]
        self.count -= 1
        self._by_watcher[stream.watcher] -= 1
        if not self._by_watcher[stream.watcher]:
            del self._by_watcher[stream.watcher]

    def end_all(self) -> None:
        """End every stream and take in no more: the process is about to stop."""
        self.closing = True
        self._end_streams()
        for task in self._tasks:
            task.cancel()

    def _end_streams(self) -> None:
        for stream in self._all():
            self.close(stream)
            stream.end()

    def call_soon(self, what: Any) -> None:
        """Run something in the event loop's thread; from a signal's handler, at any moment."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(what)

    # ------------------------------------------------------------ what feeds it

    def _start(self) -> None:
        if self._tasks:
            return
        self._loop = asyncio.get_running_loop()
        # A context of their own: that of the first request, with its reference, is not theirs.
        self._tasks = [
            self._loop.create_task(job(), name=name, context=contextvars.Context())
            for name, job in (("live: listen", self._listen), ("live: rights", self._look_at_rights))
        ]
        self._checked_at = time()
        for task in self._tasks:
            task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """Let no stream stay without what feeds it or looks at its rights; the next one starts everything anew."""
        if task.cancelled() or not self._tasks:
            return
        log.error("live updates stopped", job=task.get_name(), exc_info=task.exception())
        others, self._tasks = self._tasks, []
        for other in others:
            other.cancel()
        self._heard_since = None
        self._kept.clear()
        self._end_streams()

    async def _listen(self) -> None:
        """Hear Redis for ever; while it is away, say so, and have everything read again when it is back."""
        pause = 0.2
        while True:
            try:
                async with (
                    redis.asyncio.Redis.from_url(
                        settings.REDIS_URL, socket_connect_timeout=2, health_check_interval=5
                    ) as connection,
                    connection.pubsub(ignore_subscribe_messages=False) as subscription,
                ):
                    await subscription.psubscribe(f"{changes.prefix(settings.REDIS_URL)}*")
                    pause = 0.2
                    await self._hear(subscription)
            except (redis.RedisError, OSError) as problem:
                if self._heard_since is not None or pause == 0.2:  # noqa: PLR2004  # said once, not at each try
                    log.warning("live updates pause: Redis does not answer", problem=type(problem).__name__)
                self._lost()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _hear(self, subscription: Any) -> None:
        while True:
            message = await subscription.get_message(timeout=READ_TIMEOUT)
            if message is None:
                continue
            if message["type"] == "psubscribe":
                self._found()
            elif message["type"] == "pmessage":
                self._take(message["channel"].decode().rpartition(":")[2], message["data"])

    def _lost(self) -> None:
        if self._heard_since is not None:
            self._heard_since = None
            self._kept.clear()
            self._send(self._all(), PAUSED)

    def _found(self) -> None:
        self._heard_since = time()
        self._look.set()
        self._send(self._all(), RESYNC)

    def _take(self, channel: str, body: bytes) -> None:
        if channel == changes.RIGHTS:
            self._rights_told_at = time()
            self._look.set()
            return
        try:
            tenant_id = None if channel == changes.EVERYBODY else UUID(channel)
            message = msgspec.json.decode(body)
            guid = str(message.get("vm", ""))
        except _ODD as problem:
            _log_odd(problem)
            return
        general = message.get("kind") == changes.AGAIN or channel == changes.EVERYBODY
        kept = _Kept(time(), channel, "" if general else guid, body)
        self._kept.append(kept)
        here = self._all() if tenant_id is None else self._streams.get(tenant_id, ())
        meant = [stream for stream in here if general or stream.sight.shows(guid)]
        # At night most tenants have no page open: words that nobody hears are not made.
        if meant and (event := kept.worded()):
            self._send(meant, event)

    @staticmethod
    def _meant(channel: str, guid: str, stream: Stream) -> bool:
        if channel == changes.EVERYBODY:
            return True
        return channel == str(stream.tenant_id) and stream.sight.shows(guid)

    def _kept_since(self) -> float:
        horizon = max(self._heard_since or 0.0, time() - KEPT_SECONDS)
        return max(horizon, self._kept[0].at) if len(self._kept) == KEPT else horizon

    # ------------------------------------------------------------ what it does to streams

    def _all(self) -> list[Stream]:
        return [stream for streams in self._streams.values() for stream in streams]

    def _send(self, streams: Iterable[Stream], event: bytes) -> None:
        for stream in list(streams):
            self._deliver(stream, event)

    def _deliver(self, stream: Stream, event: bytes) -> None:
        if not stream.put(event):
            log.info("a stream was ended: its browser does not keep up")
            self.close(stream)
            stream.end()

    async def _look_at_rights(self) -> None:
        """Look again at everybody who watches: when rights changed, once more a second later, and after each interval."""
        while True:
            told = False
            try:
                async with asyncio.timeout(settings.LIVE_RIGHTS_SECONDS):
                    await self._look.wait()
                    told = True
            except TimeoutError:
                pass  # the interval is over: that is what it waited for
            await asyncio.sleep(GATHER_SECONDS)
            self._look.clear()
            await self._check()
            if told:
                await asyncio.sleep(ONCE_MORE_SECONDS)
                await self._check()

    async def _check(self) -> None:
        streams = self._all()
        if not streams:
            self._checked_at = time()
            return
        try:
            sights = await sync_to_async(_sights_of, thread_sensitive=False)({stream.watcher for stream in streams})
        except (DatabaseProblem, PoolTimeout) as problem:
            log.warning("rights of those who watch could not be read", problem=type(problem).__name__)
            if time() > self._checked_at + UNCHECKED * settings.LIVE_RIGHTS_SECONDS:
                self._end_streams()  # nobody watches for long on rights that nobody can look at
            return
        self._checked_at = time()
        for stream in streams:
            sight = sights.get(stream.watcher)
            if sight is None:
                self.close(stream)
                stream.end(ENDED)
            elif sight != stream.sight:
                stream.sight = sight
                self._deliver(stream, RESYNC)


def _log_odd(problem: Exception) -> None:
    log.warning("a message about a change cannot be understood", problem=type(problem).__name__)


def _sights_of(watchers: set[Watcher]) -> dict[Watcher, Sight]:
    try:
        return entrance.sights_of(watchers)
    finally:
        connections.close_all()


hub = Hub()

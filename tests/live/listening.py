"""Many open streams in one thread: what a browser's EventSource gets, without the browser."""

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.test import Client

from tests.conftest import Member
from tests.processes import PATIENCE, Processes


def cookies_of(member: Member) -> str:
    """Return the Cookie header of a new session of this person."""
    client = Client()
    client.force_login(member.row)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())


@dataclass
class Heard:
    """One stream: its status, its events so far with the moment of each, and whether the server has ended it."""

    status: int = 0
    events: list[tuple[str, Any, float]] = field(default_factory=list)
    comments: int = 0
    ended: bool = False
    writer: asyncio.StreamWriter | None = None

    def names(self) -> list[str]:
        return [name for name, _, _ in self.events]

    def changes(self, kind: str = "") -> list[dict[str, Any]]:
        return [data for name, data, _ in self.events if name == "change" and kind in ("", data["kind"])]


class Ears:
    """Opens streams and keeps what comes; used as a context, which closes them all."""

    def __init__(self, web: Processes) -> None:
        self.address = urlsplit(web.url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._running: list[Any] = []

    def __enter__(self) -> "Ears":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._running:
            one.cancel()

        async def rest() -> None:
            mine = asyncio.current_task()
            left = [task for task in asyncio.all_tasks() if task is not mine]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(rest(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def listen(
        self, slug: str, cookies: str, *, since: float | None = 0, wait: bool = True, came_back: bool = False
    ) -> Heard:
        """Open a stream; by default as a page made at this moment does. Return when it is open, or was refused."""
        heard = Heard()
        moment = time.time() if since == 0 else since
        query = "" if moment is None else f"?since={moment}"
        extra = "Last-Event-ID: 1\r\n" if came_back else ""
        job = self._read(heard, f"/t/{slug}/live/{query}", cookies, extra)
        self._running.append(asyncio.run_coroutine_threadsafe(job, self._loop))
        if wait:
            self.until(lambda: heard.names()[:1] == ["hello"] or heard.ended, "a stream is open, or was refused")
        return heard

    def close(self, heard: Heard) -> None:
        """Go away, as a browser does whose tab is closed."""
        assert heard.writer is not None
        self._loop.call_soon_threadsafe(heard.writer.close)

    @staticmethod
    def until(holds: Any, what: str, patience: float = PATIENCE) -> None:
        give_up = time.monotonic() + patience
        while not holds():
            assert time.monotonic() < give_up, f"never came true: {what}"
            time.sleep(0.02)

    async def _read(self, heard: Heard, path: str, cookies: str, extra: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.address.port)
        heard.writer = writer
        request = f"GET {path} HTTP/1.0\r\nHost: {self.address.netloc}\r\nCookie: {cookies}\r\n{extra}\r\n"
        writer.write(request.encode())
        try:
            heard.status = int((await reader.readline()).split()[1])
            while (await reader.readline()).strip():
                pass
            if heard.status == 200:
                await self._events(heard, reader)
        except (ConnectionError, IndexError):
            pass  # the server is gone, which the test asks for
        finally:
            heard.ended = True
            writer.close()

    @staticmethod
    async def _events(heard: Heard, reader: asyncio.StreamReader) -> None:
        name = ""
        while line := await reader.readline():
            text = line.decode().rstrip("\n")
            if text.startswith(":"):
                heard.comments += 1
            elif text.startswith("event: "):
                name = text.removeprefix("event: ")
            elif text.startswith("data: "):
                heard.events.append((name, json.loads(text.removeprefix("data: ")), time.time()))

"""Sign-ins: many sessions of the one account live side by side and end when idle (vplus-api.md 1.2)."""

from __future__ import annotations

import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

import msgspec

SESSION_COOKIE = "JSESSIONID"
SECOND_COOKIE = "JREPLICA"


class Session(msgspec.Struct):
    """One sign-in: its number, and when it was last used (simulated ms)."""

    number: int
    last_used: int
    second: str | None


class Sessions:
    """The living sessions of one account; they are not saved: a restart ends them all."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._living: dict[str, Session] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._living)

    def sign_in(self, login: str, password: str, now: int, idle_ms: int, *, second_cookie: bool) -> list[str] | None:
        """Return the cookies of a new session as `name=value`, or None for a wrong login or password.

        Sessions that have been idle too long go at this moment, so that a client that signs in for every call costs
        little.
        """
        right_name = hmac.compare_digest(login.encode(), self._username.encode())
        if not (hmac.compare_digest(password.encode(), self._password.encode()) and right_name):
            return None
        self._living = {key: known for key, known in self._living.items() if now - known.last_used <= idle_ms}
        self._count += 1
        key, second = secrets.token_hex(16), secrets.token_hex(8) if second_cookie else None
        self._living[key] = Session(self._count, now, second)
        cookies = [f"{SESSION_COOKIE}={key}"]
        return cookies if second is None else [*cookies, f"{SECOND_COOKIE}={second}"]

    def use(self, cookie_header: str, now: int, idle_ms: int) -> int | None:
        """Return the number of the living session that the cookies name, and note its use; None where there is none."""
        key, second = _cookies(cookie_header)
        session = self._living.get(key)
        if session is None or session.second not in (None, second):
            return None
        if now - session.last_used > idle_ms:
            del self._living[key]
            return None
        session.last_used = now
        return session.number

    def sign_out(self, cookie_header: str) -> None:
        """End the session that the cookies name."""
        self._living.pop(_cookies(cookie_header)[0], None)

    def end_all(self) -> int:
        """End every session; return how many there were."""
        count = len(self._living)
        self._living.clear()
        return count


def _cookies(header: str) -> tuple[str, str | None]:
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return "", None
    found = {name: morsel.value for name, morsel in cookies.items()}
    return found.get(SESSION_COOKIE, ""), found.get(SECOND_COOKIE)

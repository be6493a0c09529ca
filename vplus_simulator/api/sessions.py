"""Sign-in and its end (vplus-api.md 1.2)."""

from __future__ import annotations

from ..messages import Answer, Refusal, empty_answer, json_answer
from ..work import ms
from .call import Call, Route

PRIVILEGES = ("NODE_READ", "VE_BACKUP_SLA_READ", "VE_BACKUP_SLA_WRITE", "VE_READ", "VE_WRITE")


def login(call: Call) -> Answer:
    """Open a session: cookies, and the user where the server is not at its poorest."""
    body = call.request.json_object()
    name, password = body.get("login"), body.get("password")
    cookies = None
    if isinstance(name, str) and isinstance(password, str):
        idle = ms(call.settings.session_idle_seconds)
        cookies = call.sessions.sign_in(name, password, call.now, idle, second_cookie=call.settings.second_cookie)
    if cookies is None:
        raise Refusal(401, "Invalid login or password")
    answer = empty_answer(200) if call.settings.richness == "poorest" else json_answer(_user(call))
    answer.headers += [("Set-Cookie", f"{cookie}; Path=/api; Secure; HttpOnly") for cookie in cookies]
    return answer


def user(call: Call) -> Answer:
    """Tell who is signed in."""
    return json_answer(_user(call))


def probe(call: Call) -> Answer:
    """Say that the session lives."""
    del call
    return empty_answer()


def logout(call: Call) -> Answer:
    """End the session."""
    call.sessions.sign_out(call.request.headers.get("cookie", ""))
    return empty_answer()


def _user(call: Call) -> dict[str, object]:
    shown: dict[str, object] = {"guid": "1", "login": "portal"}
    if call.settings.richness == "generous":
        shown |= {
            "privileges": [{"name": name, "description": name.replace("_", " ").capitalize()} for name in PRIVILEGES],
            "uiTimeZone": "UTC",
            "lastSuccessfulLogin": call.now,
        }
    return shown


ROUTES = (
    Route("POST", "/session/login", login, "opens a session; 401 for a wrong password", needs_session=False),
    Route("GET", "/session", probe, "204 while the session lives"),
    Route("GET", "/session/user", user, "the account's own user object"),
    Route("POST", "/session/logout", logout, "ends the session"),
)

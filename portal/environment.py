"""Strict reading of environment variables: a wrong value is one sentence that names the variable, at start."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
MAIL_BACKENDS = {"smtp": "smtp", "smtps": "smtp", "file": "filebased", "console": "console"}


class EnvironmentProblem(Exception):
    """One sentence that names the variable, says what is wrong with it and what works."""


class Environment:
    """Reads typed values from a mapping of strings; ``NAME_FILE`` names a file that holds the value of ``NAME``."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = os.environ if values is None else values

    def text(self, name: str, default: str | None = None) -> str:
        """Return the value, stripped; raise EnvironmentProblem where it is missing and has no default."""
        if value := self._raw(name):
            return value
        if default is None:
            raise EnvironmentProblem(f"{name} is not set. Set {name}, or {name}_FILE to a file that holds it.")
        return default

    def optional(self, name: str) -> str | None:
        """Return the value, or None where it is not set or empty."""
        return self._raw(name) or None

    def secret(self, name: str, *, least: int = 1) -> str:
        """Return a secret of at least ``least`` characters; a secret never has a default."""
        value = self.text(name)
        if len(value) < least:
            raise EnvironmentProblem(f"{name} is too short: it needs at least {least} characters.")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return True or False; only the usual words are understood."""
        value = self._raw(name)
        if not value:
            return default
        if value.lower() in TRUE:
            return True
        if value.lower() in FALSE:
            return False
        raise EnvironmentProblem(f"{name} is {value!r}; use true or false.")

    def integer(self, name: str, default: int, *, least: int | None = None, most: int | None = None) -> int:
        """Return a whole number within the bounds."""
        number = self.number(name, default, least=least, most=most)
        if number != int(number):
            raise EnvironmentProblem(f"{name} is {self._raw(name)!r}; use a whole number.")
        return int(number)

    def number(self, name: str, default: float, *, least: float | None = None, most: float | None = None) -> float:
        """Return a number within the bounds."""
        value = self._raw(name)
        if not value:
            return default
        if not re.fullmatch(r"-?\d+(\.\d+)?", value):
            raise EnvironmentProblem(f"{name} is {value!r}; use a number.")
        number = float(value)
        if least is not None and number < least:
            raise EnvironmentProblem(f"{name} is {value}; the least that works is {least:g}.")
        if most is not None and number > most:
            raise EnvironmentProblem(f"{name} is {value}; the most that works is {most:g}.")
        return number

    def words(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """Return a list from a comma-separated value."""
        value = self._raw(name)
        return [word.strip() for word in value.split(",") if word.strip()] if value else list(default)

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """Return one of the choices."""
        value = self._raw(name) or default
        if value not in choices:
            raise EnvironmentProblem(f"{name} is {value!r}; use one of {', '.join(choices)}.")
        return value

    def url(self, name: str, schemes: tuple[str, ...], default: str | None = None) -> str:
        """Return an address with one of the schemes; the text of a problem never repeats the address, which can hold a password."""
        value = self.text(name, default)
        try:
            known, _port = urlsplit(value).scheme in schemes, urlsplit(value).port
        except ValueError:
            raise EnvironmentProblem(
                f"{name} is not an address that works; a password in it is written as in addresses, such as %40 for @."
            ) from None
        if not known:
            raise EnvironmentProblem(f"{name} is not an address that works; it has to begin with {schemes[0]}://.")
        return value

    def existing_file(self, name: str) -> str | None:
        """Return the path of a file that exists, or None where the variable is not set."""
        value = self.optional(name)
        if value is not None and not Path(value).is_file():
            raise EnvironmentProblem(f"{name} names {value}, and there is no such file.")
        return value

    def database(self, name: str) -> dict[str, object]:
        """Return Django's database settings from ``postgresql://user:password@host:port/name?option=value``."""
        url = urlsplit(self.url(name, ("postgresql", "postgres")))
        query = dict(parse_qsl(url.query))
        database = unquote(url.path.lstrip("/"))
        if not database or not url.username or url.fragment or "/" in url.path.strip("/"):
            raise EnvironmentProblem(
                f"{name} has to name a user and a database: postgresql://user:password@host/name, "
                "with %40 for @, %2F for / and %23 for # in a password."
            )
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database,
            "USER": unquote(url.username),
            "PASSWORD": unquote(url.password or ""),
            "HOST": query.pop("host", None) or unquote(url.hostname or ""),
            "PORT": str(url.port or query.pop("port", "")),
            "OPTIONS": dict(query),
        }

    def mail(self, name: str, default: str | None = None) -> dict[str, object]:
        """Return Django's mail settings from ``smtp://user:password@host:port?starttls``, smtps, file or console."""
        url = urlsplit(self.url(name, tuple(MAIL_BACKENDS), default))
        by_mail_server = url.scheme in ("smtp", "smtps")
        if url.query and (url.scheme, url.query) != ("smtp", "starttls"):
            raise EnvironmentProblem(
                f"{name} ends with an option that is not known; smtp:// takes ?starttls, no other."
            )
        if url.fragment or (by_mail_server and (not url.hostname or url.path.strip("/"))):
            raise EnvironmentProblem(
                f"{name} has to name a host, and nothing after it: smtp://user:password@host:port."
            )
        if url.scheme == "file" and (url.netloc or not url.path):
            raise EnvironmentProblem(f"{name} has to name a folder, with three slashes before it: file:///folder.")
        return {
            "EMAIL_BACKEND": f"django.core.mail.backends.{MAIL_BACKENDS[url.scheme]}.EmailBackend",
            "EMAIL_FILE_PATH": unquote(url.path) or None,
            "EMAIL_HOST": url.hostname or "localhost",
            "EMAIL_PORT": url.port or (465 if url.scheme == "smtps" else 25),
            "EMAIL_HOST_USER": unquote(url.username or ""),
            "EMAIL_HOST_PASSWORD": unquote(url.password or ""),
            "EMAIL_USE_SSL": url.scheme == "smtps",
            "EMAIL_USE_TLS": url.query == "starttls",
        }

    def _raw(self, name: str) -> str:
        value = self.values.get(name, "").strip()
        path = self.values.get(f"{name}_FILE", "").strip()
        if value and path:
            raise EnvironmentProblem(f"{name} and {name}_FILE are both set; keep one of them.")
        if not path:
            return value
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as problem:
            raise EnvironmentProblem(f"{name}_FILE names {path}, which cannot be read: {problem.strerror}.") from None

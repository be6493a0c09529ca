"""The environment is read strictly: a wrong value is a sentence that names its variable, and never repeats a secret."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal.environment import Environment, EnvironmentProblem

CLONE = Path(__file__).resolve().parents[2]
SECRET = "p@ss/w:rd#1"
ENCODED = "p%40ss%2Fw%3Ard%231"


def test_addresses_are_decoded_into_what_the_libraries_take() -> None:
    mail = Environment({"MAIL": f"smtp://portal%40example.com:{ENCODED}@mail.example.com:587?starttls"}).mail("MAIL")
    assert (mail["EMAIL_HOST_USER"], mail["EMAIL_HOST_PASSWORD"]) == ("portal@example.com", SECRET)
    assert (mail["EMAIL_HOST"], mail["EMAIL_PORT"]) == ("mail.example.com", 587)
    assert (mail["EMAIL_USE_TLS"], mail["EMAIL_USE_SSL"]) == (True, False)
    database = Environment({"DB": f"postgresql://portal:{ENCODED}@localhost/portal"}).database("DB")
    assert (database["USER"], database["PASSWORD"], database["NAME"]) == ("portal", SECRET, "portal")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("smtp://mail.example.com", {"EMAIL_PORT": 25, "EMAIL_USE_TLS": False, "EMAIL_USE_SSL": False}),
        ("smtps://mail.example.com", {"EMAIL_PORT": 465, "EMAIL_USE_TLS": False, "EMAIL_USE_SSL": True}),
        ("console://", {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}),
        (
            "file:///srv/a%20mail",
            {"EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend", "EMAIL_FILE_PATH": "/srv/a mail"},
        ),
    ],
)
def test_each_way_to_send_mail(address: str, expected: dict[str, Any]) -> None:
    mail = Environment({"MAIL": address}).mail("MAIL")
    assert {name: mail[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("smtp://mail.example.com?tls=yes", lambda e: e.mail("X")),
        ("smtps://mail.example.com?starttls", lambda e: e.mail("X")),
        ("smtp://:25", lambda e: e.mail("X")),
        ("file://", lambda e: e.mail("X")),
        ("file://var/mail", lambda e: e.mail("X")),
        ("imap://mail.example.com", lambda e: e.mail("X")),
        (f"smtp://portal:{SECRET}@mail.example.com", lambda e: e.mail("X")),
        (f"postgresql://portal:{SECRET}@localhost/portal", lambda e: e.database("X")),
        ("postgresql://localhost/portal", lambda e: e.database("X")),
        ("http://vplus.example.com", lambda e: e.url("X", ("https",))),
        ("https://vplus.example.com:port", lambda e: e.url("X", ("https",))),
        ("maybe", lambda e: e.flag("X", False)),
        ("3.5", lambda e: e.integer("X", 1)),
        ("1e3", lambda e: e.number("X", 1)),
        ("0", lambda e: e.number("X", 1, least=0.5)),
        ("11", lambda e: e.integer("X", 1, most=10)),
        ("other", lambda e: e.choice("X", ("guide", "current"), "guide")),
        ("short", lambda e: e.secret("X", least=32)),
        ("/no/such/file", lambda e: e.existing_file("X")),
        ("", lambda e: e.text("X")),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_variable(value: str, read: Callable[[Environment], Any]) -> None:
    with pytest.raises(EnvironmentProblem) as problem:
        read(Environment({"X": value}))
    sentence = str(problem.value)
    assert sentence.startswith("X ")
    assert "p@ss" not in sentence


def test_a_value_can_stand_in_a_file_and_only_there(tmp_path: Path) -> None:
    kept = tmp_path / "secret"
    kept.write_text(f"{SECRET}\n")
    assert Environment({"X_FILE": str(kept)}).secret("X") == SECRET
    for values in ({"X": "a", "X_FILE": str(kept)}, {"X_FILE": str(tmp_path / "none")}):
        with pytest.raises(EnvironmentProblem, match=r"^X"):
            Environment(values).secret("X")


STARTS = {
    "SECRET_KEY": SECRET * 4,
    "DATABASE_URL": "postgresql://portal@localhost/portal",
    "REDIS_URL": "redis://localhost",
    "VPLUS_URL": "https://vplus.example.com:8181/api",
    "VPLUS_USERNAME": "portal",
    "VPLUS_PASSWORD": SECRET,
}


def said_at_start(**values: str) -> str:
    """Read the settings in a process of their own; return what stopped it, nothing where it starts."""
    environ = {**STARTS, **values}
    command = [sys.executable, "-c", "import portal.settings"]
    done = subprocess.run(command, cwd=CLONE, env=environ, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(done.stderr), done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "address",
    [
        "https://",
        "https://:8443",
        "https://portal.example.com/portal",
        "https://portal.example.com?x=1",
        f"https://portal:{ENCODED}@portal.example.com",
    ],
)
def test_where_people_are_sent_is_a_host_and_nothing_else(address: str) -> None:
    said = said_at_start(PORTAL_BASE_URL=address)
    assert said.startswith("vPlus Portal cannot start: PORTAL_BASE_URL has to name a host"), said
    assert ENCODED not in said


@pytest.mark.parametrize("address", ["https://portal.example.com", "https://portal.example.com:8443/"])
def test_a_host_with_or_without_a_port_is_taken(address: str) -> None:
    assert said_at_start(PORTAL_BASE_URL=address) == ""


def test_the_portal_answers_to_names_of_its_own() -> None:
    assert said_at_start(ALLOWED_HOSTS="*").startswith("vPlus Portal cannot start: ALLOWED_HOSTS is *")
    assert said_at_start(ALLOWED_HOSTS="portal.example.com,10.0.0.7") == ""

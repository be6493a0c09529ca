"""Every address as every role, with both locks and with each lock alone: the same answers, and nothing of anybody else's.

Each thing of Alpha's, Beta's and nobody's bears its owner's mark in name and guid; whoever asks finds no other's mark in
body or headers.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, models
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants.models import Membership, Person, Token
from tenants.scope import TenantManager, TenantOwned, every_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast, Member
from tests.policies import kept
from tests.tenancy.matrix import API, MEMBERS, OPEN_PAGES, PAGES, ROLES, TENANT_PAGES, Asked, named_addresses
from tests.tenancy.tables import PROVIDER_ONLY, guarded_models, table

MARKS = {"alpha": "zalphaz", "beta": "zbetaz", "nobody": "znobodyz"}
# Not JSON, so that what a page echoes of the request (a search, a path) is the asker's own word.
OBJECTS = [
    name
    for name, asked in {**TENANT_PAGES, **API}.items()
    if any(word in str(asked.kwargs) for word in ("{alpha}", "{operation}", "{token}", "{policy}", "{schedule}"))
]


@dataclass
class World:
    """One of everything for Alpha, for Beta and for nobody."""

    cast: Cast
    operation: str
    theirs: str
    """The id of Beta's operation."""
    token: str
    """The id of a token of Alpha's admin."""
    their_token: str
    policy: str
    schedule: str
    their_policy: str
    their_schedule: str

    def filled(self, values: Any) -> Any:
        """Put marks and ids where a table names them."""
        if isinstance(values, Mapping):
            return {name: self.filled(value) for name, value in values.items()}
        if isinstance(values, list):
            return [self.filled(value) for value in values]
        if not isinstance(values, str):
            return values
        return values.format(
            operation=self.operation, token=self.token, policy=self.policy, schedule=self.schedule, **MARKS
        )

    def member(self, role: str) -> Member:
        people = self.cast
        return {
            "viewer": people.vera,
            "operator": people.oscar,
            "admin": people.alice,
            "other": people.mallory,
            "provider": people.paula,
            "auditor": people.arthur,
        }[role]

    def browser(self, role: str) -> Client:
        client = Client(raise_request_exception=False)
        if role != "nobody":
            client.force_login(self.member(role).row)
        return client

    def script(self, role: str, *scopes: str) -> Client:
        headers = {} if role == "nobody" else {"Authorization": f"Bearer {self.member(role).token(*scopes)}"}
        return Client(raise_request_exception=False, headers=headers)

    def hidden_from(self, role: str) -> list[str]:
        """Return what this role must not find anywhere."""
        theirs = [
            MARKS["beta"],
            MARKS["nobody"],
            "mallory@",
            self.theirs,
            self.their_token,
            self.their_policy,
            self.their_schedule,
        ]
        mine = [MARKS["alpha"], "alice@", "oscar@", "vera@", self.operation, self.token, self.policy, self.schedule]
        return {
            **dict.fromkeys(MEMBERS, theirs),
            "other": [*mine, MARKS["nobody"]],
            "nobody": [*theirs, *mine],
        }.get(role, [])


@pytest.fixture
def world(cast: Cast, rows: Rows) -> World:
    made = {}
    for owner, mark in MARKS.items():
        tenant = getattr(cast, owner, None)
        rows.machine(f"vm-{mark}", tenant, name=f"web-{mark}", policy_name=f"policy-{mark}", project_name=f"lab-{mark}")
        rows.backup(f"b-{mark}", f"vm-{mark}", tenant, timezone.now(), destination_guid=f"bd-{mark}")
        rows.task(f"t-{mark}", f"vm-{mark}", tenant, backup_guid=f"b-{mark}", schedule_guid=f"s-{mark}")
        if tenant is not None:
            rows.destination(f"bd-{mark}", tenant, f"Vault {mark}")
            rows.target(tenant, f"Target {mark}")
            made[owner] = rows.operation(
                f"vm-{mark}", tenant, tasks=(f"t-{mark}",), state="succeeded", backup_guid=f"b-{mark}",
                virtual_machine_name=f"web-{mark}", requested_by_name=f"Somebody {mark}",
            )  # fmt: skip
    rows.reading("inventory", timezone.now())
    tokens = [token_of(member, mark) for member, mark in ((cast.alice, MARKS["alpha"]), (cast.mallory, MARKS["beta"]))]
    policies = []
    for tenant, mark in ((cast.alpha, MARKS["alpha"]), (cast.beta, MARKS["beta"])):
        policy = kept(tenant, f"Gold {mark}", f"vm-{mark}", destination_guid=f"bd-{mark}")
        with every_tenant("test"):
            policies += [str(policy.pk), str(policy.schedules.get().pk)]
    return World(cast, str(made["alpha"].pk), str(made["beta"].pk), *tokens, *policies)


def token_of(member: Member, mark: str) -> str:
    """Return the id of a new token of this person, named with a mark."""
    member.token()
    with every_tenant("test"):
        row = Token.objects.get(person_id=member.row.pk)
        Token.objects.filter(pk=row.pk).update(name=f"script-{mark}")
    return str(row.pk)


@pytest.fixture(params=["both locks", "row-level security alone", "the scope alone"])
def locks(request: pytest.FixtureRequest, database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Take one of the two locks away."""
    if request.param == "row-level security alone":
        monkeypatch.setattr(TenantManager, "get_queryset", models.Manager.get_queryset)
        monkeypatch.setattr(TenantOwned, "save", models.Model.save)
    if request.param != "the scope alone":
        yield request.param
        return
    tables = [table(model) for model in (*guarded_models(), *PROVIDER_ONLY)]
    with connections["owner"].cursor() as cursor:
        try:
            for name in tables:
                cursor.execute(f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY")
            yield request.param
        finally:
            connections["default"].close()
            for name in tables:
                cursor.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")


def leaks(response: Any, hidden: list[str], *asked: str) -> list[str]:
    """Return what is found in body or headers and must not be; what was ``asked`` for is the asker's own word."""
    body = b"" if response.streaming else response.content  # a stream has no end; tests/live listens to it
    text = body.decode(errors="replace") + str(list(response.items())) + response.cookies.output()
    for word in asked:
        text = text.replace(word, "")
    return [word for word in hidden if word in text]


def sent(world: World, asked: Asked) -> list[str]:
    """Return the ids that asking for an address sends."""
    found = re.findall(r"'([^']*\{\w+\}[^']*)'", str([asked.kwargs, asked.query, asked.body]))
    return [world.filled(one) for one in found]


def walk(
    world: World, role: str, client: Client, table: Mapping[str, Asked], *, as_json: bool
) -> tuple[list[str], list[str]]:
    """Ask for each address; return the answers that differ from the table, and the leaks."""
    wrong, leaked = [], []
    for name, asked in table.items():
        address = reverse(name, kwargs=world.filled(asked.kwargs))
        body: Any = world.filled(asked.body)
        body = json.dumps(body) if as_json else body
        kind = {"content_type": "application/json"} if as_json else {}
        for method, expected in (("GET", asked.get[role]), ("POST", asked.post[role])):
            reading = method == "GET"
            response = client.get(address, world.filled(asked.query)) if reading else client.post(address, body, **kind)
            if response.status_code != expected:
                wrong.append(f"{method} {name} as {role}: {response.status_code}, not {expected}")
            leaked += [
                f"{method} {name} as {role}: {word}"
                for word in leaks(response, world.hidden_from(role), *sent(world, asked))
            ]
            if response.status_code == 302 and role == "nobody" and name in TENANT_PAGES:
                assert response["Location"].startswith("/accounts/login/"), name
    return wrong, leaked


def test_every_address_is_in_the_matrix() -> None:
    named = set(named_addresses())
    # Old spellings of the same addresses, which allauth keeps, and the one that is closed before allauth sees it.
    led_on = {name for name in named if name.startswith("social/")} | {"accounts/email/"}
    assert named - led_on == {*PAGES, *API}
    assert {role for asked in {**PAGES, **API}.values() for role in (*asked.get, *asked.post)} == set(ROLES)


def test_each_page_answers_each_role_as_the_matrix_says(locks: str, world: World) -> None:
    # What libraries bring knows no tenant, and is asked once; signing out comes last.
    ours = ("tenant:", "console:")
    pages = {name: asked for name, asked in PAGES.items() if locks == "both locks" or name.startswith(ours)}
    pages = dict(sorted(pages.items(), key=lambda one: one[0] == "account_logout"))
    found = [walk(world, role, world.browser(role), pages, as_json=False) for role in ROLES]
    assert "\n".join(line for wrong, _ in found for line in wrong) == ""
    assert "\n".join(line for _, leaked in found for line in leaked) == ""


def test_each_call_answers_each_role_as_the_matrix_says(locks: str, world: World) -> None:
    found = [walk(world, role, world.script(role), API, as_json=True) for role in ROLES]
    assert "\n".join(line for wrong, _ in found for line in wrong) == ""
    assert "\n".join(line for _, leaked in found for line in leaked) == ""


def plain(response: Any, *asked: str) -> str:
    """What a response says, without what differs each time and without the asker's own words."""
    text = response.content.decode()
    for word in (*asked, response["X-Reference"]):
        text = text.replace(word, "...")
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", text)
    return re.sub(r'(datetime|data-now)="[^"]*"', "", text)


def test_what_is_not_ones_own_is_not_there_and_nobody_learns_why(locks: str, world: World) -> None:
    """Beta's, nobody's and what never was are answered by the same words."""
    names = ("operation_id", "token_id", "policy_id", "schedule_id")
    theirs = (world.theirs, world.their_token, world.their_policy, world.their_schedule)
    others = [
        {"guid": f"vm-{MARKS['beta']}", **dict(zip(names, theirs, strict=True))},
        {"guid": f"vm-{MARKS['nobody']}", **{name: str(uuid4()) for name in names}},
        {"guid": "vm-never", **{name: str(uuid4()) for name in names}},
    ]
    for role in MEMBERS:
        browser, script = world.browser(role), world.script(role)
        for name in OBJECTS:
            client = script if name.startswith("api:") else browser
            asked = {**TENANT_PAGES, **API}[name]
            said = set()
            for ids in others:
                kwargs = {**asked.kwargs, **{key: value for key, value in ids.items() if key in asked.kwargs}}
                ask = client.post if asked.get[role] == 405 else client.get
                response = ask(reverse(name, kwargs=kwargs))
                assert response.status_code == 404, f"{name} {ids}"
                asked_for = next(value for key, value in ids.items() if key in asked.kwargs)
                assert leaks(response, world.hidden_from(role), asked_for) == [], f"{name} {ids}"
                assert asked_for not in str(list(response.items())), f"{name} repeats {asked_for} in a header"
                said.add(plain(response, asked_for))
            assert len(said) == 1, f"{name} tells {role} which it was"


def test_asking_for_a_backup_of_what_is_not_ones_own_is_the_same_as_of_nothing(locks: str, world: World) -> None:
    browser, script = world.browser("operator"), world.script("operator")
    said: dict[tuple[str, int], set[str]] = {}
    for guid in (f"vm-{MARKS['beta']}", f"vm-{MARKS['nobody']}", "vm-never"):
        for wanted in ([guid], [f"vm-{MARKS['alpha']}", guid]):
            body = {"kind": "backup", "virtual_machines": wanted}
            for way, response in (
                ("GET", browser.get("/t/alpha/back-up/", {"vm": wanted})),
                ("POST", browser.post("/t/alpha/back-up/", {"vm": wanted})),
                ("API", script.post("/api/v1/operations/", body, content_type="application/json")),
            ):
                assert response.status_code == 404
                assert leaks(response, world.hidden_from("operator"), guid) == []
                said.setdefault((way, len(wanted)), set()).add(plain(response, guid))
    assert {way: len(answers) for way, answers in said.items()} == dict.fromkeys(said, 1)
    with every_tenant("test"):
        from vplus_bridge.models import Operation

        assert Operation.objects.filter(state="requested").count() == 0


def test_filters_and_searches_find_nothing_of_anybody_else(locks: str, world: World) -> None:
    beta = MARKS["beta"]
    script, browser = world.script("admin"), world.browser("admin")
    for address in (
        f"virtual-machines/?search=vm-{beta}",
        f"virtual-machines/?search=uuid-vm-{beta}",
        f"virtual-machines/?policy=policy-{beta}",
        f"tasks/?virtual_machine=vm-{beta}",
        f"tasks/?backup=b-{beta}",
        f"tasks/?schedule=s-{beta}",
        f"operations/?virtual_machine=vm-{beta}",
    ):
        answer = script.get(f"/api/v1/{address}")
        assert (answer.status_code, answer.json()["results"]) == (200, []), address
    for address in (
        "virtual-machines/?search=web",
        "virtual-machines/?policy=none",
        "activity/?search=web",
        "activity/tasks/?vm=web",
    ):
        page = browser.get(f"/t/alpha/{address}")
        assert page.status_code == 200
        assert leaks(page, world.hidden_from("admin")) == [], address


def test_what_points_at_anothers_things_brings_nothing_of_them(locks: str, world: World, rows: Rows) -> None:
    """vPlus may well name another tenant's machine, backup or destination in a record of ours."""
    alpha, beta = MARKS["alpha"], MARKS["beta"]
    tenant = world.cast.alpha
    rows.backup("b-odd", f"vm-{alpha}", tenant, timezone.now(), parent_guid="x", destination_guid="bd-x")
    from vplus_bridge.models import Backup, Task

    with every_tenant("test"):
        Backup.objects.filter(guid="b-odd").update(parent_guid=f"b-{beta}", destination_guid=f"bd-{beta}")
        Task.objects.filter(guid=f"t-{alpha}").update(backup_guid=f"b-{beta}")
    words = [word for word in world.hidden_from("admin") if word != beta] + [
        f"web-{beta}",
        f"Vault {beta}",
        f"policy-{beta}",
    ]
    script, browser = world.script("admin"), world.browser("admin")
    for client, addresses in (
        (script, ("/api/v1/tasks/", f"/api/v1/virtual-machines/vm-{alpha}/backups/", "/api/v1/operations/")),
        (
            browser,
            (f"/t/alpha/virtual-machines/vm-{alpha}/restore-points/", f"/t/alpha/virtual-machines/vm-{alpha}/backups/"),
        ),
    ):
        for address in addresses:
            answer = client.get(address)
            assert answer.status_code == 200
            assert leaks(answer, words) == [], address


def test_no_other_method_changes_or_shows_anything(world: World) -> None:
    for role in ("operator", "other", "nobody"):
        for client, addresses in ((world.browser(role), TENANT_PAGES), (world.script(role), API)):
            for name, asked in addresses.items():
                address = reverse(name, kwargs=world.filled(asked.kwargs))
                for method in ("put", "patch", "delete", "options"):
                    response = getattr(client, method)(address)
                    assert response.status_code in {302, 401, 403, 404, 405}, f"{method} {name} as {role}"
                    assert leaks(response, world.hidden_from(role), *sent(world, asked)) == []


# ---------------------------------------------------------------- tokens


def calls_as(world: World, client: Client) -> dict[str, tuple[int, int]]:
    """Ask for each address of the API; return the status of GET and POST by name."""
    found = {}
    for name, asked in API.items():
        address = reverse(name, kwargs=world.filled(asked.kwargs))
        body = json.dumps(world.filled(asked.body))
        found[name] = (
            client.get(address).status_code,
            client.post(address, body, content_type="application/json").status_code,
        )
    return found


@pytest.mark.parametrize("role", ["viewer", "operator", "provider"])
def test_a_narrowed_token_does_what_both_role_and_scope_allow(role: str, world: World) -> None:
    for scope in ("read", "backup", "cancel", "provider_read", "provider_change", "tokens"):
        narrowed = calls_as(world, world.script(role, scope))
        for name, asked in API.items():
            get, post = asked.get[role], asked.post[role]
            if name.startswith("api:operator") and role == "provider":
                get = get if scope == "provider_read" else 403
                post = 405 if post == 405 and scope == "provider_read" else 403
            elif name != "api:me" and not name.startswith("api:operator_") and role != "provider":
                get = 403 if get in (200, 404, 405) and asked.scopes != (scope,) else get
                post = 403 if post in (200, 201, 202, 409) and asked.post_scopes != (scope,) else post
            assert narrowed[name] == (get, post), f"{name} as {role} with {scope}"


def test_a_token_with_two_scopes_does_both(world: World) -> None:
    both = calls_as(world, world.script("operator", "read", "backup"))
    expected = {}
    for name, asked in API.items():
        get, post = asked.get["operator"], asked.post["operator"]
        expected[name] = (
            get if name.startswith("api:operator_") or {*asked.scopes} <= {"read", "backup"} else 403,
            403 if post in (200, 201, 202, 409) and not {*asked.post_scopes} <= {"read", "backup"} else post,
        )
    assert both == expected


def ended(token: Token) -> None:
    Token.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def revoked(token: Token) -> None:
    Token.objects.filter(pk=token.pk).update(revoked_at=timezone.now())


def left(token: Token) -> None:
    Membership.objects.filter(person=token.person_id).delete()
    Person.objects.filter(pk=token.person_id).update(provider_role="")


def switched_off(token: Token) -> None:
    Person.objects.filter(pk=token.person_id).update(is_active=False)


@pytest.mark.parametrize("how", [ended, revoked, left, switched_off])
@pytest.mark.parametrize("role", ["admin", "provider"])
def test_a_token_that_has_ended_is_nobodys(role: str, how: Any, world: World) -> None:
    script = world.script(role)
    assert script.get("/api/v1/me/").status_code == 200
    with every_tenant("test"):
        how(Token.objects.latest("created_at"))
    assert calls_as(world, script) == {name: (asked.get["nobody"], asked.post["nobody"]) for name, asked in API.items()}


def test_what_is_no_token_is_nobodys(world: World) -> None:
    token = world.cast.alice.token()
    for header in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer  x",
        "Basic YTpi",
        f"Token {token}",
        f"bearer{token}",
        f"Bearer {token}x",
    ):
        client = Client(raise_request_exception=False, headers={"Authorization": header})
        for address in ("virtual-machines/", "me/"):
            assert client.get(f"/api/v1/{address}").status_code == 401, header
    assert Client(headers={"Authorization": f"Bearer {token}"}).get("/api/v1/me/").status_code == 200


def test_a_token_opens_no_page_and_a_session_no_call(world: World) -> None:
    script, browser = world.script("admin"), world.browser("admin")
    assert script.get("/t/alpha/virtual-machines/").status_code == 302
    assert browser.get("/api/v1/virtual-machines/").status_code == 401
    paula = world.script("provider")
    assert paula.get("/console/virtual-machines/").status_code == 302


def test_a_token_of_one_tenant_is_none_of_another_also_for_a_person_in_both(world: World, rows: Rows) -> None:
    """Alice is made Beta's viewer too: her token of Alpha still reads Alpha alone."""
    cast = world.cast
    with every_tenant("test"):
        Membership.objects.create(
            tenant=cast.beta, person=cast.alice.row, role="viewer", name="Alice", email=cast.alice.email
        )
    script = world.script("admin")
    seen = [row["guid"] for row in script.get("/api/v1/virtual-machines/").json()["results"]]
    assert seen == [f"vm-{MARKS['alpha']}"]
    assert script.get(f"/api/v1/virtual-machines/vm-{MARKS['beta']}/").status_code == 404
    browser = world.browser("admin")
    assert browser.get("/t/beta/virtual-machines/").status_code == 200
    assert browser.get(f"/t/beta/virtual-machines/vm-{MARKS['beta']}/").status_code == 200
    assert browser.get(f"/t/alpha/virtual-machines/vm-{MARKS['beta']}/").status_code == 404
    assert browser.get(f"/t/beta/virtual-machines/vm-{MARKS['alpha']}/").status_code == 404
    assert browser.get(f"/t/beta/back-up/?vm=vm-{MARKS['beta']}").status_code == 403, "a viewer there"


def test_the_pages_that_everybody_may_read_are_the_same_for_everybody(world: World) -> None:
    for name in set(OPEN_PAGES) - {"readyz", "metrics"}:
        said = {plain(world.browser(role).get(reverse(name))) for role in ("nobody", "admin", "provider")}
        assert len(said) == 1, name

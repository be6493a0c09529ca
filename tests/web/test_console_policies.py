"""The provider lets a tenant read a policy that was in vPlus before, and takes it back."""

import pytest

from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.policies import in_vplus, kept
from tests.web.conftest import Visitor

PAGE = "/console/policies/"
THEIRS = "/t/alpha/policies/"


@pytest.fixture
def policies(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.machine("vm-beta", cast.beta, name="beta-01")
    in_vplus("p-old", name="customer-x and y", vm_guids=["vm-1", "vm-beta"])
    in_vplus("p-Gold-alpha", name="alpha-policy-gold", tenant=cast.alpha)
    kept(cast.alpha, "Gold")


def test_a_policy_is_attached_read_and_taken_back(policies: None, cast: Cast, paula: Visitor) -> None:
    alice = Visitor(cast.alice)
    assert [row[1:5] for row in paula.get(PAGE).rows()] == [
        ["customer-x and y", "2", "", ""],  # what can still be attached stands first
        ["alpha-policy-gold", "–", "Alpha", "Gold"],
    ]
    answer = paula.post(PAGE, policy="p-old", tenant="alpha", name="Nightly")
    assert "Alpha can read Nightly now." in answer.main.text
    row = next(row for row in alice.get(THEIRS).rows() if row[0] == "Nightly")
    assert (row[2], row[4]) == ("1", "Read-only")
    page = alice.get(alice.get(THEIRS).link("Nightly"))
    assert page.has_link("web-01")
    assert not page.has_link("Change")
    assert "customer-x" not in page.html
    assert "beta-01" not in page.html
    taken = paula.post(PAGE, detach="p-old")
    assert "Nightly is no longer Alpha’s to read." in taken.main.text
    assert not alice.get(THEIRS).has_link("Nightly")


@pytest.mark.parametrize(
    "sent",
    [
        {"tenant": "alpha"},
        {"policy": "p-old", "tenant": ""},
        {"policy": "p-old", "tenant": "no-such"},
        {"policy": "no-such", "tenant": "alpha"},
        {"policy": "p-Gold-alpha", "tenant": "alpha"},
        {"policy": "p-old", "tenant": "alpha", "name": "gold"},
    ],
)
def test_wrong_input_is_told_and_nothing_is_attached(sent: dict[str, str], policies: None, paula: Visitor) -> None:
    page = paula.post(PAGE, **sent)
    assert page.status == 400
    assert page.one(css_class="error-summary").text
    assert [row[3] for row in page.rows()] == ["", "Alpha"]


def test_an_auditor_reads_and_changes_nothing(policies: None, cast: Cast) -> None:
    arthur = Visitor(cast.arthur)
    assert len(arthur.get(PAGE).rows()) == 2
    assert arthur.post(PAGE, policy="p-old", tenant="alpha").status == 403
    assert arthur.post(PAGE, detach="p-old").status == 403

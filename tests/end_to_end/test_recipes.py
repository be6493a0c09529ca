"""The recipes of docs/api/README.md, each run as it stands there, against a real portal with workers and a vPlus."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenants.scope import every_tenant
from tests.end_to_end.conftest import Portal
from tests.processes import ROOT, eventually
from vplus_bridge.models import InfrastructureItem, Operation
from vplus_bridge.operations.moves import ACTIVE
from vplus_bridge.ownership.allowances import allow_restore_target

PAGE = Path(ROOT / "docs/api/README.md").read_text(encoding="utf-8")
MODULE = "# vplus_portal.py\n"
MACHINE = "vm-alpha-web"


@dataclass(frozen=True)
class Recipe:
    """One block of the page, and the heading it stands under."""

    heading: str
    language: str
    text: str


def blocks() -> list[Recipe]:
    found, heading = [], ""
    for part in re.finditer(r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        heading = part[1] or heading
        if part[2]:
            found.append(Recipe(heading, part[2], part[3]))
    return found


RECIPES = [one for one in blocks() if one.language != "text" and not one.text.startswith(MODULE)]
# What each must say, so that one that does nothing is noticed.
SAYS = {
    "Who am I, and what may this token do": r'"slug":"alpha"',
    "List virtual machines that are not protected": r'"results":\[.*"as_of":"20',
    "Back up one, at most once a day": r'"operations":\[\{"id":',
    "What runs at this moment": r'"results":\[',
    "Page through all virtual machines": r"web-01 \w+ \d+",
    "Back up, and watch until it is done": r"succeeded: \{'restore_point': '",
    "Restore the newest point, as a new virtual machine": r"succeeded at Production",
    "Ask to cancel": r"^(cancelled|succeeded)$",
    "Send again without doing again": r"one operation: [0-9a-f-]{36}",
    "When the portal says no": r"not_found \{'virtual_machines': .*\nTell your provider: [0-9A-Z]{4}-[0-9A-Z]{4}",
    "A token of its own for each script": r"keep vpp_\S+\.\.\. until 20",
}


@pytest.fixture(scope="module")
def portal(start_portal: Callable[[], Portal]) -> Portal:
    portal = start_portal()
    portal.start_everything()
    eventually("the platforms are read", platforms_read)
    with every_tenant("test"):
        allow_restore_target(tenant_id=portal.cast.alpha.pk, label="Production", manager_guid="hvm-openstack")
    return portal


def platforms_read() -> bool:
    with every_tenant("test"):
        return bool(InfrastructureItem.objects.filter(guid="hvm-openstack").exists())


def test_the_page_has_the_recipes_that_are_run() -> None:
    assert {one.heading for one in RECIPES} == set(SAYS)
    assert {one.language for one in blocks()} == {"text", "sh", "python"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda one: one.heading)
def test_a_recipe_works_as_it_stands(recipe: Recipe, portal: Portal, tmp_path: Path) -> None:
    if recipe.language == "sh" and shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    [module] = [one.text for one in blocks() if one.text.startswith(MODULE)]
    (tmp_path / "vplus_portal.py").write_text(module, encoding="utf-8")
    script = tmp_path / "recipe"
    script.write_text(recipe.text, encoding="utf-8")
    eventually("what was started before has ended", lambda: not under_way())
    command = ["bash", "-eu", "-o", "pipefail"] if recipe.language == "sh" else [sys.executable]
    told = {
        "PATH": os.environ["PATH"],
        "PORTAL": portal.url,
        "TOKEN": portal.cast.oscar.token(),
        "VM": MACHINE,
        "NO_PROXY": "*",
    }
    done = subprocess.run(
        [*command, script], cwd=tmp_path, env=told, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(SAYS[recipe.heading], done.stdout, re.MULTILINE), done.stdout


def under_way() -> int:
    with every_tenant("test"):
        return int(Operation.objects.filter(state__in=ACTIVE).count())


def test_what_the_recipes_asked_for_was_done(portal: Portal) -> None:
    eventually("everything has ended", lambda: not under_way())
    with every_tenant("test"):
        ended = set(Operation.objects.values_list("kind", "state"))
    assert {("backup", "succeeded"), ("restore", "succeeded")} <= ended
    assert not {state for _, state in ended} & {"failed", "needs_attention"}

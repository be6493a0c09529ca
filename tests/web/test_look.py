"""What can be checked of templates and style sheets without a browser."""

import re
from pathlib import Path

import pytest
from django.template.loader import get_template

from portal.web.wording import badges

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
STYLES = sorted((ROOT / "static" / "css").glob("*.css"))
ICONS = (ROOT / "static" / "icons.txt").read_text().split()
NAMED_ICON = re.compile(r"""\{% icon "([a-z0-9-]+)" %\}|icon_name="([a-z0-9-]+)"|icon_name\|default:"([a-z0-9-]+)\"""")


def text_of(template: Path) -> str:
    return re.sub(r"\{% comment %\}.*?\{% endcomment %\}", "", template.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_each_template_can_be_read(template: Path) -> None:
    get_template(str(template.relative_to(ROOT / "templates")))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_no_template_needs_what_the_content_security_policy_forbids(template: Path) -> None:
    text = text_of(template)
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:|hx-on|hx-vals=.js:", text)
    for attributes in re.findall(r"<script([^>]*)>", text):
        assert "src=" in attributes or 'type="application/json"' in attributes


def test_every_icon_that_is_named_is_in_the_sprite_and_listed_once() -> None:
    named = {name for path in TEMPLATES for found in NAMED_ICON.findall(text_of(path)) for name in found if name}
    assert named | badges.icon_names() <= set(ICONS)
    assert sorted(set(ICONS)) == ICONS


def test_the_style_sheets_stay_small_and_in_their_layers() -> None:
    assert sum(len(path.read_text().splitlines()) for path in STYLES) < 1500
    for path in STYLES:
        assert f"@layer {path.stem} {{" in path.read_text()


def test_only_the_tokens_name_colours() -> None:
    for path in STYLES:
        if path.stem != "tokens":
            found = [colour for colour in re.findall(r"#[0-9a-f]{3,8}\b", path.read_text()) if colour != "#fff"]
            assert not found, f"{path.name}: {found}"


def test_the_page_of_our_own_failure_stands_alone() -> None:
    """It is shown when the database may be away: it must not build the frame, which reads rows."""
    text = text_of(ROOT / "templates" / "500.html")
    assert "{% extends" not in text
    assert "frame." not in text
    page = get_template("500.html").render({"reference": "7F3K-29QD"})
    assert "This page cannot be shown right now" in page
    assert "7F3K-29QD" in page

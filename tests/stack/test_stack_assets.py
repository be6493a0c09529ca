"""The icon sprite: only what is used, bare enough for CSS, and loud about a name that does not exist."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from local_stack.assets import PACKAGE, SPRITE, build_sprite, icons_used
from local_stack.folder import CLONE
from local_stack.problem import StackProblem

SVG = "{http://www.w3.org/2000/svg}"


def symbols(clone: Path) -> ElementTree.Element:
    return ElementTree.parse(clone / SPRITE).getroot()  # noqa: S314  # our own file


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for folder in ("templates/web", "portal/web", "static"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("outline/server", "outline/star", "filled/star", "outline/refresh"):
        target = tmp_path / PACKAGE / f"{name}.svg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLONE / PACKAGE / f"{name}.svg", target)
    (tmp_path / "templates/web/list.html").write_text("<p>{% icon \"server\" %}</p> {% icon 'star-filled' size=2 %}")
    (tmp_path / "portal/web/words.py").write_text("TEXT = '{% icon \"star\" %}'")
    (tmp_path / "static/icons.txt").write_text("# chosen in code\nrefresh  # states\n\n")
    return tmp_path


def test_icons_come_from_templates_code_and_the_list(clone: Path) -> None:
    assert list(icons_used(clone)) == ["refresh", "server", "star", "star-filled"]


def test_symbols_leave_size_stroke_and_fill_to_css(clone: Path) -> None:
    assert build_sprite(clone) == 4
    root = symbols(clone)
    assert root.tag == f"{SVG}svg"
    assert root.attrib == {}
    assert [symbol.attrib for symbol in root] == [
        {"id": name, "viewBox": "0 0 24 24"} for name in ("refresh", "server", "star", "star-filled")
    ]
    for shape in root.iterfind(f"{SVG}symbol/*"):
        assert set(shape.attrib) <= {"d", "cx", "cy", "r", "x", "y", "width", "height", "rx"}
        assert shape.get("d") != "M0 0h24v24H0z"
    assert len(root.findall(f"{SVG}symbol[@id='server']/*")) == 4


def test_the_file_is_written_only_where_it_changes(clone: Path) -> None:
    build_sprite(clone)
    before = (clone / SPRITE).stat().st_mtime_ns
    build_sprite(clone)
    assert (clone / SPRITE).stat().st_mtime_ns == before
    (clone / "static/icons.txt").write_text("")
    build_sprite(clone)
    assert "refresh" not in (clone / SPRITE).read_text()


@pytest.mark.parametrize(("line", "why"), [("no-such-icon", "has none of that name"), ("../secret", "small letters")])
def test_a_wrong_name_is_told_with_the_file_that_wants_it(clone: Path, line: str, why: str) -> None:
    (clone / "static/icons.txt").write_text(line)
    with pytest.raises(StackProblem, match=rf"static/icons\.txt wants the icon .*{why}"):
        build_sprite(clone)


def test_without_the_package_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackProblem, match="make setup"):
        build_sprite(tmp_path)


def test_every_icon_of_the_portal_is_in_the_sprite_and_nothing_else() -> None:
    root = symbols(CLONE)
    assert [symbol.get("id") for symbol in root] == list(icons_used())

"""The icon sprite: one SVG file of only the icons that templates use, made from the icon package's files.

Only the standard library is needed, so that an image can be built with this module alone.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from local_stack.folder import CLONE
from local_stack.problem import StackProblem

SPRITE = Path("static/vendor/icons.svg")
LIST = Path("static/icons.txt")
PACKAGE = Path("node_modules/@tabler/icons/icons")
_SOURCES = ("templates/**/*.html", "portal/**/*.html", "portal/**/*.py", "tenants/**/*.py", "vplus_bridge/**/*.py")
_TAG = re.compile(r"""\{%-?\s*icon\s+(?:"([^"]+)"|'([^']+)')""")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_SVG = "http://www.w3.org/2000/svg"
_FRAME = "M0 0h24v24H0z"


def icons_used(clone: Path = CLONE) -> dict[str, str]:
    """Return each icon's name and the first file that wants it.

    Found in ``{% icon "name" %}`` of templates and Python, and in static/icons.txt: one name a line, for names that
    come from a variable; what follows a # is a comment.
    """
    found: dict[str, str] = {}
    for name, place in _wanted(clone):
        if not _NAME.fullmatch(name):
            raise StackProblem(f"{place} wants the icon {name!r}; a name has small letters, digits and hyphens only.")
        found.setdefault(name, place)
    return dict(sorted(found.items()))


def build_sprite(clone: Path = CLONE) -> int:
    """Write static/vendor/icons.svg, only where it changes; return how many icons it holds.

    Each icon is a ``<symbol id="NAME" viewBox="0 0 24 24">`` with bare shapes: size, stroke and fill are CSS's.
    ``NAME-filled`` is the filled variant. Raises StackProblem for an unknown name, with the file that wants it.
    """
    if not (clone / PACKAGE).is_dir():
        raise StackProblem("The icon package is not installed; run `make setup`.")
    sprite = _sprite(icons := icons_used(clone), clone / PACKAGE)
    target = clone / SPRITE
    if not target.exists() or target.read_text(encoding="utf-8") != sprite:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(sprite, encoding="utf-8")
    return len(icons)


def _wanted(clone: Path) -> Iterator[tuple[str, str]]:
    for pattern in _SOURCES:
        for path in sorted(clone.glob(pattern)):
            for match in _TAG.finditer(path.read_text(encoding="utf-8")):
                yield match[1] or match[2], str(path.relative_to(clone))
    if (clone / LIST).exists():
        for line in (clone / LIST).read_text(encoding="utf-8").splitlines():
            if name := line.partition("#")[0].strip():
                yield name, str(LIST)


def _sprite(icons: Mapping[str, str], package: Path) -> str:
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.Element(f"{{{_SVG}}}svg")
    for name, place in icons.items():
        symbol = ElementTree.SubElement(root, f"{{{_SVG}}}symbol", {"id": name, "viewBox": "0 0 24 24"})
        symbol.extend(_shapes(name, place, package))
    ElementTree.indent(root, space="")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _shapes(name: str, place: str, package: Path) -> list[ElementTree.Element]:
    plain = name.removesuffix("-filled")
    source = package / ("outline" if plain == name else "filled") / f"{plain}.svg"
    if not source.exists():
        raise StackProblem(f"{place} wants the icon {name!r}, and the icon package has none of that name.")
    icon = ElementTree.parse(source).getroot()  # noqa: S314  # a pinned package, checked by its hash
    return [shape for shape in icon if shape.get("d") != _FRAME]


def main() -> None:
    """Build the sprite of this clone."""
    try:
        build_sprite()
    except StackProblem as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()

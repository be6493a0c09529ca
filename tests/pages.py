"""Reading a page as a test needs it: its words as a person sees them, its links, its forms and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
UNSEEN = {"script", "style", "template", "head"}


class Element:
    """One element of a page, or the page itself."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element | str] = []

    def walk(self) -> Iterator[Element]:
        """Give every element below this one, in the order of the page."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.walk()

    def all(self, tag: str = "", css_class: str = "", **attributes: str) -> list[Element]:
        """Return the elements below with this tag, class and attributes (``aria_sort`` stands for ``aria-sort``)."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            one
            for one in self.walk()
            if (not tag or one.tag == tag)
            and (not css_class or css_class in one.attributes.get("class", "").split())
            and all(one.attributes.get(name) == value for name, value in wanted.items())
        ]

    def one(self, tag: str = "", css_class: str = "", **attributes: str) -> Element:
        """Return the only element that fits."""
        found = self.all(tag, css_class, **attributes)
        assert len(found) == 1, f"{len(found)} of <{tag} class={css_class!r} {attributes}>"
        return found[0]

    @property
    def text(self) -> str:
        """The words in it, with single spaces; what is only for scripts, or hidden, left out."""
        return " ".join("".join(self._pieces()).split())

    def _pieces(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in UNSEEN and "hidden" not in child.attributes:
                # What stands inside a sentence; everything else is set apart.
                space = "" if child.tag in {"time", "code", "data"} else " "
                yield space
                yield from child._pieces()
                yield space


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if any(element.tag == tag for element in self.open):
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


class Page(Element):
    """A whole page, from the response of Django's client or of requests."""

    def __init__(self, response: Any) -> None:
        super().__init__("", {})
        self.response = response
        self.status: int = response.status_code
        self.html: str = response.content.decode()
        builder = _Builder()
        builder.feed(self.html)
        self.children = builder.root.children

    @property
    def title(self) -> str:
        """What the browser's tab says."""
        return " ".join("".join(str(part) for part in self.one("title").children).split())

    @property
    def heading(self) -> str:
        """The one H1."""
        return self.one("h1").text

    @property
    def main(self) -> Element:
        """The page without what stands round it."""
        return self.one("main")

    def link(self, words: str) -> str:
        """Return where the only link with these words leads."""
        found = {one.attributes["href"] for one in self.all("a") if one.text == words and "href" in one.attributes}
        assert len(found) == 1, f"links called {words!r}: {found}"
        return found.pop()

    def has_link(self, words: str) -> bool:
        """Tell whether there is a link with these words."""
        return any(one.text == words and "href" in one.attributes for one in self.all("a"))

    def rows(self) -> list[list[str]]:
        """Return the cells of the body of the only table, as words."""
        return [
            [cell.text for cell in row.children if isinstance(cell, Element)] for row in self.one("tbody").all("tr")
        ]

    def form(self, action: str) -> dict[str, list[str]]:
        """Return what a press without any change would send, of the form with this action."""
        form = next(one for one in self.all("form") if one.attributes.get("action", "") == action)
        sent: dict[str, list[str]] = {}
        for field in form.walk():
            name, kind = field.attributes.get("name"), field.attributes.get("type", "text")
            if not name:
                continue
            if field.tag == "input" and (kind not in ("radio", "checkbox", "submit") or "checked" in field.attributes):
                unsaid = "on" if kind in ("radio", "checkbox") else ""
                sent.setdefault(name, []).append(field.attributes.get("value", unsaid))
            if field.tag == "select":
                options = field.all("option")
                chosen = [one for one in options if "selected" in one.attributes] or options[:1]
                sent.setdefault(name, []).extend(one.attributes.get("value", one.text) for one in chosen)
        return sent

"""The product's source as a test reads it: each module's syntax tree, and what runs while a module is imported."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("portal", "tenants", "vplus_bridge")


@cache
def modules(*folders: str) -> dict[str, ast.Module]:
    """Return the tree of each module below the folders (default: the product), by path from the top, without migrations."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for folder in folders or PRODUCT
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "migrations" not in path.parts
    }


def names_used(tree: ast.AST) -> set[str]:
    """Every name and attribute that a tree mentions."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | imported(tree)


def imported(tree: ast.AST) -> set[str]:
    """Every name that a tree imports, as it is called where it comes from."""
    return {
        alias.name.rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    """Every call of something that bears this name, also as an attribute of something."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")) == name
    ]


def run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Give every node that runs while the module is imported: bodies of functions do not, their defaults do."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            early: list[ast.AST] = [*child.decorator_list, *child.args.defaults, *filter(None, child.args.kw_defaults)]
        elif isinstance(child, ast.Lambda):
            early = [*child.args.defaults, *filter(None, child.args.kw_defaults)]
        else:
            early = [child]
        for node in early:
            yield node
            yield from run_at_import(node)

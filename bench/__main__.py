"""``make bench`` runs every figure; ``make bench ARGS="live"`` one, ``ARGS="live --large"`` at its large size."""

import argparse
import importlib
import os
import pkgutil
import sys
import time

import django

import bench

NOT_FIGURES = {"__main__", "ground", "simulator", "bare_page"}


def main() -> int:
    """Run what the command line names, by default everything; return the exit status."""
    figures = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in NOT_FIGURES)
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(figures))
    parser.add_argument("--large", action="store_true", help="at the large size, for a machine that carries it")
    given = parser.parse_args()
    if unknown := set(given.figures) - set(figures):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}; there are {', '.join(figures)}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # a browser's loop runs in the thread that asks for rows
    django.setup()
    for name in given.figures or figures:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        importlib.import_module(f"bench.{name}").main(large=given.large)
        print(f"   ({time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

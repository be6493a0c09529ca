"""Command line: ``python -m local_stack demo | run | reset | with-servers COMMAND...``; see the Makefile."""

import argparse
import shutil
import sys

from local_stack.folder import data_folder, is_ours
from local_stack.launcher import demo, run
from local_stack.problem import StackProblem
from local_stack.running import only_one
from local_stack.terminal import say
from local_stack.throwaway import with_servers

_HIGHEST_PORT = 65535


def main() -> int:
    """Do what the command line says; return the exit status."""
    arguments = _parser().parse_args()
    try:
        match arguments.action:
            case "demo":
                demo(arguments.port)
            case "run":
                run(arguments.port)
            case "reset":
                _reset()
            case "with-servers":
                return with_servers(arguments.command)
    except StackProblem as problem:
        say(str(problem))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for name, words in (
        ("demo", "the portal with a simulated vPlus and demo tenants"),
        ("run", "the portal against the vPlus that the environment names"),
    ):
        action = actions.add_parser(name, help=words)
        action.add_argument("--port", type=_port, default=8000, help="where the web server listens (8000)")
    actions.add_parser("reset", help="drop the demo's data")
    action = actions.add_parser("with-servers", help="run a command with PostgreSQL and Redis that nobody keeps")
    action.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port; use a number from 1 to {_HIGHEST_PORT}")
    return int(text)


def _reset() -> None:
    root = data_folder()
    if not is_ours(root) or not (root / "demo").exists():
        say("There is no demo data.")
        return
    with only_one(root):
        shutil.rmtree(root / "demo")
        for copy in root.glob("postgresql-*"):  # root's copy of the programs; the next start makes it again
            shutil.rmtree(copy)
    say(f"Dropped the demo's data in {root / 'demo'}.")


if __name__ == "__main__":
    sys.exit(main())

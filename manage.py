#!/usr/bin/env python
"""Django's command line; finds the embedded servers by itself while they run."""

import os
import sys


def main() -> None:
    """Run one management command against the configured servers, else against the local stack that runs."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    if "DATABASE_URL" not in os.environ and "DATABASE_URL_FILE" not in os.environ:
        # Only here: a web process or worker of a real site must never pick up a demo's database.
        from local_stack.running import adopt_running_stack

        adopt_running_stack(os.environ)
        if "DATABASE_URL" not in os.environ:
            sys.exit("No local stack runs. Start `make demo`, or set DATABASE_URL and the rest (see .env.example).")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()

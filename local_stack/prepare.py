"""Bring a database and the static files up to the code: what a start does before any process runs, safe to repeat."""

import os

import django
from django.core.management import call_command


def main() -> None:
    """Migrate and make the cache table as the owner, then collect the static files."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    call_command("migrate", database="owner", interactive=False, verbosity=0)
    call_command("createcachetable", database="owner", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)


if __name__ == "__main__":
    main()

"""Who can sign in to the demo, and the table that `make demo` prints of them. No Django here."""

from typing import NamedTuple

from local_stack.terminal import table

PASSWORD = "look-around-freely"  # noqa: S105  # printed on the terminal; the demo listens on this machine only

PROVIDER = "the provider"


class DemoPerson(NamedTuple):
    """One sign-in. ``places`` are pairs of a tenant's slug, or PROVIDER, and the role there."""

    email: str
    name: str
    places: tuple[tuple[str, str], ...]


PEOPLE = (
    DemoPerson("admin@nordwind.example", "Ingrid Solberg", (("nordwind-logistics", "admin"),)),
    DemoPerson("operator@nordwind.example", "Jonas Weber", (("nordwind-logistics", "operator"),)),
    DemoPerson("viewer@nordwind.example", "Amara Okafor", (("nordwind-logistics", "viewer"),)),
    DemoPerson("admin@brunner.example", "Matthias Brunner", (("brunner-partner", "admin"),)),
    DemoPerson("admin@klinika.example", "Małgorzata Żółkiewska", (("klinika-zolw", "admin"),)),
    DemoPerson("admin@oyama.example", "大山 健", (("oyama-robotics", "admin"),)),
    DemoPerson(
        "consultant@example.com",
        "Chiara Conti",
        (("nordwind-logistics", "viewer"), ("atelier-lumiere", "operator"), ("kestrel-games", "admin")),
    ),
    DemoPerson("operator@provider.example", "Petra Lindqvist", ((PROVIDER, "operator"),)),
    DemoPerson("auditor@provider.example", "Tomasz Nowak", ((PROVIDER, "auditor"),)),
)


def sign_ins() -> str:
    """Return the table of sign-ins, with the one password of them all."""
    rows = [("Sign in as", "Role")]
    rows += [(person.email, ", ".join(f"{role} at {place}" for place, role in person.places)) for person in PEOPLE]
    return f"{table(rows)}\n  Password of everybody: {PASSWORD}"

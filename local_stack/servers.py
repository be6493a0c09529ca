"""PostgreSQL and Redis for a stack: those that the environment names, else embedded ones."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local_stack.postgres_server import PostgresServer
from local_stack.problem import StackProblem
from local_stack.redis_server import RedisServer


class Servers:
    """The two servers of a running stack, as addresses for the environment of processes."""

    def __init__(self, addresses: Mapping[str, str], embedded: Mapping[str, PostgresServer | RedisServer]) -> None:
        self.addresses = dict(addresses)
        self._embedded = dict(embedded)

    def check(self) -> None:
        """Raise StackProblem where an embedded server has gone by itself."""
        for name, server in self._embedded.items():
            if not server.is_running():
                raise StackProblem(f"{name} stopped by itself; {server.log} tells more.")


@contextmanager
def servers(given: Mapping[str, str], folder: Path, shelf: Path, *, throwaway: bool = False) -> Iterator[Servers]:
    """Run what is not ``given``: DATABASE_URL and REDIS_URL, also as NAME_FILE; stop it at the end, Redis first.

    ``folder`` holds data and sockets, ``shelf`` root's copy of PostgreSQL. Raises StackProblem where the database is
    given without DATABASE_OWNER_URL: somebody has to migrate.
    """
    addresses: dict[str, str] = {}
    embedded: dict[str, PostgresServer | RedisServer] = {}
    with ExitStack() as stack:
        if not is_given(given, "DATABASE_URL"):
            postgres = PostgresServer(folder / "postgres", shelf=shelf, throwaway=throwaway)
            stack.callback(postgres.stop)
            postgres.start()
            embedded["PostgreSQL"] = postgres
            addresses |= {"DATABASE_URL": postgres.url("portal"), "DATABASE_OWNER_URL": postgres.url("owner")}
        elif not is_given(given, "DATABASE_OWNER_URL"):
            raise StackProblem("DATABASE_URL is set and DATABASE_OWNER_URL is not; migrations need the second.")
        if not is_given(given, "REDIS_URL"):
            redis = RedisServer(folder / "redis")
            stack.callback(redis.stop)
            redis.start()
            embedded["Redis"] = redis
            addresses["REDIS_URL"] = redis.url()
        yield Servers(addresses, embedded)


def is_given(environ: Mapping[str, str], name: str) -> bool:
    """Tell whether a variable is set, by itself or through NAME_FILE."""
    return bool(environ.get(name) or environ.get(f"{name}_FILE"))

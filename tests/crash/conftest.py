"""Real workers, and points of the sending protocol at which a test can hold them.

The product has no hook for that. PostgreSQL holds a worker: a trigger in the test's database waits for a lock that the
test has; or the simulated vPlus does, by a latency.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest
from django.db import connections

from chaos.portal_side import told
from chaos.reckoning import Reckoning, reckon
from tenants.scope import every_tenant
from tests.bridge.scenes import ask
from tests.end_to_end.conftest import Portal, pytest_runtest_makereport, start_portal  # noqa: F401  # used by name
from tests.processes import eventually
from vplus_bridge.models import Attempt, Operation
from vplus_bridge.operations.settle import echoes_stamps
from vplus_simulator.faults import Fault
from vplus_simulator.http import SimulatorServer

LOCK = 5_411
WAITS = {
    "VPLUS_SEND_CLAIM_SECONDS": "3",
    "VPLUS_SEND_MARK_SECONDS": "1",
    "VPLUS_SEND_TOTAL_SECONDS": "3",
    "VPLUS_SETTLE_DIED_SECONDS": "0.5",
    "VPLUS_SETTLE_ABSENT_SECONDS": "1",
    "VPLUS_SETTLE_READS_APART_SECONDS": "0.5",
    "DATABASE_ABANDONED_SECONDS": "2",
}
POINTS = {
    # Deferred, so that it is COMMIT that waits: the mark is neither there nor can it be taken back.
    "mark": """
        CREATE CONSTRAINT TRIGGER held AFTER UPDATE OF sent_at ON vplus_bridge_attempt DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (OLD.sent_at IS NULL AND NEW.sent_at IS NOT NULL) EXECUTE FUNCTION wait_for_the_test()
        """,
    "record": """
        CREATE TRIGGER held BEFORE UPDATE OF outcome ON vplus_bridge_attempt
        FOR EACH ROW WHEN (OLD.outcome = '' AND NEW.outcome <> '') EXECUTE FUNCTION wait_for_the_test()
        """,
    # What follows from the outcome is there with it, and nobody has begun with it.
    "recorded": """
        CREATE CONSTRAINT TRIGGER held AFTER UPDATE OF outcome ON vplus_bridge_attempt DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (OLD.outcome = '' AND NEW.outcome <> '') EXECUTE FUNCTION wait_for_the_test()
        """,
}
Point = Literal["mark", "record", "recorded"]
HELD = """
    EXISTS (SELECT FROM held_by_the_test held JOIN vplus_bridge_step step
            ON step.operation_id = held.operation_id AND step.position = held.position WHERE step.id = NEW.step_id)
    """


def owner(statement: str, *values: Any) -> Any:
    """Run a statement as the owner of the tables; return its first value where it has one."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0] if cursor.description else None


class Gate:
    """A point of the protocol that no worker passes until the test opens it; or only those at steps that it `hold`s."""

    def __init__(self, point: Point, *, only_held: bool = False) -> None:
        owner("SELECT pg_advisory_lock(%s)", LOCK)
        owner("CREATE TABLE held_by_the_test (operation_id uuid, position int)")
        owner("GRANT SELECT, INSERT ON held_by_the_test TO PUBLIC")
        owner(
            f"""
            CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
                IF {HELD if only_held else "TRUE"} THEN PERFORM pg_advisory_xact_lock_shared({LOCK}); END IF;
                RETURN NEW;
            END $$
            """
        )
        owner(POINTS[point])

    def hold(self, operation: UUID, position: int) -> None:
        """Hold whoever comes here with this step; in the transaction that asks for the operation, before anybody can."""
        with connections["default"].cursor() as cursor:
            cursor.execute("INSERT INTO held_by_the_test VALUES (%s, %s)", [operation, position])

    def held(self) -> set[tuple[UUID, int]]:
        """Return what is held: operation and position of each step."""
        with connections["owner"].cursor() as cursor:
            cursor.execute("SELECT operation_id, position FROM held_by_the_test")
            return set(cursor.fetchall())

    def somebody(self) -> bool:
        """Tell whether somebody who stood here has neither committed nor gone."""
        with connections["owner"].cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND mode = 'ShareLock'",
                [LOCK],
            )
            return bool(cursor.fetchone()[0])

    def wait_for_somebody(self, many: int = 1) -> None:
        """Return when so many threads of workers stand at the point."""
        waiting = f"SELECT count(*) >= {many} FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
        eventually(f"{many} are at the gate", lambda: owner(waiting, LOCK))

    def end_connections(self) -> None:
        """End the connections of those who stand here: what they were about to commit never is."""
        with connections["default"].cursor() as cursor:
            waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
            cursor.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({waiting}) one", [LOCK])

    def open(self) -> None:
        """Let pass who waits, and whoever comes."""
        owner("SELECT pg_advisory_unlock(%s)", LOCK)

    def remove(self) -> None:
        """Leave the database as it was."""
        owner("SELECT pg_advisory_unlock_all()")
        owner("DROP FUNCTION IF EXISTS wait_for_the_test CASCADE")
        owner("DROP TABLE IF EXISTS held_by_the_test")


class Scene:
    """The portal's processes, a vPlus, and what tests do to both."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.control = portal.vplus.control

    def ask(self, machine: str) -> UUID:
        """Ask for a backup; the wake-up goes nowhere, so it is the sweeper that finds it."""
        cast = self.portal.cast
        asked = ask(cast.mallory if machine.startswith("vm-beta") else cast.oscar, machine)
        assert not asked.already_active
        return UUID(str(asked.operations[0].pk))

    @property
    def simulator(self) -> SimulatorServer:
        """The vPlus, for who compares what it holds."""
        server = self.portal.vplus.server
        assert server is not None
        return server

    def worker(self, name: str = "victim", *, threads: int = 4) -> None:
        """Have a worker of this name that sends, and is ready."""
        if not self.portal.runs(name):
            self.portal.start_worker("send", name, threads=threads)
            self.portal.wait_ready(name)

    def attempts(self, operation: UUID) -> list[Attempt]:
        with every_tenant("test"):
            return list(Attempt.objects.filter(step__operation=operation).order_by("number"))

    def operation(self, operation: UUID) -> Operation:
        with every_tenant("test"):
            return Operation.objects.get(pk=operation)

    def marked(self, operation: UUID) -> None:
        eventually("the mark is committed", lambda: self.attempts(operation)[0].sent_at)

    def held_in_vplus(self, fault: Fault, then: Callable[[], object]) -> None:
        """Arm a fault, do something, return when the fault has hit a call of a worker."""
        before = len(self.control.fault_journal())
        self.control.arm(fault)
        then()
        eventually("the fault hits", lambda: len(self.control.fault_journal()) > before)

    def wait_for_the_end(self, *operations: UUID) -> list[Operation]:
        """Return the operations when none of them is under way any more."""
        [self.operation(pk) for pk in operations]
        eventually("they end", lambda: not any(self.operation(pk).active for pk in operations), patience=90)
        return [self.operation(pk) for pk in operations]

    def exports(self, operation: UUID) -> int:
        """How often vPlus accepted this operation's export, by its own journal."""
        row = self.operation(operation)
        stamps = {round(one.stamp.timestamp() * 1000) for one in self.attempts(operation) if one.stamp}
        return sum(
            entry.call == "POST /tasks/export"
            and entry.asked["protectedEntities"] == [{"guid": row.virtual_machine_guid}]
            and entry.asked["windowStart"] in stamps
            for entry in self.control.journal()
        )

    def reckoning(self, accepted: Sequence[UUID]) -> Reckoning:
        """Compare all that was ever asked in this module with vPlus's journal."""
        return reckon(
            [str(pk) for pk in accepted],
            told("test"),
            journal=msgspec.to_builtins(self.control.journal()),
            backups=msgspec.to_builtins(self.control.objects("backups")),
            machines=msgspec.to_builtins(self.control.objects("vms")),
        )

    def succeeded_once(self, *operations: UUID) -> None:
        """Nothing lost, nothing doubled, nothing misreported: one export each, and a stored record of it."""
        ended = self.wait_for_the_end(*operations)
        assert [(row.state, row.error_code) for row in ended] == [("succeeded", "")] * len(ended)
        assert [self.exports(pk) for pk in operations] == [1] * len(operations)
        self.reckoned(*operations)

    def reckoned(self, *operations: UUID) -> None:
        reckoning = self.reckoning(operations)
        assert reckoning.clean, reckoning.words()


@pytest.fixture(scope="module")
def portal(start_portal: Callable[[], Portal]) -> Portal:  # noqa: F811  # a fixture, not a name anew
    """A poller and beat; workers that send are started, and ended, by each test. Waits are short."""
    portal = start_portal()
    portal.environment.update(WAITS)
    portal.vplus.start()
    portal.start_beat()
    portal.start_worker("poll")
    portal.wait_ready("poll")
    portal.assign_what_was_read()
    return portal


@pytest.fixture
def poorest(portal: Portal) -> Iterator[Scene]:
    """A vPlus without faults that tells nothing it need not, and one worker that sends."""
    scene = Scene(portal)
    scene.worker()
    yield scene
    portal.vplus.control.disarm()


@pytest.fixture
def scene(poorest: Scene) -> Scene:
    """One whose tasks tell their windowStart, and was seen to give ours back exactly."""
    poorest.control.change(show=["task.windowStart"])
    with every_tenant("test"):
        seen = echoes_stamps()
    if not seen:
        poorest.succeeded_once(poorest.ask("vm-alpha-web"))
    return poorest


@pytest.fixture
def gate() -> Iterator[Callable[..., Gate]]:
    """Make a gate at a point of the protocol; gone with the test."""
    made: list[Gate] = []

    def at(point: Point, *, only_held: bool = False) -> Gate:
        made.append(Gate(point, only_held=only_held))
        return made[-1]

    yield at
    for one in made:
        one.remove()

"""A backup from the wish to the restore point, against the real client and a simulated vPlus over HTTPS."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.models import AuditEvent
from tenants.refusals import Invalid, NotAllowed, NotVisible
from tenants.scope import every_tenant, in_tenant
from tests.conftest import Bridge, Cast, Member, StartSimulator, assign_everything
from vplus_bridge.models import Attempt, Backup, Operation, Task, VirtualMachine
from vplus_bridge.operations.request import Asked, BackupWish, NoneStarted, request_backups
from vplus_simulator.world import Outcome


def ask(member: Member, *machines: str, **wish: Any) -> Asked:
    actor = member.actor
    with in_tenant(actor.tenant_id):
        return request_backups(actor, BackupWish(machines or ("vm-alpha-web",), **wish), now=timezone.now())


def operation(asked: Asked) -> Operation:
    with every_tenant("test"):
        return Operation.objects.get(pk=asked.operations[0].pk)


def attempts(asked: Asked) -> list[Attempt]:
    with every_tenant("test"):
        return list(Attempt.objects.filter(step__operation=asked.operations[0].pk).order_by("number"))


def machine(guid: str) -> VirtualMachine:
    with every_tenant("test"):
        return VirtualMachine.objects.get(guid=guid)


@pytest.mark.parametrize("richness", ["poorest", "plain", "generous"])
def test_a_backup_ends_with_a_new_restore_point(richness: str, cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(richness=richness))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    points = machine("vm-alpha-web").restore_point_count
    asked = ask(cast.oscar)
    seen: list[tuple[str, str, float]] = []
    assert bridge.send() == 1
    for _ in range(40):
        bridge.poll()
        now = operation(asked)
        seen.append((now.state, now.stage, now.progress or 0.0))
        bridge.simulator.control.step(2)
    done = operation(asked)
    assert (done.state, done.error_code) == ("succeeded", "")
    assert done.progress == 100
    assert machine("vm-alpha-web").restore_point_count == points + 1
    stages = list(dict.fromkeys((state, stage) for state, stage, _ in seen))
    assert stages == [("submitted", "export"), ("running", "export"), ("running", "store"), ("succeeded", "store")]
    progress = [part for _, _, part in seen]
    assert progress == sorted(progress), "the bar went backwards"
    assert max(part for state, _, part in seen if state == "running") < 100, "100 came before the record said so"
    [sent] = [entry for entry in bridge.simulator.control.journal() if entry.call == "POST /tasks/export"]
    assert sent.asked["protectedEntities"] == [{"guid": "vm-alpha-web"}]
    assert sent.asked["backupDestination"] == {"guid": "bd-main"}
    assert sent.asked["tenantId"] == "alpha-uuid"
    with every_tenant("test"):
        record = Backup.objects.get(guid=done.backup_guid)
    assert record.guid == sent.backups[0], "the operation names the record that it made"
    assert record.tenant_id == cast.alpha.pk


def test_export_finished_is_not_backed_up(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.send()
    mirrored.simulator.control.next_outcome(Outcome(type="STORE", outcome="fail", reason="No space left on /mnt/vault"))
    mirrored.run()
    failed = operation(asked)
    assert (failed.state, failed.error_code) == ("failed", "could_not_store")
    assert machine("vm-alpha-web").last_attempt_failed_at is not None


def test_a_failed_export_is_told_as_such(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.send()
    mirrored.simulator.control.next_outcome(Outcome(type="EXPORT", outcome="fail", reason="host-7 is away"))
    mirrored.run()
    failed = operation(asked)
    assert (failed.state, failed.error_code) == ("failed", "could_not_read")


def test_an_incremental_that_fell_back_says_full(cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(richness="generous"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = ask(cast.oscar, "vm-alpha-new", backup_type="INCREMENTAL")
    bridge.send()
    bridge.run()
    done = operation(asked)
    assert done.state == "succeeded"
    assert "full_instead_of_incremental" in done.warnings


def test_the_same_wish_twice_is_one_operation(cast: Cast, mirrored: Bridge) -> None:
    first, second = ask(cast.oscar), ask(cast.alice)
    assert second.operations[0].pk == first.operations[0].pk
    assert second.already_active == {first.operations[0].pk}
    mirrored.send()
    mirrored.send()
    exports = [entry for entry in mirrored.simulator.control.journal() if entry.call == "POST /tasks/export"]
    assert len(exports) == 1


def test_a_different_wish_for_a_busy_machine_is_refused_and_the_others_go(cast: Cast, mirrored: Bridge) -> None:
    ask(cast.oscar)
    both = ask(cast.alice, "vm-alpha-web", "vm-alpha-db", priority=80)
    assert [op.virtual_machine_guid for op in both.operations] == ["vm-alpha-db"]
    assert [(one.virtual_machine, one.code) for one in both.refused] == [("vm-alpha-web", "operation_active")]
    with pytest.raises(NoneStarted) as refusal:
        ask(cast.alice, "vm-alpha-web", priority=80)
    assert refusal.value.status == 409
    assert "Oscar" in str(refusal.value)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"priority": 101}, "priority"),
        ({"priority": -1}, "priority"),
        ({"backup_type": "SYNTHETIC"}, "backup_type"),
        ({"destination": "bd-alpha"}, "destination"),
        ({"window_start": timedelta(hours=-1)}, "window_start"),
        ({"window_end": timedelta(hours=-1)}, "window_end"),
        ({"window_start": timedelta(hours=3), "window_end": timedelta(hours=2)}, "window_end"),
        ({"window_end": timedelta(days=90)}, "window_end"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_starts(
    wish: dict[str, Any], field: str, cast: Cast, mirrored: Bridge
) -> None:
    given = {name: timezone.now() + value if isinstance(value, timedelta) else value for name, value in wish.items()}
    with pytest.raises(Invalid) as refusal:
        ask(cast.oscar, **given)
    assert list(refusal.value.errors) == [field]
    assert mirrored.send() == 0
    with every_tenant("test"):
        assert not Operation.objects.exists()


def test_a_machine_that_is_gone_cannot_be_backed_up(cast: Cast, mirrored: Bridge) -> None:
    with pytest.raises(NoneStarted, match="files-01 is no longer on the platform"):
        ask(cast.oscar, "vm-alpha-gone")
    assert mirrored.send() == 0
    both = ask(cast.oscar, "vm-alpha-gone", "vm-alpha-web")
    assert [(one.virtual_machine, one.code) for one in both.refused] == [("vm-alpha-gone", "vm_gone")]
    assert mirrored.send() == 1


def test_what_is_somebody_elses_is_not_found(cast: Cast, mirrored: Bridge) -> None:
    with pytest.raises(NotVisible):
        ask(cast.mallory, "vm-alpha-web")
    with pytest.raises(NotVisible):
        ask(cast.oscar, "vm-lab")
    with pytest.raises(NotVisible):
        ask(cast.oscar, "no-such-thing")


def test_a_viewer_may_not(cast: Cast, mirrored: Bridge) -> None:
    with pytest.raises(NotAllowed) as refusal:
        ask(cast.vera)
    assert str(refusal.value) == "Your role here is viewer. Operators and admins can start backups."


def test_every_wish_leaves_a_trace_in_the_audit(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar, priority=70)
    with in_tenant(cast.alpha.pk):
        event = AuditEvent.objects.get(action="operation.backup")
    assert (event.actor_name, event.result, event.object_id) == ("Oscar", "done", "vm-alpha-web")
    assert event.detail == {"operation": str(asked.operations[0].pk), "wish": {"priority": 70}}


def test_no_contact_means_waiting_and_then_sending(cast: Cast, mirrored: Bridge, settings: Any) -> None:
    settings.VPLUS_SEND_BACKOFF_SECONDS = 0.0
    asked = ask(cast.oscar)
    mirrored.simulator.stop()
    mirrored.send()
    waiting = operation(asked)
    assert waiting.state == "requested"
    [attempt] = attempts(asked)
    assert attempt.sent_at is None, "nothing was sent, so there is no mark"
    assert attempt.setbacks == 1


def test_what_was_not_sent_in_time_fails_and_is_never_sent(cast: Cast, mirrored: Bridge) -> None:
    from vplus_bridge.operations import settle

    asked = ask(cast.oscar)
    with every_tenant("test"):
        Operation.objects.update(send_until=timezone.now() - timedelta(seconds=1))
        assert settle.expire_unsent() == 1
    assert mirrored.send() == 0
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "not_sent_in_time")


def test_a_refusal_of_vplus_ends_the_operation(cast: Cast, mirrored: Bridge) -> None:
    from vplus_simulator.faults import Fault

    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="status", method="POST", path="/tasks/export", status=400, count=1))
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "refused_by_vplus")
    assert mirrored.send() == 0


def test_an_answer_that_never_came_is_found_again(cast: Cast, mirrored: Bridge) -> None:
    """Crash point: the connection is cut after vPlus has acted and before we read the answer."""
    from vplus_simulator.faults import Fault

    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="cut", phase="after", method="POST", path="/tasks/export", count=1))
    mirrored.send()
    assert operation(asked).state == "submitted"
    assert attempts(asked)[0].outcome == "uncertain"
    assert mirrored.send() == 0, "an uncertain write is never sent again before it is settled"
    mirrored.run()
    assert operation(asked).state == "succeeded"
    exports = [entry for entry in mirrored.simulator.control.journal() if entry.call == "POST /tasks/export"]
    assert len(exports) == 1


def test_a_backup_that_a_schedule_started_is_not_taken_for_ours(cast: Cast, mirrored: Bridge) -> None:
    """Two exports of one machine at one time, one ours and unanswered: nobody guesses."""
    import requests

    asked = ask(cast.oscar)
    with requests.Session() as http:
        http.trust_env, http.verify = False, str(mirrored.simulator.ca_path)
        url = mirrored.simulator.url
        http.post(f"{url}/session/login", json={"login": "portal", "password": "the simulator's"}, timeout=5)
        mirrored.send()
        body = {"backupType": {"name": "FULL"}, "protectedEntities": [{"guid": "vm-alpha-web"}]}
        assert http.post(f"{url}/tasks/export", json=body, timeout=5).ok
    mirrored.poll()
    unclear = operation(asked)
    assert (unclear.state, unclear.error_code) == ("needs_attention", "several_tasks_fit")


def test_tasks_that_nobody_here_asked_for_are_mirrored_with_their_owner(cast: Cast, mirrored: Bridge) -> None:
    import requests

    with requests.Session() as http:
        http.trust_env, http.verify = False, str(mirrored.simulator.ca_path)
        url = mirrored.simulator.url
        http.post(f"{url}/session/login", json={"login": "portal", "password": "the simulator's"}, timeout=5)
        body = {"backupType": {"name": "FULL"}, "protectedEntities": [{"guid": "vm-beta-web"}]}
        assert http.post(f"{url}/tasks/export", json=body, timeout=5).ok
    mirrored.poll()
    with in_tenant(cast.beta.pk):
        assert Task.objects.filter(virtual_machine_guid="vm-beta-web", type="EXPORT").count() == 1
    with in_tenant(cast.alpha.pk):
        assert not Task.objects.exists()

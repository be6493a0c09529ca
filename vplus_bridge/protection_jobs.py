"""Celery's entries for what was promised: the ledger, verdicts that turn, mail about trouble. Thin, as jobs.py is."""

from datetime import datetime

from celery import shared_task

from tenants.scope import every_tenant
from vplus_bridge.alone import alone
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror import told as told_machines
from vplus_bridge.mirror.sole_writer import sole_writer
from vplus_bridge.protection import expected, ledger, notices, own_members, policy_names, promises, verdict


@shared_task(name="vplus_bridge.keep_ledger")
def keep_ledger() -> None:
    """Write the runs that are due, see what became of the open ones, and turn the verdicts whose time has come."""
    with sole_writer("ledger") as granted:
        if granted:
            ledger_once(database_now())


def ledger_once(now: datetime) -> None:
    """Do what keep_ledger does, as of this instant; each part by itself, so that one in trouble holds up no other."""
    back = False
    with alone(what="outages"), every_tenant("jobs: times without contact"):
        back = ledger.note_outages(now)
    with alone(what="our own policies"), every_tenant("jobs: what our own policies changed"):
        _follow_own_policies(now)
    with alone(what="runs that are due"), every_tenant("jobs: runs that are due"):
        expected.write_what_is_due(now)
    changed: set[str] = set()
    with alone(what="open runs"), every_tenant("jobs: open runs"):
        changed |= ledger.settle_due(now)
    with alone(what="verdicts that turn"), every_tenant("jobs: verdicts that turn"):
        changed |= {*verdict.turn_due(now), *(verdict.judge_waiting(now) if back else ())}
        told_machines.tell(changed)


def _follow_own_policies(now: datetime) -> None:
    """Let promises and verdicts follow what was just written to vPlus, without waiting for it to be read again."""
    lately = own_members.changed_lately(now)
    if not lately:
        return
    moved = own_members.tell_members(now)
    promises.refresh(now)
    machines = {*moved, *own_members.machines_of(lately)}
    policy_names.name_policies(machines)
    told_machines.tell({*moved, *verdict.judge(machines, now=now)})


@shared_task(name="vplus_bridge.tell_troubles")
def tell_troubles() -> None:
    """Send mail about backups that failed or did not happen; each trouble once."""
    with sole_writer("mail") as granted:
        if granted:
            troubles_once(database_now())


def troubles_once(now: datetime) -> int:
    """Do what tell_troubles does, as of this instant; return how many mails went out."""
    sent = 0
    with alone(what="troubles"), every_tenant("jobs: what to tell by mail"):
        notices.gather(now)
    with every_tenant("jobs: mails that are due"):
        claimed = notices.claim(now)
    for mail_id in claimed:
        with alone(mail=mail_id):
            with every_tenant("jobs: what a mail says"):
                ready = notices.letter(mail_id)
            if notices.deliver(ready):
                with every_tenant("jobs: a mail went out"):
                    notices.note_sent(ready, now)
                sent += 1
    return sent


@shared_task(name="vplus_bridge.prune_ledger")
def prune_ledger() -> None:
    """Remove what is older than it is kept."""
    now, removed = database_now(), ledger.MOST_PRUNED
    while removed == ledger.MOST_PRUNED:
        with every_tenant("jobs: runs that are too old"):
            removed = ledger.prune(now)
            notices.prune(now)

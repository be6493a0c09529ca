"""Picks up operations on policies where a worker died or nobody saw their end.

Works in the open wide scope, and asks nothing of vPlus: the next attempt looks there before it sends.
"""

import structlog
from django.db.models import Exists, OuterRef

from vplus_bridge.database_time import database_now
from vplus_bridge.operations.models import Attempt, Operation, Outcome
from vplus_bridge.operations.moves import ACTIVE, Kind, State
from vplus_bridge.operations.transitions import move
from vplus_bridge.protection import course
from vplus_bridge.protection.models import Policy, PolicyState

log = structlog.get_logger(__name__)


def resume() -> int:
    """Make the next attempt where the last one's sender died between mark and record; return how many."""
    later = Attempt.objects.filter(step=OuterRef("step"), number__gt=OuterRef("number"))
    stuck = Attempt.objects.filter(
        ~Exists(later),
        outcome=Outcome.UNCERTAIN,
        step__operation__kind=Kind.POLICY,
        step__operation__state__in=ACTIVE,
    )
    wanted = list(stuck.values_list("step__operation", flat=True).distinct())
    resumed = 0
    for operation in Operation.objects.select_for_update(skip_locked=True).filter(pk__in=wanted).order_by("pk"):
        # Looked at again under the lock: its own worker may have come to life.
        for attempt in stuck.filter(step__operation=operation).select_related("step"):
            now = database_now()
            move(operation, State.RUNNING, now)
            operation.save()
            course.look_again(attempt, now)
            resumed += 1
            log.info("a policy operation goes on", operation=str(operation.pk), step=attempt.step.action)
    return resumed


def tidy_unmade() -> int:
    """Let go of policies whose making ended without a word, such as one that was not sent in time; return how many."""
    making = {str(pk): pk for pk in Policy.objects.filter(state=PolicyState.MAKING).values_list("pk", flat=True)}
    rows = Operation.objects.filter(kind=Kind.POLICY, state__in=(*ACTIVE, State.NEEDS_ATTENTION), subject__in=making)
    busy = set(rows.values_list("subject", flat=True))
    unmade = [pk for subject, pk in making.items() if subject not in busy]
    return Policy.objects.filter(pk__in=unmade, state=PolicyState.MAKING).update(state=PolicyState.NOT_MADE)

"""Restore jobs: what vPlus remembers of a restore longer than its tasks. Read when needed, kept nowhere.

Not every server has the call, and not every account may use it: that is a named gap, and IMPORT alone tells then.
"""

import structlog

from vplus_bridge.client import Forbidden, NotFound, RestoreJobRecord, VplusClient
from vplus_bridge.mirror.read_state import close_gap, note_gap, problem_code, state_of

log = structlog.get_logger(__name__)
GAP = "restore_jobs"


def read_restore_jobs(client: VplusClient, vm_guid: str) -> list[RestoreJobRecord]:
    """Return the restore jobs of one machine's backups; none where they cannot be read. Raises VplusError otherwise.

    The filter is never trusted: a job that names another machine is left out. Their moments are by our clock: by vPlus's own
    an older restore could seem to be later than the one that was asked for.
    """
    try:
        jobs = [job.by_our_clock(client.clock_offset_ms) for page in client.restore_jobs(vm_guid) for job in page]
    except (Forbidden, NotFound) as problem:
        if problem.html:
            raise  # from something in front of vPlus, which says nothing about the call
        if state_of(GAP).failing_since is None:
            log.warning("restore jobs cannot be read", problem=problem_code(problem))
        note_gap(GAP, problem_code(problem), problem.user_message)
        return []
    close_gap(GAP)
    return [job for job in jobs if (job.vm_guid or job.dst_guid) in (None, vm_guid) or job.dst_guid == vm_guid]

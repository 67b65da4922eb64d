"""The only Ray: a Searcher and a scheduler over the ledger, and the Tuner.

Ray Tune places trials, notices when a worker or a node dies, and moves their results. It decides nothing: the
searcher asks the ledger, the scheduler tells it and stops what the ledger says. All studies of a campaign run in one
Tuner with one resource shape, so that workers are used again (mixed shapes with reused workers deadlock) and none idles
while another study ends.
"""

from studies.engine._again import execute_again
from studies.engine._cluster import slots_offered
from studies.engine._run import execute, session
from studies.trials import Resources

__all__ = ["Resources", "execute", "execute_again", "session", "slots_offered"]

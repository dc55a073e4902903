"""A list as a source: parents before children, each job once."""

from tclap.sweep.ledger import Ledger, Result
from tclap.sweep.plan import make_plan
from tclap.sweep.sources import WAIT, ListSource
from tests.sweep.test_plan import ROWS

PLAN = make_plan(ROWS, (0,))


def test_children_come_as_soon_as_their_own_parent_has_ended(tmp_path):
    source = ListSource(PLAN.jobs, Ledger(tmp_path))
    ready = list(iter(source.next, WAIT))
    assert ready == list(PLAN.jobs[:6])  # two stage-A runs and the four of stage B
    small, large = ready[:2]
    source.ended(large, {})
    assert [job.parent for job in iter(source.next, WAIT)] == [large.hash] * 2
    source.ended(small, None)  # it has failed: its children are handed out, and fail with the reason
    assert [job.parent for job in iter(source.next, None)] == [small.hash] * 2


def test_what_is_done_is_not_handed_out_and_its_children_need_not_wait(tmp_path):
    done = [PLAN.jobs[0], PLAN.jobs[2]]
    ledger = Ledger(tmp_path, [Result(job.hash, 0, {}, 1.0, 3, "here") for job in done])
    source = ListSource(PLAN.jobs, ledger)
    ready = list(iter(source.next, WAIT))
    assert len(ready) == 10 - 2 - 2
    assert not {job.hash for job in done} & {job.hash for job in ready}
    assert [job.parent for job in ready if job.parent] == [done[0].hash] * 2

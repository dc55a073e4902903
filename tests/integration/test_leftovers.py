"""What killed processes reserved is free again, and nobody else's is touched."""

import json

from tests.integration.conftest import run

HOLDER = """
import json, os, ray
from ray.util import placement_group, placement_group_table

class Holder:
    def hold(self):
        group = placement_group([{"CPU": 0.01}])
        ray.get(group.ready())
        return group.id.hex()

    def work_in(self, name):
        from ray.util.placement_group import PlacementGroup
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
        group = PlacementGroup(ray.PlacementGroupID(bytes.fromhex(name)))
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=False)
        self.worker = ray.remote(num_cpus=0)(Holder).options(scheduling_strategy=strategy).remote()
        ray.get(self.worker.ready.remote())

    def ready(self):
        pass

    def end(self):
        os._exit(1)

def state(name):
    return placement_group_table()[name]["state"]

ray.init(log_to_driver=False, namespace="leftovers")
"""

KILLED_MAKER = f"""{HOLDER}
from tclap.lanes.leftovers import Leftovers
kept, left = holders = [ray.remote(num_cpus=0)(Holder).remote() for _ in range(2)]
groups = ray.get([holder.hold.remote() for holder in holders])
ray.get(kept.work_in.remote(groups[0]))
left.end.remote()
seen = []
leftovers = Leftovers()
for _ in range(3):
    seen.append([state(group) for group in groups])
    leftovers._look_at = 0.0
    leftovers.on_step_end(0, [])
print(json.dumps([*seen, leftovers._look_at == float("inf")]))
"""

# What a killed controller makes at the last moment cannot be timed; a detached actor's group stays behind as well.
ENDED_JOB = f"""{HOLDER}
import sys
kind, name = type(sys.argv[1], (Holder,), {{}}), sys.argv[1]
maker = ray.remote(num_cpus=0)(kind).options(lifetime="detached", name=name).remote()
print(ray.get(maker.hold.remote()))
"""

NEXT_JOB = f"""{HOLDER}
import sys
from tclap.lanes.leftovers import free_finished_jobs
before = [state(group) for group in sys.argv[1:]]
freed = free_finished_jobs()
print(json.dumps([before, freed, [state(group) for group in sys.argv[1:]]]))
for name in ("PlacementGroupCleaner", "Server"):
    ray.kill(ray.get_actor(name))
"""


def test_a_killed_makers_group_is_freed_at_the_second_look_and_a_living_ones_is_kept(cluster):
    process = run("-c", KILLED_MAKER, env=cluster.env)
    assert process.returncode == 0, process.stdout + process.stderr
    first, second, third, at_rest = json.loads(process.stdout.splitlines()[-1])
    assert first == second == ["CREATED", "CREATED"]
    assert third == ["CREATED", "REMOVED"]
    assert at_rest


def test_an_ended_jobs_group_is_freed_unless_an_actor_of_it_lives(cluster):
    """Ray Train's own cleaner is detached, and may be all that is left of a job."""
    ended = [run("-c", ENDED_JOB, name, env=cluster.env) for name in ("PlacementGroupCleaner", "Server")]
    groups = [process.stdout.splitlines()[-1] for process in ended]
    process = run("-c", NEXT_JOB, *groups, env=cluster.env)
    assert process.returncode == 0, process.stdout + process.stderr
    before, freed, after = json.loads(process.stdout.splitlines()[-1])
    assert before == ["CREATED", "CREATED"]
    assert freed == 1
    assert after == ["REMOVED", "CREATED"]

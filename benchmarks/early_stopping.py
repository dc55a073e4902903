"""What `--stop-early` would have saved and missed of a search that ran to its end with its curves, by replaying it.

    python sweeps/search.py --name recorded --sampler grid --trials 192 --batch-sizes 8,16,24 --evaluate-every 60
    python benchmarks/early_stopping.py runs/recorded

Each seed replays the search with its trials in another order, on as many lanes; the rule, `goes_on`, is the sweep's.
"front" is the Pareto front of the whole search by its last scores; "lost" how far the best of the first objective among
the trials that were not stopped is below the best of all. Guards are left out: curves have no intervals. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tclap.sweep.ledger import read_ledger
from tclap.sweep.stopping import goes_on, pareto_front, rung_of


def ends_of(steps: int) -> list[int]:
    """The rungs of a trial of so many steps, and its end."""
    return [step for step in range(steps) if rung_of(step, steps) is not None] + [steps]


def replay(scores: np.ndarray, ends: Sequence[int], order: Sequence[int], lanes: int) -> tuple[np.ndarray, int]:
    """(which trials were not stopped [trials] bool, steps taken). scores [trials, ends, objectives]."""
    reached: list[list[list[float]]] = [[] for _ in ends]
    waiting, finished, taken = list(order)[::-1], np.zeros(len(scores), bool), 0
    running = [(ends[0], waiting.pop(), 0) for _ in range(lanes)]  # (when it gets there, trial, which of `ends`)
    heapq.heapify(running)
    while running:
        now, trial, at = heapq.heappop(running)
        taken += ends[at] - (ends[at - 1] if at else 0)
        if at == len(ends) - 1:
            finished[trial] = True
        else:
            own, others = scores[trial, at].tolist(), list(reached[at])
            reached[at].append(own)
            if goes_on(own, others):
                heapq.heappush(running, (now + ends[at + 1] - ends[at], trial, at + 1))
                continue
        if waiting:
            heapq.heappush(running, (now + ends[0], waiting.pop(), 0))
    return finished, taken


def recorded(sweep: Path, objectives: Sequence[str]) -> tuple[np.ndarray, list[int]]:
    """Scores [trials, ends, objectives] of the trials of a search, and its ends, from its results."""
    results = [
        r for r in read_ledger(sweep).results.values() if r.curve and {*objectives} <= r.curve[max(r.curve)].keys()
    ]
    steps = max((max(result.curve) for result in results), default=0)
    ends = ends_of(steps)
    whole = [result for result in results if all(end in result.curve for end in ends)]
    if not whole:
        raise SystemExit(f"{sweep} has no trial that was scored at each of its rungs: --evaluate-every")
    return np.array([[[r.curve[end][name] for name in objectives] for end in ends] for r in whole]), ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path, help="STORAGE/NAME")
    parser.add_argument("--objectives", default="zste/order,zste/1")
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=20, help="orders of the trials")
    flags = parser.parse_args()
    objectives = flags.objectives.split(",")
    scores, ends = recorded(flags.sweep, objectives)
    last = scores[:, -1]
    front, best = pareto_front(last), last[:, 0].max()
    print(f"{len(scores)} trials of {ends[-1]} steps, rungs {ends[:-1]}, {front.sum()} on the front, best {best:.1f}")
    shares, kept, lost = [], [], []
    for seed in range(flags.seeds):
        order = np.random.default_rng(seed).permutation(len(scores)).tolist()
        finished, taken = replay(scores, ends, order, flags.lanes)
        shares.append(taken / (len(scores) * ends[-1]))
        kept.append(float(finished[front].mean()))
        lost.append(float(best - last[finished, 0].max()))
        print(f"seed {seed}: {shares[-1]:.1%} of the steps, {kept[-1]:.0%} of the front, {lost[-1]:.1f} points lost")
    figures = {
        "trials": len(scores),
        "front": int(front.sum()),
        "share": [round(min(shares), 3), round(float(np.mean(shares)), 3), round(max(shares), 3)],
        "whole_front_kept": sum(value == 1 for value in kept),
        "most_lost": round(max(lost), 2),
        "seeds": flags.seeds,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

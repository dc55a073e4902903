"""How often the intervals of `tclap.evaluation.statistics` hold the truth, and how often `tclap best` calls equal
configurations different; by simulation, in minutes on one core.

    python benchmarks/interval_coverage.py
    python benchmarks/interval_coverage.py --ability 2     # recordings that differ more

Coverage. A recording has an ability, drawn anew for each experiment, and an item is right with a probability that
depends on the abilities of its recordings: items of one recording go up and down together. The truth is the share of
right answers over all recordings that might have been drawn. Layouts: "clips" (task 1: one to three clips of a
recording), "pairs" (a recording is heard in about 4 items of two recordings) and "many" (in about 16, as with many
takes). "all right" is how often every answer of an experiment was right: an interval that holds
the truth then holds it at least that often, so cells above it cannot all be near 95.

Differences. Two models answer the same items, and the truth is the difference of their shares. Of a recording's
ability a part is common to both models, and a part is each one's own.

False alarms. Configurations that do not differ, each with the same seeds; a sweep counts if the winner is called
different from any other at 5%. "unadjusted" is the plain paired t-test.

The last line is JSON. Were this file named coverage.py, numba would import it in every benchmark that loads librosa.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq

from tclap.evaluation.statistics import cluster_difference, cluster_wilson
from tclap.report.leaderboard import paired_comparisons, rank, winner

RECORDINGS = (3, 6, 12, 30, 100, 300)
TRUTHS = (0.5, 0.9, 0.99)
LAYOUTS = ("clips", "pairs", "many")
COMMON = 0.8  # correlation of what two models owe to a recording: its square
TRUTHS_OF_TWO = ((0.5, 0.5), (0.9, 0.9), (0.99, 0.99), (0.9, 0.5), (0.99, 0.9))
ABILITY = 1.0  # standard deviation of a recording's ability, in logits, unless --ability says another


def recordings_of(layout: str, recordings: int, rng: np.random.Generator) -> np.ndarray:
    """[n, 2] the recordings of each item."""
    if layout == "clips":
        own = np.repeat(np.arange(recordings), rng.integers(1, 4, recordings))
        return np.stack([own, own], axis=1)
    first = rng.integers(0, recordings, (2 if layout == "pairs" else 8) * recordings)
    return np.stack([first, (first + rng.integers(1, recordings, len(first))) % recordings], axis=1)


def offset(truth: float, layout: str, ability: float) -> float:
    """Logit of an item whose recordings are average, for a share of `truth` right answers in all."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    spread = ability * (1 if layout == "clips" else np.sqrt(2))

    def excess(mean: float) -> float:
        return float((weights / weights.sum() / (1 + np.exp(-(mean + spread * nodes)))).sum()) - truth

    return float(brentq(excess, -30, 30))


def coverage(
    layout: str, recordings: int, truth: float, experiments: int, spread: float = ABILITY
) -> tuple[float, float]:
    """Percent of experiments whose interval holds the truth, and of those in which all answers are right."""
    rng = np.random.default_rng([LAYOUTS.index(layout), recordings, round(1000 * truth)])
    mean = offset(truth, layout, spread)
    hits = all_right = 0
    for _ in range(experiments):
        heard = recordings_of(layout, recordings, rng)
        ability = spread * rng.standard_normal(recordings)
        score = cluster_wilson(answers(mean, ability, heard, layout, rng), heard, truth)
        hits += score.low <= 100 * truth <= score.high
        all_right += score.value == 100
    return 100 * hits / experiments, 100 * all_right / experiments


def answers(mean: float, ability: np.ndarray, heard: np.ndarray, layout: str, rng: np.random.Generator) -> np.ndarray:
    """[n] 0 or 1: which items are right."""
    logit = mean + ability[heard[:, 0]] + (0 if layout == "clips" else ability[heard[:, 1]])
    return (rng.random(len(heard)) < 1 / (1 + np.exp(-logit))).astype(float)


def difference_coverage(
    layout: str, recordings: int, truths: tuple[float, float], experiments: int, spread: float = ABILITY
) -> float:
    """Percent of experiments whose interval of the difference between two models holds the truth."""
    rng = np.random.default_rng([LAYOUTS.index(layout), recordings, *(round(1000 * truth) for truth in truths)])
    means = [offset(truth, layout, spread) for truth in truths]
    hits = 0
    for _ in range(experiments):
        heard = recordings_of(layout, recordings, rng)
        common = COMMON * spread * rng.standard_normal(recordings)
        own = (1 - COMMON**2) ** 0.5 * spread * rng.standard_normal((2, recordings))
        credit = [answers(mean, common + one, heard, layout, rng) for mean, one in zip(means, own, strict=True)]
        score = cluster_difference(credit[0] - credit[1], heard)
        hits += score.low <= 100 * (truths[0] - truths[1]) <= score.high
    return 100 * hits / experiments


def sweep_frame(configurations: int, seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """The long frame of a sweep whose configurations are equal: scores that differ by seed and by luck."""
    seed_effect = rng.standard_normal(seeds)
    rows = [
        {
            **{"stage": "B", "alpha_st": c, "alpha_ct": 0, "alpha_so": 0, "alpha_co": 0, "beta": 0, "batch_size": 8},
            **{"seed": s, "order": 80 + seed_effect[s] + rng.standard_normal(), "config_hash": f"{c:012d}"},
        }
        for c in range(configurations)
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def false_alarms(configurations: int, seeds: int, sweeps: int) -> dict[str, float]:
    """Percent of sweeps of equal configurations in which the winner is called different from another."""
    rng = np.random.default_rng([configurations, seeds])
    called = {"unadjusted": 0, "holm": 0}
    for _ in range(sweeps):
        frame = sweep_frame(configurations, seeds, rng)
        best = str(winner(rank(frame, "zste/order"))["config_hash"])
        table = frame.pivot(index="config_hash", columns="seed", values="order")
        others = table.drop(index=best).to_numpy()
        called["unadjusted"] += (stats.ttest_rel(table.loc[best].to_numpy(), others, axis=1).pvalue < 0.05).any()
        called["holm"] += (paired_comparisons(frame, "zste/order", best)["p"] < 0.05).any()
    return {name: 100 * int(count) / sweeps for name, count in called.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000, help="for each cell; fewer with 300 recordings")
    parser.add_argument("--sweeps", type=int, default=400, help="for each number of configurations")
    parser.add_argument("--ability", type=float, default=ABILITY, help="how much recordings differ, in logits")
    flags = parser.parse_args()
    cells, right, of_two = {}, {}, {}
    print("percent of 95% intervals that hold the truth (of experiments with all answers right)")
    print(f"{'':8}{'recordings':>11}", *(f"{100 * t:>13g}%" for t in TRUTHS))
    for layout in LAYOUTS:
        for recordings in RECORDINGS:
            times = flags.experiments if recordings < 300 else max(flags.experiments // 2, 1)
            row = [coverage(layout, recordings, truth, times, flags.ability) for truth in TRUTHS]
            for t, (held, all_right) in zip(TRUTHS, row, strict=True):
                cells[f"{layout}/{recordings}/{t:g}"] = round(held, 1)
                right[f"{layout}/{recordings}/{t:g}"] = round(all_right, 1)
            print(f"{layout:8}{recordings:>11}", *(f"{held:>7.1f} ({r:>4.1f})" for held, r in row), flush=True)
    print("the same of differences between two models, by their truths")
    print(f"{'':8}{'recordings':>11}", *(f"{f'{100 * one:g}, {100 * other:g}%':>10}" for one, other in TRUTHS_OF_TWO))
    for layout in LAYOUTS:
        for recordings in RECORDINGS:
            times = flags.experiments if recordings < 300 else max(flags.experiments // 2, 1)
            held = [difference_coverage(layout, recordings, two, times, flags.ability) for two in TRUTHS_OF_TWO]
            for (one, other), value in zip(TRUTHS_OF_TWO, held, strict=True):
                of_two[f"{layout}/{recordings}/{one:g}-{other:g}"] = round(value, 1)
            print(f"{layout:8}{recordings:>11}", *(f"{value:>10.1f}" for value in held), flush=True)
    alarms = {f"{c} configurations": false_alarms(c, 3, flags.sweeps) for c in (8, 24)}
    for name, found in alarms.items():
        print(
            f"{name}, 3 seeds, called different: {found['unadjusted']:.1f}% of sweeps, {found['holm']:.1f}% with Holm"
        )
    within = sum(92 <= value <= 98 for value in cells.values())
    figures = {
        "ability": flags.ability,
        "lowest": min(cells.values()),
        "highest": max(cells.values()),
        "cells": len(cells),
        "in_92_98": within,
        "lowest of differences": min(of_two.values()),
    }
    print(json.dumps(figures | {"coverage": cells, "all_right": right, "of_two": of_two, "false_alarms": alarms}))


if __name__ == "__main__":
    main()

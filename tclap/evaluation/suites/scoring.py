"""Scores of an order suite: each in percent with n, its 95% interval and its chance level.

`item`   one sound: its right caption is nearer than every wrong one. Chance 1/K.
`text`   every item of a group is right. Of two sounds and their two captions: Winoground's text score, CompA's f (¼).
`audio`  of such a pair, each caption is nearer to its own sound: Winoground's image score, CompA's g (¼).
`group`  both at once: Winoground's group score, CompA's h (1/6).

Ties share the credit: each score is its expectation under a random order of the tied, so that a constant model scores
exactly chance. Shapes: n items, K captions of an item (the right one first; -inf where it has fewer), G groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tclap.evaluation import similarity as cosines
from tclap.evaluation.ranking import DECIMALS, credit
from tclap.evaluation.statistics import Score, cluster_wilson
from tclap.evaluation.suites.items import Item, Suite
from tclap.models.protocol import ContrastiveModel

PAIR_CHANCE = {"text": 1 / 4, "audio": 1 / 4, "group": 1 / 6}


def score_suite(model: ContrastiveModel, suite: Suite) -> dict[str, Score]:
    """Score `model` on the items of `suite`. Raises InputError naming every sound that cannot be used."""
    return score_items(suite.items, similarities(model, suite.items))


def similarities(model: ContrastiveModel, items: Sequence[Item]) -> np.ndarray:
    """[n, K] cosines of each item's sound with its captions. A sound or caption that recurs is embedded once."""
    paths = list(dict.fromkeys(item.audio for item in items))
    texts = list(dict.fromkeys(text for item in items for text in (item.right, *item.wrong)))
    heard = cosines.similarities(model, [str(path) for path in paths], texts).to_numpy()  # [sounds, captions]
    place, row = {path: i for i, path in enumerate(paths)}, {caption: i for i, caption in enumerate(texts)}
    result = np.full((len(items), 1 + max(len(item.wrong) for item in items)), -np.inf)
    for n, item in enumerate(items):
        captions = [row[caption] for caption in (item.right, *item.wrong)]
        result[n, : len(captions)] = heard[place[item.audio], captions]
    return result


def score_items(items: Sequence[Item], similarity: np.ndarray) -> dict[str, Score]:
    """similarity [n, K] -> the scores that these items allow. Raises ValueError on NaN, which has no rank."""
    right = np.zeros(similarity.shape, bool)
    right[:, 0] = True
    own = credit(similarity, right, "top1")  # [n]
    chance = np.array([1 / (1 + len(item.wrong)) for item in items])
    scores = {"item": cluster_wilson(own, np.array([item.unit for item in items]), float(chance.mean()))}
    members: dict[str, list[int]] = {}
    for n, item in enumerate(items):
        members.setdefault(item.group, []).append(n)
    if len(members) == len(items):
        return scores
    units = np.array([items[group[0]].unit for group in members.values()])
    whole = np.array([own[group].prod() for group in members.values()])  # [G]; the sounds' ties are broken apart
    scores["text"] = cluster_wilson(whole, units, float(np.mean([chance[group].prod() for group in members.values()])))
    pairs = [group for group in members.values() if _is_pair([items[n] for n in group])]
    if len(pairs) == len(members):
        both = pair_credit(similarity[np.array(pairs), :2])
        for name in ("audio", "group"):
            scores[name] = cluster_wilson(both[name], units, PAIR_CHANCE[name])
    return scores


def _is_pair(items: Sequence[Item]) -> bool:
    """Two sounds, and two captions of which each is right for one of them."""
    if len(items) != 2 or items[0].audio == items[1].audio:
        return False
    return items[0].wrong == (items[1].right,) and items[1].wrong == (items[0].right,)


def pair_credit(similarity: np.ndarray) -> dict[str, np.ndarray]:
    """[G, 2, 2]: two sounds, each with its right caption and the other's -> [G] credit "text", "audio", "group"."""
    s = np.round(similarity.astype(np.float64), DECIMALS).reshape(-1, 4)  # right a, wrong a, right b, wrong b
    orders = np.array(list(itertools.permutations(range(4))))  # [24, 4]: every order of the tied
    text, audio = np.zeros(len(s)), np.zeros(len(s))
    group = np.zeros(len(s))
    for order in orders:

        def above(i: int, j: int, order: np.ndarray = order) -> np.ndarray:
            return (s[:, i] > s[:, j]) | ((s[:, i] == s[:, j]) & (order[i] > order[j]))

        by_text, by_audio = above(0, 1) & above(2, 3), above(0, 3) & above(2, 1)
        text, audio, group = text + by_text, audio + by_audio, group + (by_text & by_audio)
    return {"text": text / len(orders), "audio": audio / len(orders), "group": group / len(orders)}

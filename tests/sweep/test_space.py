"""The order in which a grid goes through its points."""

import itertools

from tclap.sweep.space import shuffled

CHOICES = {"stages": ("B", "AB"), **dict.fromkeys("abcde", (0, 1)), "batch_size": (8, 16, 24)}


def test_a_grid_is_drawn_by_its_seed_and_mixes_what_stopping_early_compares() -> None:
    """In the order of the lists, the first half of the trials would be of stage B alone."""
    order = list(shuffled(CHOICES, 3))
    assert order == list(shuffled(CHOICES, 3)) != list(shuffled(CHOICES, 4))
    every = {tuple(values) for values in itertools.product(*CHOICES.values())}
    assert len(order) == len(every) == 192
    assert {tuple(point[name] for name in CHOICES) for point in order} == every
    for name, values in CHOICES.items():
        assert {point[name] for point in order[:20]} == set(values)

import itertools

import pytest

from tclap.data import captions

NAMES = ("dog", "door wood knock", "sea waves")


def test_captions_are_those_of_the_design() -> None:
    assert captions.single_a("dog") == "single sound of dog"
    assert captions.single_zste("dog") == "The sound of dog"
    assert captions.combined("dog", "cat") == "combined sound of dog and cat"
    assert captions.before("dog", "cat") == "dog before cat"
    assert captions.after("dog", "cat") == "dog after cat"
    assert captions.overlaid("dog", "cat") == "dog while cat"
    assert captions.concatenated("first", "dog") == "In this concatenated sound, the first sound is dog"
    assert captions.concatenated("second", "cat") == "In this concatenated sound, the second sound is cat"
    assert captions.simultaneous("dog", "cat") == "Simultaneous sound of dog and cat"


def test_vocabulary_is_every_word_of_every_caption() -> None:
    singles = (captions.single_a, captions.single_zste)
    pairs = (captions.combined, captions.before, captions.after, captions.overlaid, captions.simultaneous)
    texts = [single(name) for single in singles for name in NAMES]
    texts += [pair(*names) for pair in pairs for names in itertools.permutations(NAMES, 2)]
    texts += [captions.concatenated(position, name) for position in ("first", "second") for name in NAMES]
    assert captions.vocabulary(NAMES) == tuple(sorted({w for text in texts for w in captions.words(text)}))
    assert {"before", "after", "while", "first", "knock"} <= set(captions.vocabulary(NAMES))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("In this sound, Dog!", ["in", "this", "sound", "dog"]),
        ("  ", []),
        ("can_opener-2", ["can", "opener", "2"]),
        ("Möwe", ["möwe"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert captions.words(text) == words

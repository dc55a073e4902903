"""The captions of composite windows and of the ZSTE tasks (design 3 and 6)."""

from __future__ import annotations


def single_a(i: str) -> str:
    return f"single sound of {i}"


def single_zste(i: str) -> str:
    return f"The sound of {i}"


def combined(i: str, j: str) -> str:
    return f"combined sound of {i} and {j}"


def before(i: str, j: str) -> str:
    return f"{i} before {j}"


def after(i: str, j: str) -> str:
    return f"{i} after {j}"


def overlaid(i: str, j: str) -> str:
    return f"{i} while {j}"


def concatenated(position: str, i: str) -> str:
    """Task 5A; `position` is "first" or "second"."""
    return f"In this concatenated sound, the {position} sound is {i}"


def simultaneous(i: str, j: str) -> str:
    """Task 5B."""
    return f"Simultaneous sound of {i} and {j}"


def vocabulary(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Every lower-case word of every caption over these classes, sorted: the words `mini` can tell apart."""
    pair = ("", "")
    texts = [template("") for template in (single_a, single_zste)]
    texts += [template(*pair) for template in (combined, before, after, overlaid, simultaneous)]
    texts += [concatenated(position, "") for position in ("first", "second")]
    return tuple(sorted({word for text in [*texts, *class_names] for word in words(text)}))


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def spoken(caption: str) -> str:
    """A caption as part of a longer one: without its full stop, its first letter small unless it begins a name."""
    text = caption.strip().rstrip(".").strip()
    proper = text[1:2].isupper() or text[:2] in ("I ", "I'")
    return text if proper else text[:1].lower() + text[1:]

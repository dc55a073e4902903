"""Texts to token ids, as each package does it, with tokenizers from a local folder, the hub's cache or the hub."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tclap.data.captions import words
from tclap.errors import InputError
from tclap.models import weights

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")


@dataclass(frozen=True)
class Tokeniser:
    """A text's token ids, special tokens included, and a name for its vocabulary and rules."""

    encode: Callable[[str], list[int]]
    pad_id: int
    identity: str


def bert(repo: str, beside: Path, max_tokens: int) -> Tokeniser:
    """WordPiece between [CLS] and [SEP]. A text longer than `max_tokens` loses its end (msclap would refuse it)."""
    from transformers import BertTokenizerFast

    tokenizer = _pretrained(BertTokenizerFast, repo, beside, "vocab.txt")
    return Tokeniser(_Truncated(tokenizer, max_tokens), tokenizer.pad_token_id, _identity(tokenizer))


def roberta(repo: str, beside: Path, max_tokens: int) -> Tokeniser:
    """Byte-level BPE between <s> and </s>."""
    from transformers import RobertaTokenizerFast

    tokenizer = _pretrained(RobertaTokenizerFast, repo, beside, "vocab.json and merges.txt (or tokenizer.json)")
    return Tokeniser(_Truncated(tokenizer, max_tokens), tokenizer.pad_token_id, _identity(tokenizer))


def gpt2(repo: str, beside: Path, max_tokens: int) -> Tokeniser:
    """Byte-level BPE as msclap's `CLAPWrapper.preprocess_text` does it: ' <|endoftext|>' appended, '!' to pad.

    msclap reads the embedding off the token whose index is the number of tokens that are not padding, less one. A
    '!' within a text counts as padding there, so its embedding lies before the end; the model is causal, so cutting
    the ids there gives the same. A text longer than `max_tokens` loses its end but keeps <|endoftext|>.
    """
    from transformers import GPT2TokenizerFast

    tokenizer = _pretrained(GPT2TokenizerFast, repo, beside, "vocab.json and merges.txt")
    tokenizer.add_special_tokens({"pad_token": "!"})
    return Tokeniser(_EndOfText(tokenizer, max_tokens), tokenizer.pad_token_id, _identity(tokenizer))


def hashed_words(vocabulary: int, first: int | None, last: int, pad_id: int) -> Tokeniser:
    """One token a word, for random weights, whose tokens mean nothing: no file is needed.

    The ids of words are hashes, kept off the upper and lower 1000 ids where special tokens live.
    """
    identity = f"hashed words, {vocabulary} tokens, {first} to {last}"
    return Tokeniser(_HashedWords(vocabulary, first, last), pad_id, identity)


def save(tokeniser: Tokeniser, folder: Path) -> None:
    """Write the tokenizer's files into `folder`; hashed words have none."""
    if isinstance(tokeniser.encode, _Truncated | _EndOfText):
        tokeniser.encode.tokenizer.save_pretrained(folder)


# Encoders are classes rather than closures so that models can be pickled and copied.


@dataclass(frozen=True)
class _Truncated:
    tokenizer: Any
    max_tokens: int

    def __call__(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, truncation=True, max_length=self.max_tokens)["input_ids"]
        return ids


@dataclass(frozen=True)
class _EndOfText:
    tokenizer: Any
    max_tokens: int

    def __call__(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text + " <|endoftext|>")["input_ids"]
        if len(ids) > self.max_tokens:
            ids = [*ids[: self.max_tokens - 1], ids[-1]]
        return ids[: sum(i != self.tokenizer.pad_token_id for i in ids)]


@dataclass(frozen=True)
class _HashedWords:
    vocabulary: int
    first: int | None
    last: int

    def __call__(self, text: str) -> list[int]:
        margin = min(1000, self.vocabulary // 4)
        room = self.vocabulary - 2 * margin
        ids = [margin + zlib.crc32(word.encode()) % room for word in words(text)]
        return [*([] if self.first is None else [self.first]), *ids, self.last]


def _pretrained(kind: Any, repo: str, beside: Path, files: str) -> Any:
    """The tokenizer in `beside`/<last part of repo>, in `beside`, or of the hub. Raises InputError naming the place."""
    place = beside / repo.split("/")[-1]
    local = next(
        (folder for folder in (place, beside) if any((folder / file).is_file() for file in VOCABULARIES)),
        None,
    )
    if local is None and not weights.cached(repo, VOCABULARIES):
        weights.require_hub(f"the tokenizer {repo}", f"{repo}/tree/main", f"its {files} in {place}/")
    source = repo if local is None else str(local)
    try:
        return kind.from_pretrained(source)
    except (OSError, ValueError, TypeError, json.JSONDecodeError) as error:
        raise InputError(
            f"the tokenizer {source} cannot be read; it needs {files}: {weights.line_of(error)}"
        ) from error


def _identity(tokenizer: Any) -> str:
    """Hash of vocabulary and rules, without the padding and truncation that calls leave behind."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    rules.pop("padding", None)
    rules.pop("truncation", None)
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()

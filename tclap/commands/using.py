"""`tclap score` and `tclap export`: what a trained model is for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg
from rich.table import Table

from tclap.commands.registered import STORAGE, open_any
from tclap.console import VERBATIM, console
from tclap.data import captions
from tclap.data.dataset import on_disk
from tclap.data.layouts import SOUNDS
from tclap.errors import InputError
from tclap.evaluation.similarity import longer_note, similarities
from tclap.models import best_device
from tclap.models.mini import Mini
from tclap.models.protocol import ContrastiveModel
from tclap.places import PathOrName, UserPath


class TrainedModel(BaseModel):
    """A trained model by its place."""

    model: CliPositionalArg[PathOrName] = Field(
        description="a checkpoint folder, models:/tclap@champion, or a model by name"
    )
    storage: UserPath = Field(Path("runs"), description=STORAGE)

    def load(self) -> ContrastiveModel:
        """Raises InputError if it is no checkpoint, no registered model and no name of a pretrained one."""
        return open_any(self.model, self.storage)


class Score(TrainedModel):
    """Print the similarities of sounds and texts: arguments that are files are sounds, the others texts."""

    inputs: Annotated[CliPositionalArg[list[str]], VERBATIM] = Field(description='a.wav b.wav "dog before cat" ...')

    def cli_cmd(self) -> None:
        given = [str(on_disk(Path(), text)) for text in self.inputs]
        audio = [text for text in given if os.path.isfile(text)]  # Path.is_file raises for a long text
        texts = [text for text, name in zip(self.inputs, given, strict=True) if name not in audio]
        lost = [text for text in texts if text.lower().endswith(tuple(SOUNDS))]
        if lost:
            raise InputError(f"no such file: {', '.join(lost)}")
        folders = [text for text in texts if os.sep in text and os.path.isdir(text)]  # "dog" may be a folder and a text
        if folders:
            raise InputError(f"{folders[0]} is a folder: name the files in it")
        if any(not text.strip() for text in texts):
            raise InputError("a text is empty")
        if not audio or not texts:
            missing = "an audio file" if not audio else "a text"
            raise InputError(f'{missing} is missing: tclap score {self.model} a.wav b.wav "dog before cat"')
        model = self.load()
        model.module().to(best_device())
        cosines = similarities(model, audio, texts)
        unread = _unread(model, texts)
        table = Table("cosine", *texts)
        for path, row in cosines.iterrows():
            cells = zip(texts, row, strict=True)
            table.add_row(str(path), *("n/a" if text in unread else f"{value:.3f}" for text, value in cells))
        console.print(table)
        _say_unknown_words(model, texts)
        if note := longer_note(cosines, model):
            console.print(f"note: {note}", style="yellow")


def _unread(model: ContrastiveModel, texts: Sequence[str]) -> list[str]:
    """Texts that name no sound that the model knows: all such texts of a form are the same to it."""
    if not isinstance(model, Mini):
        return []
    of_templates = set(captions.vocabulary(()))
    unknown = {text: set(model.unknown_words(text)) for text in texts}
    return [text for text in texts if unknown[text] and set(captions.words(text)) <= unknown[text] | of_templates]


def _say_unknown_words(model: ContrastiveModel, texts: Sequence[str]) -> None:
    """Name the words that a model with a vocabulary of its own (mini) cannot tell apart, and what it knows."""
    if not isinstance(model, Mini):
        return
    unknown = {text: model.unknown_words(text) for text in texts}
    if any(unknown.values()):
        told = "; ".join(f"{', '.join(found)} in {text!r}" for text, found in unknown.items() if found)
        console.print(
            f"note: {model.name} does not know {told}: all such words are one word to it, so these cosines say little, "
            f"or nothing (n/a). It knows the words of its training captions: {', '.join(model.vocabulary)}",
            style="yellow",
        )


class Export(TrainedModel):
    """Write a post-trained msclap or laion model into an empty folder as its own package reads it."""

    out: CliPositionalArg[Path] = Field(description="a new or empty folder")

    def cli_cmd(self) -> None:
        from tclap.models.export import export  # transformers takes seconds to import

        line = export(self.load(), self.out)
        console.print(f"wrote {self.out}; to load it: {line}")

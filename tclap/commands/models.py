"""`tclap models`: what can be post-trained, how many parameters that trains, and whether the weights are here."""

from __future__ import annotations

import json
from dataclasses import asdict

from pydantic import BaseModel, Field
from rich.table import Table

from tclap.config import Trainable
from tclap.console import console
from tclap.models import NAMES
from tclap.models.listing import describe


class Models(BaseModel):
    """List the models; parameters are counted on the real architecture, without its weights."""

    trainable: Trainable = Field("paper", description="which part is post-trained: paper, projection or all")
    weights: str | None = Field(None, description="look for weights in this folder instead of the hub's cache")
    as_json: bool = Field(False, alias="json", description="print JSON instead of a table")

    def cli_cmd(self) -> None:
        listings = [describe(name, self.trainable, self.weights) for name in NAMES]
        if self.as_json:
            print(json.dumps([asdict(listing) for listing in listings], indent=1))
            return
        table = Table("model", "window", "tower", "parameters", "trainable", "%")
        for listing in listings:
            window = f"{listing.window_s:g} s at {listing.sample_rate_hz / 1000:g} kHz"
            for tower, count in (("audio", listing.audio), ("text", listing.text)):
                first = tower == "audio"
                share = f"{100 * count.trained / count.total:.2f}"
                name, shown = (listing.name, window) if first else ("", "")
                table.add_row(name, shown, tower, f"{count.total:,}", f"{count.trained:,}", share)
        console.print(table)
        for listing in listings:
            found = f"weights in {listing.weights}" if listing.weights else f"no weights here: {listing.advice}"
            console.print(f"{listing.name}: {listing.advice if listing.name == 'mini' else found}")

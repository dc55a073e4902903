"""`tclap order`: score a model on an order suite, read from the files that its makers publish."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.table import Table

from tclap.commands.registered import check_name
from tclap.commands.scoring import TrainedModelFlags, say_untrained, write_json
from tclap.console import console
from tclap.evaluation.statistics import Score
from tclap.evaluation.suites import READERS, read_suite
from tclap.evaluation.suites.scoring import score_suite

MEANING = {
    "item": "the right caption is nearest",
    "text": "every item of a group is right",
    "audio": "each caption is nearer to its own sound",
    "group": "text and audio at once",
}


class Order(TrainedModelFlags):
    """Score a model on an order suite: compa, audiotime, dtu, timed or plain (docs: Order suites)."""

    suite: CliPositionalArg[str] = Field(description=", ".join(READERS))
    path: CliPositionalArg[Path] = Field(description="the suite's folder, or its csv or json")

    def cli_cmd(self) -> None:
        check_name(self.model)
        suite = read_suite(self.suite, self.path)
        model = self.load()
        scores = score_suite(model, suite)
        sounds = len({item.audio for item in suite.items})
        console.print(f"{suite.name}: {len(suite.items)} items of {sounds} sounds")
        for note in suite.notes:
            console.print(f"note: {note}")
        print_scores(scores)
        say_untrained(model)
        if self.json_out:
            write_json(self.json_out, scores, {"items": len(suite.items), "sounds": sounds})


def print_scores(scores: dict[str, Score]) -> None:
    """A line for each score, with n, interval, chance and what it counts."""
    table = Table("score", "%", "95% interval", "n", "chance", "right if")
    for name, score in scores.items():
        interval = f"{score.low:.1f} – {score.high:.1f}"
        table.add_row(name, f"{score.value:.1f}", interval, str(score.n), f"{score.chance:.1f}", MEANING[name])
    console.print(table)

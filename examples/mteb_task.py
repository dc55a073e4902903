"""ZSTE order as a task of MTEB (https://github.com/embeddings-benchmark/mteb): which caption tells the order heard?

tclap data preview DATASET items --count 200       # where tclap is: windows of two sounds, and items.csv
python mteb_task.py items my_wrapper:Model         # where mteb is: scores a model by MTEB's own protocol

Each window is a query, and its caption and the exchanged one are all its candidates, as in MTEB's multiple choice
tasks. Chance is 0.5. The two packages need other versions of the same libraries, so this file imports nothing of tclap;
it runs in an environment with mteb and soundfile. The model is what a function or class of that name returns: a
subclass of `mteb.models.abs_encoder.AbsEncoder` whose `mteb_model_meta` lists the modalities audio and text.
"""

import csv
import importlib
import json
import sys
from pathlib import Path

import mteb
import soundfile
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata

ITEMS = "items.csv"  # audio,right,wrong: any suite that `tclap order plain` scores


class ZSTEOrder(AbsTaskRetrieval):
    """Items of a folder; the published task would name a repository of the Hugging Face hub instead."""

    metadata = TaskMetadata(
        name="ZSTEOrder",
        description="Two sounds follow one another: does the embedding of the audio lie nearer to the caption that "
        "tells their order than to the one with the two sounds exchanged?",
        reference="https://github.com/embeddings-benchmark/mteb",
        dataset={"path": "local", "revision": "0"},
        type="AudioReranking",
        category="a2t",
        modalities=["audio", "text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="accuracy",
        date=("2025-01-01", "2025-12-31"),
        domains=["AudioScene"],
        task_subtypes=["Caption Pairing"],
        license="not specified",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )
    folder = Path()

    def load_data(self, **kwargs):
        if self.data_loaded:
            return
        queries, captions, right, candidates = [], {}, {}, {}
        with (self.folder / ITEMS).open(encoding="utf-8", newline="") as file:
            for n, row in enumerate(csv.DictReader(file)):
                wave, rate_hz = soundfile.read(self.folder / row["audio"], dtype="float32")
                queries.append({"id": f"q{n}", "audio": {"array": wave.tolist(), "sampling_rate": rate_hz}})
                own = [captions.setdefault(row[name], f"d{len(captions)}") for name in ("right", "wrong")]
                right[f"q{n}"], candidates[f"q{n}"] = {own[0]: 1}, own
        corpus = Dataset.from_list([{"id": name, "text": text} for text, name in captions.items()])
        split = RetrievalSplitData(
            queries=Dataset.from_list(queries), corpus=corpus, relevant_docs=right, top_ranked=candidates
        )
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def main(folder, model):
    module, _, name = model.partition(":")
    sys.path.append(str(Path.cwd()))
    task = ZSTEOrder()
    task.folder = Path(folder)
    found = mteb.evaluate(getattr(importlib.import_module(module), name)(), task, cache=None, show_progress_bar=False)
    scores = found.task_results[0].scores["test"][0]
    print(json.dumps({"task": "ZSTEOrder", "main_score": scores["main_score"], "accuracy": scores["accuracy"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])

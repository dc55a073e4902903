"""Base models: mini's is trained on single sounds of the training folds in seconds; the others come pretrained."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from tclap import distributed, models
from tclap.cache import made_once
from tclap.config import DataSettings, ModelSettings, canonical_hash
from tclap.data import compose
from tclap.data.dataset import Dataset
from tclap.data.draws import batch_schedule, draw_timings, held_out_classes
from tclap.errors import InputError
from tclap.features import FRONT_ENDS, audio_features, text_features
from tclap.models import weights
from tclap.models.protocol import trainable_parameters
from tclap.training import checkpoint
from tclap.training.samples import base_stage
from tclap.training.stage import Report, StageRun

BASE_TAKES = 8  # drawn timings that mini's base hears of each clip


def seen_classes(dataset: Dataset, data: DataSettings) -> np.ndarray:
    """Class ids that training may use."""
    unseen = held_out_classes(len(dataset.class_names), data.holdout_classes, data.draw_seed)
    return np.setdiff1d(np.arange(len(dataset.class_names)), unseen)


def base_checkpoint(
    dataset: Dataset,
    dataset_digest: str,
    data: DataSettings,
    settings: ModelSettings,
    cache: Path,
    report: Report = lambda step, metrics: None,
) -> Path:
    """The base model's checkpoint folder, `cache/base/<key>`; made unless it is there already.

    mini's base is trained; a pretrained model's holds the part of its own weights that will be post-trained.
    Raises InputError where weights are missing or unusable, or clips too few.
    """
    untrained = models.family(settings.name).untrained
    if untrained is None:
        return pretrained_checkpoint(settings, cache)
    model = untrained(dataset.class_names, settings.base_seed)
    shapes = {name: list(p.shape) for name, p in trainable_parameters(model).items()}
    seen = seen_classes(dataset, data)
    key = canonical_hash(
        [
            model.fingerprint(),
            shapes,
            dataset_digest,
            sorted(data.train_folds),
            seen.tolist(),
            settings.for_hash(),
            *([] if data.timing == "midpoint" else [data.timing, BASE_TAKES]),
            *(compose.COMPOSITION, FRONT_ENDS),  # as for the features: with another of them it would hear other audio
        ],
        16,
    )

    def write(folder: Path) -> None:
        clips = dataset.clips_in(data.train_folds)
        clips = clips[np.isin(dataset.class_ids[clips], seen)]
        if len(clips) < 2:
            raise InputError(
                f"{dataset.root} has {len(clips)} training clip(s); {settings.name}'s base needs at least 2"
            )
        takes = BASE_TAKES if data.timing == "drawn" else 1
        _, timing = draw_timings((len(clips), takes), settings.base_seed, data.timing, "base")
        windows = compose.single(np.repeat(clips[:, None], takes, axis=1), timing)
        composites, rows = compose.unique_composites(windows)  # rows [clips, takes]
        steps = settings.base.steps
        size = min(settings.base_batch_size, len(clips))
        clip, take = np.moveaxis(batch_schedule(len(clips), takes, size, steps, settings.base_seed), -1, 0)
        class_of_row = dataset.class_ids[composites.first]
        stage = base_stage(class_of_row, dataset.class_names, rows[clip, take])  # schedule [S, N]
        audio = audio_features(model, dataset, dataset_digest, composites, cache)
        text = text_features(model, sorted(set(stage.captions.ravel().tolist())), cache)
        run = StageRun(model, stage, audio, text, settings.base, seed=settings.base_seed)
        with distributed.alone():  # whoever comes first makes it for all, who wait for the lock meanwhile
            while not run.finished:
                report(run.steps_done, run.step())
        checkpoint.write(
            folder, model, {"configuration": {"data": data.model_dump(mode="json")}, "dataset_digest": dataset_digest}
        )

    return made_once(cache / "base" / key, write)


def pretrained_checkpoint(settings: ModelSettings, cache: Path) -> Path:
    """The checkpoint folder of a pretrained model as it comes, `cache/base/<key>`, named by its content."""
    model = models.load(settings.name, settings.weights, settings.trainable, settings.base_seed)
    if not trainable_parameters(model):
        raise InputError(f"{settings.name} is an embedder: it can be scored, but has nothing to train")
    content = hashlib.sha256()
    for name, tensor in sorted(trainable_parameters(model).items()):
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    key = canonical_hash([model.fingerprint(), content.hexdigest(), model.rebuild_config()], 16)
    provenance = {"untrained": settings.weights == weights.RANDOM}
    return made_once(cache / "base" / key, lambda folder: checkpoint.write(folder, model, provenance))

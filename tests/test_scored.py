"""A model by any of its names, and what is refused before it is scored."""

import shutil

import pytest

from tclap.config import Configuration, DataSettings, LossCoefficients, OptimiserSettings
from tclap.errors import InputError
from tclap.experiment import Workspace
from tclap.scored import is_checkpoint, open_model, open_on
from tclap.training import checkpoint


@pytest.fixture
def workspace(dataset, dataset_digest, tmp_path):
    return Workspace(dataset, dataset_digest, tmp_path / "cache")


@pytest.fixture
def trained(mini, dataset_digest, tmp_path):
    """A checkpoint that was trained on folds 1 and 2 of the dataset."""
    configuration = Configuration(
        stages="B",
        batch_size=4,
        data=DataSettings(train_folds=(1, 2), holdout_classes=1),
        coefficients=LossCoefficients(),
        optimiser_b=OptimiserSettings(),
    )
    made = {"configuration": configuration.model_dump(mode="json"), "dataset_digest": dataset_digest}
    checkpoint.save(tmp_path / "trained", mini, made)
    return tmp_path / "trained"


def test_a_folder_is_a_checkpoint_and_a_name_is_not(trained, tmp_path):
    assert is_checkpoint(str(trained))
    assert not is_checkpoint("laion")
    assert open_model(str(trained)).name == "mini"
    shutil.rmtree(trained)
    with pytest.raises(InputError, match="trained is not a tclap checkpoint"):
        is_checkpoint(str(trained))
    with pytest.raises(InputError, match=r"is not a tclap checkpoint: config\.json is not there"):
        is_checkpoint(str(tmp_path))


def test_a_checkpoint_is_scored_as_it_was_trained_and_not_on_its_training_folds(trained, workspace):
    model, data = open_on(workspace, str(trained), (4,))
    assert (model.name, data.holdout_classes) == ("mini", 1)
    with pytest.raises(InputError, match="was trained on fold 2 of this dataset"):
        open_on(workspace, str(trained), (2, 4))


def test_a_checkpoint_is_given_neither_weights_nor_another_cut(trained, workspace):
    for choice, word in (({"weights": "w"}, "which weights"), ({"trainable": "all"}, "where it is cut")):
        for ask in (lambda **c: open_model(str(trained), **c), lambda **c: open_on(workspace, str(trained), (4,), **c)):
            with pytest.raises(InputError, match=f"is a checkpoint, which says itself {word}"):
                ask(**choice)


def test_the_base_of_a_model_without_weights_is_trained_here(workspace):
    model, data = open_on(workspace, "mini", (4,), train_folds=(1,), base_steps=2)
    assert model.name == "mini"
    assert (data.train_folds, data.eval_folds) == ((1,), (4,))
    with pytest.raises(InputError, match=r"^mini takes neither trainable nor weights: its base is trained here"):
        open_on(workspace, "mini", (4,), train_folds=(1,), weights="random")
    with pytest.raises(InputError, match="train_folds names fold 9"):
        open_on(workspace, "mini", (4,), train_folds=(9,))

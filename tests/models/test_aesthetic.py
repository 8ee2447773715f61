"""The aesthetic predictor: each file gives the ratings that its layers give in turn."""

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import nn

from alignsd.base.errors import Problem
from alignsd.base.paths import root
from alignsd.models.aesthetic import load_aesthetic

EMBEDDINGS = torch.nn.functional.normalize(
    torch.randn(5, 768, generator=torch.Generator().manual_seed(0)), dim=1
)


def improved() -> nn.Module:
    """LAION's improved predictor, with random weights: linear layers and dropout, no activation."""
    torch.manual_seed(1)
    model = nn.Module()
    model.layers = nn.Sequential(
        nn.Linear(768, 1024),
        nn.Dropout(0.2),
        nn.Linear(1024, 128),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.Dropout(0.1),
        nn.Linear(64, 16),
        nn.Linear(16, 1),
    )
    return model.eval()


def test_five_layers_rate_as_one(tmp_path):
    """If it failed, the folded layers would not be the published predictor."""
    model = improved()
    torch.save(model.state_dict(), tmp_path / "improved.pth")
    with torch.no_grad():
        expected = model.layers(EMBEDDINGS)[:, 0].numpy()
    ratings = load_aesthetic(str(tmp_path / "improved.pth")).predict(EMBEDDINGS.numpy())
    assert isinstance(ratings, Float[np.ndarray, "5"])
    np.testing.assert_allclose(ratings, expected, atol=1e-5)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_one_layer(tmp_path, suffix):
    """LAION's first predictor is one layer; ours is the same in safetensors."""
    layer = nn.Linear(768, 1)
    path = tmp_path / f"linear.{suffix}"
    save = save_file if suffix == "safetensors" else torch.save
    save(layer.state_dict(), path)
    with torch.no_grad():
        expected = layer(EMBEDDINGS)[:, 0].numpy()
    ratings = load_aesthetic(str(path)).predict(EMBEDDINGS.numpy())
    np.testing.assert_allclose(ratings, expected, atol=1e-5)


@pytest.mark.parametrize("numbers", [(0, 3, 6, 9, 11), (0, 2, 4, 6, 8), (0, 1, 2, 3, 4)])
def test_layers_with_activations_between_them_are_not_folded(tmp_path, numbers):
    """If it failed, LAION's predictor with ReLU would rate as the linear map of its layers."""
    state = {}
    for number, old in zip(numbers, (0, 2, 4, 6, 7), strict=True):
        for name, value in improved().layers[old].state_dict().items():
            state[f"layers.{number}.{name}"] = value
    torch.save(state, tmp_path / "relu.pth")
    with pytest.raises(Problem, match="(?s)no linear aesthetic.*such as ReLU"):
        load_aesthetic(str(tmp_path / "relu.pth"))


def test_bad_files_say_what_is_wrong(tmp_path):
    """Each kind of wrong file ends in one message that names it, not in a traceback of torch's."""
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    torch.save(nn.Linear(768, 10).state_dict(), tmp_path / "classes.pth")
    whole = {"weight": torch.ones(1, 768).char(), "bias": torch.ones(1).char()}
    torch.save(whole, tmp_path / "int8.pth")
    torch.save({"conv.weight": torch.zeros(3, 3, 3, 3)}, tmp_path / "conv.pth")
    (tmp_path / "page.safetensors").write_text("<html>not found</html>")
    messages = {
        "page.safetensors": "cannot be read",
        "page.pth": "cannot be read",
        "classes.pth": "no linear",
        "conv.pth": "no linear",
        "int8.pth": "no linear",
        "gone.pth": "There is no aesthetic predictor",
    }
    for name, words in messages.items():
        with pytest.raises(Problem, match=words):
            load_aesthetic(str(tmp_path / name))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_named_layer_is_refused_and_the_command_makes_a_plain_one(tmp_path, suffix):
    """Simulacra's module rates linear(embedding * sqrt(width)); its file looks like LAION's."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(768, 1)
    named = {f"linear.{key}": value for key, value in layer.state_dict().items()}
    write = torch.save if suffix == ".pth" else save_file
    write(named, tmp_path / f"my s{suffix}")
    with pytest.raises(Problem, match="(?s)no plain linear layer.*Simulacra") as caught:
        load_aesthetic(str(tmp_path / f"my s{suffix}"))
    command = caught.value.fix.partition(": ")[2]
    command = command.replace("python", shlex.quote(sys.executable), 1)
    here = os.environ | {"PYTHONPATH": str(root())}
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=here)
    embedding = torch.nn.functional.normalize(torch.randn(4, 768), dim=-1)
    expected = layer(embedding * 768**0.5).ravel().tolist()
    rated = load_aesthetic(str(tmp_path / "plain.pth")).predict(embedding.numpy())
    assert rated.tolist() == pytest.approx(expected, abs=1e-4)

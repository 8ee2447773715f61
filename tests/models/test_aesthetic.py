"""The aesthetic predictor: each file format gives the ratings that the layers in it give one after the other."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from alignsd.base.errors import Problem
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
    np.testing.assert_allclose(
        load_aesthetic(str(tmp_path / "improved.pth")).predict(EMBEDDINGS.numpy()),
        expected,
        atol=1e-5,
    )


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_one_layer(tmp_path, suffix):
    """LAION's first predictor is one layer; ours is the same in safetensors."""
    layer = nn.Linear(768, 1)
    path = tmp_path / f"linear.{suffix}"
    save_file(layer.state_dict(), path) if suffix == "safetensors" else torch.save(
        layer.state_dict(), path
    )
    with torch.no_grad():
        expected = layer(EMBEDDINGS)[:, 0].numpy()
    np.testing.assert_allclose(
        load_aesthetic(str(path)).predict(EMBEDDINGS.numpy()), expected, atol=1e-5
    )


def test_bad_files_say_what_is_wrong(tmp_path):
    """Each kind of wrong file ends in one message that names it, not in a traceback of torch's."""
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    torch.save(nn.Linear(768, 10).state_dict(), tmp_path / "classes.pth")
    torch.save({"conv.weight": torch.zeros(3, 3, 3, 3)}, tmp_path / "conv.pth")
    (tmp_path / "page.safetensors").write_text("<html>not found</html>")
    for name, words in {
        "page.safetensors": "cannot be read",
        "page.pth": "cannot be read",
        "classes.pth": "no linear",
        "conv.pth": "no linear",
        "gone.pth": "There is no aesthetic predictor",
    }.items():
        with pytest.raises(Problem, match=words):
            load_aesthetic(str(tmp_path / name))

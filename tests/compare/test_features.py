"""Features of pictures: their order, how many pictures are held, and what networks there are."""

import weakref
from urllib.error import URLError

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from stand_ins import Mean
from torch_fidelity import feature_extractor_inceptionv3
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.image.fid import FrechetInceptionDistance

from alignsd import sources
from alignsd.base.errors import Problem
from alignsd.compare import fid
from alignsd.compare.features import picture_features


def test_the_judge_gives_a_row_of_96_features_per_picture():
    network = sources.feature_network("miniature/judge")
    pictures = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    features = picture_features(network, pictures, batch=2, device="cpu")
    assert isinstance(features, Float64[np.ndarray, "5 96"])


def test_features_of_no_picture_are_empty():
    assert isinstance(picture_features(Mean(), [], device="cpu"), Float64[np.ndarray, "0 0"])


def test_computed_features_give_what_the_network_gives():
    network = sources.feature_network("miniature/judge")
    rng = np.random.default_rng(2)
    real = rng.integers(0, 256, size=(20, 64, 64, 3), dtype=np.uint8)
    drawn = rng.integers(0, 256, size=(20, 64, 64, 3), dtype=np.uint8)
    metric = FrechetInceptionDistance(feature=network)
    with torch.no_grad():
        for pictures, is_real in ((real, True), (drawn, False)):
            metric.update(torch.from_numpy(pictures).permute(0, 3, 1, 2), real=is_real)
    of_drawn = picture_features(network, drawn, batch=7, device="cpu")
    of_real = picture_features(network, real, device="cpu")
    assert fid.distance(of_drawn, of_real) == pytest.approx(float(metric.compute()), rel=1e-3)


def test_features_keep_the_order_when_sizes_differ():
    sizes = [(4, 6, 3), (5, 5, 3), (4, 6, 3)]
    pictures = [np.full(size, number, np.uint8) for number, size in enumerate(sizes)]
    features = picture_features(Mean(), pictures, device="cpu")
    np.testing.assert_array_equal(features[:, 0], [0, 1, 2])


def test_pictures_are_held_a_batch_at_a_time():
    held, counts = set(), []

    def pictures():
        for number in range(50):
            picture = np.full((4, 4 + number % 2, 3), number, np.uint8)
            held.add(number)
            weakref.finalize(picture, held.remove, number)
            counts.append(len(held))
            yield picture

    features = picture_features(Mean(), pictures(), batch=5, device="cpu")
    np.testing.assert_array_equal(features[:, 0], np.arange(50))
    assert max(counts) <= 11, "one batch in the network, the next being read"


@pytest.mark.parametrize("network", [sources.feature_network, sources.class_network])
def test_without_network_the_message_names_inception_s_file_and_its_place(
    network, monkeypatch, tmp_path
):
    def unreachable(url, progress):
        raise URLError("no route to host")

    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    file = "weights-inception-2015-12-05-6726825d.pth from https://github.com/toshas"
    with pytest.raises(Problem, match=file) as problem:
        network("inception")
    assert "no route to host" in str(problem.value)
    assert str(tmp_path / "checkpoints") in str(problem.value)


def test_inception_s_classes_are_chances(monkeypatch):
    """The weights are random: the architecture and the names of its outputs are Inception's."""

    def random_weights(url, progress):
        monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        return {}

    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", random_weights)
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        chances = sources.class_network("inception")(pictures)
    assert chances.shape == (2, 1008)
    assert chances.sum(1).tolist() == pytest.approx([1, 1], rel=1e-5)

"""The Fréchet distance: hand-computed values, agreement with torchmetrics, and what its interval must do."""

import weakref
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch_fidelity import feature_extractor_inceptionv3
from torchmetrics.image.fid import FrechetInceptionDistance

from alignsd.base.errors import Problem
from alignsd.base.images import FOREIGN
from alignsd.compare import fid


class Mean(torch.nn.Module):
    """Features: the mean of each colour."""

    def forward(self, pictures):
        return pictures.float().mean((2, 3))


def cached(first=0, **arms):
    """Features by arm and id; ids count from ``first`` but in the original arm."""
    starts = {arm: 0 if arm == "original" else first for arm in arms}
    return pd.concat([pd.DataFrame({"arm": arm, "id": [f"p{starts[arm] + i:05d}" for i in range(len(part))],
                                    "features": list(part)}) for arm, part in arms.items()])


def from_moments(a, b):
    """The distance as the bootstrap computes it, every picture taken once."""
    mean, covariance = fid.moments(b, np.ones(len(b)))
    return fid.distance_of_moments(*fid.moments(a, np.ones(len(a))), mean, fid.square_root(covariance))


def test_equal_sets_have_no_distance():
    a = np.random.default_rng(0).normal(size=(50, 4))
    assert fid.distance(a, a) == pytest.approx(0, abs=1e-6)
    assert from_moments(a, a) == pytest.approx(0, abs=1e-9)


def test_shift_alone_costs_its_square():
    a = np.random.default_rng(0).normal(size=(50, 3))
    assert fid.distance(a + [3, 4, 0], a) == pytest.approx(25, abs=1e-6)


def test_scale_alone_is_the_squared_difference_of_deviations():
    # One feature, deviations s and 3 s about the same mean: the distance is (3 s - s)^2.
    a = np.array([[-1.0], [1.0], [-1.0], [1.0]])
    s2 = a.var(ddof=1)
    assert fid.distance(3 * a, a) == pytest.approx(4 * s2)
    assert from_moments(3 * a, a) == pytest.approx(4 * s2)


@pytest.mark.parametrize("n, m, d", [(200, 150, 8), (40, 60, 16), (10, 12, 20)])
def test_moments_agree_with_torchmetrics_also_with_fewer_pictures_than_features(n, m, d):
    rng = np.random.default_rng(n)
    mix = rng.normal(size=(d, d))
    a, b = rng.normal(size=(n, d)) @ mix, rng.normal(0.3, 1.2, size=(m, d)) @ mix
    assert from_moments(a, b) == pytest.approx(fid.distance(a, b), rel=1e-4)


def test_counts_are_repetitions():
    rng = np.random.default_rng(1)
    a, counts = rng.normal(size=(6, 3)), np.array([0, 1, 2, 0, 3, 1])
    repeated = np.repeat(a, counts, axis=0)
    mean, covariance = fid.moments(a, counts)
    np.testing.assert_allclose(mean, repeated.mean(0))
    np.testing.assert_allclose(covariance, np.cov(repeated.T))


def test_cached_features_give_what_the_network_gives():
    network = fid.feature_network("miniature/judge")
    rng = np.random.default_rng(2)
    real, drawn = (rng.integers(0, 256, size=(20, 64, 64, 3), dtype=np.uint8) for _ in range(2))
    metric = FrechetInceptionDistance(feature=network)
    with torch.no_grad():
        for pictures, is_real in ((real, True), (drawn, False)):
            metric.update(torch.from_numpy(pictures).permute(0, 3, 1, 2), real=is_real)
    ours = fid.distance(fid.features(network, drawn, batch=7, device="cpu"), fid.features(network, real, device="cpu"))
    assert ours == pytest.approx(float(metric.compute()), rel=1e-3)


def test_features_keep_the_order_when_sizes_differ():
    pictures = [np.full((4, 6, 3), 1, np.uint8), np.full((5, 5, 3), 2, np.uint8), np.full((4, 6, 3), 3, np.uint8)]
    np.testing.assert_array_equal(fid.features(Mean(), pictures, device="cpu")[:, 0], [1, 2, 3])


def test_interval_holds_its_value_and_depends_on_the_seed_alone():
    rng = np.random.default_rng(3)
    reference, shared = rng.normal(size=(120, 6)), rng.normal(size=(100, 6))
    arms = cached(original=shared + 1, adapted=shared + 0.2, same=shared + 1)
    own, differences = fid.table(arms, reference, seed=0, resamples=60)
    assert ((own["low"] <= own["value"]) & (own["value"] <= own["high"])).all()
    assert list(own["n"]) == [100, 100, 100]
    adapted, same = differences.set_index("arm").loc[["adapted", "same"]].itertuples()
    assert adapted.high < 0
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-9)
    pd.testing.assert_frame_equal(own, fid.table(arms, reference, seed=0, resamples=60)[0])


def test_interval_is_as_wide_as_the_spread_of_fresh_sets():
    rng = np.random.default_rng(4)

    def fresh():
        return rng.normal(0.5, 1, size=(80, 3)), rng.normal(size=(80, 3))

    spread = np.std([from_moments(*fresh()) for _ in range(200)])
    widths = []
    for a, b in (fresh() for _ in range(20)):
        own, _ = fid.table(cached(original=a), b, seed=0, resamples=60)
        widths.append(own["high"][0] - own["low"][0])
    assert np.mean(widths) == pytest.approx(2 * 1.96 * spread, rel=0.25)


def test_an_arm_may_lack_images():
    rng = np.random.default_rng(5)
    a = rng.normal(size=(60, 3))
    own, _ = fid.table(cached(original=a, adapted=a[10:], first=10), rng.normal(size=(60, 3)), 0, resamples=20)
    assert list(own["n"]) == [60, 50]


def test_miniature_reference_shows_the_prompts_scenes_without_flaws():
    prompts = ["a person in a red shirt waving on the beach", "a running person at night with a hat, blue shirt"]
    pictures, again = (list(fid.reference_pictures("miniature", prompts * 4, seed=0)[0]) for _ in range(2))
    assert len(pictures) == 8 and pictures[0].shape == (64, 64, 3)
    np.testing.assert_array_equal(pictures, again)
    assert any((pictures[0] != pictures[2]).ravel()), "two pictures of one prompt differ in their free variation"


def test_reference_folder_counts_what_it_leaves_out(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"not an image")
    pictures, left_out = fid.reference_pictures(str(tmp_path), [], seed=0)
    assert len(list(pictures)) == 3 and left_out == {FOREIGN: 1}


def test_too_few_reference_pictures_are_refused(tmp_path):
    with pytest.raises(Problem, match="too few reference pictures"):
        list(fid.reference_pictures(str(tmp_path / "nowhere"), [], seed=0)[0])


def test_reference_pictures_are_held_a_batch_at_a_time():
    held, counts = set(), []

    def pictures():
        for number in range(50):
            picture = np.full((4, 4 + number % 2, 3), number, np.uint8)
            held.add(number)
            weakref.finalize(picture, held.remove, number)
            counts.append(len(held))
            yield picture

    found = fid.features(Mean(), pictures(), batch=5, device="cpu")
    np.testing.assert_array_equal(found[:, 0], np.arange(50))
    assert max(counts) <= 11, "one batch in the network, the next being read"


def test_without_network_the_message_names_inception_s_file_and_its_place(monkeypatch, tmp_path):
    def unreachable(url, progress):
        raise URLError("no route to host")

    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(Problem, match="weights-inception-2015-12-05-6726825d.pth from https://github.com/toshas") as problem:
        fid.feature_network("inception")
    assert "no route to host" in str(problem.value) and str(tmp_path / "checkpoints") in str(problem.value)

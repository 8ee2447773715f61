"""The loss at a scale is the loss that the training uses."""

import numpy as np
import pandas as pd
import pytest
import torch

from alignsd.reward import hps, scale


def test_equal_cosines_give_equal_chances_and_the_loss_of_guessing():
    assert scale.chances(np.array([0.2, 0.2, 0.2, 0.2]), 100) == pytest.approx([0.25] * 4)
    assert scale.choice_loss(np.array([0.2] * 4), 1, 30) == pytest.approx(np.log(4))


def test_a_chance_by_hand():
    # Logits 0 and ln 3: the second image has three times the chance of the first.
    cosines = np.array([0.0, np.log(3) / 50])
    assert scale.chances(cosines, 50) == pytest.approx([0.25, 0.75])
    assert scale.choice_loss(cosines, 0, 50) == pytest.approx(np.log(4))


def test_a_larger_scale_is_surer():
    cosines = np.array([0.20, 0.22, 0.21])
    assert scale.chances(cosines, 1).max() < scale.chances(cosines, 100).max()


def test_the_loss_is_the_loss_of_the_training():
    text = torch.tensor([[1.0, 0.0]])
    angles = torch.tensor([0.3, 0.5, 0.1])
    image = torch.stack([angles.cos(), angles.sin()], dim=1)[None]
    present = torch.ones(1, 3, dtype=torch.bool)
    trained = hps.preference_loss(image, text, torch.tensor(30.0).log(), present, torch.tensor([2]))
    assert scale.choice_loss(angles.cos().numpy(), 2, 30) == pytest.approx(float(trained), rel=1e-5)


def test_the_mean_is_over_choices_and_not_over_images():
    cosines = {"a": np.array([0.2, 0.3]), "b": np.array([0.1, 0.4, 0.2])}
    chosen = {"a": 1, "b": 0}
    rows = []
    for choice, values in cosines.items():
        for index, value in enumerate(values):
            rows.append((choice, index == chosen[choice], 100 * value))
    scores = pd.DataFrame(rows, columns=["id", "preferred", "score"])
    table = scale.mean_loss(scores, [1, 10])
    expected = [
        np.mean([scale.choice_loss(cosines[key], chosen[key], value) for key in cosines])
        for value in (1, 10)
    ]
    assert table["loss"].tolist() == pytest.approx(expected)
    assert table["n"].tolist() == [2, 2] and table["scale"].tolist() == [1, 10]

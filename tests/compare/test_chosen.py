"""Inception score and FID of chosen pictures and of the others."""

import numpy as np
import pandas as pd
import pytest
import torch
from stand_ins import Mean
from torchmetrics.image.inception import InceptionScore

from alignsd import sources
from alignsd.base.images import save_png
from alignsd.compare.beside import chosen

CHOICES = pd.DataFrame(
    {
        "id": [7, 8],
        "prompt": ["a", "b"],
        "human_preference": [1, 0],
        "file_path": [["7_0.png", "7_1.png", "7_2.png"], ["8_0.png", "8_1.png"]],
    }
)


def test_a_choice_gives_the_chosen_picture_and_one_of_the_others():
    taken = set()
    for seed in range(20):
        table = chosen.one_of_the_others(CHOICES, seed)
        assert table["arm"].tolist() == ["chosen", "others"] * 2
        assert table["id"].tolist() == [7, 7, 8, 8]
        assert table["file"].tolist()[::2] == ["7_1.png", "8_0.png"]
        assert table["file"].iloc[3] == "8_1.png"
        taken.add(table["file"].iloc[1])
    assert taken == {"7_0.png", "7_2.png"}
    assert chosen.one_of_the_others(CHOICES, 3).equals(chosen.one_of_the_others(CHOICES, 3))


def test_outputs_are_in_the_order_of_the_pictures(tmp_path):
    pictures = chosen.one_of_the_others(CHOICES, 0)
    for number, file in enumerate(pictures["file"]):
        save_png(tmp_path / file, np.full((4, 4, 3), 10 * number, np.uint8))
    table = chosen.outputs(Mean(), pictures, tmp_path, "cpu")
    assert [float(np.mean(row)) for row in table["features"]] == pytest.approx([0, 10, 20, 30])


def test_sure_pictures_of_all_classes_score_the_number_of_classes():
    assert chosen.inception_score(np.eye(5)) == pytest.approx(5)
    assert chosen.inception_score(np.tile([1.0, 0, 0], (4, 1))) == pytest.approx(1)
    assert chosen.inception_score(np.full((4, 3), 1 / 3)) == pytest.approx(1)


def test_counting_a_picture_twice_is_having_the_picture_twice():
    classes = np.random.default_rng(0).dirichlet(np.ones(4), 6)
    counts = np.array([2.0, 0, 1, 1, 0, 2])
    repeated = np.repeat(classes, counts.astype(int), axis=0)
    assert chosen.inception_score(classes, counts) == pytest.approx(
        chosen.inception_score(repeated)
    )


def test_the_score_is_the_score_of_torchmetrics():
    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))

    class Given(torch.nn.Module):
        def forward(self, pictures):
            return logits

    metric = InceptionScore(feature=Given(), splits=1)
    metric.update(torch.zeros(50, 3, 8, 8, dtype=torch.uint8))
    mean, _ = metric.compute()
    ours = chosen.inception_score(logits.softmax(1).double().numpy())
    assert ours == pytest.approx(float(mean), rel=1e-5)


def classes_of(arms):
    rows = []
    for arm, classes in arms.items():
        rows += [(arm, number, row) for number, row in enumerate(classes)]
    return pd.DataFrame(rows, columns=["arm", "id", "features"])


def test_the_difference_is_in_percent_of_the_others():
    sets = {"chosen": np.eye(4), "others": np.repeat(np.eye(4)[:2], 2, axis=0)}
    table = chosen.inception_scores(classes_of(sets), seed=0, resamples=20)
    values = table.set_index(["arm", "metric"])["value"]
    assert values["chosen", "inception_score"] == pytest.approx(4)
    assert values["others", "inception_score"] == pytest.approx(2)
    assert values["chosen", "inception_score_difference"] == pytest.approx(100)
    assert (table["n"] == 4).all()
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_equal_sets_do_not_differ():
    sets = dict.fromkeys(("chosen", "others"), np.random.default_rng(0).dirichlet(np.ones(4), 9))
    last = chosen.inception_scores(classes_of(sets), seed=0, resamples=20).iloc[-1]
    assert [last["value"], last["low"], last["high"]] == pytest.approx([0, 0, 0])


def test_fid_of_both_sets_against_the_same_reference():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(300, 3))
    sets = {"chosen": rng.normal(size=(200, 3)), "others": rng.normal(loc=2, size=(200, 3))}
    table = chosen.fids(classes_of(sets), reference, seed=0, resamples=20)
    rows = table.set_index(["arm", "metric"])
    assert rows.loc[("chosen", "fid"), "value"] < 1 < rows.loc[("others", "fid"), "value"]
    difference = rows.loc[("chosen", "fid_difference")]
    expected = 100 * (
        rows.loc[("chosen", "fid"), "value"] / rows.loc[("others", "fid"), "value"] - 1
    )
    assert difference["value"] == pytest.approx(expected)
    assert difference["low"] < difference["value"] < difference["high"] < 0


def test_one_choice_has_no_fid():
    one = classes_of({"chosen": np.ones((1, 3)), "others": np.ones((1, 3))})
    with pytest.warns(UserWarning, match="no FID"):
        assert chosen.fids(one, np.ones((5, 3)), seed=0, resamples=2).empty


def test_the_judges_classes_are_chances_of_the_scenes():
    pictures = np.stack(list(sources.samples().values())[:3])
    network = sources.class_network("miniature/judge")
    with torch.no_grad():
        chances = network(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    assert chances.shape == (3, 4 * 5 * 4 * 2)
    assert chances.sum(1).tolist() == pytest.approx([1, 1, 1], rel=1e-5)
    assert float(chances.max(1).values.min()) > 0.5, "the judge is sure of a plain scene"

"""The ways that are compared: names, costs, candidates of the best of n, and model cards."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from toys import LORA_RECIPE, PAIR_RECIPE, REWARD_RECIPE

from alignsd.beyond import cards, drawing, ways

PAIRS = replace(PAIR_RECIPE, steps=10, rank=2, beta=200.0, caption_dropout=0.1)
LORA = replace(LORA_RECIPE, steps=10, rank=2)
REWARD = replace(REWARD_RECIPE, steps=5, batch=2, rank=2, denoising_steps=6, through=2)


@pytest.fixture
def original():
    """Two prompts with two samples each, as notebook 06 lists the original's pictures."""
    rows = []
    for prompt in range(2):
        for sample in range(2):
            key = f"p{prompt}-{sample}"
            rows.append(("original", key, f"p{prompt}", sample, f"prompt {prompt}", 10 + sample))
    columns = ["arm", "id", "prompt_id", "sample", "prompt", "seed"]
    return pd.DataFrame(rows, columns=columns).assign(negative="", file="elsewhere.png")


def test_a_name_says_the_strength():
    half = ways.DPO_HPS.at_strength(0.5)
    assert half.name == "dpo_hps@0.5" and half.strength == 0.5
    assert ways.named("dpo_hps@0.5") == half
    assert ways.named("dpo_hps") == ways.DPO_HPS
    assert ways.named("of tomorrow").label == "of tomorrow"


def test_names_of_ways_and_settings_belong_together():
    names = [way.name for way in ways.WAYS]
    assert len(set(names)) == len(names)
    assert set(ways.SETTINGS) <= set(names)
    assert {way.name for way in ways.ALONG_STRENGTH} <= set(names)


def test_the_plan_has_the_seeds_of_the_original_in_every_way(original):
    plan = drawing.plan(original, [ways.ORIGINAL, ways.PAPERS], "Weird image. ", prompts=1)
    assert plan["arm"].tolist() == ["original"] * 2 + ["adapted_negative"] * 2
    assert plan["seed"].tolist() == [10, 11] * 2
    assert plan["negative"].tolist() == ["", "", "Weird image. ", "Weird image. "]
    assert plan["file"].iloc[-1] == "adapted_negative/p0-1.png"


def test_more_pictures_of_the_original_have_other_seeds(original):
    more = drawing.more_of_the_original(original, 2, seed=0)
    assert more["arm"].unique().tolist() == ["original_more_1", "original_more_2"]
    seeds = [*original["seed"], *more["seed"]]
    assert len(set(more["seed"])) == 8 and not set(original["seed"]) & set(more["seed"]), seeds
    assert drawing.more_of_the_original(original, 0, seed=0).empty


def metrics():
    rows = [("original", "a", 1.0), ("original", "b", 5.0), ("original_more_1", "a", 2.0)]
    rows += [("original_more_1", "b", 4.0), ("original_more_2", "a", 9.0)]
    rows += [("original_more_2", "b", 9.0), ("adapted_negative", "a", 7.0)]
    return pd.DataFrame(rows, columns=["arm", "id", "hps"])


def test_the_best_of_2_chooses_among_two_pictures_of_each_id():
    table = metrics()
    kept = drawing.kept_by_hps(table, ways.BEST_OF_2)
    assert kept.to_numpy().tolist() == [["original_more_1", "a"], ["original", "b"]]
    names = ["original", "best_of_2", "adapted_negative"]
    joined = drawing.with_kept(table, {ways.BEST_OF_2: kept}, names)
    assert joined["arm"].tolist() == ["original"] * 2 + ["best_of_2"] * 2 + ["adapted_negative"]
    assert joined.loc[joined["arm"] == "best_of_2", "hps"].tolist() == [2.0, 5.0]


def test_at_strength_0_each_way_is_the_original():
    table = pd.DataFrame({"arm": ["original", "dpo_hps@1"], "metric": "hps", "value": [1.0, 2.0]})
    begun = drawing.from_strength_0(table, [ways.DPO_HPS, ways.SNPO])
    assert begun["arm"].tolist() == ["dpo_hps@0", "snpo@0", "dpo_hps@1"]
    assert begun["value"].tolist() == [1.0, 1.0, 2.0]


def test_passes_count_each_picture_through_the_unet():
    counted = ways.passes({"dpo_hps": PAIRS}, LORA, REWARD)
    assert counted["dpo_hps"] == 10 * 4 * 2 * (1 + 3), "two pictures, frozen and trained"
    assert counted["rejection"] == 10 * 4 * 3
    assert counted["reward"] == 5 * 2 * 2 * (4 + 2 * 3), (
        "guidance; 4 steps without, 2 with gradient"
    )


def test_costs_add_the_second_network():
    counted = {"adapted": 300.0, "dpo_people": 8, "dpo_hps": 80, "npo": 40, "snpo": 8}
    others = {"dpo_relabelled": 8, "rejection": 12, "reward": 9}
    table = ways.costs(counted | others, steps=4).set_index("way")
    assert table.loc["best of 2 by HPS"].tolist() == [2, 1, 0, 0]
    assert table.loc["DPO by HPS and NPO"].tolist() == [1, 2, 120, 15]
    assert table.loc["the paper's arm", "training, passes"] == 300


def test_settings_stand_beside_the_official_ones():
    words = ways.in_words({"dpo_hps": PAIRS}, LORA, REWARD)
    table = ways.settings_table(words)
    assert "10 steps of 4 pairs" in table.set_index("way").loc["DPO, pairs by HPS", "ours"]
    assert set(table["way"]) == {
        "best of 2 by HPS",
        "DPO, pairs by HPS",
        "rejection sampling",
        "gradient of HPS",
    }


def test_a_card_says_what_was_traded_for_what(tmp_path):
    arms = pd.DataFrame(
        [
            ("original", "flaw_rate", 0.3, 0.2, 0.4, 9),
            ("npo", "flaw_rate", 0.1, 0.05, 0.2, 9),
            ("npo", "skin tone: dark", 0.5, 0.4, 0.6, 9),
        ],
        columns=["arm", "metric", "value", "low", "high", "n"],
    )
    folders = {"npo": tmp_path / "npo"}
    folders["npo"].mkdir()
    (file,) = cards.write_cards(folders, arms, {"npo": "ours"}, "a/model")
    text = Path(file).read_text()
    assert text.startswith("---\nbase_model: a/model\n")
    assert "| drawn wrong, share | 0.3 [0.2, 0.4] | 0.1 [0.05, 0.2] |  |" in text
    assert "| skin tone: dark, share |  | 0.5 [0.4, 0.6] |  |" in text
    assert "negative branch" in text and "aesthetic" not in text

"""Pictures of the studio against the kit's own drawing, scoring and judging."""

import numpy as np
import pytest
import torch
from studio_of_tests import DRAWING, PROMPT, drawn_by_the_kit

from alignsd.base.errors import Problem
from alignsd.models.stable_diffusion import Drawing
from alignsd.play import steps
from alignsd.play.studio import Studio, Wish, plan_seed
from alignsd.reward.hps import score

pytest_plugins = ["studio_of_tests"]  # the fixtures loras and studio


def pixels(studio, *wishes):
    return [picture.pixels.astype(int) for picture in studio.draw(wishes, DRAWING)]


def test_the_original_is_drawn_as_the_kit_draws(studio):
    (ours,) = pixels(studio, Wish(PROMPT, 5, negative="at night"))
    assert (ours == drawn_by_the_kit(None, 5, "at night")).all()


def test_a_lora_of_strength_0_gives_the_original_s_pixels(studio):
    for adapter in ("adapted", "regularization_only"):
        original, ours = pixels(studio, Wish(PROMPT, 5), Wish(PROMPT, 5, adapter, strength=0.0))
        assert (ours == original).all()


def test_a_lora_of_strength_1_gives_the_adapted_model_s_pixels(studio, loras):
    for adapter in ("adapted", "regularization_only"):
        (ours,) = pixels(studio, Wish(PROMPT, 5, adapter))
        fused = drawn_by_the_kit(loras[adapter], 5)
        original = drawn_by_the_kit(None, 5)
        assert np.abs(ours - fused).max() <= 1, "sums in another order round differently"
        assert np.abs(fused.astype(int) - original).max() > 10, "this LoRA changes the picture"


def test_models_that_share_a_batch_draw_what_each_draws_alone(studio):
    wishes = [
        Wish(PROMPT, 5, "adapted", negative="at night", strength=0.4),
        Wish(PROMPT, 5),
        Wish(PROMPT, 6, "regularization_only"),
        Wish(PROMPT, 7, "adapted", strength=0.4),
        Wish(PROMPT, 5, "adapted", strength=0.8),
    ]
    together = pixels(studio, *wishes)
    for ours, wish in zip(together, wishes, strict=True):
        (alone,) = pixels(studio, wish)
        assert np.abs(ours - alone).max() <= 1
    assert np.abs(together[0] - together[4]).max() > 10


def test_half_a_lora_lies_between_in_the_weights(studio):
    """The UNet's answer at the first step is compared, before differences add up."""
    latents, times = torch.zeros(1, 4, 8, 8), torch.tensor([500])
    latents += torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    answers = []
    for strength in (0.0, 0.5, 1.0):
        wish = Wish(PROMPT, 5, "adapted", strength=strength)
        answers.append(studio.predict(wish, latents, times, [PROMPT]))
    first, second = answers[1] - answers[0], answers[2] - answers[1]
    whole = (answers[2] - answers[0]).norm()
    assert 0.2 * whole < first.norm() < 0.8 * whole
    assert 0.2 * whole < second.norm() < 0.8 * whole


def test_pictures_come_in_the_order_of_the_wishes(studio):
    wishes = [Wish(PROMPT, 1, "adapted"), Wish(PROMPT, 2), Wish(PROMPT, 3, "adapted")]
    together = studio.draw(wishes, DRAWING)
    assert [picture.wish for picture in together] == wishes
    for picture, wish in zip(together, wishes, strict=True):
        (alone,) = pixels(studio, wish)
        assert np.abs(picture.pixels.astype(int) - alone).max() <= 1


def test_scores_are_of_what_was_asked_for(studio):
    wish = Wish(f"Weird image. {PROMPT}", 5, asked=PROMPT)
    (picture,) = studio.draw([wish], DRAWING)
    (expected,) = score(studio.scorers.hps, [picture.pixels], [PROMPT])
    assert picture.hps == pytest.approx(expected)
    assert picture.clip_score == pytest.approx(expected / 100)
    verdicts = studio.judge.judge([picture.pixels])
    assert picture.flaw == verdicts.flaw_names[0]
    assert picture.match == verdicts.matches([PROMPT])[0]


def test_a_prompt_of_another_world_has_no_match(studio):
    picture, known = studio.draw([Wish("a dog", 5), Wish(PROMPT, 5)], DRAWING)
    assert picture.match is None and picture.verdict[1] == "prompt unknown to the judge"
    assert known.match is not None


def test_without_a_judge_there_is_no_verdict(studio, loras):
    alone = Studio("miniature/stable-diffusion", {"": None}, studio.scorers, None, "cpu")
    (picture,) = alone.draw([Wish(PROMPT, 5)], DRAWING)
    assert picture.verdict == () and not picture.is_flawed
    assert [arm.name for arm in alone.arms()] == ["original"]


def test_an_adapter_that_is_not_there_is_told(studio):
    with pytest.raises(Problem, match="no adapter 'other'"):
        studio.draw([Wish(PROMPT, 5, "other")], DRAWING)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_its_range_is_told(strength):
    with pytest.raises(Problem, match="strength"):
        Wish(PROMPT, 5, "adapted", strength=strength)


def test_seeds_are_those_of_the_comparison():
    from alignsd.compare import generation

    plan = generation.plan(["one", "two"], "Weird image. ", 2, 7, [""])
    first = plan[plan["sample"].eq(0) & plan["arm"].eq("original")]
    assert first["seed"].tolist() == [plan_seed(7, 0), plan_seed(7, 1)]


def test_words_that_the_model_has_never_seen_are_told(studio):
    assert studio.unknown_words(f"{PROMPT}, 4K, trending on artstation. Weird image.") == []
    assert studio.unknown_words("a Dog in a RED shirt, dog and Zug") == ["dog", "and", "zug"]


def test_a_long_prompt_is_cut_between_words_without_a_warning(studio, caplog):
    long = "red shirt " * 40
    assert studio.fitting(PROMPT) == PROMPT and studio.fitting("  ") == "  "
    assert studio.fitting(long) == " ".join(["red shirt"] * 15)
    assert studio.fitting("x" * 10_000) == ""
    (picture,) = studio.draw([Wish(long, 5)], DRAWING)
    assert picture.pixels.shape == (64, 64, 3)
    assert not caplog.records


def test_the_unet_is_watched_at_each_step(studio):
    calls = studio.watch(Wish(PROMPT, 5, negative="at night"), Drawing(3, 2.0))
    assert [len(call.predictions) for call in calls] == [2, 2, 2]
    times = [call.time for call in calls]
    assert times == sorted(times, reverse=True)
    start = torch.randn(calls[0].latent.shape, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(calls[0].latent, start)
    (alone,) = studio.watch(Wish(PROMPT, 5), Drawing(1, 1.0))
    assert len(alone.predictions) == 1, "without guidance there is one prediction"


def test_predictions_with_other_texts_are_the_unet_s(studio):
    wish = Wish(PROMPT, 5, "adapted", negative="at night")
    (call, *_) = studio.watch(wish, Drawing(2, 2.0))
    times = torch.tensor([call.time])
    ours = studio.predict(wish, call.latent[None], times, ["at night", PROMPT])
    torch.testing.assert_close(ours[:, 0], call.predictions, rtol=1e-4, atol=1e-4)


def test_the_last_clean_picture_is_the_picture(studio):
    """In its last step this sampler goes to the clean picture that it predicts."""
    wish, drawing = Wish(PROMPT, 5, "adapted"), Drawing(1, 2.0)
    arising = steps.step_pictures(studio, wish, drawing)
    (picture,) = studio.draw([wish], drawing)
    difference = arising.clean[-1].astype(int) - picture.pixels
    assert np.abs(difference).max() <= 1
    assert arising.noised.shape == arising.clean.shape == (1, 64, 64, 3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_clean_latent_is_recovered_from_the_true_noise(studio, kind):
    class Schedule:
        alphas_cumprod = studio.pipeline.scheduler.alphas_cumprod
        config = {"prediction_type": kind}

    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 4, 8, 8, generator=generator)
    a = steps.alpha_bar(Schedule, 400)
    noised = a**0.5 * clean + (1 - a) ** 0.5 * noise
    answer = noise if kind == "epsilon" else a**0.5 * noise - (1 - a) ** 0.5 * clean
    torch.testing.assert_close(
        steps.clean_latent(Schedule, 400, noised, answer), clean, rtol=1e-4, atol=1e-4
    )

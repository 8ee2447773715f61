"""Diffusion-DPO: the loss by hand, what a pair shares, and a training that resumes to the bit."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from jaxtyping import Float, jaxtyped
from safetensors.torch import load_file
from toys import PAIR_RECIPE as RECIPE

from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.adapt.texts import Texts
from alignsd.base.errors import Problem
from alignsd.beyond import preference
from alignsd.beyond.pairs import Pairs
from alignsd.models.lora import files
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.models.training import Checkpointing

BASE = "miniature/stable-diffusion"
PROMPTS = [f"a person in a {colour} shirt" for colour in ("red", "green", "blue", "white", "grey")]


def pairs_of(side=16, channels=4) -> Pairs:
    """Return five pairs of made-up latents; no two latents are alike."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(10, channels, side, side))
    moments = np.concatenate([mean, np.full_like(mean, 0.1)], axis=1).astype(np.float32)
    nothing = np.zeros(5, dtype=bool)
    winners = Examples([moments], np.arange(5), PROMPTS, nothing)
    losers = Examples([moments], np.arange(5, 10), PROMPTS, nothing)
    return Pairs(winners, losers)


PAIRS = pairs_of()


def test_the_loss_by_hand():
    """-log sigmoid(-2/2 [(e(w) - e(l)) - (e_ref(w) - e_ref(l))])."""
    trained_winner, trained_loser = torch.tensor([0.2, 0.5]), torch.tensor([0.9, 0.1])
    frozen_winner, frozen_loser = torch.tensor([0.4, 0.3]), torch.tensor([0.6, 0.2])
    errors = preference.Errors(trained_winner, trained_loser, frozen_winner, frozen_loser)
    # First pair: (0.2 - 0.9) - (0.4 - 0.6) = -0.5. Second: (0.5 - 0.1) - (0.3 - 0.2) = 0.3.
    expected = [math.log(1 + math.exp(-0.5)), math.log(1 + math.exp(0.3))]
    assert preference.preference_loss(*errors, beta=2).tolist() == pytest.approx(expected)
    assert preference.preference_logit(*errors, beta=2).tolist() == pytest.approx([0.5, -0.3])
    accuracy, logit, winner, loser = preference.inner_numbers(errors, beta=2).tolist()
    assert accuracy == 1, "one of the two pairs"
    assert logit == pytest.approx(0.5 + 0.3)
    # Winners: -0.2 and 0.2. Losers: 0.3 and -0.1.
    assert winner == pytest.approx(0, abs=1e-6) and loser == pytest.approx(0.2)


def test_the_gradient_lowers_the_error_on_the_winner_and_raises_the_error_on_the_loser():
    """At the start, sigmoid = 1/2: dL/de(w) = beta / 4 and dL/de(l) = -beta / 4."""
    winner = torch.tensor([0.3], requires_grad=True)
    loser = torch.tensor([0.7], requires_grad=True)
    loss = preference.preference_loss(winner, loser, torch.tensor([0.3]), torch.tensor([0.7]), 8)
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert winner.grad.item() == pytest.approx(2) and loser.grad.item() == pytest.approx(-2)


def drawn(step=0, **changes):
    recipe = replace(RECIPE, **changes)
    return preference.draw_pairs(PAIRS, recipe, step, scaling=0.5, all_times=1000)


@jaxtyped(typechecker=None)
def test_both_pictures_of_a_pair_get_the_same_caption_noise_and_time_step():
    batch = drawn(step=3)
    assert isinstance(batch.latents, Float[torch.Tensor, "pictures=8 channels=4 h=16 w=16"])
    assert batch.captions[:4] == batch.captions[4:] and set(batch.captions) <= set(PROMPTS)
    assert torch.equal(batch.times[:4], batch.times[4:])
    assert torch.equal(batch.noise[:4], batch.noise[4:])
    means = {role: examples.moments(np.arange(5))[:, :4] for role, examples in vars(PAIRS).items()}
    for number, caption in enumerate(batch.captions[:4]):
        pair = PROMPTS.index(caption)
        for role, latents in (
            ("winners", batch.latents[number]),
            ("losers", batch.latents[4 + number]),
        ):
            assert (latents / 0.5 - means[role][pair]).std() == pytest.approx(0.1, rel=0.1)


def test_a_batch_follows_from_the_seed_and_the_step():
    batch, same, later, other = drawn(2), drawn(2), drawn(3), drawn(2, seed=1)
    assert torch.equal(batch.latents, same.latents) and torch.equal(batch.times, same.times)
    assert batch.captions == same.captions
    assert not torch.equal(batch.noise, later.noise)
    assert not torch.equal(batch.noise, other.noise)


def test_swapped_exchanges_winners_and_losers_and_nothing_else():
    plain, swapped = drawn(5), drawn(5, swapped=True)
    assert torch.equal(swapped.latents[:4], plain.latents[4:])
    assert torch.equal(swapped.latents[4:], plain.latents[:4])
    assert swapped.captions == plain.captions
    assert torch.equal(swapped.noise, plain.noise) and torch.equal(swapped.times, plain.times)


def test_captions_are_dropped_for_both_pictures_of_a_pair():
    many = [drawn(step, batch=50, caption_dropout=0.3) for step in range(20)]
    empty = 0
    for batch in many:
        assert batch.captions[:50] == batch.captions[50:]
        empty += batch.captions[:50].count("")
    assert 250 < empty < 350, "about 0.3 of 1,000 pairs"
    assert drawn(caption_dropout=1.0).captions == [""] * 8
    assert torch.equal(many[0].latents, drawn(batch=50).latents), "no pair is swapped"


def test_pairs_without_caption_are_swapped_and_pairs_with_caption_are_not():
    plain = drawn(batch=50)
    batch = drawn(batch=50, swapped_captionless=0.5)
    assert batch.captions[:50] == batch.captions[50:]
    assert 10 < batch.captions[:50].count("") < 40
    for number, caption in enumerate(batch.captions[:50]):
        first, second = number, 50 + number
        if caption == "":
            first, second = second, first
        else:
            assert caption == plain.captions[number]
        assert torch.equal(batch.latents[number], plain.latents[first])
        assert torch.equal(batch.latents[50 + number], plain.latents[second])


@pytest.fixture
def trained():
    """Give a pipeline whose LoRA changes the UNet, as after some steps of training."""
    pipeline = load_pipeline(BASE, "cpu")
    lora.add_lora(pipeline.unet, rank=4, seed=0)
    generator = torch.Generator().manual_seed(0)
    for name, value in pipeline.unet.named_parameters():
        if "lora_B" in name:
            value.data = torch.randn(value.shape, generator=generator) / 10
    return pipeline


def errors_and_batch(pipeline):
    schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    batch = drawn(1)
    texts = Texts(pipeline).states(batch.captions)
    return preference.errors_of(pipeline.unet, batch, texts, schedule, 1.0), batch, texts, schedule


def test_the_reference_is_the_network_without_the_lora(trained):
    errors, batch, texts, schedule = errors_and_batch(trained)
    original = load_pipeline(BASE, "cpu").unet
    frozen = lora.diffusion_loss(original, batch, texts, schedule, 1.0).detach()
    torch.testing.assert_close(torch.cat([errors.frozen_winner, errors.frozen_loser]), frozen)
    with_lora = lora.diffusion_loss(trained.unet, batch, texts, schedule, 1.0)
    torch.testing.assert_close(torch.cat([errors.trained_winner, errors.trained_loser]), with_lora)
    assert (with_lora - frozen).abs().min() > 1e-4, "the LoRA of this test changes every error"
    assert with_lora.requires_grad and errors.trained_winner.requires_grad
    assert not errors.frozen_winner.requires_grad


def test_the_lora_is_on_again_after_an_error(trained):
    with pytest.raises(ZeroDivisionError), preference.without_lora(trained.unet):
        raise ZeroDivisionError
    names = [name for name, value in trained.unet.named_parameters() if value.requires_grad]
    assert names and all("lora_" in name for name in names)
    errors, *_ = errors_and_batch(trained)
    assert (errors.trained_winner != errors.frozen_winner).all()


def tune(checkpoint=None, stop=None, **changes):
    """Return the learner and the losses after the training, or after step ``stop``."""
    recipe = replace(RECIPE, **{"batch": 2} | changes)
    pipeline = load_pipeline(BASE, "cpu")
    lora.add_lora(pipeline.unet, recipe.rank, recipe.seed)
    learner = preference.Learner(pipeline.unet, recipe.steps)
    checkpointing = Checkpointing(checkpoint, every=2) if checkpoint else None
    losses = []
    for step, loss in preference.learn(pipeline, learner, PAIRS, recipe, checkpointing):
        losses.append(loss)
        if step == stop:
            break
    return learner, losses


def test_a_killed_and_resumed_training_ends_with_the_same_weights(tmp_path):
    whole, losses = tune()
    tune(tmp_path / "c.pt", stop=3)
    resumed, losses_again = tune(tmp_path / "c.pt")
    assert losses_again == losses
    own, other = whole.state_dict(), resumed.state_dict()
    assert own.keys() == other.keys() and "inner" in own
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert (whole.inner.abs().sum(dim=1) > 0).all(), "every step has its numbers"


def test_the_first_loss_is_log_2_and_the_training_learns_the_pairs():
    learner, losses = tune(steps=12, learning_rate=1e-2, batch=5, schedule="constant")
    assert losses[0] == pytest.approx(math.log(2), rel=1e-6)
    assert learner.inner[0].tolist() == [0.5, 0, 0, 0]
    accuracy, logit, winner, loser = learner.inner[-4:].mean(dim=0).tolist()
    assert np.mean(losses[-4:]) < 0.6 and accuracy > 0.7
    assert logit > 0 and winner < loser


def test_only_the_lora_is_trained():
    before = load_pipeline(BASE, "cpu").unet.state_dict()
    learner, _ = tune(steps=2, schedule="constant")
    for name, value in learner.unet.named_parameters():
        plain = name.replace(".base_layer", "")
        if "lora_B" in name:
            assert value.abs().max() > 0, name
        elif "lora_" not in name:
            assert torch.equal(value, before[plain]), name


def test_pairs_that_do_not_fit_the_memory_are_accumulated():
    whole, losses = tune(steps=2, batch=4)
    few, accumulated = tune(steps=2, batch=4, micro_batch=3)
    np.testing.assert_allclose(accumulated, losses, rtol=1e-4)
    torch.testing.assert_close(few.inner, whole.inner, rtol=1e-3, atol=1e-5)


def test_an_alignment_saves_a_lora_and_its_curve(tmp_path):
    recipe = replace(RECIPE, steps=3, batch=2, caption_dropout=0.5)
    folder = tmp_path / "dpo"
    seen = list(preference.align(BASE, "cpu", PAIRS, recipe, folder, {"base model": BASE}))
    learner, losses = tune(steps=3, caption_dropout=0.5)
    assert [(step, loss) for step, loss, _ in seen] == list(enumerate(losses))
    files.save_lora(learner.unet, tmp_path / "by_hand", {})
    saved, by_hand = [
        load_file(path / files.DIFFUSERS_FILE) for path in (folder, tmp_path / "by_hand")
    ]
    assert saved.keys() == by_hand.keys()
    assert all(torch.equal(saved[name], by_hand[name]) for name in saved)
    about = files.read_about(folder / files.DIFFUSERS_FILE)
    assert about["beta"] == "400.0" and about["swapped"] == "False" and about["base model"] == BASE
    curve = preference.read_curve(folder)
    assert curve["step"].tolist() == [0, 1, 2] and curve["loss"].tolist() == losses
    assert (curve[preference.INNER].to_numpy() == learner.inner.numpy()).all()
    pipeline = load_pipeline(BASE, "cpu", folder)
    ((_, image),) = generate(pipeline, [Job("a", PROMPTS[0], 1)], Drawing(2, 1.75))
    assert image.shape == (64, 64, 3) and image.std() > 0


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch": 0},
        {"micro_batch": 0},
        {"rank": 0},
        {"learning_rate": NAN},
        {"weight_decay": INFINITE},
        {"snr_gamma": -1.0},
        {"beta": 0},
        {"beta": -1.0},
        {"beta": NAN},
        {"caption_dropout": -0.1},
        {"caption_dropout": 1.5},
        {"swapped_captionless": 1.5},
        {"swapped_captionless": NAN},
        {"seed": -1},
        {"schedule": "linear"},
    ],
    ids=ascii,
)
def test_settings_out_of_their_range_are_named(change):
    (name,) = change
    with pytest.raises(Problem, match=name):
        replace(RECIPE, **change)


@pytest.mark.parametrize("change", [{"swapped": True}, {"caption_dropout": 0.1}], ids=ascii)
def test_settings_that_contradict_each_other_are_refused(change):
    with pytest.raises(Problem, match="contradicts"):
        replace(RECIPE, swapped_captionless=0.5, **change)


def test_a_missing_curve_is_named(tmp_path):
    with pytest.raises(Problem, match="preference.parquet"):
        preference.read_curve(tmp_path)

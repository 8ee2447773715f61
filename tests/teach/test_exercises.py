"""The checks tell right from wrong; the references agree with what the package computes."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDPMScheduler
from peft import LoraConfig, get_peft_model
from scipy import linalg
from torch import nn

from alignsd.adapt import lora as adaptation
from alignsd.base import intervals
from alignsd.base.errors import Problem
from alignsd.compare import fid as package_fid
from alignsd.compare import user_study
from alignsd.miniature import people
from alignsd.models import stable_diffusion
from alignsd.reward import hps as package_hps
from alignsd.select import rule
from alignsd.select import sharpness as package_sharpness
from alignsd.teach import exercises
from alignsd.teach.tasks import choosing, drawing, measuring

TASKS = choosing.tasks() | drawing.tasks() | measuring.tasks()
ALL_SLIPS = [(name, number) for name, task in TASKS.items() for number in range(len(task.slips))]


# What a reader may write, in the words of the notebooks.


def luce(utilities):
    shares = np.exp(utilities - utilities.max())
    return shares / shares.sum()


def preference_loss(scores, chosen, scale):
    logits = scale * scores
    logits = logits - logits.max()
    return np.log(np.exp(logits).sum()) - logits[chosen]


def hps(image, text):
    return 100 * image @ text / (np.linalg.norm(image) * np.linalg.norm(text))


def selection_rule(scores, alpha):
    n = len(scores)
    best, worst = luce(scores), luce(-scores)
    first = best.argmax() if best.max() > alpha / n else None
    last = worst.argmax() if worst.max() > alpha / n else None
    return first, last


def guidance(negative, positive, scale):
    return negative + scale * (positive - negative)


def snr_weight(snr, gamma):
    return np.minimum(snr, gamma) / snr


def lora(W, A, B, scale):
    return W + scale * (B @ A)


def fid(mean1, cov1, mean2, cov2):
    values = np.linalg.eigvals(cov1 @ cov2)
    root = np.sqrt(values.real.clip(0)).sum()
    return ((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * root


def wilson(successes, n):
    z, share = 1.96, successes / n
    centre = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)


def majority(votes, voters):
    return (votes > voters / 2).mean()


def sharpness(picture):
    numbers = picture.astype(int)
    across, down = np.diff(numbers, axis=1), np.diff(numbers, axis=0)
    return max(abs(across).max(), abs(down).max())


def dpo(trained_winner, trained_loser, frozen_winner, frozen_loser, beta):
    logit = -beta / 2 * ((trained_winner - trained_loser) - (frozen_winner - frozen_loser))
    return -np.log(1 / (1 + np.exp(-logit)))


ANSWERS = {
    answer.__name__: answer
    for answer in (
        luce,
        preference_loss,
        hps,
        selection_rule,
        guidance,
        snr_weight,
        lora,
        fid,
        wilson,
        majority,
        sharpness,
        dpo,
    )
}


def test_every_task_has_an_answer_here_and_an_edge_case():
    assert set(exercises.names()) == set(TASKS) == set(ANSWERS)
    assert all(len(task.cases) >= 3 for task in TASKS.values())


@pytest.mark.parametrize("name", TASKS)
def test_a_right_answer_is_right(name):
    verdict = exercises.check(name, ANSWERS[name])
    assert verdict.is_right, verdict


@pytest.mark.parametrize(("name", "number"), ALL_SLIPS)
def test_a_common_slip_is_wrong_and_named(name, number):
    slip = TASKS[name].slips[number]
    verdict = exercises.check(name, slip.function)
    assert verdict.state == "wrong" and slip.hint in verdict.text, verdict


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("nothing", [None, ...])
def test_an_empty_answer_is_not_tried_yet(name, nothing):
    verdict = exercises.check(name, lambda *inputs: nothing)
    assert verdict.state == "not tried yet" and not verdict.is_right


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("value", [0, 1, "text", [], object(), np.zeros(3), (None, None)])
def test_a_constant_is_wrong(name, value):
    assert exercises.check(name, lambda *inputs: value).state == "wrong"


@pytest.mark.parametrize("name", TASKS)
def test_the_reference_is_right_and_is_not_a_slip(name):
    assert exercises.check(name, TASKS[name].reference).is_right


def test_the_message_shows_inputs_expectation_and_result():
    verdict = exercises.check("luce", lambda utilities: utilities / utilities.sum())
    text = repr(verdict)
    assert text.startswith("wrong: for luce(utilities=[0., 0.]) we expected [0.5, 0.5], ")
    assert "your function returned [nan, nan]" in text and "takes exp first" in text


def test_an_error_in_the_answer_is_shown_and_not_raised():
    def broken(utilities):
        return utilities / undefined_name  # noqa: F821

    verdict = exercises.check("luce", broken)
    assert (
        "not finite" not in verdict.text and "your function stopped with NameError" in verdict.text
    )
    assert "stopped with TypeError" in exercises.check("luce", lambda: 3).text


def test_an_answer_that_forgets_one_case_is_told():
    def half(scores, alpha):
        if scores.max() > 0:
            return selection_rule(scores, alpha)

    assert "return is missing" in exercises.check("selection_rule", half).text


def test_an_answer_may_change_its_inputs():
    def luce_in_place(utilities):
        utilities -= utilities.max()
        np.exp(utilities, out=utilities)
        utilities /= utilities.sum()
        return utilities

    assert exercises.check("luce", luce_in_place).is_right
    assert exercises.check("luce", luce).is_right


def test_lists_and_tensors_are_answers():
    assert exercises.check("luce", lambda utilities: luce(utilities).tolist()).is_right
    assert exercises.check("luce", lambda u: torch.softmax(torch.tensor(u), 0)).is_right


def test_a_value_in_place_of_a_function_is_told():
    assert 'exercises.check("luce", luce)' in exercises.check("luce", luce(np.zeros(2))).text


def test_html_is_escaped_and_no_formula():
    html = exercises.check("luce", lambda utilities: "<b>$x$</b>")._repr_html_()
    assert "<b>$" not in html and "&lt;b&gt;$x$" in html and "mathjax_ignore" in html


def test_an_unknown_task_is_told():
    with pytest.raises(Problem) as problem:
        exercises.check("luca", luce)
    assert "'luce'" in problem.value.fix


def test_overflow_is_named():
    for name, naive in {
        "luce": lambda u: np.exp(u) / np.exp(u).sum(),
        "preference_loss": lambda s, c, k: -np.log(np.exp(k * s)[c] / np.exp(k * s).sum()),
    }.items():
        assert "infinite" in exercises.check(name, naive).text

    def naive_rule(scores, alpha):
        best = np.exp(scores) / np.exp(scores).sum()
        worst = np.exp(-scores) / np.exp(-scores).sum()
        limit = alpha / len(scores)
        return (
            best.argmax() if best.max() > limit else None,
            worst.argmax() if worst.max() > limit else None,
        )

    assert "infinite" in exercises.check("selection_rule", naive_rule).text


# The references against the package and the libraries.


def cases(name):
    return TASKS[name].cases


def reference(name, *inputs):
    return TASKS[name].reference(*inputs)


@pytest.mark.parametrize("inputs", cases("luce"))
def test_luce_is_what_attentive_people_do(inputs):
    (utilities,) = inputs
    np.testing.assert_allclose(reference("luce", utilities), people.luce(utilities, 0.0))


@pytest.mark.parametrize("inputs", cases("preference_loss")[:3])
def test_the_loss_is_that_of_hps(inputs):
    scores, chosen, scale = inputs
    image = torch.tensor(np.stack([scores, np.sqrt(1 - scores**2)], axis=1))[None]
    text = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    present = torch.ones(1, len(scores), dtype=torch.bool)
    logit_scale = torch.tensor(math.log(scale), dtype=torch.float64)
    loss = package_hps.preference_loss(image, text, logit_scale, present, torch.tensor([chosen]))
    assert reference("preference_loss", *inputs) == pytest.approx(float(loss))


def test_the_loss_of_the_edge_case():
    assert reference("preference_loss", np.array([9.0, 8.5]), 1, 100.0) == pytest.approx(50)


@pytest.mark.parametrize("inputs", cases("hps"))
def test_hps_is_the_package_s_on_unit_vectors(inputs):
    image, text = (vector / np.linalg.norm(vector) for vector in inputs)
    expected = package_hps.hps(image[None], text[None])[0]
    assert reference("hps", *inputs) == pytest.approx(expected)


@pytest.mark.parametrize("inputs", cases("selection_rule"))
def test_the_rule_is_that_of_the_selection(inputs):
    scores, alpha = inputs
    names = [f"{index}.png" for index in range(len(scores))]
    table = pd.DataFrame({"image": names, "prompt": "p", "hps": scores})
    table = table.assign(part="1", sharpness=99.0, status="ok")
    selected = rule.select(rule.group(table), alpha).set_index("image")["role"]

    def index_of(role):
        chosen = [names.index(name) for name in names if selected[name] == role]
        return chosen[0] if chosen else None

    assert reference("selection_rule", *inputs) == (
        index_of(rule.POSITIVE),
        index_of(rule.NEGATIVE),
    )


def test_the_cases_of_the_rule_select_both_one_and_none():
    kinds = {
        tuple(index is None for index in reference("selection_rule", *inputs))
        for inputs in cases("selection_rule")
    }
    assert len(kinds) == 4


@pytest.mark.parametrize("inputs", cases("majority"))
def test_the_majority_is_that_of_the_user_study(inputs):
    adapted, voters = inputs
    votes = pd.DataFrame({"adapted": adapted, "original": voters - adapted, "voters": voters})
    outcomes = user_study.majorities(votes, 0).set_index("outcome")["value"]
    assert reference("majority", *inputs) == pytest.approx(outcomes["adapted"])


@pytest.mark.parametrize("inputs", cases("wilson"))
def test_the_interval_is_the_package_s(inputs):
    np.testing.assert_allclose(reference("wilson", *inputs), intervals.wilson(*inputs), atol=1e-6)


@pytest.mark.parametrize("inputs", cases("fid"))
def test_fid_is_scipy_s_and_the_package_s(inputs):
    mean1, cov1, mean2, cov2 = inputs
    root = package_fid.square_root(cov2)
    ours = package_fid.distance_of_moments(package_fid.Moments(mean1, cov1), mean2, root)
    assert reference("fid", *inputs) == pytest.approx(ours, abs=1e-6)
    if np.linalg.det(cov1) > 0:
        trace = np.trace(cov1 + cov2 - 2 * linalg.sqrtm(cov1 @ cov2)).real
        expected = ((mean1 - mean2) ** 2).sum() + trace
        assert reference("fid", *inputs) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_the_weights_are_those_of_the_adaptation(gamma):
    schedule = DDPMScheduler()
    times = torch.arange(0, 1000, 90)
    kept = schedule.alphas_cumprod[times].double().numpy()
    expected = adaptation.snr_weight(schedule, times, gamma).numpy()
    ours = reference("snr_weight", kept / (1 - kept), gamma)
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


@pytest.mark.parametrize("inputs", cases("lora"))
def test_lora_is_what_peft_does(inputs):
    W, A, B, scale = (torch.tensor(value, dtype=torch.float64) for value in inputs)
    layer = nn.Linear(W.shape[1], W.shape[0], bias=False, dtype=torch.float64)
    rank = len(A)
    recipe = LoraConfig(r=rank, lora_alpha=rank * float(scale), target_modules=["0"])
    model = get_peft_model(nn.Sequential(layer), recipe, autocast_adapter_dtype=False)
    values = {"base_layer": W, "lora_A.default": A, "lora_B.default": B}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            (value,) = [value for key, value in values.items() if f"{key}.weight" in name]
            parameter.copy_(value)
        found = model(torch.eye(W.shape[1], dtype=torch.float64)).T
    np.testing.assert_allclose(reference("lora", *inputs), found.numpy(), atol=1e-6)


def test_guidance_is_what_the_drawing_does(monkeypatch):
    """Of the two predictions of a step, diffusers hands on what the reference gives."""
    pipeline = stable_diffusion.load_pipeline("miniature/stable-diffusion", "cpu")
    predictions, guided = [], []
    forward, step = pipeline.unet.forward, type(pipeline.scheduler).step

    def watched_forward(*args, **options):
        result = forward(*args, **options)
        predictions.append(result[0].numpy())
        return result

    def watched_step(scheduler, output, *args, **options):
        guided.append(output.numpy())
        return step(scheduler, output, *args, **options)

    monkeypatch.setattr(pipeline.unet, "forward", watched_forward)
    monkeypatch.setattr(type(pipeline.scheduler), "step", watched_step)
    job = stable_diffusion.Job("a", "a person on the beach", 0, negative="Weird image.")
    list(stable_diffusion.generate(pipeline, [job], stable_diffusion.Drawing(1, 3.0)))
    negative, positive = predictions[0]
    assert not np.allclose(negative, positive)
    expected = reference("guidance", negative, positive, 3.0)
    np.testing.assert_allclose(guided[0][0], expected, atol=1e-4)


def test_every_hint_is_a_sentence():
    for task in TASKS.values():
        for hint in [task.hint, *(slip.hint for slip in task.slips)]:
            assert re.search(r"[.]$", hint), hint


@pytest.mark.parametrize("inputs", cases("sharpness"))
def test_sharpness_is_that_of_the_blur_test(inputs):
    assert reference("sharpness", *inputs) == package_sharpness.greatest_difference(*inputs)

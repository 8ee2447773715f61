"""Computations side by side: the values of computations in turn, and nothing left changed."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toys import LORA_RECIPE

from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.models.parallel import MOST, lanes, together
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.models.training import Checkpointing

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def two_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _count(n, log=None, name=""):
    for i in range(n):
        if log is not None:
            log.append((name, i))
        yield i


def test_as_many_lanes_as_cores_and_one_on_a_gpu():
    assert lanes(CPU) == 2 and lanes(GPU) == 1
    torch.set_num_threads(MOST + 3)
    assert lanes(CPU) == MOST


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize(
    "lengths",
    [{}, {"a": 3}, {"a": 3, "b": 3}, {"a": 1, "b": 4, "c": 2}, {"a": 0, "b": 2}],
)
def test_every_value_comes_once_and_in_order(device, lengths):
    seen = list(together({name: _count(n) for name, n in lengths.items()}, device))
    for name, n in lengths.items():
        assert [value for of, value in seen if of == name] == list(range(n))
    assert len(seen) == sum(lengths.values())


def test_on_a_gpu_one_follows_the_other():
    seen = together({"a": _count(2), "b": _count(2)}, GPU)
    assert [name for name, _ in seen] == ["a", "a", "b", "b"]


def test_they_run_at_the_same_time_with_their_share_of_the_cores():
    """If it failed, nothing would be gained: each waits here until the other is at work too."""
    meeting = threading.Barrier(2, timeout=30)

    def meet():
        for _ in range(3):
            meeting.wait()
            yield torch.get_num_threads()

    seen = together({"a": meet(), "b": meet()}, CPU, first_alone=False)
    assert [threads for _, threads in seen] == [1] * 6
    assert torch.get_num_threads() == 2


def test_the_first_values_come_one_by_one():
    """If it failed, two threads would load a model at once, and libraries would trip over it."""
    busy, most = [], []

    def load():
        busy.append(1)
        most.append(len(busy))
        threading.Event().wait(0.05)
        busy.pop()
        yield torch.get_num_threads()

    assert [threads for _, threads in together({"a": load(), "b": load()}, CPU)] == [1, 1]
    assert most == [1, 1]


def test_nothing_runs_while_the_caller_looks():
    """If it failed, samples would be drawn from weights that a step is changing."""
    log = []
    running = together({"a": _count(3, log, "a"), "b": _count(3, log, "b")}, CPU)
    for seen in running:
        size = len(log)
        threading.Event().wait(0.02)
        assert len(log) == size and seen in log


def test_an_error_reaches_the_caller_and_the_cores_are_given_back():
    def fail():
        yield 0
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(together({"a": _count(5), "b": fail()}, CPU))
    assert torch.get_num_threads() == 2


def test_who_stops_early_gets_the_cores_back():
    running = together({"a": _count(5), "b": _count(5)}, CPU)
    next(running)
    running.close()
    assert torch.get_num_threads() == 2


def _weights(pipeline):
    return [value for value in pipeline.unet.parameters() if value.requires_grad]


RECIPE = replace(LORA_RECIPE, steps=3)


def test_two_trainings_together_end_like_each_alone():
    """If it failed, the adapted model and its control would depend on each other."""
    moments = np.random.default_rng(0).random((4, 8, 8, 8), dtype=np.float32)
    negative = np.array([True, False, True, False])
    examples = Examples([moments], np.arange(4), ["a person"] * 4, negative)

    def start(seed):
        pipeline = load_pipeline("miniature/stable-diffusion", device="cpu")
        lora.add_lora(pipeline.unet, rank=4, seed=0)
        return pipeline, lora.finetune(pipeline, examples, replace(RECIPE, seed=seed))

    both = {name: start(seed) for name, seed in (("a", 0), ("b", 1))}
    losses = list(together({name: training for name, (_, training) in both.items()}, CPU))
    torch.set_num_threads(1)
    for name, seed in (("a", 0), ("b", 1)):
        pipeline, training = start(seed)
        assert list(training) == [value for who, value in losses if who == name]
        alone, beside = _weights(pipeline), _weights(both[name][0])
        assert all(torch.equal(x, y) for x, y in zip(alone, beside, strict=True))


def test_images_drawn_by_two_cores_are_those_of_one_in_the_same_order():
    pipeline = load_pipeline("miniature/stable-diffusion", device="cpu")
    colours = ["red", "blue", "green", "red", "blue"]
    jobs = [Job(str(i), f"a person in a {colour} shirt", i) for i, colour in enumerate(colours)]
    two = list(generate(pipeline, jobs, Drawing(2, 1.5, batch=2)))
    torch.set_num_threads(1)
    one = list(generate(pipeline, jobs, Drawing(2, 1.5, batch=2)))
    assert [job for job, _ in two] == [job for job, _ in one] == jobs
    for (_, a), (_, b) in zip(two, one, strict=True):
        assert abs(a.astype(int) - b.astype(int)).max() <= 1


def test_prompts_are_encoded_before_the_cores_part(monkeypatch):
    """If it failed, two threads would use one tokenizer, and texts would get another's padding."""
    pipeline = load_pipeline("miniature/stable-diffusion", device="cpu")
    encode, threads = pipeline.encode_prompt, []

    def watched(texts, *arguments, **named):
        threads.append(threading.current_thread())
        return encode(texts, *arguments, **named)

    monkeypatch.setattr(pipeline, "encode_prompt", watched)
    jobs = [Job(str(i), f"a person number {i}", i) for i in range(4)]
    assert len(list(generate(pipeline, jobs, Drawing(1, 1.5, batch=2)))) == 4
    assert len(threads) == 3 and set(threads) == {threading.main_thread()}


def test_two_trainings_that_were_stopped_together_end_alike(tmp_path):
    """If it failed, a resumed fine-tuning would end with other weights than a whole one."""
    recipe = replace(RECIPE, steps=5, micro_batch=4, schedule="cosine", snr_gamma=1.0)
    moments = np.random.default_rng(0).random((4, 8, 8, 8), dtype=np.float32)
    negative = np.array([True, False, True, False])
    examples = Examples([moments], np.arange(4), ["a person"] * 4, negative)

    def start_one(folder, name, seed):
        return lora.adapt(
            "miniature/stable-diffusion",
            "cpu",
            examples,
            replace(recipe, seed=seed),
            folder / name,
            about={},
            checkpointing=Checkpointing(folder / f"{name}.pt", every=2),
        )

    def start(folder):
        trainings = {n: start_one(tmp_path / folder, n, seed) for seed, n in enumerate("ab")}
        return together(trainings, CPU)

    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = sorted((name, step, loss) for name, (step, loss, _) in start("whole"))
    stopped = start("stopped")
    for name, (step, _, _) in stopped:
        if (name, step) == ("a", 3):
            break
    stopped.close()
    assert sorted((name, step, loss) for name, (step, loss, _) in start("stopped")) == whole
    for name in "ab":
        file = f"{name}/pytorch_lora_weights.safetensors"
        expected = load_file(tmp_path / "whole" / file)
        resumed = load_file(tmp_path / "stopped" / file)
        assert expected
        assert all(torch.equal(value, resumed[key]) for key, value in expected.items())

"""What notebook 10 takes at full size, by hand, and that its tasks run."""

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from alignsd import cli
from alignsd.kit.values.presets import resolve
from alignsd.planning import costs, other_ways, throughput
from alignsd.planning.space import space
from alignsd.planning.work import count_work

EVERY_TASK = (*throughput.TASKS, *throughput.OTHER_TASKS)
MEASURED = pd.DataFrame({"task": EVERY_TASK, "batch": 1, "seconds": 3.6, "gib": 1.0})


@pytest.fixture(scope="module")
def values():
    return {name[:2]: own for name, own in resolve("paper", "cost-of-other-ways").items()}


def counts(values):
    work = count_work(values, parts=1_000)
    return work[work["notebook"] == "10"].set_index("task")["count"]


def test_the_work_by_hand(values):
    work = counts(values)
    assert work[throughput.TRAIN_PAIR] == 5 * 2 * 2_000 * 64, "both pictures of the pairs"
    assert work[throughput.TRAIN_LORA] == 10_000 * 40, "rejection sampling alone"
    assert work[throughput.TRAIN_REWARD] == 100 * 16
    drawn = 1 * (192 * (10 + 3) + 48 * (7 * 4 + 1))
    assert work[throughput.DECODE] == drawn
    assert work[throughput.DENOISE] == 50 * drawn + 49 * 100 * 16, "49 steps without a gradient"
    assert work[throughput.EMBED] == 79_167 + 3 * drawn, "people's pairs, and what is drawn"
    assert work[throughput.ENCODE] == 79_167 + 37_572 + 2 * 2_000 * 64


def test_a_gradient_through_more_steps_takes_more(values):
    through_three = values["10"] | {"reward_through": 3, "reward_recompute": True}
    one, three = counts(values), counts(values | {"10": through_three})
    pictures = 100 * 16
    assert three[throughput.TRAIN_LORA] - one[throughput.TRAIN_LORA] == 2 * 2 * pictures
    assert three[throughput.DENOISE] - one[throughput.DENOISE] == pictures, "2 less, 3 again"
    assert three[throughput.DECODE] - one[throughput.DECODE] == pictures
    all_steps = counts(values | {"10": values["10"] | {"reward_through": 0}})
    assert all_steps[throughput.TRAIN_LORA] - one[throughput.TRAIN_LORA] == 2 * 49 * pictures


def test_a_run_without_notebook_10_does_not_count_notebook_10(values):
    usual = {number: own for number, own in values.items() if number != "10"}
    assert "10" not in set(count_work(usual, parts=1_000)["notebook"])
    assert space(usual, 1_000)["10"] == 0.0 < space(values, 1_000)["10"]


def test_a_report_tells_of_notebook_10_where_it_counts(values):
    hours = counts(values).sum() / 1_000
    told = costs.report(values, 1_000, MEASURED, [*values])
    assert f"of these, notebook 10: {hours:,.1f} hours" in told
    assert "notebook 10" not in costs.report(values, 1_000, MEASURED, ["03", "06"])


@pytest.mark.parametrize("options", [[], ["--with-10"]])
def test_the_command_counts_notebook_10_where_it_is_asked_to(options, monkeypatch):
    monkeypatch.setattr(throughput, "measure", lambda device, sizes, further: MEASURED)
    done = CliRunner().invoke(cli.app, ["cost", "--parts", "3", "--device", "cpu", *options])
    assert done.exit_code == 0, done.exception
    assert ("notebook 10" in done.output) == bool(options)


@pytest.mark.parametrize("notebooks", [["06"], ["06", "10"]])
def test_only_what_counts_is_measured(notebooks, monkeypatch):
    asked = []

    def measure(device, sizes, further):
        asked.extend(further)
        return MEASURED

    monkeypatch.setattr(throughput, "measure", measure)
    costs.measure("cpu", {}, notebooks)
    assert len(asked) == (2 if "10" in notebooks else 0)


@pytest.fixture
def small_networks(monkeypatch):
    """Networks with the shapes of Stable Diffusion 1.4 at their ends, and hardly any width."""
    blocks = {
        "block_out_channels": (32, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    narrow = {"block_out_channels": (32,) * 4}
    monkeypatch.setattr(other_ways, "UNET", throughput.UNET | blocks)
    monkeypatch.setattr(other_ways, "AUTOENCODER", throughput.AUTOENCODER | narrow)
    monkeypatch.setattr(other_ways, "CLIP", "ViT-S-32-alt")


@pytest.mark.parametrize("tasks", [other_ways.pair_tasks, other_ways.reward_tasks])
def test_a_task_trains_the_low_rank_matrices_alone(tasks, small_networks, monkeypatch):
    made = []
    adapted = other_ways._adapted_unet

    def remembered(device):
        made.append(adapted(device))
        return made[0]

    monkeypatch.setattr(other_ways, "_adapted_unet", remembered)
    ((name, work),) = tasks(torch.device("cpu"), {})
    assert name in throughput.OTHER_TASKS
    work()
    parameters = dict(made[0].named_parameters())
    with_gradient = {name for name, each in parameters.items() if each.grad is not None}
    assert with_gradient and all("lora" in name for name in with_gradient)

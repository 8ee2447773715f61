"""The phases of preset paper, by hand, and where the unit times come from."""

import json
import math

import pytest
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from alignsd import cli
from alignsd.base.errors import Problem
from alignsd.figures.alt import alternative_text
from alignsd.kit.values.presets import resolve
from alignsd.planning import gpus, phases, throughput
from alignsd.planning.scaling import Cluster, simulate
from alignsd.planning.speed_up import speed_up

IDEAL = Cluster(cores_per_gpu=math.inf, network=math.inf, link=math.inf, start=0.0)
EVERY_TASK = dict.fromkeys(throughput.TASKS, 3.6)


@pytest.fixture(scope="module")
def values():
    return {notebook[:2]: own for notebook, own in resolve("paper", "paper").items()}


def hours(values, parts, rates, cluster=IDEAL):
    made = phases.phases(values, parts, rates)
    return simulate(made, [1], cluster).set_index("phase")["hours"]


def test_one_gpu_takes_what_the_work_takes(values):
    table = hours(values, 1_000, EVERY_TASK)
    assert table["03 score"] == pytest.approx(1_000)
    assert table["05 LoRAs"] == pytest.approx(2 * 10_000 * 40 / 1_000)
    assert table["06 draw"] == pytest.approx((7_000 * 50 + 7_000) / 1_000)
    assert table["07 measure"] == pytest.approx(3 * 7_000 / 1_000)
    assert table["07 FID"] == pytest.approx(2.4)
    assert table["02 train"] == pytest.approx(118.35, abs=0.05)


def test_fourteen_million_pictures_take_fourteen_times_the_scoring_and_the_same_training(values):
    one, fourteen = hours(values, 1_000, EVERY_TASK), hours(values, 14_000, EVERY_TASK)
    assert fourteen["03 score"] == pytest.approx(14 * one["03 score"])
    assert fourteen["05 LoRAs"] == one["05 LoRAs"]


def test_a_part_is_half_a_gibibyte_from_the_network(values):
    rates = {throughput.EMBED: 0.001, throughput.READ: 0.0}
    cluster = Cluster(network=0.25, start=0.0)
    (scoring,) = [p for p in phases.phases(values, 1_000, rates) if p.name == "03 score"]
    assert scoring.on(1, cluster).seconds_of["network"] == pytest.approx(1_000 * 0.536870912 / 0.25)


def test_a_phase_without_its_rates_is_left_out(values):
    rates = {throughput.EMBED: 0.0032, throughput.READ: 0.007}
    names = [phase.name for phase in phases.phases(values, 1_000, rates)]
    assert names == ["02 test", "03 score", "04 select"]
    assert throughput.TRAIN_LORA in phases.missing(rates)
    with pytest.raises(Problem, match="too few"):
        gpus.report(values, 1, {throughput.FEATURES: 1.0}, gpus.Simulation([1], IDEAL))


def test_rates_come_from_a_file_a_measurement_or_the_command_line(tmp_path):
    short = tmp_path / "rates.json"
    short.write_text('{"embed": 0.0032, "UNet: a guided denoising step": 0.02}')
    assert phases.read_rates(short) == {throughput.EMBED: 0.0032, throughput.DENOISE: 0.02}
    kept = tmp_path / "cost.json"
    row = {"task": throughput.READ, "batch": 1, "seconds": 0.007, "gib": 1.0}
    kept.write_text(json.dumps({"measured_with": {}, "measured": [row]}))
    assert phases.given_rates(kept, ["read=0.5", "fid=1"]) == {
        throughput.READ: 0.5,
        throughput.FRECHET: 1.0,
    }


@pytest.mark.parametrize(
    "content", ['{"embd": 1}', '{"embed": -1}', '{"embed": "fast"}', "{}", "[]", '{"embed": true}']
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    file = tmp_path / "rates.json"
    file.write_text(content)
    with pytest.raises(Problem, match="--rate embed="):
        phases.read_rates(file)


@pytest.mark.parametrize("text", ["embed", "embed=", "embed=fast", "=1", "embed=nan", "embed=inf"])
def test_a_rate_that_is_no_number_is_refused(text):
    with pytest.raises(Problem):
        phases.rate_given(text)


def test_numbers_of_gpus():
    assert gpus.numbers_of_gpus("8, 1,2") == [1, 2, 8]
    assert gpus.numbers_of_gpus("") == [1]
    for text in ("0", "1;2", "-1", "many"):
        with pytest.raises(Problem, match="--gpus"):
            gpus.numbers_of_gpus(text)


def test_the_command_simulates_without_measuring(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput, "measure", None)  # a measurement would take minutes
    figure = tmp_path / "speed.png"
    options = ["--gpus", "1,64", "--pictures", "14000000", "--price", "2", "--figure", str(figure)]
    rates = ["--rate", "embed=0.0032", "--rate", "read=0.007"]
    done = CliRunner().invoke(cli.app, ["simulate", *options, *rates])
    assert done.exit_code == 0, done.exception
    assert "14,000,000 pictures" in done.output
    assert "Simulated, not measured" in done.output
    assert "03 score" in done.output and "05 LoRAs" not in done.output
    assert Image.open(figure).width > 1000


def test_the_figure_says_what_it_shows(values, style):
    made = phases.phases(values, 1_000, EVERY_TASK)
    fig = speed_up(Figure((9, 3.4)), simulate(made, [1, 2, 64], IDEAL))
    words = alternative_text(fig)
    assert "speed-up of a simulated run" in words
    assert "whole run 1 1.0" in words
    left = fig.axes[0]
    whole_run = {line.get_label(): line for line in left.lines}["whole run"]
    assert whole_run.get_ydata()[0] == 1
    assert whole_run.get_ydata()[1] == pytest.approx(2, abs=0.1)

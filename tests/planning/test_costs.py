"""The cost of a full-size run, by hand; and what stops a run that does not fit the machine."""

import json

import fsspec
import pandas as pd
import pytest
import torch

from alignsd.base.errors import Problem
from alignsd.planning import costs, environment, throughput
from alignsd.planning.look_ahead import look_ahead
from alignsd.planning.space import held, parts_at, parts_to_fetch, parts_to_score, space
from alignsd.planning.work import count_work, estimate, total_hours
from alignsd.running.tasks import Request, prepare

# The selected images, and as many again for the control, beside the regularization pictures.
SELECTED = 37_572 + 21_108
ENCODED = 2 * SELECTED + 200_231


def values_of(preset, run):
    return {task.name[:2]: task.values for task in prepare(Request(run, preset)).tasks}


@pytest.fixture(scope="module")
def values():
    return values_of("paper", "cost-of-paper")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A GPU of 24 GiB and 100 GiB of free disk; returns the batches of each measurement."""
    monkeypatch.setenv("ALIGNSD_OUTPUT", str(tmp_path))
    calls = []

    def measure(device, batches, further=()):
        calls.append(batches)
        sizes = [batches.get(task, 1) for task in throughput.TASKS]
        return pd.DataFrame({"task": throughput.TASKS, "batch": sizes, "seconds": 3.6, "gib": 1.0})

    monkeypatch.setattr(throughput, "measure", measure)
    monkeypatch.setattr(throughput, "device_name", lambda device: "a card")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    properties = type("Properties", (), {"name": "a card", "total_memory": 24 * 2**30})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    set_free_disk(monkeypatch, 100)
    return calls


def set_free_disk(monkeypatch, gib):
    usage = type("Usage", (), {"free": gib * 2**30})
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: usage)


def write_empty(path, gib):
    """Write a file that says it is large and takes no room."""
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(int(gib * 2**30))


def counts(values, parts):
    return count_work(values, parts).set_index(["notebook", "task"])["count"]


def test_the_paper_s_work_by_hand(values):
    work = counts(values, parts=1_000)
    assert work["03", throughput.EMBED] == 1_000_000
    assert work["03", throughput.READ] == 1_000_000
    assert work["05", throughput.TRAIN_LORA] == 2 * 10_000 * 40
    assert work["05", throughput.ENCODE] == ENCODED
    assert work["05", throughput.READ] == 2 * ENCODED
    assert work["05", throughput.EMBED] == ENCODED - SELECTED, "pictures without a rating are rated"
    assert work["06", throughput.DENOISE] == 7 * 1_000 * 50
    assert work["07", throughput.FEATURES] == 7 * 1_000
    assert work["07", throughput.FRECHET] == 300 * 8
    assert work["02", throughput.TRAIN_CLIP] == round(79_167 + 79_167 / 20_205 * 10_000)


def test_fewer_parts_cost_less(values):
    few, many = counts(values, 30), counts(values, 1_000)
    assert few["03", throughput.EMBED] == 30_000
    assert few["05", throughput.ENCODE] < many["05", throughput.ENCODE]
    assert few["06", throughput.DENOISE] == many["06", throughput.DENOISE]


def test_hours_are_counts_times_what_was_measured(values):
    work = count_work(values, parts=1)
    table = estimate(work, pd.DataFrame({"task": throughput.TASKS, "seconds": 3.6}))
    count = work["count"].sum()
    assert table["hours"].sum() == pytest.approx(count / 1000)
    assert total_hours(table) == pytest.approx((count - 1_000) / 1000), "03 reads while it embeds"


def test_space_of_the_paper(values):
    left = space(values, 1_000)
    assert left["05"] == pytest.approx(ENCODED * 2**16 / 2**30, abs=0.3)
    assert left["04"] == pytest.approx(SELECTED * 0.75 / 1024)
    assert sum(left.values()) < values["00"]["disk"], "the preset asks for less than it leaves"
    small = values_of("small", "cost-of-small")
    assert sum(space(small, 30).values()) < small["00"]["disk"]


def test_parts_at_hand_are_counted_wherever_the_kernel_started(kit, monkeypatch):
    parts = kit / "data" / "diffusiondb-large-part-1"
    parts.mkdir(parents=True)
    for number in (2, 3):
        (parts / f"part-{number:06d}.zip").touch()
    monkeypatch.chdir(kit / "notebooks")
    assert parts_at("data") == 2
    assert parts_at("nowhere") == 0


def test_parts_at_a_url_are_counted_and_need_no_disk(values):
    files = fsspec.filesystem("memory")
    for number in (2, 3):
        files.pipe(f"/cost-test/images/part-{number:06d}.zip", b"zip")
    try:
        assert parts_at("memory://cost-test") == 2
        assert parts_at("memory://cost-test-nowhere") == 0
        remote = values | {"03": values["03"] | {"parts": "memory://cost-test"}}
        assert parts_to_score(remote) == 2
        assert parts_to_fetch("memory://cost-test", 1_000) == 0
        assert parts_to_fetch("nowhere", 1_000) == 1_000
        measured = pd.DataFrame({"task": throughput.TASKS, "batch": 1, "seconds": 3.6, "gib": 1.0})
        assert "to fetch: 0 parts" in costs.report(remote, 1_000, measured, ["03"])
    finally:
        files.rm("/cost-test", recursive=True)


def test_a_report_tells_of_the_notebooks_asked_for(values):
    measured = pd.DataFrame({"task": throughput.TASKS, "batch": 1, "seconds": 3.6, "gib": 1.0})
    text = costs.report(values, 1_000, measured, ["03", "04"])
    assert "to fetch: 1,000 parts of DiffusionDB, 500.0 GiB" in text
    assert "in all 1,058.7 hours" in text
    assert "04 leaves 43.0 GiB" in text
    assert "05 leaves" not in text
    assert throughput.TRAIN_LORA not in text.split("parts of")[1]


def test_the_machine_is_measured_anew_for_another_batch(values, machine, tmp_path):
    """If it failed, an older measurement would hide that a micro_batch does not fit."""
    known = tmp_path / "cost.json"
    for micro_batch in (8, 8, 4):
        changed = values | {"05": values["05"] | {"micro_batch": micro_batch}}
        assert "in all" in costs.before_a_run(changed, "auto", known, ["05"])
    assert [call[throughput.TRAIN_LORA] for call in machine] == [8, 4]
    measured = json.loads(known.read_text())["measured"]
    assert [row["batch"] for row in measured if row["task"] == throughput.TRAIN_LORA] == [4]


def test_batches_are_parameters_on_a_gpu_and_one_on_a_cpu(values, machine, monkeypatch):
    on_gpu = costs.batches(values, "auto")
    assert on_gpu[throughput.TRAIN_CLIP] == 4 * values["02"]["batch"], "a choice has four images"
    assert on_gpu[throughput.DENOISE] == values["06"]["batch"]
    assert set(costs.batches(values, "auto", batch=3).values()) == {3}
    monkeypatch.setattr(throughput, "device_name", lambda device: "CPU")
    assert set(costs.batches(values, "auto").values()) == {1}


def test_a_run_that_does_not_fit_the_disk_stops_before_it_begins(
    values, machine, monkeypatch, tmp_path
):
    set_free_disk(monkeypatch, 60)
    with pytest.raises(Problem, match="(?s)free disk 71.*found: .*60.0 GiB"):
        look_ahead("full", values, list(values))
    look_ahead("full", values, ["02", "03"])
    stage = tmp_path / "papermill_runs/full/stages/05_finetune_stable_diffusion"
    write_empty(stage / "latents/00000.npy", gib=15)
    look_ahead("full", values, list(values))
    assert len(machine) == 1


def test_notebooks_without_large_models_need_no_gpu_and_little_disk(
    values, machine, monkeypatch, capsys
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    set_free_disk(monkeypatch, 1)
    look_ahead("full", values, ["08"])
    assert machine == []
    assert capsys.readouterr().out == ""
    with pytest.raises(Problem, match="a GPU of 20 GiB"):
        look_ahead("full", values, ["07", "08"])


def test_the_miniature_needs_no_more_disk_than_it_has_not_written(machine, monkeypatch, tmp_path):
    mini = values_of("mini", "trial")
    needed = mini["00"]["disk"]
    set_free_disk(monkeypatch, needed / 2)
    with pytest.raises(Problem, match=f"free disk {needed:g} GiB"):
        look_ahead("trial", mini, ["08"])
    write_empty(tmp_path / "papermill_runs/trial/a.npy", gib=0.75 * needed)
    look_ahead("trial", mini, ["08"])
    assert machine == []


BAD_MEASUREMENTS = [
    "",
    "{",
    "null",
    "[]",
    "5",
    "{}",
    '{"device": 1, "measured": []}',
    '{"measured": [1]}',
    "[" * 99_999,
]


@pytest.mark.parametrize("content", BAD_MEASUREMENTS)
def test_a_damaged_measurement_is_made_anew(values, machine, tmp_path, content):
    known = tmp_path / "cost.json"
    known.write_text(content)
    assert "in all" in costs.before_a_run(values, "auto", known, ["05"])
    assert len(machine) == 1
    assert json.loads(known.read_text())["measured"][0]["seconds"] == 3.6
    costs.before_a_run(values, "auto", known, ["05"])
    assert len(machine) == 1, "a whole measurement is kept"
    kept = json.loads(known.read_text())
    kept["measured"][0]["seconds"] = -1
    known.write_text(json.dumps(kept))
    costs.before_a_run(values, "auto", known, ["05"])
    assert len(machine) == 2, "no work takes less than no time"


def test_what_cannot_be_looked_at_takes_no_space(tmp_path):
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "deep" / "a.bin").write_bytes(b"x" * 2**20)
    (tmp_path / "run" / "gone").symlink_to(tmp_path / "nowhere")
    assert held(tmp_path / "run") == pytest.approx(1 / 1024)
    assert held(tmp_path / "none") == 0


def test_only_shards_count_as_shards(values, tmp_path):
    for name in ("1.tar", "._1.tar", "2.TAR"):
        (tmp_path / name).write_bytes(b"x" * 2**20)
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "gone.tar").symlink_to(tmp_path / "nowhere")

    def space_of_05(regularization):
        changed = values | {"05": values["05"] | {"regularization": str(regularization)}}
        return space(changed, 30)["05"]

    more = space_of_05(tmp_path) - space_of_05(tmp_path / "none")
    assert more == pytest.approx(2 / 1024)

"""All notebooks, executed with the fewest steps; what they left is read back."""

import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image
from safetensors.torch import load_file

from alignsd.base.paths import notebooks, root
from alignsd.choose.deck import read_deck
from alignsd.compare import scorecard
from alignsd.kit.values.notebook_files import ON_REQUEST, notebook_names, usual_names
from alignsd.kit.values.presets import resolve
from alignsd.running.links import TARGETS

SECONDS = 900  # far more than a run takes: a hanging notebook ends the test


def alignsd(output: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the command in a folder that is not the repository, with all output below that folder."""
    main = "import sys; from alignsd.cli import main; sys.argv[0] = 'alignsd'; main()"
    return subprocess.run(
        [sys.executable, "-c", main, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=output,
        env=os.environ | {"ALIGNSD_OUTPUT": str(output)},
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """A folder in which all notebooks have run at preset smoke."""
    folder = tmp_path_factory.mktemp("smoke")
    done = alignsd(folder, "run", "--preset", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    more = alignsd(folder, "run", "--preset", "smoke", *ON_REQUEST)
    assert more.returncode == 0, more.stdout + more.stderr
    (folder / "log.txt").write_text(done.stdout)
    yield folder
    shutil.rmtree(folder)


def stage(output: Path, number: str, run: str = "smoke") -> Path:
    (folder,) = (output / f"papermill_runs/{run}/stages").glob(f"{number}_*")
    return folder


def metrics(output: Path, number: str, run: str = "smoke") -> dict:
    return json.loads((stage(output, number, run) / "metrics.json").read_text())


def test_every_notebook_left_a_copy_a_record_and_its_results(output):
    run = output / "papermill_runs/smoke"
    values = resolve("smoke", "smoke")
    for name in notebook_names():
        record = json.loads((run / f"{name}.json").read_text())
        assert record["parameters"] == values[name] and record["preset"] == "smoke"
        assert metrics(output, name[:2])["seconds"] <= record["seconds"]
        cells = json.loads((run / f"{name}.ipynb").read_text())["cells"]
        assert not [o for c in cells for o in c.get("outputs", []) if o["output_type"] == "error"]
        assert [c for c in cells if c.get("outputs")], "an executed notebook shows something"
    assert not list(run.glob(".*")) and not list(run.glob("*.failed.ipynb"))


def test_executed_notebooks_do_not_tell_where_they_ran(output):
    for path in (output / "papermill_runs/smoke").glob("*.ipynb"):
        text = path.read_text()
        for word in (str(output), f"{sys.prefix}/", "ipykernel_"):
            assert word not in text, path.name


def shown(output: Path) -> list[tuple[str, dict]]:
    """Every output of every executed copy, with the id of its cell."""
    outputs = []
    for path in sorted((output / "papermill_runs/smoke").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            outputs += [(cell["id"], shown) for shown in cell.get("outputs", [])]
    return outputs


def test_executed_notebooks_show_no_words_about_objects_and_no_warnings(output):
    for cell, found in shown(output):
        assert found.get("name") != "stderr", f"{cell}: {found['text']}"
        if found["output_type"] == "execute_result":
            text = "".join(found["data"]["text/plain"])
            assert not re.match(r"<[\w.]+[ :]|\[<|array\(", text), f"{cell} shows {text}"
        assert "application/vnd.jupyter.widget-view+json" not in found.get("data", {}), (
            f"{cell} shows a widget"
        )


def test_each_figure_of_an_executed_notebook_has_alternative_text(output):
    for cell, found in shown(output):
        if "image/png" in found.get("data", {}):
            words = found["metadata"].get("image/png", {}).get("alt", "")
            assert len(words) > 20, f"{cell}: call alt.describe where the figure is drawn"


def test_executed_notebooks_show_tables_as_tables(output):
    results = dict(shown(output))
    for cell in ("00-04", "00-08", "00-10", "01-06", "08-39"):
        assert results[cell]["data"].keys() >= {"text/html", "text/markdown", "text/plain"}, cell
    assert "<table>" in "".join(results["08-39"]["data"]["text/html"])


def test_the_first_notebook_shows_a_picture_that_is_no_empty_frame(output):
    (picture,) = [found for cell, found in shown(output) if cell == "00-picture"]
    png = base64.b64decode("".join(picture["data"]["image/png"]))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert (pixels != 255).any(axis=2).mean() > 0.4, "most of the figure is pictures"


def test_links_of_executed_notebooks_lead_somewhere(output):
    run = output / "papermill_runs/smoke"
    for path in run.glob("*.ipynb"):
        texts = [
            "".join(cell["source"])
            for cell in json.loads(path.read_text())["cells"]
            if cell["cell_type"] == "markdown"
        ]
        targets = [match["target"] for text in texts for match in TARGETS.finditer(text)]
        files = [
            unquote(target.partition("#")[0])
            for target in targets
            if not re.match(r"https?:|#", target)
        ]
        assert [file for file in files if not (run / file).is_file()] == [], path.name
        notebooks = [file for file in files if file.endswith(".ipynb") and "/" in file]
        assert [file for file in notebooks if "notebooks/solutions/" not in file] == [], (
            "the copies link to the copies"
        )


def texts(path: Path, kind: str = "code") -> list[tuple[dict, str]]:
    """Return each cell of a notebook with the plain text of its outputs."""
    pairs = []
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == kind:
            plain = [found.get("data", {}).get("text/plain", "") for found in cell["outputs"]]
            pairs.append((cell, "\n".join("".join(text) for text in plain)))
    return pairs


@pytest.mark.parametrize("name", notebook_names())
def test_an_exercise_of_an_executed_notebook_waits_for_the_reader(output, name):
    for cell, text in texts(output / f"papermill_runs/smoke/{name}.ipynb"):
        if "exercise" in cell["metadata"].get("tags", []):
            assert text.startswith("not tried yet"), cell["id"]


@pytest.mark.parametrize("name", notebook_names())
def test_the_solutions_run_over_finished_stages_and_every_check_says_right(output, tmp_path, name):
    notebook = nbformat.read(notebooks() / f"solutions/{name}.ipynb", 4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace('run = "mini"', 'run = "smoke"')
    before = written(output / "papermill_runs")
    surroundings = os.environ | {"ALIGNSD_OUTPUT": str(output), "PYTHONPATH": str(root())}
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=surroundings)
    executed = tmp_path / "solutions.ipynb"
    nbformat.write(notebook, executed)
    for cell, text in texts(executed):
        streams = [shown["name"] for shown in cell["outputs"] if shown["output_type"] == "stream"]
        assert "stderr" not in streams, cell["id"]
        if "exercises.check(" in "".join(cell["source"]):
            assert text.startswith("right:"), f"{cell['id']}: {text}"
    assert written(output / "papermill_runs") == before, "solutions read and write nothing"


def test_stages_hand_over_consistent_numbers(output):
    values = resolve("smoke", "smoke")
    collected, trained, scored = metrics(output, "01"), metrics(output, "02"), metrics(output, "03")
    assert collected["train"] + collected["test"] == collected["choices"]
    assert collected["choices"] <= values["01_collect_preferences"]["requests"]
    assert (trained["train"], trained["test"]) == (collected["train"], collected["test"])
    assert scored["scored"] <= scored["images"]
    assert scored["parts"] == values["03_score_diffusiondb"]["part_files"]
    picked = metrics(output, "04")
    listing = stage(output, "04") / "imagefolder/metadata.jsonl"
    labels = [json.loads(line)["label"] for line in listing.read_text().splitlines()]
    assert picked["positives"] == labels.count("positive") > 0
    assert picked["negatives"] == labels.count("negative") > 0


def test_the_reader_chooses_among_pictures_that_no_score_learns_from(output):
    deck = read_deck(output / "papermill_runs/smoke/votes/choices.deck.json")
    assert len([question for question in deck.questions if not question.repeats]) == 9
    assert len(deck.questions) == 12
    own = {(deck.folder / file).read_bytes() for file in deck.files()}
    folder = stage(output, "01") / "hpd/preference_images"
    learned_from = {path.read_bytes() for path in folder.iterdir()}
    assert len(own) == len(deck.files()) and not own & learned_from


def test_the_reader_s_study_has_the_pairs_of_the_simulated_study(output):
    deck = read_deck(output / "papermill_runs/smoke/votes/study.deck.json")
    kinds = [question.kind for question in deck.questions if not question.repeats]
    votes = pd.read_parquet(stage(output, "07") / "votes.parquet")
    pairs = {question.id for question in deck.questions if question.kind == "study"}
    assert pairs - {f"{name}-again" for name in pairs} == set(votes["prompt_id"])
    assert kinds.count("check") == 2


def test_loss_and_arms_are_complete(output):
    values = resolve("smoke", "smoke")
    loss = pd.read_parquet(stage(output, "05") / "loss.parquet")
    steps = values["05_finetune_stable_diffusion"]["steps"]
    assert loss.groupby("run").size().to_dict() == {"adapted": steps, "regularization_only": steps}
    assert loss["loss"].map(math.isfinite).all()
    images = pd.read_parquet(stage(output, "06") / "images.parquet")
    count = values["06_generate"]["prompt_count"] * values["06_generate"]["samples"]
    assert images.groupby("arm").size().to_dict() == dict.fromkeys(images["arm"].unique(), count)
    assert images["arm"].nunique() == 7
    per_image = images.groupby("id")[["prompt_id", "seed"]].nunique()
    assert (per_image == 1).all(axis=None), "all arms draw an image from one prompt and seed"
    arms = pd.read_parquet(stage(output, "07") / "arms.parquet")
    assert set(arms["arm"]) == set(images["arm"]) and (arms["low"] <= arms["high"]).all()


def test_figures_and_scorecard_name_their_run(output):
    pictures = list((output / "figures/smoke").glob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.with_suffix(".pdf").exists() or picture.with_suffix(".svg").exists()
        data = json.loads(picture.with_suffix(".json").read_text())
        assert "smoke" in json.dumps(data), picture.name
    rows = json.loads((output / "papermill_runs/smoke/scorecard.json").read_text())
    assert rows
    assert {row["verdict"] for row in rows} <= set(scorecard.VERDICTS)
    assert "Scorecard of run smoke" in (output / "log.txt").read_text()


def written(folder: Path) -> dict[Path, int]:
    """Return when each file below a folder was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_second_run_has_nothing_to_do(output):
    before = written(output / "papermill_runs")
    done = alignsd(output, "run", "--preset", "smoke")
    assert done.returncode == 0 and done.stdout.count("finished before") == len(usual_names())
    assert written(output / "papermill_runs") == before


def test_an_ablation_runs_the_other_value_and_reads_off_both(output):
    done = alignsd(output, "ablate", "guidance", "--from-run", "smoke", "--values", "1,1.75")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = output / "figures/smoke/ablations"
    assert {path.suffix for path in folder.glob("guidance.*")} == {".csv", ".json", ".pdf", ".png"}
    table = pd.read_csv(folder / "guidance.csv", keep_default_na=False)
    assert set(table["run"]) == {"smoke", "smoke-06-guidance-1.0"}
    values = table[(table["minus"] == "") & (table["of"] == "adapted_negative")]
    for run in ("smoke", "smoke-06-guidance-1.0"):
        arms = pd.read_parquet(stage(output, "07", run) / "arms.parquet")
        of_arm = arms[arms["arm"] == "adapted_negative"].set_index("metric")["value"]
        read_off = values[values["run"] == run].set_index("metric")["value"]
        assert len(read_off) == 5
        assert np.allclose(read_off, of_arm[read_off.index])
    again = alignsd(output, "ablate", "guidance", "--from-run", "smoke", "--values", "1,1.75")
    assert "to run: 0.0 minutes" in again.stdout and "running" not in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--preset", "smoke", "--set", "05.stepz=2"], "did you mean 'steps'?"),
        (["run", "--preset", "smoke", "--set", "05.steps=many"], "expected: int"),
        (["run", "--preset", "smokey"], "--preset smoke"),
        (
            ["run", "--preset", "smoke", "--set", "05.steps=7"],
            "alignsd clean --run smoke --from 05",
        ),
        (
            ["run", "--preset", "smoke", "--run", "fresh", "04"],
            "alignsd run --preset smoke --run fresh 03",
        ),
        (["run", "12"], "There is no notebook '12'"),
        (["scorecard", "--run", "nowhere"], "There is no run 'nowhere'"),
        (["clean", "--run", "nowhere"], "There is no run 'nowhere'"),
    ],
)
def test_mistakes_get_one_clear_message(output, arguments, message):
    done = alignsd(output, *arguments)
    assert done.returncode == 1 and message in done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr and "fix:" in done.stderr


def test_dry_run_prints_every_value_and_runs_nothing(output):
    what = ["--preset", "smoke", "--run", "planned", "--from", "05", "--set", "seed=3"]
    done = alignsd(output, "run", *what, "--dry-run")
    assert done.returncode == 0
    assert "  * seed = 3" in done.stdout and "  * steps = 6" in done.stdout
    assert "04_select_images" not in done.stdout
    assert not (output / "papermill_runs/planned").exists()


# As in preset paper nothing here is simulated: choices, corpus, regularization, prompts and the
# reference are files of the reader.
REAL = """
base: smoke
"02": {{data: {0}/hpd_v1}}
"03": {{parts: {0}/diffusiondb, stable_diffusion: ""}}
"04": {{judge: ""}}
# JPEG moves a rating of 6.5 a little.
"05": {{regularization: {0}/web, ranks: [], minimum_rating: 6.0}}
"06": {{prompts: {0}/prompts.txt}}
"07": {{data: {0}/hpd_v1, judge: "", people: "", fid_reference: {0}/web}}
"08": {{data: {0}/hpd_v1, note: ""}}
"""


@pytest.fixture(scope="module")
def real(output, tmp_path_factory):
    """A folder of inputs in their published formats, made of what run smoke left; and a preset."""
    folder = tmp_path_factory.mktemp("data")
    _released_choices(stage(output, "01") / "hpd", folder / "hpd_v1")
    _diffusiondb_large(stage(output, "03") / "diffusiondb", folder / "diffusiondb")
    _imagefolder(stage(output, "05") / "regularization", folder / "web")
    lines = (folder / "web/metadata.jsonl").read_text().splitlines()
    (folder / "prompts.txt").write_text(
        "\n".join(dict.fromkeys(json.loads(line)["text"] for line in lines))
    )
    (folder / "real.yaml").write_text(REAL.format(folder))
    return folder


def _released_choices(source: Path, target: Path) -> None:
    """HPD v1: two JSON files and the pictures; each row has another user hash; no provenance."""
    shutil.copytree(source / "preference_images", target / "preference_images")
    for part in ("train", "test"):
        rows = json.loads((source / f"preference_{part}.json").read_text())
        released = [row | {"user_hash": f"{row['id']:064x}", "contain_name": False} for row in rows]
        (target / f"preference_{part}.json").write_text(json.dumps(released))


def _diffusiondb_large(source: Path, target: Path) -> None:
    """DiffusionDB Large: zips from part 2 on, with lossless WebP and a JSON; the table beside."""
    (target / "diffusiondb-large-part-1").mkdir(parents=True)
    shutil.copy(source / "metadata.parquet", target / "metadata-large.parquet")
    for number, path in enumerate(sorted((source / "images").glob("part-*.zip")), start=2):
        part = target / f"diffusiondb-large-part-1/part-{number:06d}.zip"
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(part, "w") as new:
            entries = json.loads(old.read(f"{path.stem}.json"))
            for name in entries:
                picture = io.BytesIO()
                Image.open(io.BytesIO(old.read(name))).save(picture, "WEBP", lossless=True)
                new.writestr(name.replace(".png", ".webp"), picture.getvalue())
            listing = {name.replace(".png", ".webp"): entry for name, entry in entries.items()}
            new.writestr(f"{part.stem}.json", json.dumps(listing))


def _imagefolder(source: Path, target: Path) -> None:
    """An imagefolder of other people: JPEG files, and only the two fields that must be there."""
    target.mkdir()
    rows = []
    for line in (source / "metadata.jsonl").read_text().splitlines():
        row = json.loads(line)
        name = Path(row["file_name"]).with_suffix(".jpg").name
        Image.open(source / row["file_name"]).save(target / name, quality=95)
        rows.append(json.dumps({"file_name": name, "text": row["text"]}))
    (target / "metadata.jsonl").write_text("\n".join(rows))


def hps_by_picture(scores: Path) -> pd.Series:
    table = pd.concat(map(pd.read_parquet, scores.glob("*.parquet")))
    return table.set_index(table["image"].str.partition(".")[0])["hps"].sort_index()


def test_notebooks_run_on_inputs_in_the_published_formats(output, real):
    """Otherwise a run at full size would stop where real files take the place of simulated ones."""
    done = alignsd(output, "run", "--preset", str(real / "real.yaml"), "--from", "02")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {number: metrics(output, "02", "real")[number] for number in ("train", "test")} == {
        number: metrics(output, "02")[number] for number in ("train", "test")
    }
    smoke, same = (hps_by_picture(stage(output, "03", run) / "scores") for run in ("smoke", "real"))
    pd.testing.assert_series_equal(
        same, smoke, rtol=1e-4
    )  # the same choices and pixels, however they are packed
    images = pd.read_parquet(stage(output, "06", "real") / "images.parquet")
    assert set(images["prompt"]) >= set((real / "prompts.txt").read_text().splitlines()[:5])
    verdicts = metrics(output, "08", "real")["verdicts"]
    assert "not attempted" in verdicts.values(), (
        "without a judge nobody knows which pictures are drawn wrong"
    )


def test_the_release_s_lora_layout_draws_what_our_own_draws(output, real):
    trained = load_file(stage(output, "05", "real") / "adapted/pytorch_lora_weights.safetensors")
    former = {}
    for name, value in trained.items():
        module, _, matrix = name.removeprefix("unet.").partition(".lora.")
        attention, _, layer = module.rpartition(".to_")
        former[f"{attention}.processor.to_{layer.removesuffix('.0')}_lora.{matrix}"] = value
    torch.save(former, real / "adapted_model.bin")
    what = ["06", "--preset", str(real / "real.yaml"), "--run", "release"]
    values = [
        f"06.lora={real / 'adapted_model.bin'}",
        "06.identifier=Weird image. ",
        "06.stable_diffusion=miniature/stable-diffusion",
    ]
    settings = [word for value in values for word in ("--set", value)]
    done = alignsd(output, "run", *what, *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    drawn = pd.read_parquet(stage(output, "06", "release") / "images.parquet")
    assert "regularization_only" not in set(drawn["arm"])
    for file in drawn.loc[drawn["arm"] == "adapted_negative", "file"]:
        ours, theirs = (
            np.asarray(Image.open(stage(output, "06", run) / "images" / file)).astype(int)
            for run in ("real", "release")
        )
        assert np.abs(ours - theirs).max() <= 1, file

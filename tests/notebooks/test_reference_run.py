"""The committed run of preset mini belongs to the notebooks as they are now."""

import io
import json
import re
import subprocess

import nbformat
import pandas as pd
import pytest

from alignsd import paper
from alignsd.base.paths import notebooks, root
from alignsd.beyond import ways
from alignsd.compare import scorecard
from alignsd.kit.provenance import code_sha256, source_sha256
from alignsd.kit.values.notebook_files import notebook_names, notebook_path
from alignsd.kit.values.presets import resolve
from alignsd.running.links import linked

RUN = root() / "papermill_runs" / "mini"
FIGURES = root() / "figures" / "mini"
RUNS_OF_WAYS = ("mini", "mini-seed1", "mini-seed2")  # of notebook 10
LIGHTEST = ["skin tone: lightest", "skin tone: light"]
REMEDY = "alignsd run --preset mini, then commit papermill_runs/mini and figures/mini"


def read(path):
    assert path.exists(), f"{path.relative_to(root())} is missing. {REMEDY}"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", notebook_names())
def test_executed_notebook_is_of_the_present_source(name):
    record = read(RUN / f"{name}.json")
    assert record["notebook"] == name and record["preset"] == "mini"
    assert record["source_sha256"] == source_sha256(notebook_path(name)), (
        f"{name} was edited since it ran. {REMEDY}"
    )
    assert record["parameters"] == resolve("mini", "mini")[name]


@pytest.mark.parametrize("name", notebook_names())
def test_executed_notebook_shows_results_and_no_error(name):
    source = linked(
        nbformat.read(notebook_path(name), as_version=4), notebooks(), RUN
    )  # with a copy's links
    cells = read(RUN / f"{name}.ipynb")["cells"]
    assert ["".join(c["source"]) for c in cells] == [c.source for c in source.cells]
    outputs = [o for c in cells for o in c.get("outputs", [])]
    assert outputs and not [o for o in outputs if o["output_type"] == "error"]
    assert all(c["execution_count"] for c in cells if c["cell_type"] == "code"), (
        "a cell was not run"
    )


@pytest.mark.parametrize("name", notebook_names())
def test_executed_notebook_names_no_folder_of_a_machine(name):
    read(RUN / f"{name}.ipynb")
    text = (RUN / f"{name}.ipynb").read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w/.:<])/(?:home|root|Users|tmp|opt|work|usr|var)/[\w.-]+", text) == []


def test_figures_are_of_this_run_and_of_the_present_notebook():
    pictures = sorted(FIGURES.glob("*.png"))
    assert pictures, f"there are no figures in figures/mini. {REMEDY}"
    for picture in pictures:
        origin = read(picture.with_suffix(".json"))["origin"]
        assert origin["run"] == origin["preset"] == "mini"
        assert origin["code_sha256"] == code_sha256(notebook_path(origin["notebook"])), (
            f"{picture.name}: the code has changed. {REMEDY}"
        )
        made = {stage: read(RUN / f"{stage}.json")["state"] for stage in origin["stages"]}
        assert made and origin["stages"] == made, (
            f"{picture.name} was drawn from other results than the committed run's. {REMEDY}"
        )


def test_committed_pdfs_hold_drawings_and_no_pictures():
    """Pictures make a PDF heavy, and no sharper than the PNG beside the PDF."""
    listed = subprocess.run(
        ["git", "ls-files", "figures/mini/*.pdf"], cwd=root(), capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a clone")
    files = [root() / name for name in listed.stdout.split()]
    heavy = [file.name for file in files if b"/Subtype /Image" in file.read_bytes()]
    assert heavy == [], "name these in .gitignore, and git rm --cached them"


def test_scorecard_is_of_this_run():
    rows = read(RUN / "scorecard.json")
    assert len({row["id"] for row in rows}) == len(rows) > 0
    possible = ("reproduced", "direction only", "not reproduced", "not attempted")
    assert [row["id"] for row in rows if row["verdict"] not in possible] == []
    assert read(FIGURES / "scorecard.json")["data"]["rows"] == rows, (
        "the scorecard's figure is of another run"
    )


def committed(path):
    """Return a file as the last commit holds it, or None outside a clone.

    Whoever runs preset mini anew has other digits in the working tree, and need not edit documents.
    """
    shown = subprocess.run(
        ["git", "show", f"HEAD:{path}"], cwd=root(), capture_output=True, text=True
    )
    return shown.stdout if shown.returncode == 0 else None


@pytest.fixture
def scorecards():
    """Return the rows of each committed scorecard by the run's name, ``mini`` first."""
    names = ("mini", "mini-seed1", "mini-seed2", "mini-seed3")
    files = {name: committed(f"papermill_runs/{name}/scorecard.json") for name in names}
    if not files["mini"]:
        pytest.skip("not a clone")
    return {name: json.loads(file) for name, file in files.items() if file}


def test_results_repeat_the_scorecards_of_the_committed_runs(scorecards):
    results = committed("docs/results.md").splitlines()
    expected = scorecard.markdown(scorecards["mini"])
    if len(scorecards) > 1:
        expected += scorecard.side_by_side(scorecards)
    for line in expected:
        assert line in results, (
            f"docs/results.md has other numbers than papermill_runs; it should say\n{line}"
        )


def row_of_way(way, arms_of_seeds):
    """Return the row of a way in docs/results.md: flaw rates with intervals, then values."""
    found = [arms.set_index(["arm", "metric"]).loc[way.name] for arms in arms_of_seeds]
    cells = [" ".join(way.label.split())]
    for arms in found:
        value, low, high = 100 * arms.loc["flaw_rate", ["value", "low", "high"]]
        cells.append(f"{value:.1f} [{low:.1f}, {high:.1f}]")
    for metric, digits in (("hps", 1), ("fid", 0), ("diversity", 3)):
        cells.append(" / ".join(f"{arms.loc[metric, 'value']:.{digits}f}" for arms in found))
    lightest = [100 * arms.loc[LIGHTEST, "value"].sum() for arms in found]
    cells.append(" / ".join(f"{share:.0f}" for share in lightest))
    return f"| {' | '.join(cells)} |"


def test_results_repeat_the_other_ways_of_three_seeds():
    files = [committed(f"papermill_runs/{run}/other_ways.csv") for run in RUNS_OF_WAYS]
    if not all(files):
        pytest.skip("not a clone")
    arms_of_seeds = [pd.read_csv(io.StringIO(file)) for file in files]
    results = committed("docs/results.md").splitlines()
    for way in ways.WAYS:
        assert row_of_way(way, arms_of_seeds) in results


def test_readme_quotes_rows_of_the_committed_scorecard(scorecards):
    rows = scorecard.markdown(scorecards["mini"])
    readme = committed("README.md").splitlines()
    endings = tuple(f"| {verdict} |" for verdict in scorecard.VERDICTS)
    quoted = [line for line in readme if line.endswith(endings)]
    assert quoted, "README.md shows no row of the scorecard"
    assert [line for line in quoted if line not in rows] == [], "copy the rows from docs/results.md"
    assert scorecard.as_table(scorecards["mini"]).below in readme, "README.md counts otherwise"


def test_simulated_people_are_like_the_paper_s():
    accuracy = {
        row["predictor"]: row["accuracy"]
        for row in read(FIGURES / "table_2.json")["data"]["accuracy"]
    }
    assert accuracy["another person"] == pytest.approx(0.42, abs=0.02), (
        "two people agree on 42 % of the paper's choices"
    )
    for row in read(FIGURES / "data_set.json")["data"]["positions"]:
        real = paper.CHOSEN_POSITIONS[row["position"] - 1]
        is_like_real = row["low"] <= real <= row["high"]
        assert is_like_real, f"position {row['position']} is chosen more or less than in the data"

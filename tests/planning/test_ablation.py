"""Ablations: the settings as variations, what is read off by hand-sized tables, and the figure."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from alignsd import cli
from alignsd.base.errors import Problem
from alignsd.base.paths import root
from alignsd.kit.values.presets import read_offers
from alignsd.planning import whole_plan
from alignsd.planning.ablation import command, definitions, drawing, results, settings
from alignsd.planning.ablation.definitions import ABLATIONS, Ablation, find, ones
from alignsd.planning.ablation.results import OF_THE_RUN
from alignsd.running.company import Company
from alignsd.running.tasks import Request, prepare

# Four pictures of each arm. The original draws three wrong, the adapted model two, the paper's arm
# two, and none at a guidance above 1; with the identifier as prompt all are wrong.
EVALUATE = """
import pandas as pd
from alignsd.compare.arm_metrics import arm_table
from alignsd.compare.measurement import Measurement
from alignsd.kit.tables import write_table
rows = []
wrong = {"original": 3, "adapted": 2, "adapted_negative": 2 if guidance == 1 else 0}
wrong |= {"adapted_identifier": 4, "regularization_only": 3}
for arm, count in wrong.items():
    for i in range(4):
        scores = {"hps": 50.0 + guidance, "clip_score": 0.5, "aesthetic": 5.0}
        judged = {"flawed": i < count, "flaw": "none", "match": True}
        rows.append({"arm": arm, "id": f"p{i}-0", "status": "ok"} | scores | judged)
metrics = pd.DataFrame(rows)
distance = pd.DataFrame([Measurement(9.0, 8.0, 10.0, 4).row("original", "fid")])
write_table(stage.path("image_metrics.parquet"), metrics)
write_table(stage.path("arms.parquet"), pd.concat([arm_table(metrics, seed), distance]))
"""
BEGIN = "from alignsd.kit.stage import begin\nstage = begin({!r}, globals())"
GUIDANCE = Ablation("guidance", "How strong?", "07", ("guidance",), ones(1.0, 2.0))


@pytest.fixture
def evaluated(kit, notebook, monkeypatch):
    """A finished run of one notebook, 07, whose results follow from guidance = 1."""
    monkeypatch.setattr(whole_plan, "_look_ahead", lambda *arguments: None)
    parameters = "guidance = 1.0  # scale\nseed = 0  # seed\nsteps = 6  # steps"
    parameters += "\nmirror = False  # mirror"
    begin = BEGIN.format("07_evaluate")
    notebook("07_evaluate", parameters, begin, EVALUATE, "stage.finish({})")
    notebook("08_figures", 'note = "simulated"  # note')
    whole_plan.carry_out(prepare(Request("mini", only=["07"])), Company())
    return kit


def rows_of(table, **cells):
    for column, wanted in cells.items():
        table = table[table[column] == wanted]
    return table


def test_a_setting_is_run_once_and_read_off_beside_the_run_s_own(evaluated, capsys):
    command.ablate(GUIDANCE, "mini")
    told = capsys.readouterr().out
    assert "1.0: run mini, the run's own setting" in told
    assert "2.0: run mini-07-guidance-2.0, notebooks 07" in told
    folder = evaluated / "figures/mini/ablations"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"guidance.{kind}" for kind in ("csv", "json", "pdf", "png")
    ]
    table = pd.read_csv(folder / "guidance.csv", keep_default_na=False)
    rates = rows_of(table, metric="flaw_rate", of="adapted_negative", minus="")
    assert rates["value"].tolist() == [0.5, 0.0] and rates["n"].tolist() == [4, 4]
    assert rates["setting"].astype(float).tolist() == [1.0, 2.0]
    original = rows_of(table, metric="flaw_rate", of="original")
    assert original["value"].tolist() == [0.75, 0.75]
    asked_for = rows_of(table, metric="flaw_rate", of="adapted_identifier")
    assert asked_for["value"].tolist() == [1.0, 1.0]
    assert "regularization_only" not in set(table["of"])
    paired = rows_of(table, metric="flaw_rate", minus=OF_THE_RUN)
    assert dict(zip(paired["of"], paired["value"], strict=True)) == {
        "adapted": 0.0,
        "adapted_negative": -0.5,
    }
    assert set(paired["run"]) == {"mini-07-guidance-2.0"}
    assert set(table["metric"]) == set(definitions.ALIGNMENT)

    record = json.loads((folder / "guidance.json").read_text())
    assert record["data"]["table"][0]["metric"] == "flaw_rate"
    origin = record["origin"]
    again = "alignsd ablate guidance --from-run mini --values '[1.0, 2.0]'"
    assert origin["command"] == again
    assert origin["settings"]["mini-07-guidance-2.0"] == {"guidance": 2.0}
    assert origin["stages"]["mini"] != origin["stages"]["mini-07-guidance-2.0"]
    assert "adapted, negative prompt: 1 50.00, 2 0.00" in record["alt"]

    made = evaluated / "papermill_runs/mini-07-guidance-2.0/07_evaluate.json"
    before = made.stat().st_mtime_ns
    command.ablate(GUIDANCE, "mini")
    assert made.stat().st_mtime_ns == before, "a finished setting is not run again"
    assert "2.0: run mini-07-guidance-2.0, finished" in capsys.readouterr().out


def test_settings_are_variations_named_as_a_notebook_in_jupyterlab_names_them(evaluated):
    tried = settings.settings(replace(GUIDANCE, values=ones(3, 0.5)), "mini")
    assert [(setting.label, setting.run) for setting in tried] == [
        ("0.5", "mini-07-guidance-0.5"),
        ("1.0", "mini"),
        ("3.0", "mini-07-guidance-3.0"),
    ], "a whole number serves as a fraction, numbers ascend, and mini is among them"
    assert [setting.todo for setting in tried] == [["07_evaluate"], [], ["07_evaluate"]]
    assert not (evaluated / "papermill_runs/mini-07-guidance-3.0").exists()


def test_two_parameters_change_together(evaluated):
    both = Ablation("both", "?", "07", ("guidance", "steps"), ((1.0, 6), (1.0, 8), (2.0, 8)))
    tried = settings.settings(both, "mini")
    assert [setting.run for setting in tried] == [
        "mini",
        "mini-07-steps-8",
        "mini-07-guidance-2.0-steps-8",
    ]
    mirrored = Ablation("mirrored", "?", "07", ("guidance", "mirror"), ((2.0, True), (1.0, True)))
    assert [setting.label for setting in settings.settings(mirrored, "mini")] == [
        "1.0, False",
        "1.0, True",
        "2.0, True",
    ], "also yes and no have an order"
    changed = settings.with_values(both, "[(2, 7)]")
    assert changed.values == ((2, 7),)
    with pytest.raises(Problem, match="changes 2 parameters"):
        settings.with_values(both, "1,2")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4,32", ((4,), (32,))),
        ("4", ((4,),)),
        ("constant, cosine", (("constant",), ("cosine",))),
        ('["4k, ", "sks "]', (("4k, ",), ("sks ",))),
    ],
)
def test_values_of_the_command_line(text, values):
    assert settings.with_values(GUIDANCE, text).values == values


def test_a_value_that_the_notebook_refuses_is_told_before_anything_runs(evaluated):
    with pytest.raises(Problem, match="(?s)steps.*the ablation steps.*out of its range"):
        settings.settings(Ablation("steps", "?", "07", ("steps",), ones(0)), "mini")
    with pytest.raises(Problem, match="no parameter 'guidanse'(?s:.)*did you mean 'guidance'"):
        settings.settings(Ablation("x", "?", "07", ("guidanse",), ones(1.0)), "mini")


def test_a_run_without_stages_is_refused_with_the_command_that_makes_the_stages(kit, notebook):
    notebook("07_evaluate", "guidance = 1.0  # scale")
    (kit / "papermill_runs/mini").mkdir(parents=True)  # as in a fresh clone
    with pytest.raises(Problem, match="(?s)has not finished 07_evaluate.*alignsd run --run mini"):
        settings.settings(GUIDANCE, "mini")


def test_the_accuracy_of_hps_is_read_off_with_its_paired_difference(kit, monkeypatch):
    """Two choices of two pictures: the parent's HPS is right once, the setting's HPS twice."""
    score = {"mini": [1.0, 2.0, 1.0, 2.0], "trial": [2.0, 1.0, 1.0, 2.0]}
    accuracy = {"mini": 0.5, "trial": 1.0}

    def read(run, stage, stem):
        assert stage == "02_train_hps"
        if stem == "accuracy":
            rows = [(name, accuracy[run], 0.0, 1.0, 2) for name in ("CLIP", "HPS", "last image")]
            return pd.DataFrame(rows, columns=["predictor", "accuracy", "low", "high", "n"])
        columns = {"id": [0, 0, 1, 1], "preferred": [True, False, False, True]}
        return pd.DataFrame(columns | {"hps": score[run]})

    monkeypatch.setattr(results, "_read", read)
    passes = Ablation("x", "?", "02", ("epochs",), ones(1.0), ("accuracy",), last="02")
    tried = [settings.Setting({"epochs": 1.0}, "mini"), settings.Setting({"epochs": 2.0}, "trial")]
    table = results.table(passes, tried, "mini", seed=0)
    assert set(table["of"]) == {"CLIP", "HPS"}
    of_hps = rows_of(table, of="HPS", minus="")
    assert dict(zip(of_hps["setting"], of_hps["value"], strict=True)) == {"1.0": 0.5, "2.0": 1.0}
    (paired,) = rows_of(table, minus=OF_THE_RUN).to_dict("records")
    assert (paired["value"], paired["n"], paired["setting"]) == (0.5, 2, "2.0")


def test_the_figure_has_a_panel_per_metric_with_both_arms_and_their_intervals():
    columns = ["setting", "of", "metric", "value", "low", "high", "minus"]
    rows = [
        ("4", "original", "flaw_rate", 0.4, 0.3, 0.5, ""),
        ("4", "adapted", "flaw_rate", 0.3, 0.2, 0.4, ""),
        ("4", "adapted_identifier", "flaw_rate", 1.0, 0.9, 1.0, ""),
        ("4", "adapted_negative", "flaw_rate", 0.2, 0.1, 0.4, ""),
        ("16", "adapted_negative", "flaw_rate", 0.1, 0.0, 0.2, ""),
        ("4", "adapted_negative", "flaw_rate", 0.9, 0.9, 0.9, OF_THE_RUN),
        ("4", "adapted_negative", "hps", 52.0, 51.0, 53.0, ""),
    ]
    ablation = Ablation("rank", "Which rank?", "05", ("rank",), ones(4, 16), ("flaw_rate", "hps"))
    table = pd.DataFrame(rows, columns=columns).assign(n=96)
    fig = drawing.draw(Figure(drawing.size(ablation)), ablation, table, own="16")
    assert "n = 96 pictures, 95 % intervals" in fig.get_suptitle()
    flaws, hps = fig.axes
    assert flaws.get_ylabel() == "drawn wrong (judge), %" and hps.get_ylabel().startswith("HPS")
    assert [tick.get_text() for tick in flaws.get_xticklabels()] == ["4\n ", "16\n(run)"]
    grey, green, blue = (container.lines for container in flaws.containers)
    assert green[0].get_xydata().tolist() == [[0.0, 30.0]], "what is not drawn has no dot"
    assert grey[0].get_xydata().tolist() == [[-drawing.SHIFT, 40.0]]
    expected = [[drawing.SHIFT, 20.0], [1 + drawing.SHIFT, 10.0]]
    assert np.allclose(blue[0].get_xydata(), expected)
    ends = [segment[:, 1].tolist() for segment in blue[2][0].get_segments()]
    assert ends == [pytest.approx([10.0, 40.0]), pytest.approx([0.0, 20.0])]
    words = [text.get_text() for text in fig.legends[0].get_texts()]
    assert words == ["original model", "adapted, no negative prompt", "adapted, negative prompt"]


def test_the_panel_of_the_accuracy_shows_predictors():
    rows = [("30", "CLIP", 0.3), ("30", "HPS", 0.4), ("30", "adapted", 0.5)]
    table = pd.DataFrame(rows, columns=["setting", "of", "value"])
    table = table.assign(metric=["accuracy", "accuracy", "hps"], minus="", n=96)
    table = table.assign(low=table["value"], high=table["value"])
    ablation = Ablation("x", "?", "02", ("data",), ones(30), ("accuracy", "hps"))
    fig = drawing.draw(Figure(drawing.size(ablation)), ablation, table, own="30")
    assert len(fig.axes[0].containers) == 2, "CLIP and HPS"
    words = [text.get_text() for text in fig.legends[0].get_texts()]
    assert words == ["CLIP, before HPS is trained", "adapted, no negative prompt", "HPS"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ((2.0, True), "2, yes"),
        ((5e-5, 1e20), "5e-5, 1e+20"),
        ((5e-4, 0.001, -1.7e-5), "5e-4, 0.001, -1.7e-5"),
        ((1.75,), "1.75"),
        (("4k, ",), "'4k, '"),
    ],
)
def test_a_figure_writes_settings_as_a_reader_writes_them(setting, words):
    assert drawing._plain(settings.in_words(setting)) == words


OF_PARAMETERS = [ablation for ablation in ABLATIONS if not ablation.prepared]


@pytest.mark.parametrize("ablation", OF_PARAMETERS, ids=lambda ablation: ablation.name)
def test_an_ablation_s_values_are_values_of_the_notebook_and_mini_s_is_among_them(ablation):
    offers = read_offers()
    (name,) = [notebook for notebook in offers if notebook.startswith(ablation.number)]
    offered = offers[name]
    own = tuple(offered[parameter].default for parameter in ablation.parameters)
    every = settings._all(ablation, dict(zip(ablation.parameters, own, strict=True)), offers)
    assert own in every and len(every) >= 2
    assert own in ablation.values


def test_names_are_distinct_and_every_ablation_is_documented():
    names = [ablation.name for ablation in ABLATIONS]
    assert len(set(names)) == len(names)
    text = (root() / "docs/ablations.md").read_text()
    for ablation in ABLATIONS:
        assert f"| `{ablation.name}` | `{ablation.changed}` |" in text


def test_a_misspelt_name_is_told_with_the_nearest():
    assert find("rank").parameters == ("rank",)
    with pytest.raises(Problem, match="did you mean guidance"):
        find("guidence")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [({"values": ((1, 2),)}, "does not fit"), ({"metrics": ("flaws",)}, "unknown metric")],
)
def test_an_ablation_checks_itself(change, refusal):
    with pytest.raises(Problem, match=refusal):
        replace(GUIDANCE, **change)


def test_the_command_lists_ablations_with_the_minutes_of_the_records(kit, notebook):
    for name in ("06_generate", "07_evaluate"):
        notebook(name, "guidance = 1.0  # scale")
        record = {"notebook": name, "preset": "mini", "seconds": 90.0}
        path = kit / "papermill_runs/mini" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
    lines = CliRunner().invoke(cli.app, ["ablate"]).output.splitlines()
    place = lines.index("guidance: How strong should guidance be? (deviations, row 9)")
    assert lines[place + 1] == "    06.guidance = 1.0 | 1.5 | 1.75 | 2.5 | 4.0"
    assert "3.0 minutes each, notebooks 06 to 07" in lines[place + 2]
    other = CliRunner().invoke(cli.app, ["ablate", "--from-run", "other"]).output
    assert "3.0 minutes" in other and "unknown minutes" not in other
    (kit / "papermill_runs/mini/07_evaluate.json").unlink()
    assert "unknown minutes each" in CliRunner().invoke(cli.app, ["ablate"]).output


def test_a_figure_s_command_names_values_of_the_reader_s_own():
    assert command._command(find("rank"), "mini") == "alignsd ablate rank --from-run mini"
    pairs = settings.with_values(find("passes"), "[(3, True)]")
    expected = "alignsd ablate passes --from-run mini --values '[(3, True)]'"
    assert command._command(pairs, "mini") == expected


def test_a_launch_of_several_processes_is_refused(evaluated, monkeypatch):
    monkeypatch.setattr(command.processes, "count", lambda: 2)
    with pytest.raises(Problem, match="An ablation runs on one process"):
        command.ablate(GUIDANCE, "mini")

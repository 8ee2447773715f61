import pytest

from alignsd import parameters
from alignsd.errors import Problem
from alignsd.parameters import Parameter, checked, read_parameters, read_preset, resolve

CELL = 'seed = 0  # seed\nrate = 1e-3  # per step; the paper: 1e-5\nwords = ["a", "b"]  # words\nflag = True  # yes or no'


def test_reads_name_value_and_meaning_in_order(notebook):
    found = read_parameters(notebook("01_first", CELL))
    assert list(found) == ["run", "seed", "rate", "words", "flag"]
    assert found["rate"] == Parameter("rate", 0.001, "per step; the paper: 1e-5")


@pytest.mark.parametrize("line", ["x: int = 3  # typed", "x = 2 * 3  # computed", "x = y = 3  # two", "import os", "x ="])
def test_other_lines_are_refused(notebook, line):
    with pytest.raises(Problem, match="not a parameter"):
        read_parameters(notebook("01_first", line))


def test_the_tag_must_be_there_once(notebook):
    path = notebook("01_first", CELL)
    path.write_text(path.read_text().replace('"parameters"', '"other"'))
    with pytest.raises(Problem, match="0 cells tagged"):
        read_parameters(path)
    path.write_text("{")
    with pytest.raises(Problem, match="cannot be read"):
        read_parameters(path)


def test_a_whole_number_serves_as_a_fraction_and_nothing_else_is_converted():
    assert repr(checked(Parameter("x", 0.5, ""), 1, "test")) == "1.0"
    assert checked(Parameter("x", [0.5], ""), [1, 0.25], "test") == [1.0, 0.25]
    for default, value in [(1, 1.0), (1, True), (0.5, True), (0.5, "1e-4"), ("a", 1), (True, 1), ([1], ["a"]), ([1], 1)]:
        with pytest.raises(Problem, match="wrong kind"):
            checked(Parameter("x", default, ""), value, "test")


def test_resolve_layers_cell_preset_and_settings(notebook, tmp_path):
    notebook("01_first", CELL)
    notebook("02_second", "seed = 0  # seed\nsteps = 10  # steps")
    preset = tmp_path / "mine.yaml"
    preset.write_text('"02":\n  steps: 2\n"01":\n  rate: 1\n')
    values = resolve(str(preset), "trial", ["seed=7", "02.steps=3", "01.words=['c']"])
    assert values["01_first"] == {"run": "trial", "seed": 7, "rate": 1.0, "words": ["c"], "flag": True}
    assert values["02_second"] == {"run": "trial", "seed": 7, "steps": 3}
    assert resolve("mini", "trial")["02_second"]["steps"] == 10


@pytest.mark.parametrize(("setting", "message"), [
    ("01.sed=1", "did you mean 'seed'"), ("sed=1", "did you mean 'seed'"), ("02.rate=1", "no parameter 'rate'"),
    ("03.seed=1", "no notebook '03'"), ("01.seed", "names no value"), ("01.seed=x", "wrong kind"), ("run=x", "--run NAME"),
    ("01.run=x", "--run NAME")])
def test_settings_are_strict(notebook, setting, message):
    notebook("01_first", CELL)
    notebook("02_second", "seed = 0  # seed")
    with pytest.raises(Problem, match=message):
        resolve("mini", "trial", [setting])


@pytest.mark.parametrize(("text", "message"), [
    ('"01":\n  sed: 1', "did you mean 'seed'"), ('"09":\n  seed: 1', "no notebook '09'"), ("01:\n  seed: 1", "in quotes"),
    ('"01":\n', "made of sections"), ("[1, 2]", "made of sections"), ('"01": {', "cannot be read"),
    ('"01":\n  rate: 1e-4', "wrong kind")])
def test_presets_are_strict(notebook, tmp_path, text, message):
    notebook("01_first", CELL)
    preset = tmp_path / "mine.yaml"
    preset.write_text(text)
    with pytest.raises(Problem, match=message):
        resolve(str(preset), "trial")


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(Problem, match="(?s)mini, paper, small, smoke.*--preset smoke"):
        read_preset("smokee")
    assert read_preset("mini") == {}


@pytest.mark.parametrize("preset", parameters.preset_names())
def test_shipped_presets_fit_the_shipped_notebooks(preset):
    assert set(resolve(preset, "trial")) == set(parameters.notebook_names())


def test_each_value_of_a_shipped_preset_has_a_comment():
    lines = [line for path in parameters.PRESETS.glob("*.yaml") for line in path.read_text().splitlines() if ": " in line]
    assert [line for line in lines if line.startswith("  ") and "  # " not in line] == []


# The published values by section of PAPER.md: 2 data, 3 HPS, 4 adaptation, 5 results.
PUBLISHED = {
    "2": {"01.test_share": 5_000 / 25_205},
    "3": {"02.clip": "ViT-L-14-quickgelu", "02.image_groups": 10, "02.text_layers": 6, "02.learning_rate": 1.7e-5,
          "02.weight_decay": 3.1e-3, "02.batch": 5, "02.epochs": 1.0, "02.fit": "pad", "02.split": "random"},
    "4": {"04.blur_limit": 10.0, "04.minimum_images": 4, "04.alpha": 2.0, "04.negative_share": 0.5,
          "05.stable_diffusion": "CompVis/stable-diffusion-v1-4", "05.regularization_images": 200_231, "05.minimum_rating": 6.5,
          "05.identifier": "Weird image. ", "05.identifier_alone": 0.0, "05.rank": 32, "05.learning_rate": 1e-5,
          "05.schedule": "constant", "05.weight_decay": 1e-2, "05.steps": 10_000, "05.batch": 40, "05.resolution": 512,
          "05.seed": 42, "06.stable_diffusion": "CompVis/stable-diffusion-v1-4", "06.identifier": "Weird image. ",
          "06.steps": 50, "06.guidance": 7.5},
    "5": {"07.fid_features": "inception", "07.study_prompts": 100, "07.voters": 20},
}


@pytest.mark.parametrize("section", PUBLISHED)
def test_preset_paper_says_every_published_value_itself(section):
    """If it failed, a change of the miniature would change what is called the paper's setting."""
    preset = read_preset("paper")
    said = {name: preset[name[:2]].get(name[3:]) for name in PUBLISHED[section]}
    assert said == pytest.approx(PUBLISHED[section], abs=1e-3) if section == "2" else said == PUBLISHED[section]

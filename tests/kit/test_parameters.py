import pytest

from alignsd.base.errors import Problem, check_seed
from alignsd.kit.values import parameters
from alignsd.kit.values.notebook_files import notebook_names, notebook_path, read_parameters
from alignsd.kit.values.parameters import Parameter, checked
from alignsd.kit.values.presets import PRESETS, preset_names, read_preset, resolve

CELL = """seed = 0  # seed
rate = 1e-3  # per step; the paper: 1e-5
words = ["a", "b"]  # words
flag = True  # yes or no"""


def test_reads_name_value_and_meaning_in_order(notebook):
    found = read_parameters(notebook("01_first", CELL))
    assert list(found) == ["run", "seed", "rate", "words", "flag"]
    assert found["rate"] == Parameter("rate", 0.001, "per step; the paper: 1e-5")


@pytest.mark.parametrize(
    "line", ["x: int = 3  # typed", "x = 2 * 3  # computed", "x = y = 3  # two", "import os", "x ="]
)
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
    for default, value in [
        (1, 1.0),
        (1, True),
        (0.5, True),
        (0.5, "1e-4"),
        ("a", 1),
        (True, 1),
        ([1], ["a"]),
        ([1], 1),
    ]:
        with pytest.raises(Problem, match="wrong kind"):
            checked(Parameter("x", default, ""), value, "test")


def test_resolve_layers_cell_preset_and_settings(notebook, tmp_path):
    notebook("01_first", CELL)
    notebook("02_second", "seed = 0  # seed\nsteps = 10  # steps")
    preset = tmp_path / "mine.yaml"
    preset.write_text('"02":\n  steps: 2\n"01":\n  rate: 1\n')
    values = resolve(str(preset), "trial", ["seed=7", "02.steps=3", "01.words=['c']"])
    assert values["01_first"] == {
        "run": "trial",
        "seed": 7,
        "rate": 1.0,
        "words": ["c"],
        "flag": True,
    }
    assert values["02_second"] == {"run": "trial", "seed": 7, "steps": 3}
    assert resolve("mini", "trial")["02_second"]["steps"] == 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("01.sed=1", "did you mean 'seed'"),
        ("sed=1", "did you mean 'seed'"),
        ("02.rate=1", "no parameter 'rate'"),
        ("03.seed=1", "no notebook '03'"),
        ("01.seed", "names no value"),
        ("01.seed=x", "wrong kind"),
        ("run=x", "--run NAME"),
        ("01.run=x", "--run NAME"),
    ],
)
def test_settings_are_strict(notebook, setting, message):
    notebook("01_first", CELL)
    notebook("02_second", "seed = 0  # seed")
    with pytest.raises(Problem, match=message):
        resolve("mini", "trial", [setting])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"01":\n  sed: 1', "did you mean 'seed'"),
        ('"09":\n  seed: 1', "no notebook '09'"),
        ("01:\n  seed: 1", "in quotes"),
        ('"01":\n', "made of sections"),
        ("[1, 2]", "made of sections"),
        ('"01": {', "cannot be read"),
        ('"01":\n  rate: 1e-4', "wrong kind"),
    ],
)
def test_presets_are_strict(notebook, tmp_path, text, message):
    notebook("01_first", CELL)
    preset = tmp_path / "mine.yaml"
    preset.write_text(text)
    with pytest.raises(Problem, match=message):
        resolve(str(preset), "trial")


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(Problem, match="(?s)mini, class, paper, small, smoke.*--preset smoke"):
        read_preset("smokee")
    assert read_preset("mini") == {}


@pytest.mark.parametrize("preset", preset_names())
def test_shipped_presets_fit_the_shipped_notebooks(preset):
    assert set(resolve(preset, "trial")) == set(notebook_names())


def test_each_value_of_a_shipped_preset_has_a_comment():
    lines = [
        line
        for path in PRESETS.glob("*.yaml")
        for line in path.read_text().splitlines()
        if ": " in line
    ]
    assert [line for line in lines if line.startswith("  ") and "  # " not in line] == []


# The published values by section of PAPER.md: 2 data, 3 HPS, 4 adaptation, 5 results.
PUBLISHED = {
    "2": {"01.test_share": 5_000 / 25_205},
    "3": {
        "02.clip": "ViT-L-14-quickgelu",
        "02.image_groups": 10,
        "02.text_layers": 6,
        "02.learning_rate": 1.7e-5,
        "02.weight_decay": 3.1e-3,
        "02.batch": 5,
        "02.epochs": 1.0,
        "02.fit": "pad",
        "02.split": "random",
    },
    "4": {
        "04.blur_limit": 10.0,
        "04.minimum_images": 4,
        "04.alpha": 2.0,
        "04.negative_share": 0.5,
        "05.stable_diffusion": "CompVis/stable-diffusion-v1-4",
        "05.regularization_images": 200_231,
        "05.minimum_rating": 6.5,
        "05.identifier": "Weird image. ",
        "05.identifier_alone": 0.0,
        "05.rank": 32,
        "05.learning_rate": 1e-5,
        "05.schedule": "constant",
        "05.weight_decay": 1e-2,
        "05.steps": 10_000,
        "05.batch": 40,
        "05.resolution": 512,
        "05.seed": 42,
        "06.stable_diffusion": "CompVis/stable-diffusion-v1-4",
        "06.identifier": "Weird image. ",
        "06.steps": 50,
        "06.guidance": 7.5,
    },
    "5": {"07.fid_features": "inception", "07.study_prompts": 100, "07.voters": 20},
}


@pytest.mark.parametrize("section", PUBLISHED)
def test_preset_paper_says_every_published_value_itself(section):
    """If it failed, a change of the miniature would change what is called the paper's setting."""
    preset = read_preset("paper")
    said = {name: preset[name[:2]].get(name[3:]) for name in PUBLISHED[section]}
    assert (
        said == pytest.approx(PUBLISHED[section], abs=1e-3)
        if section == "2"
        else said == PUBLISHED[section]
    )


@pytest.mark.parametrize(
    "copy",
    [
        "01_first-Copy1.ipynb",
        "01_first (1).ipynb",
        "01_first - Copy.ipynb",
        "01_first copy.ipynb",
        "01_first.bak.ipynb",
        "01_First.ipynb",
        "._01_first.ipynb",
        ".~01_first.ipynb",
        "Copy of 01_first.ipynb",
        "1_first.ipynb",
        "01_first.ipynb.txt",
    ],
)
def test_a_copy_of_a_notebook_is_no_notebook(notebook, copy):
    """JupyterLab's Duplicate, a browser and a file manager name copies like this."""
    path = notebook("01_first", CELL)
    path.with_name(copy).write_text("no notebook at all")
    checkpoints = path.parent / ".ipynb_checkpoints"
    checkpoints.mkdir()
    (checkpoints / "01_first-checkpoint.ipynb").write_text("{}")
    (path.parent / "03_folder.ipynb").mkdir()
    assert notebook_names() == ["01_first"]
    assert list(resolve("mini", "trial")) == ["01_first"]


def test_two_notebooks_with_one_number_are_told(notebook):
    notebook("01_first", CELL)
    notebook("01_first_try", CELL)
    with pytest.raises(Problem, match="(?s)number 01.*01_first, 01_first_try.*copied or renamed"):
        notebook_names()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '"05":\n  steps: 7\n"06":\n  steps: 1\n"05":\n  batch: 1\n',
            "'05' stands twice, first in line 1",
        ),
        ('"05":\n  steps: 7\n  steps: 9\n', "'steps' stands twice, first in line 2"),
        ('"05": {steps: 7, "steps": 9}\n', "'steps' stands twice"),
        ('base: smoke\nbase: mini\n"05":\n  steps: 7\n', "'base' stands twice"),
        ('"05":\n  steps: {a: {b: 1, b: 2}}\n', "'b' stands twice"),
        (
            '"05": {steps: 7}\n"05_finetune_stable_diffusion": {batch: 1}\n',
            "two sections for one notebook",
        ),
    ],
)
def test_a_name_stands_once_at_any_depth(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(Problem, match=words) as told:
        read_preset(str(tmp_path / "mine.yaml"))
    assert "mine.yaml" in told.value.what


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("1_000", 1000),
        ("1.0e-5", 1e-5),
        (".5", 0.5),
        ("1.", 1.0),
        ("0", 0),
        ("yes", True),
        ("off", False),
        ("2024-01-01", "2024-01-01"),
        ("1e-4", "1e-4"),
        ("'7'", "7"),
        ("[1, 2.5]", [1, 2.5]),
    ],
)
def test_plain_values_of_a_preset(tmp_path, written, value):
    (tmp_path / "mine.yaml").write_text(f'"05":\n  steps: {written}\n')
    assert repr(read_preset(str(tmp_path / "mine.yaml"))) == repr({"05": {"steps": value}})


@pytest.mark.parametrize(
    "written",
    ["010", "0x10", "0b11", "1:30", "1:30.5", "9" * 5000, "!!int x", "!!float x", "!!bool maybe"],
)
def test_numbers_that_yaml_reads_in_its_own_way_are_refused(tmp_path, written):
    (tmp_path / "mine.yaml").write_text(f'"05":\n  steps: {written}\n')
    with pytest.raises(Problem, match=r"(?s)mine\.yaml cannot be read.*line 2"):
        read_preset(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_a_preset_in_another_encoding_is_told(tmp_path, encoding):
    (tmp_path / "mine.yaml").write_bytes(
        'base: smoke\n"05":\n  identifier: "caf\xe9. "\n'.encode(encoding)
    )
    with pytest.raises(Problem, match=r"(?s)mine\.yaml.*UTF-8"):
        read_preset(str(tmp_path / "mine.yaml"))


def test_a_preset_saved_by_notepad_is_read(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b'\xef\xbb\xbf"05":\r\n  steps: 7\r\n')
    assert read_preset(str(tmp_path / "mine.yaml")) == {"05": {"steps": 7}}


# Of each parameter with a range: the nearest values outside and inside.
LIMITS = {
    "seed": ([-1, 2**32], [0, 2**32 - 1]),
    "batch": ([0, -1], [1]),
    "steps": ([0, 2**31], [1]),
    "learning_rate": ([-1e-9], [0.0]),
    "initial_scale": ([0.0], [0.1]),
    "test_share": ([-0.1, 1.1], [0.0, 1.0]),
    "alpha": ([0.999], [1.0]),
    "blur_limit": ([-1.0, 255.1], [0.0, 255.0]),
    "epochs": ([0.0], [0.001]),
    "resolution": ([7, 10**6], [8, 512, 1024]),
    "guidance": ([], [-1.0, 0.0, 7.5, 1e6]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_number_out_of_its_range_is_refused_and_one_at_its_end_is_not(name):
    outside, inside = LIMITS[name]
    parameter = Parameter(name, inside[0], "meaning")
    endless = [float("nan"), float("inf"), -float("inf")] if isinstance(inside[0], float) else []
    for value in [*outside, *endless]:
        with pytest.raises(
            Problem, match=f"(?s)Parameter {name} in notebook 09 is out of its range.*{name} = "
        ):
            checked(parameter, value, "notebook 09")
    for value in inside:
        assert checked(parameter, value, "notebook 09") == value


def test_elements_of_a_list_have_a_range_too():
    assert checked(Parameter("curve", [10], ""), [1, 300], "test") == [1, 300]
    with pytest.raises(Problem, match=r"curve\[\].*out of its range"):
        checked(Parameter("curve", [10], ""), [300, 0], "test")
    with pytest.raises(Problem, match="wrong kind"):
        checked(Parameter("scorers", [], ""), [["a"]], "test")
    assert checked(Parameter("scorers", [], ""), ["a"], "test") == ["a"]


def test_every_range_belongs_to_a_number_of_a_notebook_and_every_number_is_considered():
    numbers, lists = set(), set()
    for name in notebook_names():
        for parameter in read_parameters(notebook_path(name)).values():
            first = (
                parameter.default[0]
                if isinstance(parameter.default, list) and parameter.default
                else None
            )
            if isinstance(first, (int, float)):
                lists.add(f"{parameter.name}[]")
            elif isinstance(parameter.default, (int, float)) and not isinstance(
                parameter.default, bool
            ):
                numbers.add(parameter.name)
    any_finite = {"guidance", "minimum_rating"}
    assert numbers | lists == set(parameters.RANGES) | any_finite


@pytest.mark.parametrize("preset", preset_names())
def test_no_value_of_a_shipped_preset_is_refused(preset):
    """Every value goes through the range once more, with the ranges as they are."""
    for name, values in resolve(preset, "trial").items():
        for parameter in read_parameters(notebook_path(name)).values():
            assert checked(parameter, values[parameter.name], name) == values[parameter.name]


@pytest.mark.parametrize("name", notebook_names())
def test_a_seed_of_minus_one_is_refused_for_every_notebook(name):
    if "seed" not in read_parameters(notebook_path(name)):
        return
    with pytest.raises(Problem, match="(?s)seed.*from 0 to 4294967295.*seed = -1"):
        resolve("mini", "trial", [f"{name[:2]}.seed=-1"])


def test_the_api_refuses_the_same_seeds():
    for seed in (0, 2**32 - 1):
        check_seed(seed)
    for seed in (-1, 2**32):
        with pytest.raises(Problem, match="seed"):
            check_seed(seed)


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ("02.seed=1e3", "1e3 is a fraction"),
        ("02.seed='4'", "a number in quotes"),
        ("02.seed=many", "text in place of a value"),
        ("02.flag=3", "yes or no"),
        ("02.word=3", "reads as a number"),
        ("02.seed=[1]", "another parameter"),
    ],
)
def test_the_cause_of_a_wrong_kind_is_the_true_one(notebook, setting, cause):
    notebook("02_second", "seed = 0  # seed\nflag = True  # flag\nword = 'a'  # word")
    with pytest.raises(Problem) as told:
        resolve("mini", "trial", [setting])
    assert cause in told.value.cause


@pytest.mark.parametrize("name", ["2", "02_secnd", "02_train"])
def test_a_misspelt_notebook_is_told_with_the_nearest(notebook, name):
    notebook("02_second", "seed = 0  # seed")
    with pytest.raises(Problem) as told:
        notebook_path(name)
    assert told.value.fix == "use 02_second"


TYPED = {"epochs": 2.5, "batch": 16, "export": "miniature", "curve": [100, 1.5], "flag": True}


def test_typed_access_returns_the_value():
    assert parameters.number(TYPED, "epochs") == 2.5
    assert parameters.number(TYPED, "batch") == 16
    assert parameters.whole(TYPED, "batch") == 16
    assert parameters.text(TYPED, "export") == "miniature"
    assert parameters.listed_numbers(TYPED, "curve") == [100, 1.5]


@pytest.mark.parametrize(
    ("access", "name"),
    [
        (parameters.number, "export"),
        (parameters.number, "flag"),
        (parameters.whole, "epochs"),
        (parameters.whole, "flag"),
        (parameters.text, "batch"),
        (parameters.listed_numbers, "batch"),
    ],
)
def test_typed_access_refuses_another_kind(access, name):
    with pytest.raises(Problem, match=f"Parameter {name} is of the wrong kind"):
        access(TYPED, name)


def test_typed_access_refuses_an_unknown_name():
    with pytest.raises(Problem, match="There is no parameter epoch"):
        parameters.number(TYPED, "epoch")

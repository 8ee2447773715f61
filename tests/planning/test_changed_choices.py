"""Ablations that change the choices: the data sets, the settings, and what is refused."""

import numpy as np
import pytest

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.base.paths import stage_dir
from alignsd.collect.hpd import read_choices
from alignsd.planning.ablation import changed_choices as changed
from alignsd.planning.ablation import command, prepared, settings
from alignsd.planning.ablation.definitions import find

COUNT = 12


def choice(number):
    return {
        "human_preference": number % 2,
        "prompt": f"prompt {number}",
        "id": number,
        "file_path": [f"preference_images/{number}_{i}.png" for i in range(2)],
        "user_hash": "",
        "contain_name": False,
    }


@pytest.fixture
def source(kit):
    """A data set of 12 choices to train on and 2 to test on, as notebook 01 leaves it."""
    folder = stage_dir("mini", changed.COLLECT) / "hpd"
    (folder / "preference_images").mkdir(parents=True)
    choices = [choice(number) for number in range(COUNT + 2)]
    for row in choices:
        for name in row["file_path"]:
            save_png(folder / name, np.zeros((8, 8, 3), np.uint8))
    for suffix in ("", "_grouped"):
        write_json(folder / f"preference_train{suffix}.json", choices[:COUNT])
        write_json(folder / f"preference_test{suffix}.json", choices[COUNT:])
    (folder / "provenance.parquet").write_bytes(b"provenance")
    (folder.parent / "export").mkdir()
    (folder.parent / "export/truth.parquet").write_bytes(b"truth")
    return folder


def choices_of(kind):
    return changed.ChangedChoices(kind, "mini", {"02": {"data": "", "seed": 0}})


def written(kind, amount):
    """Write a changed data set, and return the folder."""
    maker = choices_of(kind)
    maker.write(amount)
    return maker.folder(amount)


@pytest.mark.parametrize("split", ["random", "grouped"])
def test_fewer_choices_with_the_pictures_and_the_test_of_before(source, split):
    target = written(changed.FEWER, 5)
    few = read_choices(target, "train", split)
    every = read_choices(source, "train", split)
    assert len(few) == 5 and set(few["id"]) < set(every["id"])
    assert read_choices(target, "test", split).equals(read_choices(source, "test", split))
    assert (target / "provenance.parquet").read_bytes() == b"provenance"
    assert (target / "truth.parquet").read_bytes() == b"truth", "notebook 02 looks for it here"


def test_wrong_picks_name_another_picture_of_the_choice(source):
    target = written(changed.WRONG, 0.25)
    before, after = read_choices(source, "train"), read_choices(target, "train")
    differs = before["human_preference"] != after["human_preference"]
    assert differs.sum() == COUNT / 4
    columns = [column for column in before if column != "human_preference"]
    assert after[columns].equals(before[columns])


def test_where_links_are_forbidden_the_pictures_are_copied(source, monkeypatch):
    def forbidden(*arguments, **options):
        raise OSError("a required privilege is not held")

    monkeypatch.setattr(type(source), "symlink_to", forbidden)
    target = written(changed.FEWER, 3)
    assert not (target / "preference_images").is_symlink()
    assert len(read_choices(target, "train")) == 3


def test_a_data_set_of_other_choices_is_made_anew(source):
    before = read_choices(written(changed.FEWER, 4), "train")
    others = [choice(number) for number in range(2, COUNT)]
    write_json(source / "preference_train.json", others)
    after = read_choices(written(changed.FEWER, 4), "train")
    assert len(after) == len(before) == 4
    assert set(after["id"]) <= {other["id"] for other in others}
    assert not after.equals(before)
    assert (source / "preference_images").is_dir(), "the linked pictures stay"


def test_a_data_set_that_was_cut_off_is_finished(source):
    target = written(changed.FEWER, 4)
    (target / "preference_train.json").unlink()
    (target / prepared.MADE_FROM).unlink()
    written(changed.FEWER, 4)
    assert len(read_choices(target, "train")) == 4


@pytest.mark.parametrize(
    ("kind", "amount", "expected"),
    [
        (changed.FEWER, 13, "1 to 12 choices"),
        (changed.FEWER, 0, "1 to 12 choices"),
        (changed.FEWER, 2.5, "a whole number of choices"),
        (changed.FEWER, True, "a whole number of choices"),
        (changed.WRONG, 1.5, "a share, 0 to 1"),
        (changed.WRONG, -0.1, "a share, 0 to 1"),
        (changed.WRONG, "many", "a share, 0 to 1"),
    ],
)
def test_an_amount_that_no_data_set_has_is_refused(source, kind, amount, expected):
    with pytest.raises(Problem, match=expected):
        choices_of(kind).checked(amount)


@pytest.mark.parametrize("rows", [{}, [1], [{"file_path": [], "human_preference": [1, 0]}]])
def test_another_layout_is_refused(source, rows):
    write_json(source / "preference_train.json", rows)
    with pytest.raises(Problem, match="layout of HPD v1"):
        choices_of(changed.FEWER).own_amount()


def test_the_settings_are_runs_on_other_data_beside_the_run_s_own(source, notebook, monkeypatch):
    parameters = 'data = ""  # folder of HPD v1; empty takes what 01 collected\nseed = 0  # seed'
    notebook("02_train_hps", parameters)
    monkeypatch.setattr(settings, "_check_finished", lambda *arguments: None)
    ablation = settings.with_values(find("choices"), "3,5")
    three, five, own = settings.settings(ablation, "mini")
    assert own.run == "mini" and own.plan is None and own.values == {"choices": COUNT}
    assert (three.run, five.run) == ("mini-02-choices-3", "mini-02-choices-5")
    assert "that time is not counted" in command.describe(ablation, "mini")
    target = choices_of(changed.FEWER).folder(3)
    assert not target.exists(), "nothing is written before the run"
    data = dict(line.split("=", 1) for line in three.plan.settings)
    assert "papermill_runs/mini/ablations/choices-3" in data["02.data"]
    three.before()
    assert len(read_choices(target, "train")) == 3

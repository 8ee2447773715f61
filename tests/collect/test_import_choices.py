"""What an import of choices tells, and what it leaves in its folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alignsd import cli
from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.collect import hpd, own_choices
from alignsd.collect.own import folder as own_folder


@pytest.fixture
def images(tmp_path):
    """A folder with four pictures."""
    folder = tmp_path / "images"
    for i in range(4):
        save_png(folder / f"{i}.png", np.full((8, 8, 3), 40 * i, dtype=np.uint8))
    return folder


def rows(n=10, **change):
    row = {"images": "0.png;1.png;2.png", "choice": 1}
    return [{"prompt": f"prompt {i}"} | row | change for i in range(n)]


# --- what is told when too little is left ---


def test_a_wrong_folder_of_images_is_named(images, tmp_path):
    for folder in (tmp_path / "absent", images / "0.png"):
        with pytest.raises(Problem, match="(?s)folder of images is not there.*--images"):
            own_choices.import_choices(
                pd.DataFrame([row | {"user": "ann"} for row in rows()]), folder, tmp_path / "out"
            )
    assert not (tmp_path / "out").exists()


def test_when_nothing_is_left_the_reasons_are_told(images, tmp_path):
    table = pd.DataFrame([*rows(5, images="pics/0.png;pics/1.png"), *rows(2, prompt="")])
    with pytest.raises(
        Problem, match=r"(?s)5 missing file; 2 no prompt.*none of the names.*FOLDER/pics/0.png"
    ):
        own_choices.import_choices(table, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for table, words in (
        (pd.DataFrame(rows(3, choice="absent.png")), "3 the choice is none"),
        (pd.DataFrame(rows(1)), "in 1 rows"),
        (pd.DataFrame(rows(0), columns=["prompt", "images", "choice"]), "0 choices in 0 rows"),
        (pd.DataFrame(rows(10, prompt="a cat")), "1 different prompts"),
    ):
        with pytest.raises(Problem, match=words):
            own_choices.import_choices(table, images, tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"test_share": float("nan")}, "test_share"),
        ({"test_share": float("inf")}, "test_share"),
        ({"test_share": -0.1}, "test_share"),
        ({"test_share": 20}, "test_share"),
        ({"test_share": 0.0}, "test_share"),
        ({"test_share": 1}, "test_share"),
    ],
)
def test_values_out_of_their_range_are_told(images, tmp_path, options, word):
    with pytest.raises(Problem, match=word):
        own_choices.import_choices(pd.DataFrame(rows()), images, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# --- the folder that is written ---


def written(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def named(out):
    return {
        path
        for part in ("train", "test")
        for paths in hpd.read_choices(out, part)["file_path"]
        for path in paths
    }


def test_a_second_import_replaces_the_first_and_leaves_foreign_files(images, tmp_path):
    out = tmp_path / "out"
    own_choices.import_choices(pd.DataFrame(rows(12)), images, out)
    foreign = {"notes.txt", "preference_images/mine.jpg", "preference_images/99_0.jpg"}
    for name in foreign:
        (out / name).write_text("mine")
    own_choices.import_choices(pd.DataFrame(rows(5, images="0.png;1.png")), images, out)
    pictures = {name for name in written(out) if name.startswith("preference_images/")}
    assert pictures - foreign == named(out) and len(named(out)) == 10
    assert all((out / name).read_text() == "mine" for name in foreign)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_second_import_that_fails_leaves_the_first_as_it_was(images, tmp_path):
    out = tmp_path / "out"
    own_choices.import_choices(pd.DataFrame(rows()), images, out)
    before = {name: (out / name).read_bytes() for name in written(out)}
    with pytest.raises(Problem):
        own_choices.import_choices(pd.DataFrame(rows(3, images="2.png;absent.png")), images, out)
    with pytest.raises(Problem):
        own_choices.import_choices(
            pd.DataFrame(rows(10, images="2.png;3.png", prompt="one")), images, out
        )
    assert {name: (out / name).read_bytes() for name in written(out)} == before


@pytest.mark.parametrize("name", ["preference_train.json", "preference_images/3_1.jpg"])
def test_another_data_set_is_not_overwritten(images, tmp_path, name):
    path = tmp_path / "released" / name
    path.parent.mkdir(parents=True)
    path.write_text("released")
    with pytest.raises(Problem, match="(?s)holds another data set.*name another folder"):
        own_choices.import_choices(pd.DataFrame(rows()), images, tmp_path / "released")
    assert path.read_text() == "released" and written(tmp_path / "released") == {name}


def test_a_listing_that_names_other_files_deletes_none(images, tmp_path):
    out = tmp_path / "out"
    own_choices.import_choices(pd.DataFrame(rows()), images, out)
    (tmp_path / "dear.jpg").write_text("dear")
    (out / "notes.txt").write_text("dear")
    with open(out / own_folder.LISTING, "a") as listing:
        listing.write(
            "notes.txt\n../dear.jpg\npreference_images/../../dear.jpg\n"
            + str(tmp_path / "dear.jpg")
            + "\n"
        )
    own_choices.import_choices(pd.DataFrame(rows(5)), images, out)
    assert (tmp_path / "dear.jpg").read_text() == (out / "notes.txt").read_text() == "dear"


def test_pictures_of_the_data_set_itself_can_be_imported_again(images, tmp_path):
    out = tmp_path / "out"
    own_choices.import_choices(pd.DataFrame(rows(5)), images, out)
    table = pd.DataFrame(
        rows(5, images="preference_images/4_0.jpg;preference_images/0_2.jpg", choice=0)
    )
    assert own_choices.import_choices(table, out, out) == {"choices": 5}
    assert len(named(out)) == 10


@pytest.mark.parametrize("kind", ["file", "below a file", "proc", "null", "long"])
def test_a_folder_that_cannot_be_written_is_told(images, tmp_path, kind):
    (tmp_path / "file").write_text("mine")
    out = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file/out",
        "proc": Path("/proc/x"),
        "null": tmp_path / "a\0b",
        "long": tmp_path / ("x" * 5000),
    }[kind]
    with pytest.raises(Problem, match="(?s)could not be written.*name another folder"):
        own_choices.import_choices(pd.DataFrame(rows()), images, out)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seed", "-1"], "seed -1"),
        (["--test-share", "nan"], "test_share nan"),
        (["--images", "absent"], "--images"),
        (["--count-from", "3"], "count_from"),
    ],
)
def test_the_command_tells_what_is_wrong(images, tmp_path, options, words, monkeypatch, capsys):
    pd.DataFrame(rows()).to_csv(images / "table.csv", index=False)
    monkeypatch.setattr(
        "sys.argv",
        ["alignsd", "import-choices", str(images / "table.csv"), str(tmp_path / "out"), *options],
    )
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1 and words in capsys.readouterr().err


def test_the_command_imports_and_counts(images, tmp_path, monkeypatch, capsys):
    pd.DataFrame([*rows(), *rows(2, prompt="")]).to_csv(images / "table.CSV", index=False)
    monkeypatch.setattr(
        "sys.argv", ["alignsd", "import-choices", str(images / "table.CSV"), str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0 and capsys.readouterr().out == "10 choices\n2 no prompt\n"

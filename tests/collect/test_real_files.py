"""Files as people have them: spellings, ends of lines and places that differ from our own."""

import io
import json
import shlex
import subprocess
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch

from alignsd import sources
from alignsd.adapt.regularization import Wanted, regularization_pictures
from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.base.reading import read_lines
from alignsd.collect import exports, hpd, own_choices
from alignsd.collect.own import rows as own_rows
from alignsd.compare import fid, user_study
from alignsd.kit.values import presets
from alignsd.models import aesthetic
from alignsd.select import imagefolder

ROWS = "".join(f"p{i},0.png;1.png,{i % 2}\n" for i in range(4))
HEADER = "prompt,images,choice\n"


def picture(path):
    save_png(path, np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number}.png")
    return tmp_path


def imported(folder, content, name="table.csv"):
    """Return the counts and the choices that were written, in the table's order."""
    (folder / name).write_bytes(content.encode())
    table = own_choices.read_choices_table(folder / name)
    counts = own_choices.import_choices(table, folder, folder / "out")
    parts = [hpd.read_choices(folder / "out", part) for part in ("train", "test")]
    return dict(counts), pd.concat(parts).sort_values("id")


# --- tables of choices --------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["007", "1e5", "TRUE", "2024-01-05", "0x10", "1_000", "=SUM(1)"])
def test_a_prompt_stays_as_it_was_typed(folder, prompt):
    _, rows = imported(folder, HEADER + f"{prompt},0.png;1.png,1\n" + ROWS)
    assert rows["prompt"].tolist()[0] == prompt


@pytest.mark.parametrize("first", ["", "sep=,\n"])
def test_lines_may_end_as_on_old_macs(folder, first):
    counts, rows = imported(folder, (first + HEADER + ROWS).replace("\n", "\r"))
    assert counts == {"choices": 4} and rows["prompt"].tolist() == ["p0", "p1", "p2", "p3"]


def test_one_picture_in_two_spellings_is_named_twice(folder):
    twice = "a,./0.png;0.png,1\nb,.\\0.png;0.png,1\n"
    counts, _ = imported(folder, HEADER + twice + ROWS)
    assert counts == {"choices": 4, own_rows.TWICE: 2}


@pytest.mark.parametrize(
    ("images", "choice"), [("0.png;1.png", "./1.png"), ("./0.png;./1.png", "1.png")]
)
def test_a_choice_may_spell_its_path_otherwise(folder, images, choice):
    _, rows = imported(folder, HEADER + f"a,{images},{choice}\n" + ROWS)
    assert rows["human_preference"].tolist() == [1, 0, 1, 0, 1]


def test_a_list_as_pandas_writes_it(folder):
    written = pd.DataFrame(
        {"prompt": [f"p{i}" for i in range(4)], "images": [["0.png", "1.png"]] * 4, "choice": 1}
    ).to_csv(index=False)
    assert "['0.png', '1.png']" in written
    assert imported(folder, written)[0] == {"choices": 4}


@pytest.mark.parametrize("cell", ["[0, 1]", "[__import__('os')]", "[" * 5000 + "]"])
def test_other_brackets_are_counted(folder, cell):
    counts, _ = imported(folder, HEADER + f'a,"{cell}",1\n' + ROWS)
    assert counts["choices"] == 4 and sum(counts.values()) == 5


@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.json", "table.jsonl"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<!DOCTYPE html><html></html>", "web page"),
        ("version https://git-lfs.github.com/spec/v1\nsize 12\n", "git lfs pull"),
    ],
)
def test_what_was_saved_in_place_of_a_table_is_told(folder, name, content, words):
    with pytest.raises(Problem, match=words):
        imported(folder, content, name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"prompt": ["a"], "images": [["0.png", "1.png"]], "choice": [1]}, "object of columns"),
        ({"prompt": {"0": "a"}, "images": {"0": "x"}, "choice": {"0": 1}}, "object of columns"),
        ({"data": [{"prompt": "a"}], "n": 1}, "list inside 'data'"),
    ],
)
def test_json_that_is_no_list_of_choices_is_told(folder, content, words):
    with pytest.raises(Problem, match=words):
        imported(folder, json.dumps(content), "table.json")


# --- lists of lines -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_every_system(tmp_path, end):
    (tmp_path / "p.txt").write_bytes(end.join(["a", "b\u2028c", "d"]).encode())
    assert read_lines(tmp_path / "p.txt") == ["a", "b\u2028c", "d"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\n \n\t\n", "There is no prompt"),
        ("", "There is no prompt"),
        ("<!DOCTYPE html>\n<html>\n", "web page"),
        ("version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull"),
    ],
)
def test_a_file_without_prompts_is_told(tmp_path, content, words):
    (tmp_path / "p.txt").write_text(content)
    with pytest.raises(Problem, match=words) as told:
        sources.prompts(str(tmp_path / "p.txt"), 1, 0)
    assert "prompt_count" not in told.value.fix


def test_a_prompt_may_start_with_an_angle_bracket(tmp_path):
    (tmp_path / "p.txt").write_text("<lora:x:1> a cat\n")
    assert sources.prompts(str(tmp_path / "p.txt"), 1, 0) == ["<lora:x:1> a cat"]


# --- image folders and shards -------------------------------------------------------------------


def metadata(folder, *lines, end="\n"):
    text = "".join(json.dumps(line) + end for line in lines)
    (folder / "metadata.jsonl").write_bytes(text.encode())


def test_one_picture_in_two_spellings_is_one_row(folder):
    names = ("0.png", "./0.png", ".\\0.png", "1.png")
    metadata(folder, *({"file_name": name, "text": "x"} for name in names))
    rows, left = imagefolder.read_rows(folder)
    assert rows["file_name"].tolist() == ["0.png", "1.png"]
    assert left == {"file_name stands in an earlier line": 2}


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_metadata_of_other_systems(folder, end):
    metadata(folder, *({"file_name": f"{i}.png", "text": "x"} for i in range(3)), end=end)
    assert len(imagefolder.read_rows(folder)[0]) == 3


def shard(path, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in (("0.jpg", b"x"), ("0.txt", b"a")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("metadata.csv", "another name"),
        ("metadata.parquet", "another name"),
        ("Metadata.JSONL", "another name"),
        ("train/metadata.jsonl", "one level deeper"),
        ("pictures.zip", "still packed"),
    ],
)
def test_what_lies_in_place_of_the_metadata_is_told(tmp_path, name, words):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x")
    with pytest.raises(Problem, match=words):
        imagefolder.read_rows(tmp_path)


def test_texts_beside_pictures_become_an_imagefolder_by_the_command_of_the_message(tmp_path):
    """As img2dataset's output format files, and other trainers, keep captions."""
    for number in (0, 1):
        picture = np.full((8, 8, 3), 9 * number, dtype=np.uint8)
        save_png(tmp_path / f"my files/0000{number}/1.png", picture)
        (tmp_path / f"my files/0000{number}/1.txt").write_text(f"caption {number}\n")
    with pytest.raises(Problem, match="2 pictures with a .txt") as caught:
        imagefolder.read_rows(tmp_path / "my files")
    command = caught.value.fix.replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, check=True)
    rows = imagefolder.read_rows(tmp_path / "my files")[0]
    assert rows["text"].tolist() == ["caption 0", "caption 1"]


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [("00000.tar.gz", "w:gz", "still packed"), ("deep/00000.tar", "w", "folder below")],
)
def test_shards_that_cannot_be_unpacked_are_told(tmp_path, name, mode, words):
    shard(tmp_path / "shards" / name, mode)
    with pytest.raises(Problem, match=words):
        folder = sources.regularization(str(tmp_path / "shards"), tmp_path / "own", 0, Wanted(1))
        regularization_pictures(folder, Wanted(1))


def test_no_usable_line_names_its_own_cause(folder):
    (folder / "metadata.jsonl").write_text("file_name,text\n0.png,x\n")
    with pytest.raises(Problem, match="another program wrote the file"):
        imagefolder.read_rows(folder)
    metadata(folder, {"file_name": "lost.png", "text": "x"})
    with pytest.raises(Problem, match="moved away"):
        imagefolder.read_rows(folder)


# --- HPD, exports, weights, presets, results ----------------------------------------------------


def choice(folder, names):
    row = {"human_preference": 0, "prompt": "a cat", "id": 0, "file_path": names}
    (folder / "preference_train.json").write_text(json.dumps([row]))
    return hpd.read_choices(folder, "train")["file_path"].tolist()


def test_a_data_set_made_on_windows(tmp_path):
    for number in range(2):
        picture(tmp_path / "preference_images" / f"0_{number}.jpg")
    read = choice(tmp_path, ["preference_images\\0_0.jpg", "preference_images\\0_1.jpg"])
    assert read == [["preference_images/0_0.jpg", "preference_images/0_1.jpg"]]
    with pytest.raises(Problem, match="no picture"):
        choice(tmp_path, ["..\\preference_images\\0_0.jpg", "preference_images\\0_1.jpg"])


def test_exports_in_folders_below_are_told(tmp_path):
    (tmp_path / "general").mkdir()
    (tmp_path / "general" / "c.json").write_text('{"messages": []}')
    with pytest.raises(Problem, match=r"general/c\.json") as told:
        exports.export_files(str(tmp_path))
    assert "folders below" in told.value.cause


def test_a_folder_in_place_of_weights_is_told(tmp_path):
    torch.save({}, tmp_path / "head.pth")
    with pytest.raises(Problem, match=r"a folder, with head\.pth"):
        aesthetic.load_aesthetic(str(tmp_path))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("steps: 1,000", "a comma in a number"),
        ("learning_rate: 0,001", "a comma in a number"),
        ("steps: 7.0", "a fraction"),
        ("identifier: yes", "without quotes are no text"),
        ("identifier:", "without a value"),
        ("learning_rate: 1e-4", "1.0e-4"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_own_cause(tmp_path, line, words):
    (tmp_path / "mine.yaml").write_text(f'"05":\n  {line}\n')
    with pytest.raises(Problem, match=words):
        presets.resolve(str(tmp_path / "mine.yaml"), "trial")


def test_a_tab_in_a_preset_is_told(tmp_path):
    (tmp_path / "mine.yaml").write_text('"05":\n\tsteps: 7\n')
    with pytest.raises(Problem, match="a tab"):
        presets.read_preset(str(tmp_path / "mine.yaml"))


def features(count, length):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [{"arm": "original", "id": i, "features": rng.normal(size=length)} for i in range(count)]
    )


@pytest.mark.parametrize("reference", [np.zeros((5, 3)), np.zeros(4)])
def test_features_of_two_networks_are_told(reference):
    with pytest.raises(Problem, match="different networks"):
        fid.table(features(5, 4), reference, 0, 5)


def test_no_features_are_told():
    with pytest.raises(Problem, match="no arm"):
        fid.table(features(0, 4), np.zeros((5, 4)), 0, 5)


@pytest.mark.parametrize(
    ("original", "adapted", "voters"),
    [("10", "9", "19"), (float("nan"), 9, 19), (20, 20, 20), (-1, 21, 20), (0.5, 1, 2)],
)
def test_votes_that_are_not_possible_are_told(original, adapted, voters):
    votes = pd.DataFrame([{"original": original, "adapted": adapted, "voters": voters}])
    with pytest.raises(Problem, match="votes"):
        user_study.majorities(votes, 0)

"""Tables of choices as Excel, pandas, Pick-a-Pic and ImageRewardDB write them."""

import gzip
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.collect import hpd, own_choices
from alignsd.collect.own import rows as own_rows
from alignsd.collect.own import tables

PLAIN = "prompt,images,choice\n" + "".join(f"p{i},0.png;1.png,1\n" for i in range(4))
SEMICOLON = "prompt;images;choice\n" + "".join(f'p{i};"0.png;1.png";1\n' for i in range(4))
TABS = PLAIN.replace(",", "\t")


@pytest.fixture
def folder(tmp_path):
    """A folder with ten pictures, 0.png to 9.png."""
    for i in range(10):
        save_png(tmp_path / f"{i}.png", np.full((8, 8, 3), 20 * i, np.uint8))
    return tmp_path


def imported(folder, content, name="table.csv", **options):
    """Return the counts and the choices that were written, in the table's order."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    table = own_choices.read_choices_table(folder / name)
    counts = own_choices.import_choices(table, folder, folder / "out", **options)
    parts = [hpd.read_choices(folder / "out", part) for part in ("train", "test")]
    return dict(counts), pd.concat(parts).sort_values("id")


# --- separators, encodings, suffixes ---


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + PLAIN.encode(),
        SEMICOLON,
        "\ufeffsep=;\r\n" + SEMICOLON,
        "sep=\t\n" + TABS,
        TABS,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", ",,\n"),
        PLAIN + ",,\n\n",
        PLAIN.replace("prompt,images,choice", ' Prompt ,"IMAGES",Choice'),
        "\n\n" + PLAIN,
    ],
    ids=[
        "bom",
        "semicolon",
        "sep=;",
        "sep=tab",
        "tab",
        "windows",
        "old mac",
        "empty cells at the end",
        "empty rows at the end",
        "names in capitals",
        "empty lines before",
    ],
)
def test_what_table_programs_write_is_read(folder, content):
    counts, rows = imported(folder, content)
    assert counts == {"choices": 4} and rows["prompt"].tolist() == ["p0", "p1", "p2", "p3"]
    assert (rows["human_preference"] == 1).all()


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le"])
def test_another_encoding_is_named(folder, encoding):
    content = PLAIN.replace("p0", "café").encode(encoding)
    with pytest.raises(Problem, match="(?s)another encoding.*UTF-8.*iconv"):
        imported(folder, content)


@pytest.mark.parametrize("name", ["TABLE.CSV", "t.tsv", "t.TXT", "t.Tab"])
def test_text_tables_under_any_suffix(folder, name):
    assert imported(folder, TABS, name)[0] == {"choices": 4}


RECORDS = [{"prompt": f"p{i}", "images": ["0.png", "1.png"], "choice": 1} for i in range(4)]
LINES = "\n".join(map(json.dumps, RECORDS))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", LINES),
        ("t.NDJSON", LINES + "\n\n"),
        ("t.json", json.dumps(RECORDS, indent=1)),
        ("t.json", LINES),
        ("t.jsonl", "\ufeff" + LINES.replace("\n", "\r\n")),
    ],
)
def test_objects_are_read(folder, name, content):
    assert imported(folder, content, name)[0] == {"choices": 4}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("t.xlsx", "(?s)a spreadsheet.*Save As, CSV UTF-8"),
        ("t.ods", "a spreadsheet"),
        ("t.csv.gz", "(?s)a compressed file.*gunzip -k '.*t.csv.gz'"),
        ("t.CSV.ZIP", "(?s)a compressed file.*unzip '.*t.CSV.ZIP' -d"),
        ("table", "a nameless file"),
    ],
)
def test_another_kind_is_told_with_what_to_do(folder, name, words):
    with pytest.raises(Problem, match=words):
        tables.read_choices_table(folder / name)


def test_a_compressed_file_under_the_name_of_a_table_is_told(folder):
    (folder / "t.csv").write_bytes(gzip.compress(PLAIN.encode()))
    with pytest.raises(Problem, match="(?s)not text.*a file compressed by gzip.*unpack"):
        tables.read_choices_table(folder / "t.csv")


@pytest.mark.parametrize("orient", ["split", "index", "columns", "values"])
def test_a_table_of_pandas_in_one_object_is_told_with_the_call_that_is_read(folder, orient):
    table = pd.DataFrame(RECORDS)
    table.to_json(folder / "t.json", orient=orient)
    option = "without orient" if orient == "columns" else f'orient="{orient}"'
    with pytest.raises(Problem, match=f'(?s){option}.*orient="records", lines=True'):
        tables.read_choices_table(folder / "t.json")
    table.to_json(folder / "t.jsonl", orient="records", lines=True)
    assert len(tables.read_choices_table(folder / "t.jsonl")) == 4


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.parquet"])
def test_an_empty_file_is_called_empty_and_an_absent_one_absent(folder, name):
    with pytest.raises(Problem, match="no such file"):
        tables.read_choices_table(folder / name)
    (folder / name).write_bytes(b"")
    with pytest.raises(Problem, match="is empty"):
        tables.read_choices_table(folder / name)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(Problem, match="is not a file"):
        tables.read_choices_table(folder / name)


def test_a_quotation_mark_that_is_not_closed_does_not_swallow_the_rest(folder):
    with pytest.raises(Problem, match="(?s)starts in line 3.*quotation mark"):
        imported(folder, PLAIN.replace("p1", '"p1'))


@pytest.mark.parametrize(("first", "second"), [('"hello', 'it says hello"'), ('"hello', "bye")])
def test_tabs_without_quoting_swallow_no_rows(folder, first, second):
    """Databases write such files, and a quotation mark at a prompt's start is a part of it."""
    lines = ["prompt\timages\tchoice"]
    lines += [f"{prompt}\t0.png;1.png\t1" for prompt in (first, "a cat", second, "a dog")]
    _, rows = imported(folder, "\n".join(lines), name="own.tsv")
    assert sorted(rows["prompt"]) == sorted([first, "a cat", second, "a dog"])


def test_a_cell_may_hold_a_whole_picture_as_text(folder):
    """Programs for labels write pictures into cells, and no quotation mark is at fault."""
    lines = PLAIN.splitlines()
    longer = [f"{lines[0]},thumbnail", *(f"{line},{'QUJD' * 40_000}" for line in lines[1:])]
    counts, rows = imported(folder, "\n".join(longer))
    plain_counts, plain_rows = imported(folder, PLAIN)
    assert counts == plain_counts and rows.equals(plain_rows)


def test_a_comma_in_a_prompt_without_quotes_is_counted(folder):
    counts, rows = imported(folder, PLAIN + "a cat, a dog,0.png;1.png,0\n")
    assert counts == {"choices": 4, tables.MORE_CELLS: 1} and len(rows) == 4


def test_lines_that_are_no_object_are_counted(folder):
    counts, _ = imported(folder, LINES + '\nnull\n[1]\n5\n{"prompt": \n', "t.jsonl")
    assert counts == {"choices": 4, tables.NO_OBJECT: 3, tables.NO_JSON: 1}


def test_two_columns_of_one_name_are_told(folder):
    with pytest.raises(Problem, match="two columns of one name"):
        imported(folder, PLAIN.replace("prompt,images,choice", "prompt,images,Prompt"))


def test_one_column_in_all_is_told_with_the_separators(folder):
    with pytest.raises(Problem, match="(?s)no images.*other separators than , ; and tab"):
        imported(folder, PLAIN.replace(",", "^").replace("prompt^images^choice", "prompt"))


# --- cells ---

WORDS = ["null", "None", "nan", "NA", "N/A", "inf", "true", "1", "007", "1e5", "2024-01-01", "cat"]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_prompts_stay_the_words_that_they_are(folder, name):
    table = pd.DataFrame({"prompt": WORDS, "images": "0.png;1.png", "choice": "0"})
    if name.endswith("parquet"):
        table.to_parquet(folder / name)
        content = (folder / name).read_bytes()
    elif name.endswith("jsonl"):
        content = table.to_json(orient="records", lines=True)
    else:
        content = table.to_csv(index=False, sep="\t" if name == "t.tsv" else ",")
    counts, rows = imported(folder, content, name)
    assert counts == {"choices": len(WORDS)} and rows["prompt"].tolist() == WORDS


def test_a_prompt_with_line_ends_and_quotation_marks_is_one_prompt(folder):
    counts, rows = imported(folder, PLAIN + '"a ""red""\nhouse, at\u2028sea",0.png;1.png,0\n')
    assert counts == {"choices": 5} and rows["prompt"].tolist()[-1] == 'a "red" house, at sea'


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("0.5", own_rows.TIE),
        ("0,5", own_rows.TIE),
        ("tie", own_rows.TIE),
        ("0.9", own_rows.NO_IMAGE),
        ("1.5", own_rows.NO_IMAGE),
        ("inf", own_rows.NO_IMAGE),
        ("-1", own_rows.NO_IMAGE),
        ("2", own_rows.NO_IMAGE),
        ("nan", own_rows.NO_IMAGE),
        ("1e0", own_rows.NO_IMAGE),
        ("9" * 5000, own_rows.NO_IMAGE),
        ("1_0", own_rows.NO_IMAGE),
        ("٠", own_rows.NO_IMAGE),
        ("", own_rows.NO_CHOICE),
        ("True", own_rows.NO_IMAGE),
    ],
)
def test_what_is_no_choice_is_counted(folder, cell, reason):
    counts, rows = imported(folder, PLAIN + f'a,0.png;1.png,0\nx,0.png;1.png,"{cell}"\n')
    assert counts == {"choices": 5, reason: 1} and "x" not in set(rows["prompt"])


@pytest.mark.parametrize(
    ("cell", "index"),
    [
        ("1", 1),
        ("1.0", 1),
        ("1,0", 1),
        (" 1 ", 1),
        ("+1", 1),
        ("0", 0),
        ("-0", 0),
        ("1.png", 1),
        ("sub/1.png", None),
    ],
)
def test_a_choice_is_a_number_or_a_name(folder, cell, index):
    counts, rows = imported(folder, PLAIN + f'a,0.png;1.png,0\nx,0.png;1.png,"{cell}"\n')
    assert rows.set_index("prompt")["human_preference"].get("x") == index
    assert sum(counts.values()) == 6


@pytest.mark.parametrize(
    "value",
    [1, 1.0, "1", np.int64(1), np.float64(1), True, None, [0, 1], float("inf"), 10**400, {"a": 1}],
)
def test_a_choice_of_any_type_is_an_index_or_counted(folder, value):
    rows = [{"prompt": f"p{i}", "images": "0.png;1.png", "choice": i % 2} for i in range(5)]
    table = pd.DataFrame(
        [*rows, {"prompt": "x", "images": "0.png;1.png", "choice": value}], dtype=object
    )
    counts = own_choices.import_choices(table, folder, folder / "out")
    taken = type(value) is not bool and str(value) in ("1", "1.0")
    assert counts["choices"] == 5 + taken and counts.total() == 6


@pytest.mark.parametrize(
    "cell",
    [
        "0.png;1.png;2.png",
        "0.png; 1.png ;2.png;",
        "0.png|1.png|2.png",
        '["0.png", "1.png", "2.png"]',
        "0.png, 1.png, 2.png",
        "['0.png' '1.png'\n '2.png']",
    ],
)
def test_images_in_one_cell(folder, cell):
    table = pd.DataFrame({"prompt": list("abcde"), "images": cell, "choice": [0, 1, 2, 0, 1]})
    assert own_choices.import_choices(table, folder, folder / "out") == {"choices": 5}
    paths = hpd.read_choices(folder / "out", "train")["file_path"]
    assert paths.map(len).tolist() == [3] * 4


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("0.png", own_rows.COUNT),
        ("", own_rows.COUNT),
        (None, own_rows.COUNT),
        (5, own_rows.COUNT),
        ({"a": 1}, own_rows.COUNT),
        ("0.png;;1.png", own_rows.NO_NAME),
        (["0.png", None], own_rows.NO_NAME),
        (["0.png", 5], own_rows.NO_NAME),
        (["0.png", "\ud800.png"], own_rows.NO_NAME),
        ("0.png;0.png", own_rows.TWICE),
        (";".join(f"{i}.png" for i in range(5)), own_rows.MANY),
        (";".join(f"{i}.png" for i in range(9)), own_rows.MANY),
        ("0.png;../1.png", own_rows.OUTSIDE),
        ("0.png;/etc/1.png", own_rows.OUTSIDE),
        ("0.png;C:\\1.png", own_rows.OUTSIDE),
        ("0.png;" + "x" * 5000, "missing file"),
        ("0.png;a\0b.png", "missing file"),
        ("0.png;https://example.org/1.png", "link to a picture that was not downloaded"),
    ],
)
def test_images_that_cannot_be_used_are_counted(folder, cell, reason):
    rows = [{"prompt": f"p{i}", "images": "0.png;1.png", "choice": i % 2} for i in range(5)]
    table = pd.DataFrame([*rows, {"prompt": "x", "images": cell, "choice": 0}], dtype=object)
    assert own_choices.import_choices(table, folder, folder / "out") == {"choices": 5, reason: 1}


def test_an_absolute_path_below_the_folder_is_that_image(folder):
    table = pd.DataFrame(
        {"prompt": list("abcde"), "images": f"{folder}/0.png;{folder}/1.png", "choice": "1.png"}
    )
    assert own_choices.import_choices(table, folder, folder / "out") == {"choices": 5}


def test_the_folder_may_be_named_by_a_link_or_from_another_folder(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    names = f"{folder.resolve()}/0.png;{folder.resolve()}/1.png"
    table = pd.DataFrame({"prompt": list("abcde"), "images": names, "choice": "1.png"})
    for place in (tmp_path / "link", folder / ".." / folder.name):
        out = tmp_path / f"out-{place.name}"
        assert own_choices.import_choices(table, place, out) == {"choices": 5}


def test_whole_numbers_as_decimals_are_users(folder):
    """Databases write whole numbers of any length as decimals."""
    table = pd.DataFrame({"prompt": list("abcde"), "images": "0.png;1.png", "choice": 1})
    table["user"] = [Decimal(10**30 + i % 2) for i in range(5)]
    assert own_choices.import_choices(table, folder, folder / "out") == {"choices": 5}
    parts = [hpd.read_choices(folder / "out", part) for part in ("train", "test")]
    assert pd.concat(parts)["user_hash"].nunique() == 2


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (None, own_rows.NO_PROMPT),
        (" ", own_rows.NO_PROMPT),
        (float("nan"), own_rows.NO_PROMPT),
        (5, own_rows.BAD_PROMPT),
        ("half \ud800 a character", own_rows.BAD_PROMPT),
        (["a"], own_rows.BAD_PROMPT),
        (b"a", own_rows.BAD_PROMPT),
    ],
)
def test_prompts_that_are_no_text_are_counted(folder, prompt, reason):
    rows = [{"prompt": f"p{i}", "images": "0.png;1.png", "choice": i % 2} for i in range(5)]
    table = pd.DataFrame(
        [*rows, {"prompt": prompt, "images": "0.png;1.png", "choice": 0}], dtype=object
    )
    assert own_choices.import_choices(table, folder, folder / "out") == {"choices": 5, reason: 1}


def test_rows_without_a_user_are_not_one_user(folder):
    users = ["ann", "", "ann", " ", "nan", "ben"]
    content = "prompt,images,choice,user\n" + "".join(
        f"p{i},0.png;1.png,{i % 2},{user}\n" for i, user in enumerate(users)
    )
    counts, rows = imported(folder, content)
    assert counts == {"choices": 6, own_choices.UNKNOWN_USERS: 2}
    known = rows["user_hash"][rows["user_hash"] != ""]
    assert len(known) == 4 and known.nunique() == 3  # nan is the name of somebody here


@pytest.mark.parametrize(
    ("user", "known"), [(None, False), (float("nan"), False), (7, True), (7.0, True), ("7", True)]
)
def test_users_of_other_types(folder, user, known):
    rows = [
        {"prompt": f"p{i}", "images": "0.png;1.png", "choice": i % 2, "user": "7"} for i in range(5)
    ]
    rows[0]["user"] = user
    counts = own_choices.import_choices(pd.DataFrame(rows, dtype=object), folder, folder / "out")
    assert counts == ({"choices": 5} if known else {"choices": 5, own_choices.UNKNOWN_USERS: 1})
    hashes = [
        set(hpd.read_choices(folder / "out", part)["user_hash"]) - {""}
        for part in ("train", "test")
    ]
    assert len(set.union(*hashes)) == 1, "7, 7.0 and the text 7 are one user"


@pytest.mark.parametrize("user", [True, ["ann"], {"id": 1}, "\ud800", float("inf")])
def test_a_user_that_cannot_be_one_is_counted(folder, user):
    rows = [
        {"prompt": f"p{i}", "images": "0.png;1.png", "choice": i % 2, "user": "ann"}
        for i in range(6)
    ]
    rows[0]["user"] = user
    counts = own_choices.import_choices(pd.DataFrame(rows, dtype=object), folder, folder / "out")
    assert counts == {"choices": 5, own_rows.BAD_USER: 1}


# --- numbers counted from 0 or 1 ---


def test_numbers_counted_from_1_are_told_and_then_read(folder):
    content = "prompt,images,choice\n" + "".join(
        f"p{i},0.png;1.png;2.png,{i % 3 + 1}\n" for i in range(6)
    )
    with pytest.raises(Problem, match="(?s)counted from 1.*--count-from 1"):
        imported(folder, content)
    assert not (folder / "out").exists()
    counts, rows = imported(folder, content, count_from=1)
    assert counts == {"choices": 6} and rows["human_preference"].tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("first", [0, 1])
def test_image_columns_say_where_counting_starts(folder, first):
    header = ",".join(["prompt", *(f"image_{k + first}" for k in range(3)), "choice"])
    rows = [f"p{i},0.png,1.png,{'2.png' if i % 2 else ''},{i % 2 + first}" for i in range(5)]
    counts, table = imported(folder, "\n".join([header, *rows, f"x,0.png,,1.png,{first}"]))
    assert counts == {"choices": 5, own_rows.NO_NAME: 1}
    assert table["human_preference"].tolist() == [0, 1, 0, 1, 0] and table["file_path"].map(
        len
    ).tolist() == [2, 3, 2, 3, 2]


def test_image_columns_that_contradict_the_numbers_are_told(folder):
    content = "prompt,image_1,image_2,choice\n" + "".join(
        f"p{i},0.png,1.png,{i % 2}\n" for i in range(6)
    )
    with pytest.raises(Problem, match="(?s)counted from 0.*--count-from 0"):
        imported(folder, content)
    assert imported(folder, content, count_from=0)[1]["human_preference"].tolist() == [0, 1] * 3


def test_a_table_that_writes_0_for_a_tie_stops_until_the_reader_says_how_it_counts(folder):
    choices = [0, 1, 1, 2, 2, 1, 0, 2]
    content = "prompt,images,choice\n" + "".join(
        f"p{i},0.png;1.png,{choice}\n" for i, choice in enumerate(choices)
    )
    with pytest.raises(Problem, match="(?s)2 of 8 numbers are 0.*tie.*--count-from 1.*-from 0"):
        imported(folder, content)
    counts, rows = imported(folder, content, count_from=1)
    assert counts == {"choices": 6, own_rows.NO_IMAGE: 2}
    assert rows["human_preference"].tolist() == [0, 0, 1, 1, 0, 1]
    counts, rows = imported(folder, content, count_from=0)
    assert counts == {"choices": 5, own_rows.NO_IMAGE: 3}
    assert rows["human_preference"].tolist() == [0, 1, 1, 1, 0]


def test_one_number_beyond_the_images_is_a_slip_and_left_out(folder):
    content = "prompt,images,choice\n" + "".join(
        f"p{i},0.png;1.png,{choice}\n" for i, choice in enumerate([0, 1, 0, 1, 2])
    )
    assert imported(folder, content)[0] == {"choices": 4, own_rows.NO_IMAGE: 1}


def test_a_choice_may_be_the_name_of_a_column(folder):
    content = "prompt,image_1,image_2,choice\n" + "".join(
        f"p{i},0.png,1.png,Image_{i % 2 + 1}\n" for i in range(6)
    )
    assert imported(folder, content)[1]["human_preference"].tolist() == [0, 1] * 3


def test_count_from_is_0_or_1(folder):
    with pytest.raises(Problem, match="count_from 0 or 1"):
        imported(folder, PLAIN, count_from=2)


# --- other people's tables ---


def test_pick_a_pic(folder):
    for name in "ab":
        (folder / f"{name}.jpg").write_bytes((folder / "0.png").read_bytes())
    labels = [(1, 0), (0, 1), (0.5, 0.5), (0, 1), (1, 0), (0, 0), (1, 0)]
    table = pd.DataFrame(
        [
            {
                "caption": f"p{i}",
                "image_0_uid": "a",
                "image_1_uid": "b",
                "image_0_url": "https://x",
                "label_0": first,
                "label_1": second,
                "user_id": i % 2,
                "jpg_0": b"x",
            }
            for i, (first, second) in enumerate(labels)
        ]
    )
    table.to_parquet(folder / "t.parquet")
    counts, rows = imported(folder, (folder / "t.parquet").read_bytes(), "t.parquet")
    assert counts == {"choices": 5, own_rows.TIE: 1, own_rows.NO_CHOICE: 1}
    assert rows["human_preference"].tolist() == [0, 1, 1, 0, 0] and rows["user_hash"].nunique() == 2


def test_image_reward_db_as_groups(folder):
    rankings = [[1, 2], [2, 1], [1, 1], [2, 3, 1], [1, 2, 3, 4, 5], [3, 1, 2], [1, 2]]
    rows = [
        {
            "prompt": f"p{i}",
            "generations": [f"{k}.png" for k in range(len(ranking))],
            "ranking": ranking,
        }
        for i, ranking in enumerate(rankings)
    ]
    counts, table = imported(folder, json.dumps(rows), "train.json")
    assert counts == {"choices": 5, own_rows.TIE: 1, own_rows.MANY: 1}
    assert table["human_preference"].tolist() == [0, 1, 2, 1, 0]


def test_image_reward_db_with_a_row_per_image(folder):
    lines = ["image_path,prompt_id,prompt,rank"]
    for group, ranks in enumerate([(1, 2), (2, 1), (1, 2, 3), (3, 1, 2), (1, 2)]):
        lines += [f"{k}.png,id{group},a cat,{rank}" for k, rank in enumerate(ranks)]
    prompts = "\n".join(lines).replace("id4,a cat", "id4,a dog")
    counts, table = imported(folder, prompts)
    assert counts == {"choices": 5} and table["human_preference"].tolist() == [0, 1, 0, 1, 0]


def test_hpd_v2_rows_as_a_table(folder):
    rows = [
        {"prompt": f"p{i}", "image_path": ["0.png", "1.png", "2.png"], "rank": [2, 1, 3]}
        for i in range(5)
    ]
    counts, table = imported(folder, json.dumps(rows), "t.json")
    assert counts == {"choices": 5} and (table["human_preference"] == 1).all()

"""Users are known by keyed hashes only, and prompts with names are flagged."""

import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.intervals import wilson
from alignsd.collect import privacy


def test_hash_is_the_standard_one():
    # RFC 4231, test case 2
    assert privacy.hash_user("what do ya want for nothing?", b"Jefe") == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


def test_user_key(tmp_path):
    key = privacy.user_key(tmp_path)
    assert len(key) == 64 and privacy.user_key(tmp_path) == key
    assert (tmp_path / "user.key").stat().st_mode & 0o077 == 0
    (tmp_path / "user.key").write_text("short")
    with pytest.raises(Problem, match="too short"):
        privacy.user_key(tmp_path)
    with pytest.raises(Problem, match="could not be read or made"):
        privacy.user_key(tmp_path / "no folder")


def test_a_key_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "user.key").mkdir()
    with pytest.raises(Problem, match="could not be read or made"):
        privacy.user_key(tmp_path)
    (tmp_path / "user.key").rmdir()
    (tmp_path / "user.key").write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(Problem, match="could not be read or made"):
        privacy.user_key(tmp_path)


def test_names(tmp_path):
    (tmp_path / "names.txt").write_text("Ada Lovelace\n\n Bo \n")
    names = privacy.read_names(str(tmp_path / "names.txt"))
    assert names == ["Ada Lovelace", "Bo"] and privacy.read_names("") == []
    has_name = privacy.name_finder(names)
    assert has_name("portrait of ada lovelace, oil") and not has_name("a boat")
    with pytest.raises(Problem, match="list of names"):
        privacy.read_names(str(tmp_path / "gone.txt"))


@pytest.mark.parametrize(
    ("prompt", "name", "found"),
    [
        ("portrait of ADA LOVELACE, oil", "Ada Lovelace", True),
        ("ada and lovelace", "Ada Lovelace", False),
        ("canada", "Ada", False),
        ("ada's cat", "Ada", True),
        ("miles o'neill", "O'Neill", True),
        ("o neill", "O’Neill", True),
        ("jean luc at sea", "Jean-Luc", True),
        ("café rené", "René", True),
        ("a cat", "", False),
        ("a cat", "...", False),
    ],
)
def test_a_name_is_found_as_whole_words_whatever_stands_between_them(prompt, name, found):
    assert privacy.name_finder([name])(prompt) is found


def test_the_quality_of_a_list_by_hand():
    prompts = ["ada at sea", "ada at home", "bo and ada", "a boat", "cyd", "ada sleeps"]
    flags = [True, True, True, False, True, False]
    table = pd.DataFrame({"prompt": prompts, "contain_name": flags})
    # The list flags 4 prompts, 3 of them rightly, and misses cyd.
    quality = privacy.name_quality(table, ["Ada"])
    assert quality["value"].tolist() == [3 / 4, 3 / 4] and quality["n"].tolist() == [4, 4]
    assert quality.loc["precision", ["low", "high"]].tolist() == list(wilson(3, 4))
    table["contain_name"] = [True, True, True, True, True, False]
    assert privacy.name_quality(table, ["Ada"]).loc["recall", "value"] == 3 / 5
    assert privacy.name_quality(table, []).loc["recall", ["value", "n"]].tolist() == [0, 5]


def test_a_quality_that_cannot_be_known_is_no_number():
    table = pd.DataFrame({"prompt": ["a cat"], "contain_name": [False]})
    nothing = privacy.name_quality(table, [])
    assert nothing["value"].isna().all()
    assert nothing[["low", "high", "n"]].to_numpy().tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        ("Ren\xe9".encode("cp1252"), "cannot be read.*another encoding"),
        (b"<!DOCTYPE html>\n<html>", "cannot be read.*a web page"),
    ],
)
def test_a_list_of_names_that_names_nobody_is_told(tmp_path, content, words):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(Problem, match=f"(?s)list of names {words}"):
        privacy.read_names(str(tmp_path / "names.txt"))


def test_names_are_read_with_a_byte_order_mark(tmp_path):
    (tmp_path / "names.txt").write_bytes("\ufeffAda\r\nRené\r\n".encode())
    assert privacy.read_names(str(tmp_path / "names.txt")) == ["Ada", "René"]

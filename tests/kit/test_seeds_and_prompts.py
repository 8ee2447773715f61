"""Seeds, shares and files of prompts that cannot be used are told where they enter."""

import numpy as np
import pandas as pd
import pytest

from alignsd import sources
from alignsd.base.errors import Problem, check_seed
from alignsd.collect import splits

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, np.int64(7), np.uint32(3)])
def test_seeds_that_numpy_and_torch_take_are_returned(seed):
    assert check_seed(seed) == seed and type(check_seed(seed)) is int


@pytest.mark.parametrize(
    "seed",
    [
        -1,
        2**32,
        pytest.param(10**5000, id="5,001 digits"),
        0.5,
        1.0,
        True,
        None,
        "0",
        float("nan"),
        [0],
    ],
)
def test_other_seeds_are_named(seed):
    with pytest.raises(Problem, match="found:    seed "):
        check_seed(seed)


@pytest.mark.parametrize("split", [splits.split_random, splits.split_by_prompt])
@pytest.mark.parametrize("seed", [-1, 2**32, 0.5])
def test_a_split_tells_its_seed(split, seed):
    with pytest.raises(Problem, match="seed"):
        split(pd.DataFrame({"prompt": list("abcde")}), 0.4, seed)


@pytest.mark.parametrize("split", [splits.split_random, splits.split_by_prompt])
@pytest.mark.parametrize(
    "share", [float("nan"), float("inf"), -float("inf"), -0.1, 1.1, 20, 10**400, "0.2", None, True]
)
def test_a_split_tells_its_share(split, share):
    with pytest.raises(Problem, match="found:    test_share "):
        split(pd.DataFrame({"prompt": list("abcde")}), share, 0)


def test_a_prompt_that_fills_a_part_is_the_cause_that_is_told():
    with pytest.raises(
        Problem, match="(?s)10 choices of 2 different prompts; the rarest prompt has 5"
    ):
        splits.split_by_prompt(pd.DataFrame({"prompt": ["a"] * 5 + ["b"] * 5}), 0.2, 0)


@pytest.mark.parametrize("source", ["miniature", "prompts.txt"])
def test_prompts_tell_their_seed(source):
    with pytest.raises(Problem, match="seed"):
        sources.prompts(source, 2, -1)


@pytest.mark.parametrize(
    ("content", "prompts"),
    [
        (BOM + b"a cat\r\na dog\r\n", ["a cat", "a dog"]),
        (b"a cat\n\n a cat \na dog", ["a cat", "a dog"]),
        ("a cat\u2028at sea\na dog".encode(), ["a cat\u2028at sea", "a dog"]),
        ("a\x0bcat\na\x85dog".encode(), ["a\x0bcat", "a\x85dog"]),
    ],
)
def test_prompts_are_lines(tmp_path, content, prompts):
    (tmp_path / "p.txt").write_bytes(content)
    assert sources.prompts(str(tmp_path / "p.txt"), 2, 0) == prompts


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "cp1252"])
def test_prompts_in_another_encoding_are_told(tmp_path, encoding):
    (tmp_path / "p.txt").write_bytes("café\na dog\n".encode(encoding))
    with pytest.raises(Problem, match="(?s)prompts cannot be read.*UTF-8.*iconv"):
        sources.prompts(str(tmp_path / "p.txt"), 2, 0)


@pytest.mark.parametrize("name", ["absent.txt", ".", "x" * 5000, "a\0b"])
def test_a_path_that_is_no_file_of_prompts_is_told(tmp_path, name):
    with pytest.raises(Problem, match="(?s)prompts cannot be read.*prompts=FILE"):
        sources.prompts(f"{tmp_path}/{name}", 2, 0)

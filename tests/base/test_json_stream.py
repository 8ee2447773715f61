"""Lists read out of JSON entry by entry are those that Python's own decoder reads."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignsd.base import json_stream
from alignsd.base.json_stream import Damaged, entries

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def read(text, name="messages"):
    content = text.encode() if isinstance(text, str) else text
    return list(entries(io.BytesIO(content), name))


@pytest.fixture(params=[2, 2**16])
def chunk(request, monkeypatch):
    """Characters read at a time: every value is cut somewhere."""
    monkeypatch.setattr(json_stream, "CHUNK", request.param)


@given(
    before=VALUES,
    messages=st.lists(VALUES, max_size=4),
    after=VALUES,
    escaped=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_entries_are_those_of_the_whole_file(chunk, before, messages, after, escaped, indent):
    text = json.dumps(
        {"a": before, "messages": messages, "b": after}, ensure_ascii=escaped, indent=indent
    )
    assert read(text) == messages
    assert read(b"\xef\xbb\xbf" + text.encode() + b" \r\n\t") == messages


@given(messages=st.lists(VALUES, max_size=3), share=st.floats(0, 0.99))
def test_a_cut_file_gives_what_is_whole_and_says_that_it_is_cut(chunk, messages, share):
    whole = json.dumps({"messages": messages}, ensure_ascii=False).encode()
    got = []
    with pytest.raises(Damaged) as error:
        for entry in entries(io.BytesIO(whole[: int(share * len(whole))]), "messages"):
            got.append(entry)
    assert error.value.cut
    assert got == messages[: len(got)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "'\\['"),
        ("7", "'7'"),
        ('{"messages": 3}', "no list"),
        ('{"other": []}', "no list"),
        ("{}", "no list"),
        ('{"messages": [1 2]}', "'2'"),
        ('{"messages": [1,]}', "Expecting value"),
        ('{"messages": [1]} {}', "more text"),
        ('{"messages" [1]}', "'\\['"),
        ("{3: 4}", "no list"),
        ('{"messages": [' + "9" * 5000 + "]}", "too many digits"),
        ('{"messages": [' + "[" * 10**6, "too deeply"),
        ('{"messages": [' + '{"a":' * 10**6, "too deeply"),
        (b'{"messages": ["\xff"]}', "not UTF-8"),
        ("nonsense", "'n'"),
        ('{"messages": [{"a" 1}]}', "delimiter"),
    ],
)
def test_what_is_damaged_says_how(text, words):
    with pytest.raises(Damaged, match=words):
        read(text)


def test_an_entry_beyond_all_bounds_is_refused(monkeypatch):
    monkeypatch.setattr(json_stream, "LARGEST_ENTRY", 1000)
    monkeypatch.setattr(json_stream, "CHUNK", 100)
    with pytest.raises(Damaged, match="more than 1,000 characters"):
        read('{"messages": ["' + "x" * 9000 + '"]}')


def test_a_file_is_read_once_and_little_of_it_is_held(monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", 1000)
    file = io.BytesIO(json.dumps({"messages": [{"id": str(i)} for i in range(10_000)]}).encode())
    rows = entries(file, "messages")
    assert next(rows) == {"id": "0"}
    assert file.tell() < 20_000
    assert sum(1 for _ in rows) == 9_999

"""Hostile and damaged exports: our own error or a counted message, no hang, nothing written."""

import copy
import json
import time

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dialects import FOUR, say

from alignsd.base.errors import Problem
from alignsd.collect import channel, choices, discord, grids
from alignsd.collect.dialects import commands

LONG = 150_000  # characters; time that grows with the square of this would take hours
FILLERS = [
    " ",
    "\n",
    "\t ",
    "-a ",
    "-n4 ",
    "--a=",
    "--a ",
    "--no ",
    "--no x ",
    '" ',
    '"',
    "“",
    "**",
    "**a",
    "**a**",
    "**a:**",
    "**a:** b\n",
    "*",
    "<@",
    "<@1",
    "<@1>",
    "@Ann",
    "@",
    "image #",
    "image #1 ",
    "number: ",
    "number:",
    "```",
    "prompt:",
    "prompt: a\n",
    "—v ",
    "- ",
    "a",
    "!dream ",
    "negative_prompt: ",
    "=",
    " = ",
    "\u2028",
    "9",
    "x:\n",
    "- <@",
    "by ",
    "_",
    "\x00",
]
HOSTILE = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "\x00",
    "<@7>",
    "**a**",
    "../../x",
    "\u202e",
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    [{"name": "prompt", "value": "x"}],
    {"id": 7},
    {"user": 7},
    {"user": {"id": None}},
    "9" * 400,
]


@pytest.mark.parametrize("author", ["bot", "ann"])
@pytest.mark.parametrize("filler", FILLERS)
def test_a_message_of_any_filling_takes_linear_time(author, filler):
    body = filler * (LONG // len(filler))
    started = time.process_time()
    for text in (
        f"!dream a cat {body}",
        f"**A Cat** {body} x",
        f'!dream "a cat {body}',
        f"**{body}",
        f"**Prompt:** {body} <@7>",
    ):
        message = discord.message_of(
            say(1, author, text, FOUR, mentions=[{"id": "7", "name": "Ann", "nickname": "A"}])
        )
        assert message.text == message.text.lower()
    assert time.process_time() - started < 10  # about 0.3 s


def test_an_embed_of_any_filling_takes_linear_time():
    started = time.process_time()
    for filler in FILLERS:
        body = filler * (LONG // 10 // len(filler))
        fields = [{"name": body, "value": "x"}, {"name": "Prompt", "value": f"a cat {body} x"}]
        for embed in ({"title": body, "description": f"**a** {body}"}, {"fields": fields}):
            discord.message_of(say(1, "bot", "<@7>", FOUR, embeds=[embed]))
    assert time.process_time() - started < 20


def test_open_answers_of_one_prompt_are_decoded_once(tmp_path, monkeypatch):
    """200 grids of one user and one prompt, and 50 uploads: each of these files is read once."""
    read = []
    monkeypatch.setattr(
        grids, "read_image", lambda path: read.append(path) or np.zeros((8, 8, 3), np.uint8)
    )
    messages = []
    for number in range(1, 201):
        messages += [
            say(2 * number, "7", "!dream a cat -n 4"),
            say(2 * number + 1, "bot", "", [f"{number}.png"], 2 * number),
        ]
    messages += [
        say(1000 + number, "7", "!dream a cat", [f"mine {number}.png"]) for number in range(50)
    ]
    (tmp_path / "media").mkdir()
    (tmp_path / "c.json").write_text(json.dumps({"messages": messages}))
    parsed = channel.parse([tmp_path / "c.json"], limit=10**6)
    assert len(read) == 250
    assert parsed.left_out == {choices.UNREFINED: 200}


def test_many_open_messages_are_settled_in_linear_time(tmp_path):
    messages = [say(number, "7", f"hello {number}") for number in range(1, 30_001)]
    (tmp_path / "c.json").write_text(json.dumps({"messages": messages}))
    started = time.process_time()
    assert channel.parse([tmp_path / "c.json"], limit=10**6).left_out == {choices.CHATTER: 30_000}
    assert time.process_time() - started < 20  # about 1.5 s


BASE = [
    say(1, "7", "!dream a cat -n4", timestampEdited=None, timestamp="2022-08-20T12:00:00+00:00"),
    say(2, "bot", "", FOUR, 1),
    say(3, "7", "!dream a cat", ["b.png"]),
    say(4, "bot", "", ["x.png"], 3),
    say(
        5,
        "bot",
        "**A Dog** - @Ann",
        FOUR,
        mentions=[{"id": "8", "name": "Ann", "nickname": "Ann", "isBot": False}],
        interaction={
            "id": "1",
            "name": "dream",
            "user": {"id": "8", "name": "Ann", "isBot": False},
        },
        embeds=[{"title": "x", "description": "y", "fields": [{"name": "Seed", "value": "5"}]}],
    ),
    say(6, "bot", "**A Dog** - Image #3", ["large.png"], 5),
]


def places(value, path=()):
    """Return the path of every value inside a JSON value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    found = [path] if path else []
    for key, item in inner:
        found += places(item, (*path, key))
    return found


PLACES = places(BASE)


def changed(messages, changes):
    messages = copy.deepcopy(messages)
    for path, value, action in changes:
        holder = messages
        try:
            for key in path[:-1]:
                holder = holder[key]
            if action == "delete":
                del holder[path[-1]]
            elif action == "repeat":
                holder[path[-1]] = [holder[path[-1]]] * 3
            else:
                holder[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            pass  # an earlier change took the place away
    return messages


def checked(folder, content):
    """Parse an export and return the result, or None for our own error; everything must be
    accounted for.
    """
    (folder / "c.json").write_bytes(content)
    before = sorted(path.name for path in folder.rglob("*"))
    try:
        parsed = channel.parse([folder / "c.json"], limit=10**6)
    except Problem as problem:
        assert len(str(problem).splitlines()) == 5
        return None
    finally:
        assert sorted(path.name for path in folder.rglob("*")) == before
    for choice in parsed.choices:
        assert 0 <= choice.chosen < len(choice.files) <= 4 and len(choice.files) >= 2
        assert choice.prompt.strip() and len(choice.user) == 64
        choice.prompt.encode()
    (folder / "user.key").unlink(missing_ok=True)
    assert set(parsed.left_out) <= set(choices.REASONS)
    assert len(parsed.choices) + parsed.left_out.total() <= parsed.messages
    assert parsed.left_out.total() > 0 or parsed.choices or not parsed.messages
    return parsed


@settings(max_examples=60 * CASES)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(PLACES),
            st.sampled_from(HOSTILE),
            st.sampled_from(["set", "set", "delete", "repeat"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_changed_field_is_counted_or_read(tmp_path_factory, changes):
    messages = changed(BASE, changes)
    parsed = checked(tmp_path_factory.mktemp("export"), json.dumps({"messages": messages}).encode())
    assert parsed is None or parsed.messages == len(messages)


def test_the_export_that_is_changed_holds_two_choices(tmp_path):
    parsed = checked(tmp_path, json.dumps({"messages": BASE}).encode())
    assert [(choice.prompt, choice.chosen) for choice in parsed.choices] == [
        ("a cat", 1),
        ("a dog", 2),
    ]


@pytest.mark.parametrize("path", PLACES, ids=str)
def test_each_field_may_be_gone(tmp_path, path):
    checked(tmp_path, json.dumps({"messages": changed(BASE, [(path, None, "delete")])}).encode())


@given(place=st.floats(0, 1), junk=st.binary(min_size=0, max_size=3), removed=st.integers(0, 40))
def test_changed_bytes_are_our_error_or_are_read(tmp_path_factory, place, junk, removed):
    whole = json.dumps({"messages": BASE}).encode()
    start = int(place * len(whole))
    checked(tmp_path_factory.mktemp("export"), whole[:start] + junk + whole[start + removed :])


@given(st.binary(max_size=60))
def test_any_bytes_are_our_error(tmp_path_factory, content):
    checked(tmp_path_factory.mktemp("export"), content)


WORDS = [
    "a",
    "cat",
    "t-shirt",
    "sci-fi",
    "b52",
    "3:2",
    "4k,",
    "number",
    "seed",
    "(red:1.2)",
    "--",
    "-",
    "—",
    "don't",
    "**",
    "#3",
    "@you",
    "1/2",
    "x-ray",
]


@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6),
    command=st.sampled_from(["!dream ", "/imagine prompt: ", ".dream ", ""]),
)
def test_words_that_are_no_settings_stay(words, command):
    text = " ".join(words)
    assert commands.command_of(command + text) == (text.strip(commands.QUOTES).lower(), {})


@given(
    words=st.lists(st.sampled_from(["a", "cat", "t-shirt", "4k,", "b52"]), min_size=1, max_size=4),
    settings_=st.dictionaries(
        st.sampled_from(["n", "s", "S", "C", "W"]),
        st.integers(0, 999).map(str),
        min_size=1,
        max_size=4,
    ),
    gap=st.sampled_from(["", " ", "  "]),
    quote=st.booleans(),
    ahead=st.booleans(),
)
def test_settings_are_found_however_they_are_spaced(words, settings_, gap, quote, ahead):
    text = " ".join(words)
    row = " ".join(f"-{name}{gap}{value}" for name, value in settings_.items())
    prompt = f'"{text}"' if quote else text
    assert commands.command_of(f"!dream {row} {prompt}" if ahead else f"!dream {prompt} {row}") == (
        text,
        settings_,
    )


@given(
    url=st.lists(
        st.sampled_from(
            [
                "..",
                ".",
                "/",
                "\\",
                "a",
                "%2e",
                "%2f",
                "%5c",
                "C:",
                "m",
                ":",
                "%00",
                "\u202e",
                "//",
                "~",
                "$HOME",
            ]
        ),
        max_size=8,
    ).map("".join)
)
def test_no_path_leads_out_of_the_export(tmp_path_factory, url):
    """A picture lies beside the export; whatever is read must lie in it."""
    folder = tmp_path_factory.mktemp("outer")
    (folder / "a").write_bytes(b"secret")
    (folder / "export" / "m").mkdir(parents=True)
    (folder / "export" / "m" / "a").write_bytes(b"own")
    try:
        place = grids._path_of(folder / "export", url)
    except Problem as problem:
        assert problem.reason in choices.REASONS
        return
    assert place.resolve().is_relative_to((folder / "export").resolve()) or not place.exists()

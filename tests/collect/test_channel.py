"""Choices in conversations that are small enough to check by hand."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import save_jpeg
from alignsd.collect import channel, choices, exports
from alignsd.collect.discord import File

PICTURES = ["a.png", "b.png", "c.png", "d.png"]


def say(number, author, text="", files=(), reply=None, **changes):
    """One message of an export; author "bot" is the bot."""
    message = {
        "id": str(number),
        "type": "Reply" if reply else "Default",
        "timestamp": "2022-08-20T12:00:00+00:00",
        "timestampEdited": None,
        "content": text,
        "author": {"id": author, "name": author, "isBot": author == "bot"},
        "attachments": [
            {"id": f"{number}{i}", "url": f"media/{name}", "fileName": name, "fileSizeBytes": 1}
            for i, name in enumerate(files)
        ],
        "embeds": [],
        "mentions": [],
    }
    if reply:
        message["reference"] = {"messageId": str(reply), "channelId": "1", "guildId": "1"}
    return message | changes


def talk(first=1, user="ann", prompt="A Cat", pictures=PICTURES, pick="c.png", reply=False):
    """A whole conversation that is one choice."""
    return [
        say(first, user, prompt),
        say(first + 1, "bot", "", pictures, first),
        say(first + 2, user, prompt, [pick], first + 1 if reply else None),
        say(first + 3, "bot", "", ["fine.png"], first + 2),
    ]


@pytest.fixture
def parse(tmp_path):
    def parse_messages(messages, **options):
        path = tmp_path / "channel.json"
        path.write_text(
            json.dumps({"guild": {"id": "1"}, "channel": {"id": "1"}, "messages": messages}),
            encoding="utf-8",
        )
        return channel.parse([path], **options)

    return parse_messages


@pytest.mark.parametrize("reply", [False, True])
def test_one_choice(parse, tmp_path, reply):
    parsed = parse(talk(reply=reply))
    [choice] = parsed.choices
    assert (choice.message_id, choice.prompt, choice.chosen) == ("2", "a cat", 2)
    assert parsed.messages == 4
    assert choice.files == tuple(File(name, f"media/{name}", tmp_path) for name in PICTURES)
    assert re.fullmatch("[0-9a-f]{64}", choice.user)
    assert parsed.left_out == Counter()


def test_a_reply_needs_no_words(parse):
    messages = talk(reply=True)
    messages[2]["content"] = ""
    assert [choice.chosen for choice in parse(messages).choices] == [2]


def test_same_user_same_hash_and_other_key_other_hash(parse, tmp_path):
    both = talk(1) + talk(11, pictures=["e.png", "f.png"], pick="e.png")
    both += talk(21, user="bob", pictures=["g.png", "h.png"], pick="h.png")
    first = [choice.user for choice in parse(both).choices]
    assert first[0] == first[1] != first[2]
    assert [choice.user for choice in parse(both).choices] == first
    (tmp_path / "user.key").write_text("another secret, long enough")
    assert first[0] not in [choice.user for choice in parse(both).choices]


def test_conversations_may_overlap(parse):
    ann, bob = talk(1), talk(11, user="bob", pictures=["e.png", "f.png"], pick="f.png")
    mixed = [message for pair in zip(ann, bob, strict=True) for message in pair]
    chosen = {choice.message_id: choice.chosen for choice in parse(mixed).choices}
    assert chosen == {"2": 2, "12": 1}


LEFT_OUT = {
    "chatter": (
        [say(1, "ann", "good morning"), say(2, "ann", "look", ["holiday.png"])],
        {choices.CHATTER: 2},
    ),
    "abandoned": (talk()[:2], {choices.ABANDONED: 1}),
    "talk about an answer is no pick": (
        [*talk()[:2], say(3, "ann", "nice", reply=2)],
        {choices.ABANDONED: 1, choices.CHATTER: 1},
    ),
    "someone else's pick": (
        [*talk()[:2], say(3, "bob", "A Cat", ["c.png"], 2), say(4, "bot", "", ["x.png"], 3)],
        {choices.ABANDONED: 1, choices.CONDITIONED: 1},
    ),
    "the picture with another prompt": (
        [*talk()[:2], say(3, "ann", "a dog", ["c.png"]), say(4, "bot", "", PICTURES, 3)],
        {choices.ABANDONED: 1, choices.CONDITIONED: 1},
    ),
    "an upload": (
        [say(1, "ann", "a cat", ["my.png"]), say(2, "bot", "", PICTURES, 1)],
        {choices.CONDITIONED: 1},
    ),
    "no refinement": (talk()[:3], {choices.UNREFINED: 1}),
    "one picture": ([say(1, "ann", "a cat"), say(2, "bot", "", ["a.png"], 1)], {choices.COUNT: 1}),
    "five pictures": (
        [say(1, "ann", "a cat"), say(2, "bot", "", [*PICTURES, "e.png"], 1)],
        {choices.COUNT: 1},
    ),
    "no words": ([say(1, "ann", "!dream"), say(2, "bot", "", PICTURES, 1)], {choices.NO_PROMPT: 1}),
    "two picks": ([*talk(), say(9, "ann", "A Cat", ["a.png"])], {choices.AMBIGUOUS: 1}),
    "two pictures in one pick": (
        [*talk()[:2], say(3, "ann", "a cat", ["a.png", "b.png"]), say(4, "bot", "", ["x.png"], 3)],
        {choices.AMBIGUOUS: 1},
    ),
    "one name for two pictures": (talk(pictures=["c.png", "c.png"]), {choices.AMBIGUOUS: 1}),
    "one name in two answers": (talk(1)[:2] + talk(11), {choices.AMBIGUOUS: 2}),
    "spoiler": (talk(pictures=["SPOILER_a.png", "b.png"], pick="b.png"), {choices.NSFW: 1}),
    "bot talk": (
        [say(1, "bot", "I was updated"), say(2, "bot", "", PICTURES, 77)],
        {choices.BOT_TALK: 2},
    ),
    "system": ([say(1, "ann", "joined", type="GuildMemberJoin")], {choices.SYSTEM: 1}),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_left_out(parse, name):
    messages, expected = LEFT_OUT[name]
    parsed = parse(messages)
    assert parsed.choices == [] and parsed.left_out == expected
    assert set(parsed.left_out) <= set(choices.REASONS)


def test_the_same_picture_sent_twice_is_one_choice(parse):
    again = [say(8, "ann", "A Cat", ["c.png"]), say(9, "bot", "", ["finer.png"], 8)]
    assert [choice.chosen for choice in parse(talk() + again).choices] == [2]


def test_a_reply_resolves_names_that_stand_in_two_answers(parse):
    parsed = parse(talk(1)[:2] + talk(11, reply=True))
    assert [choice.message_id for choice in parsed.choices] == ["12"] and parsed.left_out == {
        choices.ABANDONED: 1
    }


def test_words_of_the_list(parse):
    both = talk(1, prompt="a nude cat") + talk(
        11, prompt="a denuded hill", pictures=["e.png", "f.png"], pick="e.png"
    )
    parsed = parse(both, nsfw_words="nude, nsfw,")
    assert [choice.prompt for choice in parsed.choices] == [
        "a denuded hill"
    ] and parsed.left_out == {choices.NSFW: 1}
    assert len(parse(both, nsfw_words=" ").choices) == 2


BROKEN = [
    None,
    7,
    "text",
    [],
    {},
    say(1, "ann") | {"author": None},
    say(1, "ann") | {"id": 1},
    say(1, "ann") | {"content": None},
    say(1, "ann") | {"attachments": None},
    say(1, "ann") | {"attachments": [{"url": "media/a.png"}]},
    say(1, "ann") | {"author": {"id": "ann", "isBot": "no"}},
    say(1, "ann") | {"reference": "2"},
    say(1, "ann") | {"reference": {"messageId": 2}},
    say(1, "ann") | {"attachments": ["a.png"]},
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_malformed_message_is_counted_and_the_rest_is_read(parse, broken):
    parsed = parse([broken, *talk(11), broken])
    assert len(parsed.choices) == 1 and parsed.left_out == {choices.MALFORMED: 2}


def test_settings_may_change_between_request_and_pick(parse):
    messages = talk()
    messages[0]["content"], messages[2]["content"] = (
        '!dream "a cat" -n 4 -S 1',
        '!dream "a cat" -S 2',
    )
    assert [choice.prompt for choice in parse(messages).choices] == ["a cat"]


def test_a_linked_picture_makes_a_request_conditioned(parse):
    messages = talk()
    messages[0]["content"] = messages[2]["content"] = '!dream "a cat" --init_image http://x/y.png'
    assert parse(messages).left_out == {
        choices.CONDITIONED: 2
    }  # the pick cannot be told from another request


def slash(number, text, files, reply=None, **changes):
    """A bot's answer to ann's slash command."""
    asked = {
        "interaction": {
            "id": "9",
            "name": "dream",
            "user": {"id": "ann", "name": "ann", "isBot": False},
        }
    }
    return say(
        number, "bot", text, files, reply, **({} if reply else asked | {"type": "20"}), **changes
    )


def test_a_slash_command_and_its_button_are_one_choice(parse):
    larger = slash(2, "**A Cat** - Image #3 <@ann>", ["large.png"], reply=1)
    [choice] = parse([slash(1, "**A Cat** - <@ann>", PICTURES), larger]).choices
    assert (choice.prompt, choice.chosen, len(choice.files)) == ("a cat", 2, 4)
    [embedded] = parse(
        [slash(1, "", PICTURES, embeds=[{"title": "A Cat", "description": ""}]), larger]
    ).choices
    assert (embedded.prompt, embedded.user) == (choice.prompt, choice.user)


def test_a_button_for_a_picture_that_is_not_there_settles_nothing(parse):
    parsed = parse(
        [slash(1, "**A Cat**", PICTURES), slash(2, "**A Cat** - Image #7", ["large.png"], reply=1)]
    )
    assert not parsed.choices and parsed.left_out == {choices.AMBIGUOUS: 1}


@pytest.mark.parametrize(("grid", "cells"), [("auto", 4), ("2", 2), ("none", 0)])
def test_a_grid_is_as_many_pictures_as_were_asked_for(parse, grid, cells):
    messages = [
        say(1, "ann", '!dream "a cat" -n 4'),
        say(2, "bot", "", ["grid.png"], 1),
        say(3, "bot", "**a cat** - Image #2", ["large.png"], 2),
    ]
    parsed = parse(messages, grid=grid)
    assert [file.cell for choice in parsed.choices for file in choice.files] == [
        (i, cells) for i in range(cells)
    ]
    assert parsed.left_out[choices.COUNT] == (cells == 0)
    with pytest.raises(Problem, match="no grid"):
        parse(messages, grid="3x3")


def test_a_slash_command_s_number_cuts_the_grid_and_its_picture_makes_it_conditioned(parse):
    larger = slash(2, "**a cat** - Image #3 <@ann>", ["large.png"], reply=1)
    [choice] = parse([slash(1, "**A Cat** number: 4 <@ann>", ["grid.png"]), larger]).choices
    assert [file.cell for file in choice.files] == [(i, 4) for i in range(4)] and choice.chosen == 2
    parsed = parse(
        [slash(1, "**A Cat** init_image: http://x/y.png number: 4 <@ann>", ["grid.png"]), larger]
    )
    assert not parsed.choices and parsed.left_out[choices.CONDITIONED] == 1


def scribble(seed):
    """A picture with large shapes, as those of one prompt that differ in their seed."""
    return (
        np.random.default_rng(seed)
        .integers(256, size=(6, 6, 3), dtype=np.uint8)
        .repeat(16, 0)
        .repeat(16, 1)
    )


@pytest.fixture
def grid_talk(tmp_path):
    """A conversation about a grid of four, and ``save(name, picture)`` into its media."""

    def save(name, picture):
        save_jpeg(tmp_path / "media" / name, picture, quality=85)

    save(
        "grid.jpg",
        np.vstack([np.hstack([scribble(0), scribble(1)]), np.hstack([scribble(2), scribble(3)])]),
    )
    return talk(prompt='!dream "a cat" -n 4', pictures=["grid.jpg"], pick="mine.jpg"), save


@pytest.mark.parametrize("index", range(4))
def test_a_cell_that_was_cut_out_is_known_by_its_pixels(parse, grid_talk, index):
    messages, save = grid_talk
    save(
        "mine.jpg", scribble(index)[1:, :-2].repeat(2, 0).repeat(2, 1)
    )  # not cut to the pixel, and enlarged
    [choice] = parse(messages).choices
    assert choice.chosen == index and [file.cell for file in choice.files] == [
        (i, 4) for i in range(4)
    ]


@pytest.mark.parametrize(
    "sent", ["another picture", "the whole grid", "a broken file", "nothing that was kept"]
)
def test_a_picture_of_no_cell_has_a_reason_of_its_own(parse, grid_talk, tmp_path, sent):
    messages, save = grid_talk
    if sent == "another picture":
        save("mine.jpg", scribble(9))
    elif sent == "the whole grid":
        (tmp_path / "media" / "mine.jpg").write_bytes(
            (tmp_path / "media" / "grid.jpg").read_bytes()
        )
    elif sent == "a broken file":
        (tmp_path / "media" / "mine.jpg").write_bytes(b"\xff\xd8 cut")
    assert parse(messages).left_out == {choices.NO_CELL: 1}


def test_cells_that_look_the_same_are_ambiguous(parse, grid_talk):
    messages, save = grid_talk
    save("grid.jpg", np.hstack([np.vstack([scribble(0), scribble(1)])] * 2))
    save("mine.jpg", scribble(0))
    assert parse(messages).left_out == {choices.AMBIGUOUS: 1}


def test_memory_is_bounded(parse, monkeypatch):
    monkeypatch.setattr(channel, "HORIZON", 2)
    parsed = parse([say(n, "ann", f"hello {n}") for n in range(100, 110)] + talk())
    assert len(parsed.choices) == 1 and parsed.left_out == {choices.CHATTER: 10}
    others = [
        message
        for n in (20, 30, 40)
        for message in talk(n, user=f"user {n}", pictures=["e.png", "f.png"])[:2]
    ]
    assert parse(talk()[:2] + others + talk()[2:]).left_out[choices.ABANDONED] == 4


def test_limit_and_several_files(tmp_path, parse):
    assert parse(talk(), limit=2).left_out == {choices.ABANDONED: 1}
    for name, part in (("1.json", talk()[:2]), ("2.json", talk()[2:])):
        (tmp_path / "parts").mkdir(exist_ok=True)
        (tmp_path / "parts" / name).write_text(json.dumps({"messages": part}))
    files = exports.export_files(str(tmp_path / "parts"))
    assert [path.name for path in files] == ["1.json", "2.json"]
    assert len(channel.parse(files).choices) == 1

"""Files of an export: parts, overlaps, other formats, where the pictures lie, what is written."""

import gzip
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from test_dialects import say

from alignsd.base import reading
from alignsd.base.errors import Problem
from alignsd.base.images import DAMAGED, LINKED, MISSING, save_png
from alignsd.collect import channel, choices, exports, grids, hpd, privacy
from alignsd.collect.discord import File


def talk(first, k, user="7"):
    """Four messages that are one choice: picture b of two."""
    a, b, prompt = f"{k}a.png", f"{k}b.png", f"cat {k}"
    return [
        say(first, user, prompt),
        say(first + 1, "bot", "", [a, b], first),
        say(first + 2, user, prompt, [b], first + 1),
        say(first + 3, "bot", "", [f"{k}fine.png"], first + 2),
    ]


def export(folder, name, messages):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"messages": messages}), encoding="utf-8")


def parsed(folder):
    return channel.parse(exports.export_files(str(folder)), limit=10**6)


def nine_choices():
    return [message for k in range(9) for message in talk(1 + 10 * k, k)]


@pytest.mark.parametrize("name", ["G - c [1]{}.json", "part {}{}.JSON", "c{}.json"])
def test_parts_are_read_in_their_order(tmp_path, name):
    """Three messages a part, so that every conversation is cut; a part refers to messages of an
    earlier part.
    """
    messages = nine_choices()
    for i in range(12):
        part = f" [part {i + 1}]" if i else ""
        export(tmp_path, name.format(part, i + 1), messages[3 * i : 3 * i + 3])
    found = parsed(tmp_path)
    assert [choice.message_id for choice in found.choices] == [str(2 + 10 * k) for k in range(9)]
    assert found.messages == 36 and not found.left_out


def test_names_of_parts_are_in_order(tmp_path):
    names = ["a [9].json", "a [10].json", "a [10] [part 2].json", "a [10] [part 10].json", "b.json"]
    for name in [*names, "._a [9].json", ".hidden.json", "notes.txt"]:
        (tmp_path / name).write_text("{}")
    (tmp_path / "x.json").mkdir()
    assert [path.name for path in exports.export_files(str(tmp_path))] == names


def test_a_part_that_is_still_packed_is_told(tmp_path):
    export(tmp_path, "c.json", nine_choices())
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(b"{}"))
    assert len(exports.export_files(str(tmp_path))) == 1, "the packed copy of a file is no part"
    (tmp_path / "c [part 2].json.gz").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(Problem, match=r"(?s)without c \[part 2\].json.*gunzip -k '.*'; or move"):
        exports.export_files(str(tmp_path))


def test_a_part_that_is_a_link_to_nothing_is_told(tmp_path):
    export(tmp_path, "c.json", nine_choices())
    (tmp_path / "c [part 2].json").symlink_to("nowhere")
    with pytest.raises(Problem, match=r"(?s)part 2\].json cannot be read.*a link to a file"):
        parsed(tmp_path)


def test_the_time_of_messages_counts_whatever_the_files_are_called(tmp_path):
    messages = nine_choices()
    for i, name in enumerate(("z", "b", "y", "a")):
        export(tmp_path, f"{name}.json", messages[9 * i : 9 * i + 9])
    assert len(parsed(tmp_path).choices) == 9


def test_exports_that_overlap_are_counted_once(tmp_path):
    messages = nine_choices()
    export(tmp_path, "january.json", messages[:24])
    export(tmp_path, "february.json", messages[12:])
    export(tmp_path, "march.json", messages[30:])
    found = parsed(tmp_path)
    assert (
        len(found.choices) == 9
        and found.left_out == {choices.REPEATED: 18}
        and found.messages == 54
    )


def test_a_repeated_message_does_not_overwrite_the_first(tmp_path):
    changed = talk(1, 0)[1] | {"attachments": []}
    export(tmp_path, "c.json", [*talk(1, 0)[:2], changed, *talk(1, 0)[2:]])
    found = parsed(tmp_path)
    assert [len(choice.files) for choice in found.choices] == [2] and found.left_out == {
        choices.REPEATED: 1
    }


def test_channels_that_were_exported_at_the_same_time_do_not_mix(tmp_path):
    export(tmp_path, "one.json", [message for k in range(4) for message in talk(1 + 20 * k, k)])
    export(
        tmp_path,
        "two.json",
        [message for k in range(4, 8) for message in talk(1 + 20 * (k - 4) + 10, k, user="8")],
    )
    export(tmp_path, "none.json", [])
    export(
        tmp_path,
        "words.json",
        [say("no number", "9", "hello"), say("no number either", "9", "hello")],
    )
    found = parsed(tmp_path)
    assert len(found.choices) == 8 and found.left_out == {choices.CHATTER: 2}


def test_many_parts_need_few_open_files(tmp_path):
    resource = pytest.importorskip("resource")
    messages = [say(number, "7", "hello") for number in range(1, 601)]
    for i in range(150):
        export(tmp_path, f"{i}.json", messages[4 * i : 4 * i + 4])
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 40, before[1]))
    try:
        assert parsed(tmp_path).messages == 600
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_merging_keeps_every_message_and_each_file_s_order(tmp_path):
    rng = random.Random(0)
    for trial in range(20):
        files, written = [], {}
        for name in "abc":
            numbers = sorted(rng.sample(range(100), rng.randrange(6)))
            records = [
                say(number, name) if rng.random() < 0.8 else {"broken": number}
                for number in numbers
            ]
            export(tmp_path / str(trial), f"{name}.json", records)
            files.append(tmp_path / str(trial) / f"{name}.json")
            written[files[-1]] = records
        merged = list(exports.messages_in_order(files))
        for path in files:
            assert [record for file, record in merged if file == path] == written[path]
        if all("id" in record for records in written.values() for record in records):
            numbers = [int(record["id"]) for _, record in merged]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("parts", [1, 3])
def test_newest_first_is_told(tmp_path, parts):
    """DiscordChatExporter --reverse."""
    messages = nine_choices()[::-1]
    for i in range(parts):
        export(
            tmp_path, f"c [part {i + 1}].json", messages[i * 36 // parts : (i + 1) * 36 // parts]
        )
    with pytest.raises(Problem, match="(?s)newest message first.*--reverse"):
        parsed(tmp_path)


def test_two_messages_that_changed_places_are_not_newest_first(tmp_path):
    messages = nine_choices()
    messages[20], messages[21] = messages[21], messages[20]
    export(tmp_path, "c.json", messages)
    assert len(parsed(tmp_path).choices) >= 8


@pytest.mark.parametrize("whole", [0, 1, 3])
def test_a_cut_export_says_after_how_many_messages_it_ends(tmp_path, whole):
    text = json.dumps({"guild": {}, "messages": talk(1, 0)})
    end = [
        i
        for i in range(len(text))
        if text.startswith('{"id": ', i) and '"type"' in text[i : i + 60]
    ][whole] + 30
    (tmp_path / "c.json").write_text(text[:end])
    with pytest.raises(Problem, match=f"c.json is not a whole (?s:.*)ends after {whole} messages"):
        parsed(tmp_path)


WHOLE = json.dumps({"messages": talk(1, 0)}).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"  <html>", "HTML"),
        (b"AuthorID,Author,Date,Content,Attachments,Reactions\n", "CSV"),
        (b"\xef\xbb\xbfAuthorID,Author,Date", "CSV"),
        (b"=====\nGuild: x\nChannel: y\n", "PlainText"),
        (gzip.compress(WHOLE), "gunzip"),
        (b"PK\x03\x04rest", "unpack"),
        (WHOLE.decode().encode("utf-16"), "iconv -f UTF-16"),
        (WHOLE.decode().encode("utf-16-le"), "UTF-16"),
        (b'[{"ID": 1, "Timestamp": "x", "Contents": "y"}]', "list"),
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b'{"messages": [' + b"9" * 5000 + b"]}", "messages"),
        (b'{"messages": [1e999999999999]}', ""),
        (b'{"messages": [{"a": 1,}]}', "after 0 messages"),
        (b"\x89PNG\r\n\x1a\n\x00", "whole"),
    ],
)
def test_another_format_is_named(tmp_path, content, words):
    (tmp_path / "c.json").write_bytes(content)
    if words == "":
        assert parsed(tmp_path).left_out == {choices.MALFORMED: 1}
        return
    with pytest.raises(Problem, match="c.json is not a whole") as problem:
        parsed(tmp_path)
    assert words in str(problem.value)


def test_a_byte_order_mark_and_spaces_in_front_are_no_fault(tmp_path):
    (tmp_path / "c.json").write_bytes(b"\xef\xbb\xbf" + b" \n" * 5000 + WHOLE)
    assert len(parsed(tmp_path).choices) == 1


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "without [*].json"),
        (["c.html"], "another format"),
        (["c.csv"], "another format"),
        (["c.txt"], "another format"),
        (["c.json.gz"], "gunzip"),
        (["c.zip"], "unpack"),
        (["._c.json", "c.html"], "another format"),
    ],
)
def test_a_folder_without_json_says_what_it_holds(tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(Problem, match=f"(?s)There is no Discord export.*{words}"):
        exports.export_files(str(tmp_path))


def test_what_is_no_file_is_no_export(tmp_path):
    os.mkfifo(tmp_path / "c.json")
    for source in ("c.json", "x" * 300 + ".json", "x" * 5000, "a\0b"):
        with pytest.raises(Problem, match="There is no Discord export"):
            exports.export_files(str(tmp_path / source))
    for path in (tmp_path / "c.json", tmp_path, tmp_path / "none.json", tmp_path / ("x" * 5000)):
        with pytest.raises(Problem):
            channel.parse([path])


def test_opened_bytes_are_those_of_a_regular_file(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    with reading.open_bytes(tmp_path / "a") as file:
        assert file.read() == b"x"
    with pytest.raises(Problem, match="folder"):
        reading.open_bytes(tmp_path)


# Where the pictures lie -----------------------------------------------------------------------


def written(tmp_path, media, url, spell=lambda name: name):
    """Write a choice whose pictures lie in ``media`` and stand in the export as ``url(name)``."""
    messages = talk(1, 0)
    for message in messages:
        for attachment in message["attachments"]:
            name = attachment["fileName"]
            attachment["url"] = url(name)
            save_png(media / spell(name), np.zeros((8, 8, 3), np.uint8))
    export(tmp_path / "export", "c.json", messages)
    found = parsed(tmp_path / "export")
    assert len(found.choices) == 1
    rows, _, left = hpd.write_pictures(found.choices, tmp_path / "hpd")
    return len(rows), dict(left)


COLON = "Stable Diffusion: Art - general [1].json_Files"


@pytest.mark.parametrize(
    ("folder", "url"),
    [
        (COLON, f"{COLON}/{{}}"),
        (COLON.replace(":", "_"), f"{COLON}/{{}}"),
        ("what_ _no_", 'what? "no"/{}'),
        ("a b", "a%20b/{}"),
        ("a%20b", "a%20b/{}"),
        ("caf\u00e9", "caf%C3%A9/{}"),
        ("cafe\u0301", "caf\u00e9/{}"),
        ("caf\u00e9", "cafe\u0301/{}"),
        ("media/x", "media\\x\\{}"),
        ("media\\x", "media\\x/{}"),
        ("A: b", "A: b/{}"),
        ("m", "./m/{}"),
        ("m", ".\\m\\{}"),
        ("..x", "..x/{}"),
        ("x..", "x../{}"),
        ("100%", "100%/{}"),
        ("100%", "100%25/{}"),
    ],
)
def test_a_media_folder_is_found_however_it_is_written(tmp_path, folder, url):
    assert written(tmp_path, tmp_path / "export" / folder, lambda name: url.format(name)) == (1, {})


def test_an_absolute_path_into_the_export_is_followed(tmp_path):
    media = tmp_path / "export" / "m"
    assert written(tmp_path, media, lambda name: str(media / name)) == (1, {})


@pytest.mark.parametrize(
    "url",
    ["{base}/shared/{name}", "../shared/{name}", "..\\shared\\{name}", "m/../../shared/{name}"],
)
def test_a_picture_outside_the_export_is_not_followed_and_not_called_missing(tmp_path, url):
    (tmp_path / "export" / "m").mkdir(parents=True)
    left = written(tmp_path, tmp_path / "shared", lambda name: url.format(base=tmp_path, name=name))
    assert left == (0, {grids.OUTSIDE: 1})
    with pytest.raises(Problem, match="--media-dir"):
        choices.require_some([], left[1])


@pytest.mark.parametrize(
    "url",
    [
        "%2e%2e/shared/{name}",
        "%2Fshared/{name}",
        "C:\\shared\\{name}",
        "/none/{name}",
        "file:///{base}/shared/{name}",
        "\0{name}",
        "x" * 5000 + "{name}",
    ],
)
def test_a_path_that_leads_nowhere_is_missing(tmp_path, url):
    (tmp_path / "export").mkdir()
    left = written(tmp_path, tmp_path / "shared", lambda name: url.format(base=tmp_path, name=name))
    assert left == (0, {MISSING: 1})


@pytest.mark.parametrize(
    "url", ["https://cdn.example/{}", "HTTPS://cdn.example/{}", "http://cdn.example/{}"]
)
def test_a_link_is_a_link(tmp_path, url):
    assert written(tmp_path, tmp_path / "m", url.format) == (0, {LINKED: 1})


def test_the_spelling_in_the_file_comes_first(tmp_path):
    """Where both spellings exist, each name means its own file."""
    for name, grey in (("a%20b.png", 10), ("a b.png", 200)):
        save_png(tmp_path / name, np.full((4, 4, 3), grey, np.uint8))
    assert grids.picture(File("x", "a%20b.png", tmp_path))[0, 0, 0] == 10
    assert grids.picture(File("x", "a b.png", tmp_path))[0, 0, 0] == 200


def test_a_file_name_is_not_shortened_to_another_file_s(tmp_path):
    save_png(tmp_path / "a_b.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(Problem):
        grids.picture(File("x", "a:b.png", tmp_path))


def test_two_pictures_of_one_file_are_no_choice(tmp_path):
    messages = talk(1, 0)
    for attachment in messages[1]["attachments"]:
        attachment["url"] = "m/long-na-1a2b3.png"
    export(tmp_path, "c.json", messages)
    assert parsed(tmp_path).left_out == {choices.AMBIGUOUS: 1}


def test_a_grid_of_fewer_pixels_than_pictures_is_damaged(tmp_path):
    save_png(tmp_path / "g.png", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(Problem, match=DAMAGED):
        grids.picture(File("g.png", "g.png", tmp_path, (3, 4)))


# Names that stand for several pictures --------------------------------------------------------


def scribble(seed):
    return (
        np.random.default_rng(seed)
        .integers(256, size=(4, 4, 3), dtype=np.uint8)
        .repeat(16, 0)
        .repeat(16, 1)
    )


def upload(folder, number, author, pictures, reply=None, name="image.png", text="a cat"):
    """A message whose attachments all have one name, and whose files are numbered as the exporter
    does.
    """
    message = say(number, author, text if author != "bot" else "", [name] * len(pictures), reply)
    for attachment, seed in zip(message["attachments"], pictures, strict=True):
        attachment["url"] = f"m/{number}-{attachment['url'].rsplit('-', 1)[1]}.png"
        save_png(folder / attachment["url"], scribble(seed))
    return message


def test_pictures_of_one_name_are_told_apart_by_their_pixels(tmp_path):
    export(
        tmp_path,
        "c.json",
        [
            say(1, "7", "a cat"),
            upload(tmp_path, 2, "bot", [0, 1, 2], 1),
            say(11, "7", "a cat"),
            upload(tmp_path, 12, "bot", [3, 4, 5], 11),
            upload(tmp_path, 21, "7", [4]),
            upload(tmp_path, 22, "bot", [9], 21),
        ],
    )
    found = parsed(tmp_path)
    assert [(choice.message_id, choice.chosen) for choice in found.choices] == [("12", 1)]
    assert found.left_out == {choices.ABANDONED: 1}


def test_a_picture_of_the_user_s_own_that_is_called_image_is_no_pick(tmp_path):
    answer = upload(tmp_path, 2, "bot", [0, 1], 1)
    answer["attachments"][1]["fileName"] = "image1.png"
    export(
        tmp_path,
        "c.json",
        [
            say(1, "7", "a cat"),
            answer,
            upload(tmp_path, 3, "7", [8]),
            upload(tmp_path, 4, "bot", [9, 10], 3),
        ],
    )
    found = parsed(tmp_path)
    assert not found.choices and found.left_out == {choices.ABANDONED: 1, choices.CONDITIONED: 1}


def test_a_name_of_every_picture_counts_where_pictures_cannot_be_compared(tmp_path):
    messages = [
        say(1, "7", "a cat"),
        say(2, "bot", "", ["image0.png", "image1.png"], 1),
        say(3, "7", "a cat", ["image1.png"]),
        say(4, "bot", "", ["x.png"], 3),
    ]
    export(tmp_path, "c.json", messages)
    assert [choice.chosen for choice in parsed(tmp_path).choices] == [1]


# What is written, and what is said ------------------------------------------------------------


def test_parsing_writes_nothing(tmp_path, monkeypatch):
    export(tmp_path / "e", "c.json", talk(1, 0))
    export(tmp_path / "empty", "c.json", [])
    monkeypatch.chdir(tmp_path / "e")
    before = sorted(path for path in tmp_path.rglob("*"))
    [choice] = channel.parse([tmp_path / "e" / "c.json"]).choices
    assert "'7'" not in repr(choice)  # the id is not shown
    channel.parse([tmp_path / "empty" / "c.json"])
    channel.parse([Path("c.json")])
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_writing_a_data_set_makes_the_key_once(tmp_path):
    written(tmp_path, tmp_path / "export" / "m", "m/{}".format)
    key = privacy.user_key(tmp_path / "export")
    rows, _, _ = hpd.write_pictures(parsed(tmp_path / "export").choices, tmp_path / "again")
    assert (
        list(rows["user_hash"])
        == [privacy.hash_user("7", key)]
        == [parsed(tmp_path / "export").choices[0].user]
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "not json",
        '{"messages": 3}',
        '{"messages": {"item": 1}}',
        '{"guild": {}}',
        '{"messages": [{"id": "1"}',
        '{"messages": [] ',
        '{"messages": [{]}',
        '{"messages": []} {}',
    ],
)
def test_what_is_no_export_is_a_problem(tmp_path, text):
    (tmp_path / "channel.json").write_text(text)
    with pytest.raises(Problem, match="channel.json is not a whole DiscordChatExporter export"):
        channel.parse([tmp_path / "channel.json"])


def test_every_cut_of_an_export_is_a_problem(tmp_path):
    whole = json.dumps({"guild": {}, "messages": talk(1, 0)}).encode()
    for end in range(0, len(whole) - 1, 97):
        (tmp_path / "channel.json").write_bytes(whole[:end])
        with pytest.raises(Problem):
            channel.parse([tmp_path / "channel.json"])


def test_invalid_utf8_is_a_problem_and_a_byte_order_mark_is_not(tmp_path):
    path = tmp_path / "channel.json"
    whole = json.dumps({"messages": talk(1, 0)}).encode()
    path.write_bytes(b"\xef\xbb\xbf" + whole)
    assert len(channel.parse([path]).choices) == 1
    path.write_bytes(whole.replace(b"cat 0", b"cat \xff\xfe"))
    with pytest.raises(Problem):
        channel.parse([path])


def test_export_files(tmp_path):
    (tmp_path / "channel.json").write_text("{}")
    assert exports.export_files(str(tmp_path / "channel.json")) == [tmp_path / "channel.json"]
    (tmp_path / "empty").mkdir()
    for wrong in ("gone.json", "empty"):
        with pytest.raises(Problem, match="There is no Discord export"):
            exports.export_files(str(tmp_path / wrong))

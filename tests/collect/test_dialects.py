"""How bots speak: prefixes, settings, labels, mentions by name, and the numbers of buttons."""

import json

import pytest

from alignsd.base.errors import Problem
from alignsd.collect import channel, choices, discord
from alignsd.collect.dialects import commands

FOUR = ["a.png", "b.png", "c.png", "d.png"]


def say(number, author, text="", files=(), reply=None, **changes):
    """One message in DiscordChatExporter's JSON; author "bot" is the bot."""
    message = {
        "id": str(number),
        "type": "Reply" if reply else "Default",
        "content": text,
        "author": {"id": author, "name": author, "isBot": author == "bot"},
        "attachments": [
            {"url": f"media/{number}-{i}", "fileName": name} for i, name in enumerate(files)
        ],
        "embeds": [],
        "mentions": [],
    }
    if reply:
        message["reference"] = {"messageId": str(reply)}
    return message | changes


def user(number, nickname=None, name="someone", bot=False):
    mention = {"id": str(number), "name": name, "isBot": bot}
    if nickname:
        mention["nickname"] = nickname
    return mention


@pytest.fixture
def parse(tmp_path):
    def parse_messages(messages, **options):
        path = tmp_path / "channel.json"
        path.write_text(json.dumps({"messages": messages}), encoding="utf-8")
        return channel.parse([path], limit=10**6, **options)

    return parse_messages


@pytest.mark.parametrize(
    ("text", "prompt", "settings"),
    [
        ("!dream a cat -n4 -s50", "a cat", {"n": "4", "s": "50"}),
        (
            "!dream a cat -n 4 -s50 -C7.5 -W512 -H768",
            "a cat",
            {"n": "4", "s": "50", "C": "7.5", "W": "512", "H": "768"},
        ),
        ('!dream "a cat" -n4 -S123', "a cat", {"n": "4", "S": "123"}),
        ("!dream -n4 -s 50 a cat", "a cat", {"n": "4", "s": "50"}),
        ("!dream -n 4", "", {"n": "4"}),
        ("/imagine prompt: a cat --ar 3:2 --v 5", "a cat", {"ar": "3:2", "v": "5"}),
        ("/imagine prompt:a cat --ar3:2 --v5.2 --n4", "a cat", {"ar": "3:2", "v": "5.2", "n": "4"}),
        ("/imagine a cat --seed=3 --hd", "a cat", {"seed": "3", "hd": ""}),
        ("/imagine a cat --no dogs, birds --ar 3:2", "a cat", {"no": "dogs, birds", "ar": "3:2"}),
        (
            "/imagine a cat \u2014ar 3:2 \u2014v 5",
            "a cat",
            {"ar": "3:2", "v": "5"},
        ),  # as a telephone writes "--"
        (
            "/dream prompt: a cat negative_prompt: ugly, deformed number: 4",
            "a cat",
            {"no": "ugly, deformed", "number": "4"},
        ),
        ("/dream prompt:a cat number:4 seed:12", "a cat", {"number": "4", "seed": "12"}),
        (
            "/dream prompt: a cat cfg_scale: 7 init_image: http://x/y.png",
            "a cat",
            {"cfg_scale": "7", "init_image": "http://x/y.png"},
        ),
        ("!imagine a cat", "a cat", {}),
        (".dream a cat", "a cat", {}),
        ("$draw a cat", "a cat", {}),
        ("?gen A cat", "a cat", {}),
        ("!sdxl a cat", "a cat", {}),
        ("/txt2img prompt: a cat", "a cat", {}),
        # Words that only look like settings or commands stay.
        ("!dream a plane -b52", "a plane -b52", {}),
        ("!dream a t-shirt, n4-style", "a t-shirt, n4-style", {}),
        ("!dream a sci-fi hall -- dark - grim", "a sci-fi hall -- dark - grim", {}),
        ("!dream a cat \u2014 in the rain", "a cat \u2014 in the rain", {}),
        ("!dream a cat \u2014sleeping", "a cat \u2014sleeping", {}),
        ("!dream a house number 4", "a house number 4", {}),
        ("!dream mid-90s x-ray", "mid-90s x-ray", {}),
        ("!dream a cat --v5 sleeping on a mat", "a cat --v5 sleeping on a mat", {}),
        ("a cat -n4 --v5", "a cat -n4 --v5", {}),
        ("...dream on", "...dream on", {}),
        (".dreamland at dusk", ".dreamland at dusk", {}),
        ("imagine a cat", "imagine a cat", {}),
        ("!!! a cat", "!!! a cat", {}),
        ("3:2 a cat", "3:2 a cat", {}),
    ],
)
def test_the_prompt_and_the_settings_of_a_command(text, prompt, settings):
    assert commands.command_of(text) == (prompt, settings)


def test_a_command_without_a_space_cuts_the_grid(parse):
    messages = [
        say(1, "7", "!dream a cat -n4"),
        say(2, "bot", "", ["grid.png"], 1),
        say(3, "bot", "Image #4", ["large.png"], 2),
    ]
    [choice] = parse(messages).choices
    assert (choice.prompt, choice.chosen, len(choice.files)) == ("a cat", 3, 4)


def test_a_bot_is_called_by_its_name(parse):
    """As the exporter writes a mention, and as Discord does."""
    bot = [user(99, "Dream **Bot**", bot=True)]
    for number, call in enumerate(
        ("@Dream **Bot** a cat -n4", "<@99> a cat -n4", "<@!99>  a cat -n4")
    ):
        message = discord.message_of(say(number, "7", call, mentions=bot))
        assert (message.text, message.settings) == ("a cat", {"n": "4"})
    assert (
        discord.message_of(say(1, "7", "a cat for @Ann", mentions=[user(7, "Ann")])).text
        == "a cat for @ann"
    )
    assert (
        discord.message_of(say(1, "7", "@Ann a cat", mentions=[user(7, "Ann")])).text
        == "@ann a cat"
    )


LABELLED = {
    "label in bold": ("**Prompt:** A Cat\n**Seed:** 5 <@7>", {}),
    "colon behind the bold": ("**Prompt**: A Cat <@7>", {}),
    "another label first": ("**Author**: <@7>\n**Prompt**: A Cat", {}),
    "another label first, in one line": ("**Author:** <@7> **Prompt:** A Cat", {}),
    "the prompt bold too": ("**Prompt:** **A Cat** - <@7>", {}),
    "all in bold": ("**Prompt: A Cat** - <@7>", {}),
    "status first": ("**Done!** **A Cat** - <@7>", {}),
    "in quotes": ('**Prompt:** "A Cat"\n<@7>', {}),
    "in a block": ("**Prompt:**\n```A Cat```\n<@7>", {}),
    "in a line of its own": ("**Prompt:**\n\n  A  Cat\n<@7>", {}),
    "a longer name": ("**Your Prompt**: A Cat by <@7>", {}),
    "a picture before the name": ("**\U0001f4dd Prompt:** A Cat <@7>", {}),
    "not bold": ("<@7>\nPrompt: A Cat\nSeed: 5", {}),
    "a field beats bold words": (
        "**Done!** <@7>",
        {"fields": [{"name": "Prompt", "value": "A Cat"}]},
    ),
    "a field beats other bold words": (
        "**Wonderful** <@7>",
        {"fields": [{"name": "Prompt:", "value": "A Cat"}]},
    ),
    "a field names the user": (
        "**Done!**",
        {"fields": [{"name": "Prompt", "value": "A Cat"}, {"name": "User", "value": "<@7>"}]},
    ),
    "labels in an embed": (
        "<@7>",
        {"title": "Result", "description": "**Author:** x\n**Prompt:** A Cat\n**Steps:** 3"},
    ),
    "an embed's title behind a status": ("**Done!** <@7>", {"title": "A Cat"}),
    "an embed's description behind a status": (
        "<@7>",
        {"title": "Your image is ready", "description": "A Cat"},
    ),
    "a mention in bold": ("**<@7>** **A Cat**", {}),
    "an unknown label": ("**K\u00fcnstler**: x **A Cat** <@7>", {}),
}


@pytest.mark.parametrize("name", LABELLED)
def test_a_label_is_not_taken_for_the_prompt(name):
    text, embed = LABELLED[name]
    message = discord.message_of(say(1, "bot", text, FOUR, embeds=[embed] if embed else []))
    assert (message.asked, message.asked_by) == ("a cat", "7")


@pytest.mark.parametrize(
    "text",
    [
        "**Author**: <@7>",
        "**Seed:** 5 **Model:** x <@7>",
        "**Done!** - <@7>",
        "**Prompt:** <@7>",
        "**Your image is ready** <@7>",
        "**K\u00fcnstler:** <@7>",
        "**Finished in 3 s:** <@7>",
    ],
)
def test_labels_without_a_prompt_are_a_reason_of_their_own(parse, text):
    parsed = parse([say(1, "bot", text, FOUR), say(2, "bot", "Image #1", ["x.png"], 1)])
    assert not parsed.choices and parsed.left_out[choices.LABELS] == 1
    with pytest.raises(
        Problem, match="(?s)label in place of a prompt.*place that this parser does not know"
    ):
        choices.require_some(parsed.choices, parsed.left_out)


def answered(number, text, who, **changes):
    return [
        say(number, "bot", f"{text} <@{who}>", FOUR, **changes),
        say(number + 1, "bot", "Image #2", ["x.png"], number),
    ]


def test_a_channel_whose_prompts_look_like_labels_is_reported(parse):
    label = [
        message
        for i in range(6)
        for message in answered(10 * i + 1, "**Traumbild fertig**", 70 + i % 3)
    ]
    parsed = parse(label)
    assert not parsed.choices and parsed.left_out == {choices.LABELS: 6}
    other = answered(91, "**a dog**", 70)
    assert [choice.prompt for choice in parse(label + other).choices] == ["a dog"]


def test_a_prompt_that_one_user_repeats_is_no_label(parse):
    same = [message for i in range(6) for message in answered(10 * i + 1, "**a cat**", 70)]
    assert len(parse(same).choices) == 6
    marked = [
        message for i in range(6) for message in answered(10 * i + 1, "**Prompt:** a cat", 70 + i)
    ]
    assert len(parse(marked).choices) == 6


MENTIONED = {
    "the exporter's name": ("**A Cat** - @Some One (fast)", [user(7, "Some One")]),
    "another writing of the name": ("**A Cat** - @Some-One (fast)", [user(7, "Some One")]),
    "the account's name": ("**A Cat** - @ann (fast)", [user(7, None, "ann")]),
    "markdown in the name": ("**A Cat** - @**x** __y__ (fast)", [user(7, "**x** __y__")]),
    "markdown in the name, in front": ("@**Star** **A Cat**", [user(7, "**Star**")]),
    "a label in the name": ("@Prompt: me **A Cat**", [user(7, "Prompt: me")]),
    "a pattern in the name": ("**A Cat** - @a.*(b|c)[", [user(7, "a.*(b|c)[")]),
    "a longer name that begins alike": (
        "**A Cat** - @Annabel",
        [user(8, "Ann"), user(7, "Annabel")],
    ),
    "a bot beside the user": ("**A Cat** - @Ann", [user(99, "Bot", bot=True), user(7, "Ann")]),
    "a raw bot beside the user": (
        "<@99> **A Cat** - <@7>",
        [user(99, "Bot", bot=True), user(7, "Ann")],
    ),
    "nobody named but one mentioned": ("**A Cat**", [user(7, "Ann")]),
    "raw": ("**A Cat** - <@!7>", []),
    "an emoji in front": (":sparkles: **A Cat** <:done:123456> @Ann", [user(7, "Ann")]),
    "same account name, other nickname": (
        "**A Cat** - @Ann",
        [user(8, "Ben", "Ann"), user(7, "Ann", "ben")],
    ),
}


@pytest.mark.parametrize("name", MENTIONED)
def test_who_asked_is_found_by_the_name_that_the_exporter_writes(name):
    text, mentions = MENTIONED[name]
    message = discord.message_of(say(1, "bot", text, FOUR, mentions=mentions))
    assert (message.asked_by, message.asked) == ("7", "a cat")


def test_a_user_mentioned_in_the_prompt_is_not_who_asked(parse):
    text = "**a portrait of @Ben** - @Ann (fast)"
    mentions = [user(8, "Ben"), user(7, "Ann")]
    message = discord.message_of(say(1, "bot", text, FOUR, mentions=mentions))
    assert (message.asked_by, message.asked) == ("7", "a portrait of @ben")
    assert discord.message_of(say(1, "bot", "**for <@8>** <@7>", FOUR)).asked_by == "7"
    assert (
        discord.message_of(
            say(1, "bot", "**a cat for @Ben**", FOUR, mentions=mentions[:1])
        ).asked_by
        == ""
    )


def test_two_users_of_one_name_cannot_be_told_apart(parse):
    twins = [user(7, "Ann"), user(8, "Ann")]
    messages = [
        say(1, "bot", "**A Cat** - @Ann", FOUR, mentions=twins),
        say(2, "bot", "Image #1", ["x.png"], 1),
    ]
    parsed = parse(messages)
    assert not parsed.choices and parsed.left_out[choices.WHO] == 1
    told = {"interaction": {"id": "1", "name": "dream", "user": user(8, "Ann")}}
    [choice] = parse([messages[0] | told, messages[1]]).choices
    assert choice.by.id == "8"


@pytest.mark.parametrize(
    "mentions",
    [
        None,
        7,
        "x",
        {},
        [None, 7, "x", {}, {"id": 7}, {"id": "7", "name": 3}, {"id": "8", "name": ""}],
    ],
)
def test_mentions_of_another_form_are_passed_over(mentions):
    assert (
        discord.message_of(say(1, "bot", "**A Cat** @Ann <@7>", FOUR, mentions=mentions)).asked_by
        == "7"
    )


@pytest.mark.parametrize("broken", [5, True, 1.5, [1], {"a": 1}])
def test_an_id_that_is_no_text_is_malformed(parse, broken):
    parsed = parse(
        [
            say(1, "bot", "**A Cat**", FOUR, interaction={"user": {"id": broken}}),
            say(2, "ann") | {"author": {"id": broken, "isBot": False}},
        ]
    )
    assert parsed.left_out == {choices.MALFORMED: 2}


@pytest.mark.parametrize(
    "record",
    [
        say(1, "\ud800"),
        say("\ud800", "7"),
        say(1, "7", "", ["\ud800.png"]),
        say(1, "bot", "**a cat**", FOUR, interaction={"user": {"id": "\ud800"}}),
    ],
)
def test_half_a_character_names_nothing(record):
    with pytest.raises(discord.NotAMessage):
        discord.message_of(record)


def grids_of(bot_numbers):
    """One answer of four pictures for each number, whose button says ``Image #number``."""
    return [
        message
        for i, number in enumerate(bot_numbers)
        for message in (
            say(10 * i + 1, "bot", f"**cat {i}** - <@7>", FOUR),
            say(
                10 * i + 2, "bot", f"**cat {i}** - Image #{number} <@7>", ["large.png"], 10 * i + 1
            ),
        )
    ]


@pytest.mark.parametrize(
    ("numbers", "chosen"),
    [
        ([1, 4, 2], [0, 3, 1]),
        ([0, 3, 1], [0, 3, 1]),
        ([3, 0], [3, 0]),
        ([0], [0]),
        ([2], [1]),
        ([0, 2, 4], []),
        ([7, 1], [0]),
        ([10], []),
        ([0, 7], [0]),
    ],
)
def test_a_bot_that_counts_from_0_is_known_by_it(parse, numbers, chosen):
    parsed = parse(grids_of(numbers))
    assert [choice.chosen for choice in parsed.choices] == chosen
    assert parsed.left_out[choices.AMBIGUOUS] == len(numbers) - len(chosen)


def test_a_number_in_the_prompt_is_no_button(parse):
    [choice] = parse(
        [
            say(1, "bot", "**a copy of image #3** - <@7>", FOUR),
            say(2, "bot", "Image #1", ["x.png"], 1),
        ]
    ).choices
    assert (choice.prompt, choice.chosen) == ("a copy of image #3", 0)


def test_a_button_of_an_answer_that_is_not_here_is_talk(parse):
    assert parse([say(5, "bot", "**a cat** - Image #3 <@7>", ["large.png"], 1)]).left_out == {
        choices.BOT_TALK: 1
    }


def test_please_wait_is_no_answer_yet(parse):
    messages = [
        say(1, "7", "a cat"),
        say(2, "bot", "queued, 3 before you", reply=1),
        say(3, "bot", "", FOUR, 1),
        say(4, "7", "a cat", ["b.png"]),
        say(5, "bot", "", ["fine.png"], 4),
    ]
    parsed = parse(messages)
    assert [choice.chosen for choice in parsed.choices] == [1] and parsed.left_out == {
        choices.NO_FILES: 1
    }
    assert parse(messages[:2]).left_out == {choices.NO_FILES: 1, choices.CHATTER: 1}


@pytest.mark.parametrize(
    ("edited", "left"),
    [
        (None, {}),
        ("2022-08-20T12:00:30+00:00", {}),
        ("2022-08-20T12:02:00+00:00", {choices.EDITED: 1}),
        ("2022-08-20T14:00:30+02:00", {}),
        ("yesterday", {}),
        (7, {}),
        ("2022-08-20T12:02:00", {}),
    ],
)
def test_a_prompt_that_was_edited_after_the_answer_is_not_what_was_drawn(parse, edited, left):
    messages = [
        say(1, "7", "a cat", timestamp="2022-08-20T12:00:00+00:00", timestampEdited=edited),
        say(2, "bot", "", FOUR, 1, timestamp="2022-08-20T12:01:00+00:00"),
    ]
    assert parse(messages).left_out == (left or {choices.ABANDONED: 1})


def test_old_exporters_write_numbers_for_types(parse):
    messages = [
        say(1, "7", "a cat"),
        say(2, "bot", "", FOUR, 1, type="19"),
        say(3, "7", "a cat", ["a.png"]),
        say(4, "bot", "", ["x.png"], 3, type="19"),
    ]
    assert len(parse(messages).choices) == 1


def test_a_setting_of_thousands_of_digits_is_no_number():
    for text in (
        "!dream a cat -n " + "9" * 5000,
        "!dream a cat -n\u0664",
        "!dream a cat -n -4",
        "!dream a cat -n 4x",
    ):
        assert discord.message_of(say(1, "7", text)).images is None


def test_what_a_bot_tells_in_an_embed_s_fields_are_settings():
    fields = [
        {"name": "Prompt", "value": "A Cat -n4"},
        {"name": "Init Image", "value": "http://x/y.png"},
    ]
    message = discord.message_of(
        say(1, "bot", "<@7>", ["grid.png"], embeds=[{}, {"fields": fields}])
    )
    assert message.images == 4 and message.conditioned and message.asked == "a cat"


def test_names_of_settings_in_labels_are_settings():
    message = discord.message_of(
        say(1, "bot", "**Prompt:** a cat **Number:** 4 **Seed:** `7` <@7>", ["grid.png"])
    )
    assert (
        message.images == 4
        and message.settings["seed"].startswith("7")
        and message.asked == "a cat"
    )
    assert commands.settings_in("x  -n\n4") == {"n": "4"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('!dream "A Cat, 4K"', "a cat, 4k"),
        ("/dream prompt: a  cat\n sitting", "a cat sitting"),
        ("  a cat ", "a cat"),
        ("a dreamcatcher", "a dreamcatcher"),
        ("“a cat”", "a cat"),
        ("", ""),
        ("\ud83d half", "? half"),
        ('!dream "a cat" -n 4 -S 1 -C 7', "a cat"),
        ("!dream “a cat” -n 4", "a cat"),
        ('!dream -n 4 "a cat"', "a cat"),
        ("!dream a cat -n 4 -S -1", "a cat"),
        ('!dream "a cat -n 4', "a cat"),
        ('!dream "a \\"fat\\" cat" -n 2', 'a "fat" cat'),
        (
            "!dream a t-shirt, sci-fi -- dark, mood - grim -n 2",
            "a t-shirt, sci-fi -- dark, mood - grim",
        ),
        ("!dream a cat -cute", "a cat -cute"),
        ("a cat -n 4", "a cat -n 4"),
        ("!dream a cat --seed 3 --upscale", "a cat"),
        ("/dream prompt: a cat number: 4 seed: 12", "a cat"),
        ("/dream prompt: a house number 7", "a house number 7"),
    ],
)
def test_the_prompt_of_a_command(text, expected):
    assert commands.command_of(text)[0] == expected


def test_the_settings_of_a_command():
    assert commands.command_of('!dream "a cat" -n 4 -S -1 -C 7.5 --init_image http://x/y.png -i')[
        1
    ] == {"n": "4", "S": "-1", "C": "7.5", "init_image": "http://x/y.png", "i": ""}
    assert commands.command_of("/dream prompt: a cat number: 4")[1] == {"number": "4"}
    assert commands.command_of("a cat")[1] == {}


@pytest.mark.parametrize(
    ("text", "embed", "prompt", "settings"),
    [
        ("**A Cat -n 4 -S 7** <@7>", {}, "a cat", {"n": "4", "S": "7"}),
        ("**A Cat** number: 4 <@7>", {}, "a cat", {"number": "4"}),
        ("**/dream prompt: A Cat images: 2** <@7>", {}, "a cat", {"images": "2"}),
        ('**a t-shirt - red --- "really"** <@7>', {}, 'a t-shirt - red --- "really', {}),
        ('**he says "hi"** - Image #2 <@7>', {}, 'he says "hi', {}),
        (
            "<@7>",
            {
                "title": "A Cat",
                "fields": [
                    {"name": "Number", "value": "4"},
                    {"name": "Init Image", "value": "http://x/y.png"},
                ],
            },
            "a cat",
            {"number": "4", "init_image": "http://x/y.png"},
        ),
        ("<@7>", {"title": "Done", "fields": [{"name": "Prompt", "value": "A Cat"}]}, "a cat", {}),
    ],
)
def test_a_bot_s_answer_tells_the_command_and_its_settings(text, embed, prompt, settings):
    message = discord.message_of(say(1, "bot", text, FOUR, embeds=[embed] if embed else []))
    assert (message.asked_by, message.asked, message.settings) == ("7", prompt, settings)


@pytest.mark.parametrize(
    "prompt",
    [
        "<https://s.mj.run/T0wYO> a cat --iw 2 --v 5",
        "<https://s.mj.run/a> <https://s.mj.run/b> --v 5",
        "https://cdn.discordapp.com/attachments/1/2/x.png a cat",
        "a cat --sref https://x.org/y --v 6",
        "a cat --sref <https://x.org/a> <https://x.org/b>",
        "a cat like https://x.org/y.JPG?ex=1",
    ],
)
def test_a_prompt_with_the_link_of_a_picture_is_image_conditioned(parse, prompt):
    """If it failed, a choice between pictures of a picture would count as a choice by words."""
    parsed = parse(answered(1, f"**{prompt}** -", 7))
    assert not parsed.choices and parsed.left_out[choices.CONDITIONED] == 1


@pytest.mark.parametrize("prompt", ["a poster that says http", "a site like x.org, isometric"])
def test_words_about_links_are_words(parse, prompt):
    [choice] = parse(answered(1, f"**{prompt}** -", 7)).choices
    assert choice.prompt == prompt


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("**a queen, **masterpiece**, gold --v 5** -", "a queen, **masterpiece**, gold"),
        ("**a **red** cat** -", "a **red** cat"),
        ("**a cat** by **someone** -", "a cat"),
        ("**a cat** - <@7> **50 steps** -", "a cat"),
        ("**Done!** **a cat** -", "a cat"),
    ],
)
def test_bold_words_in_a_bold_prompt_do_not_end_the_prompt(parse, answer, prompt):
    """If it failed, prompts that begin alike would be one prompt."""
    [choice] = parse(answered(1, answer, 7)).choices
    assert choice.prompt == prompt


INFOTEXT = (
    "a cat, masterpiece\nNegative prompt: blurry, bad hands\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5"
)


@pytest.mark.parametrize(
    ("text", "embed"),
    [
        ("<@7>", {"description": INFOTEXT}),
        ("<@7>", {"fields": [{"name": "Prompt", "value": INFOTEXT}]}),
        (f"**{INFOTEXT}** - <@7>", {}),
        (f"**Prompt:** {INFOTEXT}\n<@7>", {}),
    ],
)
def test_what_the_web_ui_writes_below_a_prompt_is_no_part_of_the_prompt(text, embed):
    message = discord.message_of(say(1, "bot", text, FOUR, embeds=[embed]))
    assert message.asked == "a cat, masterpiece" and message.asked_by == "7"


@pytest.mark.parametrize(
    "name", ["ann lee", "\u5c71\u7530\u3000\u592a\u90ce", "ann  lee", "ann\xa0l", "ann "]
)
def test_a_name_with_any_spaces_is_the_user_and_no_part_of_the_prompt(name):
    """If it failed, the display name would lie in a data set that is shared."""
    mentions = [user(8, "bob"), user(7, name)]
    message = discord.message_of(
        say(1, "bot", f"**Prompt:** a cat by @{name}", FOUR, mentions=mentions[1:])
    )
    assert (message.asked, message.asked_by) == ("a cat", "7")
    text = f"**Prompt:** a cat\n**Author:** @{name}\nhi @bob"
    message = discord.message_of(say(1, "bot", text, FOUR, mentions=mentions))
    assert (message.asked, message.asked_by) == ("a cat", "7")

"""Commands: ``!dream "a cat" -n 4`` is the prompt ``a cat`` and the setting ``n``."""

import re

VERBS = (
    "dream|imagine|draw|paint|generate|generation|gen|create|diffuse|diffusion|stable|sdxl|sd|"
    "txt2img|text2img|t2i|image|img|picture|pic|render|make|art|prompt|visualize|midjourney|mj|"
    "dalle|flux|craiyon"
)
COMMAND = re.compile(
    rf"^[!/.$?%&>;~+=]{{1,2}}(?:{VERBS})\b[:,]? ?(?:prompt ?[:=] ?)?", re.IGNORECASE
)
OPTIONS = (
    "number|images|seed|steps|width|height|cfg_scale|guidance_scale|aspect_ratio|sampler|"
    "init_image|num_images|num_outputs|num_inference_steps|prompt_strength"
)
# Telephones turn "--" into a long dash. Prose has long dashes too, so a long dash counts only in
# front of these names of settings.
DASHED = "aspect|ar|version|v|quality|q|stylize|style|seed|steps|s|no|chaos|c|niji|iw|stop|n|w|h"
LONG_DASH = rf"(?:--|[—–](?=(?:{DASHED})(?![A-Za-z])))"
# A word of a negative prompt: no setting starts here.
NEGATIVE_WORD = rf"(?!--?[A-Za-z]|[—–][a-z]|(?:{OPTIONS}|negative_prompt):)\S+"
VALUE = rf"(?:-?\d\S*|(?!(?:{OPTIONS}|negative_prompt):)[^\s-]\S*)"
# A setting is a letter after a dash, a word after two dashes, or "name: value" of a slash
# command. "t-shirt" and " - " are no settings. A number may stand right behind the name ("-n4",
# "--v5"), but "-b52" is a word.
SETTING = re.compile(
    rf" (?:(?:{LONG_DASH}(?:no|neg|negative(?:[_-]prompt)?)[ =]|negative_prompt: ?)"
    rf"(?P<negative>{NEGATIVE_WORD}(?: {NEGATIVE_WORD})*)"
    r"|-(?P<short>[nsSCWHfgGUv])(?P<digits>\d+(?:\.\d+)?)"
    rf"|{LONG_DASH}(?P<long>[A-Za-z][A-Za-z_-]*)[:=]?(?P<number>\d[\d.:]*)"
    rf"|(?P<option>{OPTIONS}): ?(?P<option_value>{VALUE})?"
    rf"|(?:-(?P<letter>[A-Za-z])|{LONG_DASH}(?P<word>[A-Za-z][\w-]*))"
    rf"(?:(?: ?= ?| )(?P<value>{VALUE}))?"
    r")(?=\s|$)"
)
SETTINGS_AHEAD = re.compile(r"^(?:(?:-[A-Za-z] ?|--[A-Za-z][A-Za-z_-]*[ =]?)\d[\d.:]*(?: |$))+")
OPENING_QUOTE = re.compile(r"""(?:^| )["“]""")
CLOSING_QUOTE = re.compile(r"""["”](?= [-—–]| ?$)""")
QUOTES = "\"'“”` "


def command_of(text: str, bare: bool = False) -> tuple[str, dict[str, str]]:
    """Return a message's prompt as HPD writes prompts, and the settings of the command.

    The prompt is in lower case, on one line, without quotes around. ``!dream "a cat" -n 4 -S 1``,
    ``/imagine prompt: a cat --ar 3:2`` and ``/dream prompt: a cat number: 4`` give ``a cat``.
    Words are taken for settings only at a command's ends, so that hyphens in a prompt stay.

    Args:
        text: a message, or what a bot repeats of a message.
        bare: whether the text is a command without the command's name, as bots repeat commands.
    """
    # JSON can escape half a character, which no file can hold.
    whole_characters = text.encode("utf-8", "replace").decode("utf-8")
    line = " ".join(whole_characters.split())
    command = COMMAND.match(line)
    if command is not None:
        prompt, settings = _split_command(line[command.end() :])
    elif bare:
        prompt, settings = _without_settings(line)
    else:
        prompt, settings = line, ""
    return prompt.strip(QUOTES).lower(), settings_in(settings)


def settings_in(text: str) -> dict[str, str]:
    """Return the settings that stand anywhere in a text: name -> value, ``""`` for a bare name."""
    line = " ".join(text.split())
    return dict(_setting(match) for match in SETTING.finditer(f" {line}"))


def _split_command(text: str) -> tuple[str, str]:
    """Return the prompt of a command, and the text of the settings.

    Args:
        text: the command without the name.
    """
    quoted = _quoted(text)
    if quoted is not None:
        start, end = quoted
        prompt = text[start:end].replace('\\"', '"')
        return prompt, f" {text[: start - 1]} {text[end + 1 :]}"
    ahead = SETTINGS_AHEAD.match(text)
    if ahead is None:
        return _without_settings(text)
    prompt, behind = _without_settings(text[ahead.end() :])
    return prompt, f" {ahead[0]}{behind}"


def _quoted(text: str) -> tuple[int, int] | None:
    """Return where the words between a command's outer quotes start and end, or None."""
    opening = OPENING_QUOTE.search(text)
    if opening is None:
        return None
    closings = [match.start() for match in CLOSING_QUOTE.finditer(text, opening.end() + 1)]
    if not closings:
        return None
    return opening.end(), closings[-1]  # the last quote closes: a prompt may hold quotes


def _without_settings(text: str) -> tuple[str, str]:
    """Split a text in front of the unbroken row of settings at the end; return both parts."""
    padded = f" {text}"
    start = end = None
    for match in SETTING.finditer(padded):
        if match.start() != end:
            start = match.start()
        end = match.end()
    if end != len(padded):
        return text, ""
    return padded[1:start], padded[start:]


def _setting(match: re.Match[str]) -> tuple[str, str]:
    """Return the name and the value of a setting."""
    if match["negative"]:
        return "no", match["negative"]
    if match["short"]:
        return match["short"], match["digits"]
    if match["long"]:
        return match["long"], match["number"]
    if match["option"]:
        return match["option"], match["option_value"] or ""
    return match["letter"] or match["word"], match["value"] or ""

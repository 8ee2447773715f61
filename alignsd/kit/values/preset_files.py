"""Read the YAML of a preset: sections of names and values, each name once, without surprises.

YAML reads ``010`` as 8 and ``1:30`` as 90, and gives a name that stands twice the last value. A
preset with any of these is refused, and the message names the line.
"""

import re
import reprlib
from typing import Any

import yaml

from alignsd.base.errors import Problem

DEEPEST = 20  # levels; a preset has two, and a list adds a third
PLAIN_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]{0,30})")
PLAIN_FRACTION = re.compile(
    r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)([eE][-+]?[0-9]{1,4})?|[-+]?\.(inf|nan)"
)
TAG = "tag:yaml.org,2002:"
# What the loader says, or a part of these words -> how the fault comes about.
CAUSES = {
    "'\\t'": "a tab: YAML takes spaces alone in front of a name",
    "stands twice": "a section or a line was copied",
    "no plain number": "YAML reads 010 as 8, 0x10 as 16 and 1:30 as 90",
    "": "a missing colon, quote or indentation, or a kind of YAML that presets do not use",
}


class PresetLoader(yaml.SafeLoader):
    """PyYAML's safe loader, for text, numbers, yes and no, lists and names that stand once."""

    def fetch_flow_collection_start(self, token_class: type) -> None:
        """Begin a list or a mapping in brackets, unless the brackets are nested too deep."""
        self._check_depth(self.flow_level)
        super().fetch_flow_collection_start(token_class)

    def add_indent(self, column: int) -> bool:
        """Begin an indented block, unless the blocks are nested too deep."""
        self._check_depth(len(self.indents))
        return super().add_indent(column)

    def _check_depth(self, depth: int) -> None:
        # Without a limit the scanner takes the square of the depth, and the composer recurses.
        if depth >= DEEPEST:
            words = "brackets or indents within each other"
            raise yaml.scanner.ScannerError(None, None, words, self.get_mark())

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse ``<<``, with which YAML takes values from another place."""
        for key, _ in node.value:
            if key.tag == f"{TAG}merge":
                words = "<< takes values from elsewhere; write them out, or use base: preset"
                raise _fault(words, key)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping as a dictionary; refuse a name that stands twice."""
        if isinstance(node, yaml.MappingNode):  # a tag can claim that another node is a mapping
            self._refuse_twice(node)
        return super().construct_mapping(node, deep=deep)

    def _refuse_twice(self, node: yaml.MappingNode) -> None:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _fault("a name that is no text", key)
            name = (key.tag, key.value)
            if name in lines:
                words = f"{key.value!r} stands twice, first in line {lines[name]}"
                raise _fault(words, key)
            lines[name] = key.start_mark.line + 1


def _fault(words: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    """Return the error that names a place in the file."""
    return yaml.constructor.ConstructorError(None, None, words, node.start_mark)


def _integer(loader: PresetLoader, node: yaml.ScalarNode) -> int:
    return int(_plain_number(loader, node, PLAIN_INTEGER))


def _fraction(loader: PresetLoader, node: yaml.ScalarNode) -> float:
    text = _plain_number(loader, node, PLAIN_FRACTION)
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _plain_number(loader: PresetLoader, node: yaml.ScalarNode, pattern: re.Pattern[str]) -> str:
    text = loader.construct_scalar(node).lower()
    if not pattern.fullmatch(text):
        words = f"{text[:40]!r} is no plain number; a notebook's number stands in quotes"
        raise _fault(words, node)
    return text.replace("_", "")


def _boolean(loader: PresetLoader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in loader.bool_values:
        raise _fault(f"{text[:40]!r} is not yes or no", node)
    return loader.bool_values[text]


# Nothing else can be made: YAML's sets, dates, binaries and objects have no place in a preset.
PresetLoader.yaml_constructors = {
    f"{TAG}null": yaml.SafeLoader.construct_yaml_null,
    f"{TAG}bool": _boolean,
    f"{TAG}int": _integer,
    f"{TAG}float": _fraction,
    f"{TAG}str": yaml.SafeLoader.construct_yaml_str,
    f"{TAG}timestamp": yaml.SafeLoader.construct_yaml_str,  # a date is text
    f"{TAG}seq": yaml.SafeLoader.construct_yaml_seq,
    f"{TAG}map": yaml.SafeLoader.construct_yaml_map,
    None: yaml.SafeLoader.construct_undefined,
}


def parse_preset(text: str, name: str) -> dict[str, Any]:
    """Return the sections of a preset by notebook, and ``base`` if the preset has a base.

    Args:
        text: the YAML.
        name: how messages call the file.

    Returns:
        ``{"02": {"steps": 200}, "base": "smoke"}``.

    Raises:
        Problem: if the text is no YAML, a name stands twice, or the text is not made of sections.
    """
    try:
        sections = yaml.load(text, PresetLoader)  # a safe loader: no objects are made
    except yaml.YAMLError as error:
        found = " ".join(str(error).split())[:500]
        raise Problem(
            f"Preset {name} cannot be read.",
            expected="YAML in which each name stands once",
            found=found,
            cause=next((cause for words, cause in CAUSES.items() if words in found), CAUSES[""]),
            fix=f"mend {name} at the place named",
        ) from error
    if sections is None:
        return {}
    _check_sections(sections, name)
    return sections


def _check_sections(sections: Any, name: str) -> None:
    if not isinstance(sections, dict):
        raise _no_sections(name, sections)
    numbers: dict[str, str] = {}
    for key, section in sections.items():
        if key == "base" and isinstance(section, str):
            continue
        if not isinstance(key, str) or not isinstance(section, dict):
            raise _no_sections(name, key)
        first = numbers.setdefault(key[:2], key)
        if first != key:
            raise Problem(
                f"Preset {name} has two sections for one notebook.",
                expected="one section",
                found=f"{first} and {key}",
                cause="the number and the name of one notebook",
                fix=f"move the lines of {key} to {first}",
            )
        wrong = [line for line in section if not isinstance(line, str)]
        if wrong:
            raise Problem(
                f"Section {key} of preset {name} has a line without a name.",
                expected="name: value",
                found=f"{wrong[0]!r}: ...",
                cause="a number, yes, no or null in place of the name",
                fix=f"write the parameter's name in section {key}",
            )


def _no_sections(name: str, found: Any) -> Problem:
    return Problem(
        f"Preset {name} is not made of sections.",
        expected='"02": followed by lines name: value',
        found=reprlib.repr(found)[:80],
        cause="a number without quotes (YAML reads 01 as 1) or an empty section",
        fix='write the number of the notebook in quotes, "01":',
    )

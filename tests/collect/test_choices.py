"""Everything that was left out stands in one table, with its reason and the likely cause."""

import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import LINKED, MISSING
from alignsd.collect import choices


def test_the_table_names_every_reason():
    table = choices.left_out_table({choices.CHATTER: 3})
    assert list(table["reason"]) == list(choices.REASONS) and table["count"].sum() == 3
    assert set(table["of"]) == {"messages", "requests", "choices"}


def test_every_count_stands_in_the_table():
    table = choices.left_out_table({"a new reason": 2, choices.REPEATED: 3, MISSING: 1})
    assert table["count"].sum() == 6
    assert list(table["reason"]) == [*choices.REASONS, "a new reason"]


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ({}, "empty channel"),
        ({choices.COUNT: 5, choices.CHATTER: 2}, "grid=4"),
        ({LINKED: 3}, "--media"),
        ({MISSING: 3, choices.SYSTEM: 9}, "beside the JSON"),
        ({choices.NO_FILES: 4}, "attachments"),
        ({choices.NSFW: 4}, "collect more"),
        ({"a new reason": 4}, "a new reason"),
        ({choices.LABELS: 1, choices.CHATTER: 9}, "does not know"),
    ],
)
def test_the_cause_is_that_of_the_reason_that_took_most(left, words):
    with pytest.raises(Problem, match="(?s)no choice.*found:.*cause:.*fix:") as problem:
        choices.require_some([], left)
    assert words in str(problem.value)


def test_the_reasons_are_in_the_error_when_nothing_is_left():
    left = {choices.CHATTER: 2, choices.BOT_TALK: 1}
    with pytest.raises(Problem) as problem:
        choices.require_some([], left)
    text = str(problem.value)
    assert "2 messages: chatter (written by a user; no bot answered it)" in text
    assert "1 messages: other bot message" in text
    assert "cause:    users wrote, but no bot replied" in text
    choices.require_some(["a choice"], left)

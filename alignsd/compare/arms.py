"""The arms of the comparison: one list of prompts and seeds, drawn in several ways."""

from collections.abc import Iterable
from dataclasses import dataclass

from alignsd.base.plotting.colours import BLUE, GREEN, GREY, ORANGE


@dataclass(frozen=True)
class Arm:
    """One way to draw a prompt.

    In ``prompt`` and ``negative``, ``{prompt}`` stands for the text that is asked for, and
    ``{identifier}`` for the text in front of the captions of the negatives (paper, section 4).

    Attributes:
        name: the arm in tables, and the folder of the arm's images.
        label: the arm in figures; may be two lines.
        colour: the arm in figures, such as ``"#0072B2"``.
        adapter: the LoRA that is loaded; empty for the original model.
        prompt: what the model is asked to draw.
        negative: what the model is asked to avoid; empty for nothing.
    """

    name: str
    label: str
    colour: str
    adapter: str = ""
    prompt: str = "{prompt}"
    negative: str = ""

    def texts(self, prompt: str, identifier: str) -> tuple[str, str]:
        """Return the prompt and the negative prompt with which this arm draws ``prompt``."""
        asked = self.prompt.format(prompt=prompt, identifier=identifier)
        avoided = self.negative.format(prompt=prompt, identifier=identifier)
        return asked, avoided


ORIGINAL = Arm("original", label="original", colour=GREY)
ORIGINAL_NEGATIVE = Arm(
    "original_negative",
    label="original,\nnegative prompt",
    colour=GREY,
    negative="{identifier}",
)
# The control: fine-tuned on the regularization images alone, so no preference was learned.
CONTROL = Arm(
    "regularization_only",
    label="regularization\nonly",
    colour=ORANGE,
    adapter="regularization_only",
)
ADAPTED = Arm("adapted", label="adapted", colour=GREEN, adapter="adapted")
# The paper's own arm.
PAPERS = Arm(
    "adapted_negative",
    label="adapted,\nnegative prompt",
    colour=BLUE,
    adapter="adapted",
    negative="{identifier}",
)
ADAPTED_NEGATIVE_PROMPT = Arm(
    "adapted_negative_prompt",
    label="adapted, identifier +\nprompt as negative",
    colour=GREEN,
    adapter="adapted",
    negative="{identifier}{prompt}",
)
ADAPTED_IDENTIFIER = Arm(
    "adapted_identifier",
    label="adapted, identifier +\nprompt as prompt",
    colour=GREEN,
    adapter="adapted",
    prompt="{identifier}{prompt}",
)

ARMS = (
    ORIGINAL,
    ORIGINAL_NEGATIVE,
    CONTROL,
    ADAPTED,
    PAPERS,
    ADAPTED_NEGATIVE_PROMPT,
    ADAPTED_IDENTIFIER,
)
TABLE_4 = (ORIGINAL, CONTROL, PAPERS)  # the rows of the paper's Table 4


def named(name: str) -> Arm:
    """Return the arm of a table's row.

    A table may hold an unknown arm: a name that is not in ``ARMS`` is also the label, in green.
    """
    for arm in ARMS:
        if arm.name == name:
            return arm
    return Arm(name, label=name, colour=GREEN)


def labels(arms: Iterable[Arm] = ARMS) -> dict[str, str]:
    """Return the label of each arm by the arm's name, in the order of ``arms``."""
    return {arm.name: arm.label for arm in arms}

"""The ablations that the kit knows: which values are tried, and what is read off."""

from collections.abc import Sequence
from dataclasses import dataclass

from alignsd.base.errors import Problem
from alignsd.kit.values.parameters import Value, nearest
from alignsd.planning.ablation.changed_choices import FEWER, WRONG
from alignsd.planning.ablation.learned_word import LEARNED

ALIGNMENT = ("flaw_rate", "match_rate", "hps", "aesthetic", "fid")
ACCURACY = "accuracy"  # of HPS on the test choices, from notebook 02
METRICS = (*ALIGNMENT, ACCURACY)


@dataclass(frozen=True)
class Ablation:
    """A list of values of one or two parameters of a notebook, and what is read off.

    Attributes:
        name: names the ablation on the command line and in file names.
        question: what the ablation asks, in words.
        number: the notebook's number, such as ``"05"``.
        parameters: the notebook's parameters that change.
        values: the settings, in the order of the figure; each has a value per parameter. The
            values suit preset ``mini``. The setting of the run itself is always added.
        metrics: what is read off, from ``METRICS``.
        last: number of the last notebook that runs.
        prepared: what the command makes for each setting, see ``settings.preparation``; the values
            then say how much, and the parameters take what was made. Empty: nothing is made.

    Raises:
        Problem: if a setting has more or fewer values than there are parameters, or a metric is
            unknown.
    """

    name: str
    question: str
    number: str
    parameters: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]
    metrics: tuple[str, ...] = ALIGNMENT
    last: str = "07"
    prepared: str = ""
    row: int = 0

    def __post_init__(self) -> None:
        values_of_a_setting = 1 if self.prepared else len(self.parameters)
        for setting in self.values:
            if len(setting) != values_of_a_setting:
                raise Problem(
                    f"A setting of the ablation {self.name} does not fit its parameters.",
                    expected=f"a value for each of {', '.join(self.parameters)}",
                    found=repr(setting),
                    cause="a value was left out, or text stands where a tuple belongs",
                    fix="write each setting as a tuple, such as (16,)",
                )
        unknown = [metric for metric in self.metrics if metric not in METRICS]
        if unknown:
            raise Problem(
                f"The ablation {self.name} reads off an unknown metric.",
                expected=", ".join(METRICS),
                found=unknown[0],
                cause="a misspelt name",
                fix="choose a metric from METRICS",
            )

    @property
    def asked(self) -> str:
        """The question, and where the documents answer the question."""
        return f"{self.question} (deviations, row {self.row})" if self.row else self.question

    @property
    def changed(self) -> str:
        """What changes, in words: ``"02.epochs, 02.mirror"``, or ``"choices"``."""
        if self.prepared:
            return self.prepared
        return ", ".join(f"{self.number}.{name}" for name in self.parameters)


def ones(*values: Value) -> tuple[tuple[Value, ...], ...]:
    """Return settings of one parameter."""
    return tuple((value,) for value in values)


ABLATIONS = (
    Ablation(
        "choices",
        "How many choices does HPS need, and what follows for the pictures?",
        "02",
        ("data",),
        ones(30, 100, 300, 1000),
        metrics=(ACCURACY, *ALIGNMENT),
        prepared=FEWER,
    ),
    Ablation(
        "labels",
        "How many wrong picks does HPS bear, and what follows for the pictures?",
        "02",
        ("data",),
        ones(0.1, 0.3, 0.5),
        metrics=(ACCURACY, *ALIGNMENT),
        prepared=WRONG,
    ),
    Ablation(
        "learning-rate",
        "How fast should HPS learn?",
        "02",
        ("learning_rate",),
        ones(1.7e-5, 5e-5, 5e-4),
        metrics=(ACCURACY,),
        last="02",
        row=8,
    ),
    Ablation(
        "scale",
        "From which scale of the logits should HPS start?",
        "02",
        ("initial_scale", "learning_rate"),
        ((30.0, 5e-5), (100.0, 1.7e-5), (100.0, 5e-5), (100.0, 5e-4)),
        metrics=(ACCURACY,),
        last="02",
        row=10,
    ),
    Ablation(
        "passes",
        "How often should HPS see a choice, and mirrored or not?",
        "02",
        ("epochs", "mirror"),
        ((1.0, False), (1.0, True), (2.0, False), (2.0, True)),
        metrics=(ACCURACY,),
        last="02",
        row=29,
    ),
    Ablation(
        "negatives",
        "How many of the negatives does the LoRA need?",
        "04",
        ("negative_share",),
        ones(0.0, 0.25, 0.5, 1.0),
        row=14,
    ),
    Ablation(
        "identifier",
        "Does it matter whether the words of the identifier mean something to the model?",
        "05",
        ("identifier",),
        # Words that pretraining never saw; letters that no caption spells; a phrase of style that
        # changes no picture here; words that every picture shows.
        ones("Weird image. ", "sks ", "4k, ", "a person, "),
        row=11,
    ),
    Ablation(
        "learned-identifier",
        "Is a learned word a better identifier than the paper's words?",
        "05",
        ("stable_diffusion", "identifier"),
        ones(300),
        prepared=LEARNED,
    ),
    Ablation(
        "captions",
        "How many negatives should have the identifier alone as a caption?",
        "05",
        ("identifier_alone",),
        ones(0.0, 0.2, 0.4, 0.8),
        row=7,
    ),
    Ablation(
        "regularization",
        "How many regularization pictures should stand beside the selected pictures?",
        "05",
        ("regularization_images",),
        ones(0, 96, 300, 600),
    ),
    Ablation(
        "rank",
        "Which rank should the LoRA have?",
        "05",
        ("rank",),
        ones(4, 16, 32),
        row=23,
    ),
    Ablation(
        "time-steps",
        "Should all time steps weigh alike in the loss of the LoRA?",
        "05",
        ("snr_gamma",),
        ones(0.0, 1.0, 5.0),
        row=18,
    ),
    Ablation(
        "schedule",
        "Should the learning rate of the LoRA fall?",
        "05",
        ("schedule",),
        ones("constant", "cosine"),
        row=20,
    ),
    Ablation(
        "denoising",
        "How many denoising steps does drawing need?",
        "06",
        ("steps",),
        ones(4, 6, 8, 12),
        row=9,
    ),
    Ablation(
        "guidance",
        "How strong should guidance be?",
        "06",
        ("guidance",),
        ones(1.0, 1.5, 1.75, 2.5, 4.0),
        row=9,
    ),
)


def find(name: str, ablations: Sequence[Ablation] = ABLATIONS) -> Ablation:
    """Return the ablation with a name.

    Raises:
        Problem: if there is no such ablation.
    """
    for ablation in ablations:
        if ablation.name == name:
            return ablation
    names = [ablation.name for ablation in ablations]
    guess = nearest(name, names)
    raise Problem(
        f"There is no ablation {name[:80]!r}.",
        expected=", ".join(names),
        found=name[:80],
        cause="a misspelt name",
        fix=f"did you mean {guess}?" if guess else "alignsd ablate --list",
    )

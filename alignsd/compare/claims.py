"""What the scorecard claims: the paper's statements, and the miniature's own statements."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf

from alignsd.compare.arms import ADAPTED_IDENTIFIER, CONTROL, ORIGINAL, PAPERS
from alignsd.compare.evidence import (
    Tables,
    against,
    agreement,
    arms_apart,
    chosen_apart,
    lead,
    lead_apart,
    near_best,
    of_arm,
    outcome,
    preferred_lead,
)
from alignsd.compare.measurement import Measurement
from alignsd.paper import (
    FID_OF_CHOSEN,
    FID_OF_OTHERS,
    HPS_OF_CHOSEN,
    HPS_OF_OTHERS,
    INCEPTION_SCORE_OF_CHOSEN,
    INCEPTION_SCORE_OF_OTHERS,
    MAJORITIES,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    difference,
)
from alignsd.reward.accuracy import LAST, PERSON, RANDOM

OWN = "the miniature's own claim"
IN_DATA_SET = "the paper's analysis of its data set"
IN_TABLE_2 = "Table 2 of the paper"
IN_TABLE_3 = "Table 3 of the paper"
IN_TABLE_4 = "Table 4 of the paper"
IN_STUDY = "user study of the paper"


@dataclass(frozen=True)
class Claim:
    """One line of the scorecard.

    Attributes:
        id: short name.
        claim: what is claimed, in words, with the unit of the value.
        paper: the published number in that unit; None if no number was published.
        source: where the claim stands.
        measure: tables -> value, or None if the tables do not hold the value.
        aim: least and greatest value at which the claim holds, ends included.
        null: the value that means "no difference", if the claim says that something differs; the
            aim lies on one side of this value.
        least_n: the least number of items for the verdict `reproduced`.
    """

    id: str
    claim: str
    paper: float | None
    source: str
    measure: Callable[[Tables], Measurement | None]
    aim: tuple[float, float]
    null: float | None = None
    least_n: int = 1


def _table_4(metric: str, digits: int) -> float:
    """Return the published metric of the paper's arm minus the original's metric."""
    return difference(TABLE_4[PAPERS.name][metric], TABLE_4[ORIGINAL.name][metric], digits)


def _percent(chosen: float, others: float) -> float:
    """Return by how many % the published number of the chosen images is above the others'."""
    return round(100 * (chosen / others - 1), 1)


CLAIMS = (
    Claim(
        id="hps_beats_clip",
        claim="HPS predicts choices better than CLIP (points of accuracy; 43.5 against 32.9 %)",
        paper=difference(TABLE_2["HPS"], TABLE_2["CLIP"], 1),
        source=IN_TABLE_2,
        measure=partial(lead_apart, over="CLIP"),
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="hps_beats_aesthetic",
        claim="HPS predicts choices better than the aesthetic predictor "
        "(points; 43.5 against 33.1 %)",
        paper=difference(TABLE_2["HPS"], TABLE_2["aesthetic predictor"], 1),
        source=IN_TABLE_2,
        measure=partial(lead_apart, over="aesthetic predictor"),
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="hps_beats_random",
        claim="HPS predicts choices better than guessing (points; 43.5 against 26.1 %)",
        paper=difference(TABLE_2["HPS"], TABLE_2[RANDOM], 1),
        source=IN_TABLE_2,
        measure=partial(lead_apart, over=RANDOM),
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="hps_beats_last_image",
        claim="HPS predicts choices better than always naming the last image (points)",
        paper=None,
        source=OWN,
        measure=partial(lead_apart, over=LAST),
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="hps_beats_person",
        claim="HPS predicts a person's choice better than another person does "
        "(points; 43.5 against 42.0 %)",
        paper=difference(TABLE_2["HPS"], TABLE_2[PERSON], 1),
        source=IN_TABLE_2,
        measure=partial(lead, over=PERSON),
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="hps_near_best",
        claim="HPS comes within 3 points of the best possible predictor (points)",
        paper=None,
        source=OWN,
        measure=near_best,
        aim=(-3, inf),
    ),
    Claim(
        id="hps_rates_chosen_higher",
        claim="HPS rates chosen images above the others "
        "(HPS units; 21.0 against 20.26 in training)",
        paper=difference(HPS_OF_CHOSEN, HPS_OF_OTHERS, 2),
        source="an author's answer about the training data, not in the paper",
        measure=preferred_lead,
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="chosen_inception_score",
        claim="Inception score does not tell chosen images from the others: within 5 % "
        "(%; 16.27 against 16.23; the miniature's classes are the judge's)",
        paper=_percent(INCEPTION_SCORE_OF_CHOSEN, INCEPTION_SCORE_OF_OTHERS),
        source=IN_DATA_SET,
        measure=partial(chosen_apart, metric="inception_score"),
        aim=(-5, 5),
    ),
    Claim(
        id="chosen_fid",
        claim="FID does not tell chosen images from the others: within 5 % "
        "(%; 38.2 against 37.7; the miniature's is on the judge's features)",
        paper=_percent(FID_OF_CHOSEN, FID_OF_OTHERS),
        source=IN_DATA_SET,
        measure=partial(chosen_apart, metric="fid"),
        aim=(-5, 5),
    ),
    Claim(
        id="other_generator_agreement",
        claim="HPS agrees with people on pairs of pictures of two generators "
        "(%; CLIP: 56.8 %; the paper's are Stable Diffusion and DALL-E)",
        paper=TABLE_3["HPS"],
        source=IN_TABLE_3,
        measure=partial(agreement, predictor="HPS"),
        aim=(50, 100),
        null=50,
    ),
    Claim(
        id="base_flaw_rate",
        claim="The base model often errs: flaw rate between 30 and 60 % (%)",
        paper=None,
        source=OWN,
        measure=partial(of_arm, arm=ORIGINAL, metric="flaw_rate", scale=100),
        aim=(30, 60),
        least_n=500,
    ),
    Claim(
        id="base_match_rate",
        claim="The base model shows what is asked for: prompt match of at least 90 % (%)",
        paper=None,
        source=OWN,
        measure=partial(of_arm, arm=ORIGINAL, metric="match_rate", scale=100),
        aim=(90, 100),
        least_n=500,
    ),
    Claim(
        id="identifier_binds",
        claim="The identifier before the prompt draws flaws more often than the original does "
        "(points)",
        paper=None,
        source=OWN,
        measure=partial(arms_apart, arm=ADAPTED_IDENTIFIER, metric="flaw_rate", scale=100),
        aim=(0, inf),
        null=0,
        least_n=500,
    ),
    Claim(
        id="adapted_flaw_ratio",
        claim="Adapted, with the negative prompt, errs at most half as often as the original "
        "(ratio)",
        paper=None,
        source=OWN,
        measure=partial(against, arm=PAPERS, metric="flaw_ratio"),
        aim=(0, 0.5),
        null=1,
        least_n=500,
    ),
    Claim(
        id="adapted_match",
        claim="Adapted, with the negative prompt, matches the prompt no more than 2 "
        "points less often (points)",
        paper=None,
        source=OWN,
        measure=partial(against, arm=PAPERS, metric="match_rate", scale=100),
        aim=(-2, inf),
        least_n=500,
    ),
    Claim(
        id="regularization_only",
        claim="Regularization alone stays within 5 points of the original's flaw rate (points)",
        paper=None,
        source=OWN,
        measure=partial(against, arm=CONTROL, metric="flaw_rate", scale=100),
        aim=(-5, 5),
        least_n=500,
    ),
    Claim(
        id="table4_fid",
        claim="Adaptation lowers FID "
        "(difference; 19.72 to 19.35; the miniature's is on the judge's features)",
        paper=_table_4("fid", 2),
        source=IN_TABLE_4,
        measure=partial(against, arm=PAPERS, metric="fid"),
        aim=(-inf, 0),
        null=0,
    ),
    Claim(
        id="table4_aesthetic",
        claim="Adaptation raises the aesthetic score (difference; 5.90 to 6.06)",
        paper=_table_4("aesthetic", 2),
        source=IN_TABLE_4,
        measure=partial(against, arm=PAPERS, metric="aesthetic"),
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="table4_clip",
        claim="Adaptation raises the CLIP score (difference of cosines; 0.2816 to 0.2831)",
        paper=_table_4("clip_score", 4),
        source=IN_TABLE_4,
        measure=partial(against, arm=PAPERS, metric="clip_score"),
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="table4_hps",
        claim="Adaptation raises HPS "
        "(difference of raw cosines, as printed there; 0.1898 to 0.1916)",
        paper=_table_4("hps", 4),
        source=IN_TABLE_4,
        measure=partial(against, arm=PAPERS, metric="hps", scale=0.01),
        aim=(0, inf),
        null=0,
    ),
    Claim(
        id="user_study_adapted",
        claim="The adapted picture wins the majority vote (% of prompts)",
        paper=MAJORITIES["adapted"],
        source=IN_STUDY,
        measure=partial(outcome, name="adapted"),
        aim=(50, 100),
        null=50,
        least_n=100,
    ),
    Claim(
        id="user_study_lead",
        claim="The adapted picture wins on more prompts than the original "
        "(points; 74 against 22 %)",
        paper=difference(MAJORITIES["adapted"], MAJORITIES["original"], 1),
        source=IN_STUDY,
        measure=partial(outcome, name="lead"),
        aim=(0, 100),
        null=0,
        least_n=100,
    ),
)

"""What the votes say: agreement, predictors, the user study, strengths.

Each function takes the votes table of ``choose.votes.read_votes``, a row per rater and question.
"""

from alignsd.choose.analysis.agreement import between_raters, with_yourself
from alignsd.choose.analysis.predictors import accuracy_on_votes, agreement_with_chances
from alignsd.choose.analysis.strength import bradley_terry
from alignsd.choose.analysis.study import attention, raw_votes, study_votes

__all__ = [
    "accuracy_on_votes",
    "agreement_with_chances",
    "attention",
    "between_raters",
    "bradley_terry",
    "raw_votes",
    "study_votes",
    "with_yourself",
]

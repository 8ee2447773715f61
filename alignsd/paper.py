"""Every published number that this kit compares with or builds on: once, with its source.

"The paper" is Wu et al., "Human Preference Score: Better Aligning Text-to-Image Models with Human
Preference", ICCV 2023. "The released files" are the authors' data set of human choices (HPD v1),
whose files were counted here. A value that was not found is absent; no value is a guess.

The keys are this kit's names of predictors, arms and metrics.
"""

# --- The choices of people ------------------------------------------------------------------------

CHOICES = 25_205  # the paper, on its data set
USERS = 2_659  # the paper, on its data set

TRAIN_CHOICES = 20_205  # released file preference_train.json
TRAIN_IMAGES = 79_167  # released file preference_train.json
TEST_CHOICES = 5_000  # released file preference_test.json
TEST_IMAGES = 19_640  # released file preference_test.json
TEST_PROMPTS = 4_745  # distinct; released file preference_test.json

# Test choices by their number of images. Source: released file preference_test.json.
TEST_CHOICES_BY_IMAGES = {2: 97, 3: 166, 4: 4_737}

# How often each position is chosen among four images. Source: released file preference_test.json.
# The published shares are rounded to three digits, so that their sum is 1.001.
CHOSEN_POSITIONS = (0.227, 0.224, 0.239, 0.311)

# --- The Human Preference Score -------------------------------------------------------------------

# Table 2: share of the 5,000 test choices that a predictor gets right, %.
TABLE_2 = {
    "random guess": 26.1,
    "CLIP": 32.9,
    "aesthetic predictor": 33.1,
    "another person": 42.0,
    "HPS": 43.5,
}

# Mean HPS of the training data, 100 x cosine. Source: an author's answer, not in the paper.
HPS_OF_CHOSEN = 21.0
HPS_OF_OTHERS = 20.26

# Fréchet inception distance of chosen and of other images. Source: the paper, on its data set.
FID_OF_CHOSEN = 38.2
FID_OF_OTHERS = 37.7

# Inception score of chosen and of other images. Source: the paper, on its data set.
INCEPTION_SCORE_OF_CHOSEN = 16.27
INCEPTION_SCORE_OF_OTHERS = 16.23

# Table 3: agreement with people on 398 pairs of Stable Diffusion and DALL-E images, %.
TABLE_3 = {"CLIP": 56.8, "HPS": 61.5, "another person": 63.5}

# --- The selection and the adapted model ----------------------------------------------------------

# Images of the first million of DiffusionDB Large. Source: the paper, on the adaptation.
POSITIVES = 37_572
NEGATIVES = 21_108  # those used, about half of the selected ones

# Table 4: FID, aesthetic score, and CLIP score and HPS as raw cosines. The values of the model that
# saw regularization pictures only were not found.
TABLE_4 = {
    "original": {"fid": 19.72, "aesthetic": 5.90, "clip_score": 0.2816, "hps": 0.1898},
    "adapted_negative": {"fid": 19.35, "aesthetic": 6.06, "clip_score": 0.2831, "hps": 0.1916},
}

# User study: share of 100 prompts on which more than 10 of 20 people prefer an arm's image, %.
MAJORITIES = {"original": 22.0, "adapted": 74.0}

# --- Sizes ----------------------------------------------------------------------------------------

# The first million of DiffusionDB Large. Source: the paper scored a million; DiffusionDB's README.
PARTS_OF_DIFFUSIONDB = 1_000
IMAGES_PER_PART = 1_000


def difference(value: float, other: float, digits: int) -> float:
    """Return ``value - other`` of two published numbers, rounded to the digits published."""
    return round(value - other, digits)

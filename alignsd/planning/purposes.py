"""What each notebook is for, in one sentence, for the map of the notebooks.

The first cell of a notebook opens with the same sentence; a test compares the two.
"""

PURPOSES = {
    "00_start_here": "Check this machine, and find your way through the notebooks.",
    "01_collect_preferences": (
        "Turn a Discord channel in which people choose among pictures into the paper's data set."
    ),
    "02_train_hps": ("Teach CLIP which of several pictures of one prompt a person will choose."),
    "03_score_diffusiondb": (
        "Give every picture of a large corpus of generated pictures its Human Preference Score."
    ),
    "04_select_images": (
        "Pick from the scored corpus what people would clearly prefer "
        "and what they would clearly not."
    ),
    "05_finetune_stable_diffusion": (
        'Teach Stable Diffusion that "Weird image. " names what people dislike.'
    ),
    "06_generate": ("Draw the same prompts with the same seeds in every arm of the comparison."),
    "07_evaluate": (
        "Measure every arm as the paper does: FID, aesthetic score, CLIP score and HPS."
    ),
    "08_figures": (
        "Draw the figures of the paper and Tables 2 and 4 from what the other notebooks left."
    ),
    "09_playground": (
        "Play with the original and the adapted model: draw, score and judge any prompt at once."
    ),
    "10_other_ways": (
        "Compare the paper's adaptation with other ways to align, with the same prompts and seeds, "
        "against the same truth."
    ),
}

"""Loading models without the progress bars of other libraries, which a saved notebook loses."""

from pathlib import Path


def no_library_bars(model: str) -> None:
    """Switch the bars of diffusers, transformers and the hub off, before a model is loaded.

    In JupyterLab these bars are widgets. A saved notebook that is opened again shows "Error
    displaying widget: model not found" in their place. The bars stay off: two threads may load
    models at the same time.

    Args:
        model: a path, or a name on the hub. A model that is no file or folder may have to be
            fetched first, so that one printed line says what is going on.
    """
    from diffusers.utils import logging as of_diffusers
    from huggingface_hub import utils as hub
    from transformers.utils import logging as of_transformers

    of_diffusers.disable_progress_bar()
    of_transformers.disable_progress_bar()
    hub.disable_progress_bars()
    if not Path(model).exists():
        print(f"Loading {model} from the Hugging Face hub.", end=" ")
        print("The first time, this takes as long as the download.", flush=True)

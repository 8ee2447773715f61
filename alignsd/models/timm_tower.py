"""Makes the miniature's image tower known to timm, and through timm to open_clip.

Apart from the tower itself: importing timm takes seconds, and the judge, which has the same tower, does without.
"""

from timm.models import register_model

from alignsd.models.tower import Tower


@register_model
def miniature_tower(pretrained: bool = False, **timm_arguments) -> Tower:
    """Builds the tower; timm's arguments speak of weights on a hub, of which there are none."""
    return Tower()

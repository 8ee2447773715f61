"""The paper in miniature: a small world in which the truth is known."""

from alignsd.base.paths import SHIPPED

WEIGHTS = SHIPPED

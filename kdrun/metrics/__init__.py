"""Metrics over all rows of an evaluation, by what they measure: ``from kdrun import metrics``, then ``metrics.accuracy``."""

from kdrun.registry.face import face

__getattr__, __dir__ = face(__name__)

"""Data sets by what they hold, transforms of their batches, samplers of their rows.

Every one is at hand as ``data.NAME``, the name that a recipe gives it::

    from kdrun import data

    train = data.digits().load()["train"]
    images = train.rows()["image"]
"""

from kdrun.registry.face import face

__getattr__, __dir__ = face(__name__)

"""Optimizers, schedules and gradient transforms: ``from kdrun import optim``, then ``optim.cosine``."""

from kdrun.registry.face import face

__getattr__, __dir__ = face(__name__)

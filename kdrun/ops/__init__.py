"""Tensor functions by mathematical family: what step graphs are made of.

Every op is at hand as ``ops.NAME``, wherever it stands::

    from kdrun import ops

    loss = ops.kl_divergence(student_logits, teacher_logits, temperature=4.0, squared_temperature=True)
"""

from kdrun.registry.face import face

__getattr__, __dir__ = face(__name__)

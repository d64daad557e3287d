"""What a stage does by name (``by``): reduce, label, select, solve, merge and their kin, by mathematics.

Every part is at hand as ``parts.NAME``, wherever it stands::

    from kdrun import parts

    surest = parts.top_k(scores, pool, k=1000)

One that draws random numbers takes a ``generator``, and one that runs a model over data the ``context`` of its stage.
"""

from kdrun.registry.face import face

__getattr__, __dir__ = face(__name__)

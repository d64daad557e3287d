"""Networks by family: what steps call.

Every model is at hand as ``models.NAME``, the name that a recipe gives it. Sizes that a run finds from the data (``"auto"``) are
given by hand::

    from kdrun import models

    network = models.cifar_resnet(depth=20, num_classes=10, in_channels=3)
"""

from kdrun.registry.face import face

__getattr__, __dir__ = face(__name__)

"""What every run imports, read once in the process that workers are forked from. Imports alone: a fork inherits no thread.

No tensor is computed and no device is asked for here, so that forks may do both.
"""

import torch._dynamo.config
import torch._functorch.config
import torch._inductor.config  # noqa: F401

import kdrun.runtime.fakes
import kdrun.step.handed  # noqa: F401

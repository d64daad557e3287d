"""Parts: the plain functions and classes that a recipe may name.

A part is registered by a decorator that says its kind::

    @op
    def kl_divergence(student: Tensor, teacher: Tensor, *, temperature: Positive = 1.0) -> Tensor: ...

Positional arguments are what ``from`` binds, keyword-only arguments are parameters. The decorator
does nothing at import time: parts are found by reading the source text (``registry.scan``), so that
listing and checking need no heavy import, and only the parts that a run uses are ever imported.
"""

from kdrun.registry.catalog import Catalog, catalog, catalog_with
from kdrun.registry.kinds import (
    BY_KINDS,
    HOOKS,
    KINDS,
    check_of,
    columns_of,
    corrupt,
    data,
    fields_of,
    generate,
    gradient,
    initialize,
    label,
    merge,
    metric,
    mix,
    model,
    op,
    optimizer,
    partition,
    parts_of,
    plan_of,
    reduce,
    sampler,
    schedule,
    select,
    shape_of,
    show,
    solve,
    space,
    stage,
    strategy,
    tracker,
    transform,
)
from kdrun.registry.signature import MISSING, Input, Parameter, Part

__all__ = [
    "BY_KINDS",
    "HOOKS",
    "KINDS",
    "MISSING",
    "Catalog",
    "Input",
    "Parameter",
    "Part",
    "catalog",
    "catalog_with",
    "check_of",
    "columns_of",
    "corrupt",
    "data",
    "fields_of",
    "generate",
    "gradient",
    "initialize",
    "label",
    "merge",
    "metric",
    "mix",
    "model",
    "op",
    "optimizer",
    "partition",
    "parts_of",
    "plan_of",
    "reduce",
    "sampler",
    "schedule",
    "select",
    "shape_of",
    "show",
    "solve",
    "space",
    "stage",
    "strategy",
    "tracker",
    "transform",
]

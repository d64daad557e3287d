"""The shape of a whole configuration: what stands at its top, and of what kind.

Settings that a recipe or a protocol names itself are free; what kdrun reads has a shape, stated here once. What nodes, claims and
objectives mean is read by ``grammar``, ``graph`` and ``claims``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from kdrun.errors import InputError, nearest
from kdrun.grammar.names import check_names
from kdrun.limits import refuse_beyond

__all__ = ["check_shape", "check_values"]

Mapped = dict[StrictStr, Any] | None
Blocks = dict[StrictStr, dict[StrictStr, Any] | None] | None
Texts = StrictStr | list[StrictStr] | None


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("each seed stands once")
    return seeds


Seed = Annotated[StrictInt, Field(ge=0, lt=2**63)]
Range = Annotated[StrictStr, Field(pattern=r"^\d{1,18}-\d{1,18}$")]
Seeds = Annotated[StrictInt, Field(ge=1)] | Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Paper(BaseModel):
    """What a recipe says of its paper."""

    model_config = ConfigDict(extra="allow")

    title: StrictStr = ""
    arxiv: StrictStr | None = None
    year: StrictInt | None = None
    family: StrictStr = ""
    fidelity: StrictStr = ""
    note: StrictStr = ""


class Configuration(BaseModel):
    """The top of a configuration. What is not named here is a setting of the recipe's own."""

    model_config = ConfigDict(extra="allow")

    paper: Paper | None = None
    notes: Texts = None
    arms: Blocks = None
    scales: Blocks = None
    claims: Blocks = None
    graph: Blocks = None
    steps: Blocks = None
    skip: list[StrictStr] | None = None
    teacher: Mapped = None
    student: Mapped = None
    data: Mapped = None
    optimizer: Mapped = None
    hardware: Mapped = None
    tracker: Mapped = None
    transfer: Mapped = None
    seeds: Seeds | None = None
    looked_at: list[Seed | Range] | None = None
    tune: Mapped = None
    transductive: dict[StrictStr, list[StrictStr] | None] | None = None
    store: StrictStr | None = None
    runs: StrictStr | None = None
    plugins: Texts = None


Small = Annotated[StrictInt, Field(ge=1, le=4096)]


WRITTEN_OUT = ("paper", "notes", "arms", "scales", "claims", "graph", "steps", "skip")
"""What no ``${...}`` stands for."""


def _device(name: str) -> str:
    if not re.fullmatch(r"[a-z]+(:[0-9]{1,4})?", name):
        raise ValueError(f"expected a name such as cpu, cuda or cuda:1, got {name!r:.60}")
    return name


class Hardware(BaseModel):
    """What the hardware group says."""

    model_config = ConfigDict(extra="forbid")

    device: Annotated[StrictStr, AfterValidator(_device)] = "cpu"
    precision: StrictStr = "fp32"
    compile: StrictBool | StrictStr | None = False
    channels_last: StrictBool = True
    deterministic: StrictBool = True
    remember_gib: Annotated[float, Field(ge=0)] = 0.0
    share_gib: Annotated[float, Field(ge=0)] = 0.0
    fold_frozen: StrictBool = False
    frozen_precision: Literal["fp32", "bf16"] = "fp32"
    threads: Small = 1
    processes: Small = 1
    workers: Annotated[StrictInt, Field(ge=0, le=4096)] = 0


class Tracker(BaseModel):
    """Where figures go; what else it takes is its own."""

    model_config = ConfigDict(extra="allow")

    tracker: StrictStr


class Values(BaseModel):
    """Settings whose values matter to every run, once they are computed."""

    seed: Seed = 0
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60
    hardware: Hardware | None = None
    tracker: Tracker | None = None


INFINITE = ("order",)
"""Parameters that may be infinite: an infinite order of a norm takes the largest entry."""

WORDS = {
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_type": "text",
    "missing": "a mapping with a '{0}'",
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "a list of at least one",
    "string_pattern_mismatch": "a range such as 0-9",
}
"""What was expected, by pydantic's name of the error."""


def check_shape(config: Mapping[str, Any]) -> None:
    """Raise ``InputError``, with the key, for what is of another kind than kdrun reads there.

    A value that is still to be computed (``${...}``) is whatever it will be; what holds text or nodes is never computed as a whole.
    """
    for section, most in (("arms", "arms"), ("scales", "arms"), ("claims", "claims")):
        if isinstance(config.get(section), Mapping):
            refuse_beyond(most, len(config[section]), section, key=section)
    if isinstance(config.get("seeds"), list):
        refuse_beyond("seeds", len(config["seeds"]), "seeds", key="seeds")
    if isinstance(config.get("seeds"), int):
        refuse_beyond("seeds", int(config["seeds"]), "seeds", key="seeds")
    _validate(Configuration, {k: value for k, value in config.items() if k in WRITTEN_OUT or not _is_computed(value)})
    check_names(config)


def check_values(config: Mapping[str, Any]) -> None:
    """The same for values of a configuration in which all is computed; every number is finite, save the order of a norm."""
    _refuse_infinite(config, "")
    _validate(Values, config)


def _refuse_infinite(content: Any, key: str) -> None:
    if isinstance(content, float) and not math.isfinite(content):
        if math.isnan(content) or key.rpartition(".")[2] not in INFINITE:
            raise InputError(f"expected a finite number, got {content}", key=key)
    elif isinstance(content, Mapping):
        for name, value in content.items():
            _refuse_infinite(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list):
        for i, value in enumerate(content):
            _refuse_infinite(value, f"{key}.{i}")


def _validate(kind: type[BaseModel], content: Mapping[str, Any]) -> None:
    try:
        kind.model_validate(dict(content))
    except ValidationError as error:
        raise _told(error) from None


def _is_computed(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def _told(error: ValidationError) -> InputError:
    """The first complaint in kdrun's words; of a value that may be several things, what all of them would be."""
    complaints = error.errors(include_url=False)
    field = str(complaints[0]["loc"][0])
    own = [c for c in complaints if str(c["loc"][0]) == field]
    names = [c for c in own if "[key]" in c["loc"]]
    if names:
        inner = ".".join([field, *(str(p) for p in names[0]["loc"][1:-2])])
        return InputError(
            f"a name is text, got {names[0]['input']!r} (quote it: YAML reads it as something else)", key=inner
        )
    surplus = next((c for c in own if c["type"] == "extra_forbidden"), None)
    if surplus is not None:
        known = list(Hardware.model_fields)
        name = str(surplus["loc"][-1])
        return InputError(
            f"there is no '{name}' here{nearest(name, known)}; there are: {', '.join(known)}", key=f"{field}.{name}"
        )
    deepest = max(own, key=lambda c: len(c["loc"]))
    path = [str(p) for p in deepest["loc"][1:] if isinstance(p, int) or not _is_alternative(str(p))]
    beside = [c for c in own if len(c["loc"]) == len(deepest["loc"])]
    said = [c["msg"].removeprefix("Value error, ") for c in own if c["type"] == "value_error"]
    expected = " or ".join(dict.fromkeys(_expected(c) for c in beside))
    got = repr(deepest["input"])
    message = said[0] if said else f"expected {expected}, got {got if len(got) <= 60 else got[:57] + '...'}"
    return InputError(message, key=".".join([field, *path]))


def _expected(complaint: Any) -> str:
    told = WORDS.get(complaint["type"], complaint["msg"].lower())
    return told.replace("{0}", str(complaint["loc"][-1])).format_map(complaint.get("ctx") or {})


def _is_alternative(piece: str) -> bool:
    """Whether a step of pydantic's path names one of the kinds that a value may be, and no key."""
    return piece in ("str", "int") or piece.endswith("]") or "constrained" in piece

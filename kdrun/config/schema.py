"""The shape of a whole configuration: what stands at its top, and of what kind.

Settings that a recipe or a protocol names itself are free; what kdrun reads has a shape, stated here once. What nodes, claims and
objectives mean is read by ``grammar``, ``graph`` and ``claims``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from kdrun.errors import InputError
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
    seed: Seed = 0
    seeds: Seeds | None = None
    store: StrictStr | None = None
    runs: StrictStr | None = None
    plugins: Texts = None


Small = Annotated[StrictInt, Field(ge=1, le=4096)]


class Hardware(BaseModel):
    """What the hardware group says in numbers and names; the rest is read where it is used."""

    model_config = ConfigDict(extra="allow")

    device: StrictStr = "cpu"
    precision: StrictStr = "fp32"
    threads: Small = 1
    processes: Small = 1
    workers: Annotated[StrictInt, Field(ge=0, le=4096)] = 0


class Values(BaseModel):
    """Settings whose values matter to every run, once they are computed."""

    seed: Seed = 0
    hardware: Hardware | None = None


WORDS = {
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_type": "text",
    "int_type": "a whole number",
    "list_type": "a list",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "a list of at least one",
}
"""What was expected, by pydantic's name of the error."""


def check_shape(config: Mapping[str, Any]) -> None:
    """Raise ``InputError``, with the key, for what is of another kind than kdrun reads there.

    A value that is still to be computed (``${...}``) is whatever it will be.
    """
    if isinstance(config.get("seeds"), int):
        refuse_beyond("seeds", int(config["seeds"]), "seeds", key="seeds")
    _validate(Configuration, {name: value for name, value in config.items() if not _is_computed(value)})


def check_values(config: Mapping[str, Any]) -> None:
    """The same for values of a configuration in which all is computed."""
    _validate(Values, config)


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
    own = [c for c in complaints if c["loc"][0] == field]
    names = [c for c in own if "[key]" in c["loc"]]
    if names:
        inner = ".".join([field, *(str(p) for p in names[0]["loc"][1:-2])])
        return InputError(
            f"a name is text, got {names[0]['input']!r} (quote it: YAML reads it as something else)", key=inner
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
    return WORDS.get(complaint["type"], complaint["msg"].lower()).format_map(complaint.get("ctx") or {})


def _is_alternative(piece: str) -> bool:
    """Whether a step of pydantic's path names one of the kinds that a value may be, and no key."""
    return piece in ("str", "int") or piece.endswith("]") or "constrained" in piece

"""What a configuration may say to transformers: settings of the architecture, nothing that fetches, writes or runs code.

The library takes settings of a model and options of its loader by the same keyword arguments. Some of the latter choose where
files are written (``cache_dir``), send a secret (``token``), or run code that comes from a hub (``code_revision``, attention
by the name of a kernel). So only names are let through that the architecture's own configuration has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.errors import InputError, nearest

__all__ = ["checked_options", "configuration"]

ATTENTION = ("eager", "sdpa")
"""Ways to attend that come with torch. Any other name may be that of a kernel on a hub."""

BESIDE = ("num_labels", "id2label", "label2id", "problem_type", "tie_word_embeddings")
"""Settings that every architecture has, whether its configuration lists them or not."""

NEVER = (
    *("auto_map", "quantization_config", "transformers_version", "model_type", "architectures"),
    *("model_args", "timm_kwargs", "backbone_kwargs", "detectron2_config_args", "index_path", "passages_path"),
)
"""Entries of a configuration that name code, packages or what the model is, or are handed on to another library as they are."""

MAPPINGS = ("id2label", "label2id", "rope_scaling", "rope_parameters")
"""Settings that are mappings of numbers and names, whatever the architecture has for them."""


def configuration(name: str, options: Mapping[str, Any], *, architecture: str | None = None) -> Any:
    """The configuration of an architecture, or of a folder or hub entry ``name``, with ``options`` over it.

    Raises ``InputError`` for an option that is no setting of it; what the library cannot find is its own error.
    """
    import transformers

    if architecture is not None:
        plain = transformers.AutoConfig.for_model(architecture)
        checked = checked_options(plain, options)
        return transformers.AutoConfig.for_model(architecture, **checked)
    plain = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **checked_options(plain, options))


def checked_options(plain: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, all of which are settings of a model with the configuration ``plain``. Raises ``InputError``."""
    own = {*plain.to_dict(), *getattr(plain, "attribute_map", {}), *BESIDE} - {*NEVER}
    for name, value in options.items():
        if name == "attn_implementation":
            _one_of(name, value, ATTENTION)
        elif name in ("dtype", "torch_dtype"):
            raise InputError(
                f"{name} is no setting of an architecture: the precision of weights stands beside config, as dtype"
            )
        elif name not in own or str(name).startswith("_"):
            raise InputError(
                f"'{name}' is no setting of a model of this kind{nearest(name, own)}; where files come from and go to, "
                "secrets and code are not a configuration's to say"
            )
        else:
            _check_inner(name, value, getattr(plain, name, None))
    return dict(options)


def _check_inner(name: str, value: Any, known: Any) -> None:
    """A mapping is that of an inner model, whose own settings pass, or one of numbers and names."""
    if isinstance(value, Mapping) and hasattr(known, "to_dict"):
        try:
            checked_options(known, value)
        except InputError as error:
            raise InputError(f"in {name}: {error.message}") from None
    elif isinstance(value, Mapping) and name not in MAPPINGS and not isinstance(known, Mapping):
        raise InputError(f"{name} is no mapping for a model of this kind")
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        raise InputError(f"{name} is no list of mappings")


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} is one of {', '.join(known)}, got {value!r}")

"""What libraries say of how their pretrained models were trained, and what may be said to them of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.errors import InputError, nearest

__all__ = ["checked_timm_options", "statistics_of"]

TIMM_NUMBERS = (
    *("patch_size", "embed_dim", "depth", "depths", "dims", "channels", "num_heads", "mlp_ratio", "window_size"),
    *("drop_rate", "drop_path_rate", "attn_drop_rate", "proj_drop_rate", "pos_drop_rate", "patch_drop_rate"),
    *("drop_block_rate", "output_stride", "cardinality", "base_width", "stem_width", "init_values", "reg_tokens"),
    *("qkv_bias", "qk_norm", "class_token", "no_embed_class", "pre_norm", "final_norm", "fc_norm"),
    *("dynamic_img_size", "dynamic_img_pad", "strict_img_size", "zero_init_last", "global_pool"),
)
"""Settings of architectures; all are numbers, truth values or lists of them, save ``global_pool``."""


def checked_timm_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an architecture for timm. Raises ``InputError`` for any other: those that fetch, read files or name code."""
    for name, value in options.items():
        if name not in TIMM_NUMBERS:
            raise InputError(
                f"'{name}' is no setting of a timm model that a configuration may say{nearest(name, TIMM_NUMBERS)}; "
                f"it may say: {', '.join(TIMM_NUMBERS)}"
            )
        numbers = value if isinstance(value, list) else [value]
        plain = all(one is None or isinstance(one, bool | int | float) for one in numbers)
        if not plain and not (name == "global_pool" and isinstance(value, str)):
            raise InputError(f"'{name}' of a timm model is a number, true, false or a list of numbers, got {value!r}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def statistics_of(spec: Mapping[str, Any], *, key: str | None = None) -> tuple[list[float], list[float]]:
    """Mean and deviation by channel, in [0, 1], of the images that a model of timm or torchvision was pretrained on.

    ``spec`` is a model's specification (``model``, ``name``). Raises ``InputError`` for another model, or one without such numbers.
    """
    family, name = spec.get("model"), str(spec.get("name"))
    found = {"timm": _of_timm, "torchvision": _of_torchvision}.get(str(family), lambda _: None)(name)
    if found is None:
        raise InputError(
            f"no mean and deviation are known of the model '{family}'{f' {name}' if 'name' in spec else ''}: they are of timm's "
            "and torchvision's; give data.mean and data.std",
            key=key,
        )
    return list(map(float, found.mean)), list(map(float, found.std))


def _of_timm(name: str) -> Any:
    import timm

    return timm.get_pretrained_cfg(name, allow_unregistered=True) if timm.is_model(name) else None


def _of_torchvision(name: str) -> Any:
    from torchvision import models

    return models.get_model_weights(name)["DEFAULT"].transforms() if name in models.list_models(module=models) else None

"""Small trainable layers between a student's and a teacher's features; sizes are found by the shape pass."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.registry import model
from kdrun.types import Count, Fraction, Size

__all__ = [
    "EmbeddingAdapter",
    "NormalizedLinear",
    "linear_projector",
    "log_variance_head",
    "mlp_codec",
    "standardized_linear",
]


@model
def linear_projector(*, in_features: Size = "auto", out_features: Size = "auto", bias: bool = True) -> nn.Module:
    """A linear map from a student's features to a teacher's: [..., in_features] to [..., out_features].

    >>> models.linear_projector(in_features=8, out_features=32)(torch.zeros(2, 8)).shape
    torch.Size([2, 32])
    """
    return nn.Linear(int(in_features), int(out_features), bias=bias)


@model
def mlp_codec(
    *, in_features: Size = "auto", out_features: Size = "auto", hidden: Count = 128, normalize: bool = True
) -> nn.Module:
    """Two linear layers with GELU between and layer norm at the output, from hidden states to messages.

    ``hidden`` is the width between; ``normalize`` says whether there is a norm. Reads states [..., in_features] and
    gives [..., out_features].

    >>> models.mlp_codec(in_features=8, out_features=4, hidden=16)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 4])
    """
    layers: list[nn.Module] = [nn.Linear(int(in_features), hidden), nn.GELU(), nn.Linear(hidden, int(out_features))]
    return nn.Sequential(*layers, *([nn.LayerNorm(int(out_features))] if normalize else []))


@model
def log_variance_head(*, in_features: Size = "auto", out_features: Size = "auto") -> nn.Module:
    """The log-variances that a feature predicts, by a linear map and batch norm (Zhang et al., 2020).

    Reads features [batch, in_features] and gives logarithms of variances [batch, out_features].

    >>> models.log_variance_head(in_features=8, out_features=3)(torch.zeros(2, 8)).shape
    torch.Size([2, 3])
    """
    return nn.Sequential(nn.Linear(int(in_features), int(out_features)), nn.BatchNorm1d(int(out_features)))


@model
def standardized_linear(*, in_features: Size = "auto", out_features: Size = "auto", project: bool = True) -> nn.Module:
    """A linear map, then batch norm without scale and shift (Miles et al., 2024).

    Without ``project`` there is no map and both sizes agree. Reads features [batch, in_features] and gives [batch,
    out_features], of mean 0 and variance 1 in each batch while training.

    >>> models.standardized_linear(in_features=8, out_features=4)(torch.randn(16, 8)).mean(0).abs().max() < 1e-5
    tensor(True)
    """
    layers: list[nn.Module] = [nn.Linear(int(in_features), int(out_features))] if project else []
    return nn.Sequential(*layers, nn.BatchNorm1d(int(out_features), affine=False))


@model(name="embedding_adapter")
class EmbeddingAdapter(nn.Module):
    """Batch norm, dropout and a linear map (Wang et al., 2023); the identity where the sizes agree.

    ``dropout`` is the share of features left out while training. Reads features [batch, in_features] and gives [batch,
    out_features].

    >>> models.embedding_adapter(in_features=8, out_features=4)(torch.zeros(2, 8)).shape
    torch.Size([2, 4])
    """

    def __init__(self, *, dropout: Fraction = 0.5, in_features: Size = "auto", out_features: Size = "auto") -> None:
        super().__init__()
        same = int(in_features) == int(out_features)
        layers = [nn.BatchNorm1d(int(in_features)), nn.Dropout(dropout), nn.Linear(int(in_features), int(out_features))]
        self.layers = nn.Identity() if same else nn.Sequential(*layers)

    def forward(self, feature: Tensor) -> Tensor:
        """[batch, out_features] of [batch, in_features]."""
        return self.layers(feature)


@model(name="normalised_linear")
class NormalizedLinear(nn.Module):
    """A linear map whose output rows are L2-normalised: the embedding of contrastive losses.

    Reads features [batch, ...], flattened to ``in_features``, and gives [batch, out_features] of length 1.

    >>> models.normalised_linear(in_features=8, out_features=4)(torch.ones(2, 8)).norm(dim=1).detach()
    tensor([1., 1.])
    """

    def __init__(self, *, in_features: Size = "auto", out_features: Size = 128, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(int(in_features), int(out_features), bias=bias)

    def forward(self, feature: Tensor) -> Tensor:
        """Unit rows [batch, out_features] of [batch, ...], flattened."""
        return F.normalize(self.linear(feature.flatten(1)), dim=1)

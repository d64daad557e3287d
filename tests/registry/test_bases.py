"""A part that is a class has from its base what Python gives it."""

from __future__ import annotations

import textwrap

import pytest

from kdrun.errors import InputError
from kdrun.registry import Catalog, catalog

PLUGIN = textwrap.dedent(
    """
    from torch import nn
    from kdrun.data.text import TextCorpus
    from kdrun.registry import data, model

    class Base(nn.Module):
        def __init__(self, *, width: int = 3, depth: int = 1):
            super().__init__()
        def forward(self, image): return image

    @model(name="own_depth")
    class OwnDepth(Base):
        def __init__(self, *, depth: int = 2, rate: float = 0.1, **more):
            super().__init__(depth=depth, **more)

    @model(name="closed")
    class Closed(OwnDepth):
        def __init__(self, *, rate: float): super().__init__(rate=rate)
        def forward(self, tokens, mask=None): return tokens

    @model(name="open")
    class Open(nn.Module):
        def __init__(self, **more): super().__init__()

    @data(name="lines")
    class Lines(TextCorpus):
        pass
    """
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Catalog:
    path = tmp_path_factory.mktemp("plugin") / "mine.py"
    path.write_text(PLUGIN)
    return Catalog([str(path)])


def names(part) -> tuple[list[str], list[str]]:
    return [i.name for i in part.inputs], list(part.parameters)


def test_what_a_class_hands_on_are_its_bases_parameters(parts) -> None:
    part = parts.get("model", "own_depth")
    assert names(part) == (["image"], ["width", "depth", "rate"])
    assert part.with_defaults({}) == {"width": 3, "depth": 2, "rate": 0.1}
    with pytest.raises(InputError, match=r"no parameter 'widht' \(did you mean 'width'\?\)"):
        part.validate({"widht": 3}, key="k")


def test_a_class_that_hands_nothing_on_has_its_own_alone(parts) -> None:
    assert names(parts.get("model", "closed")) == (["tokens", "mask"], ["rate"])


def test_without_a_base_of_ours_more_stays_open(parts) -> None:
    assert parts.get("model", "open").validate({"anything": 3}, key="k") == {"anything": 3}


def test_a_class_without_init_has_all_of_an_imported_base(parts) -> None:
    assert names(parts.get("data", "lines")) == names(parts.get("data", "text_corpus"))


def test_shipped_parts_share_a_signature() -> None:
    text, canaries = (catalog().get("data", name) for name in ("text_corpus", "canary_corpus"))
    assert text.parameters.items() <= canaries.parameters.items()
    assert not canaries.open_parameters
    assert [i.name for i in catalog().get("model", "wide_resnet").inputs] == ["image"]

"""Drawings show names and nothing that names could say."""

from __future__ import annotations

import re

from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.graph.show import as_mermaid, as_svg


def drawn(name: str) -> Graph:
    first = Node(name, "op", 'zeros"] --> y["', key="graph.first")
    second = Node("second", "op", "add", key="graph.second", inputs={f'{name}"|': Ref(name)})
    return Graph({name: first, "second": second}, targets=("second",))


def test_no_name_leaves_its_label_in_mermaid() -> None:
    for name in ('x"] --> y["z', 'click x href "javascript:1"', "a\nb", "<b>", "`x`", "#quot;", "|x|"):
        text = as_mermaid(drawn(name))
        assert len(text.splitlines()) == 4
        for line in text.splitlines()[1:]:
            assert re.fullmatch(
                r'  n\d(\["[^"<>`]*<br/><small>[^"<>`]*</small>"\]| -->(\|"[^"<>`|]*"\|)? n\d)', line
            ), line


def test_names_of_loops_read_as_before() -> None:
    assert '"turns[2].fit<br/>' in as_mermaid(drawn("turns[2].fit"))


def test_markup_in_a_name_is_text_in_svg() -> None:
    assert "<script>" not in as_svg(drawn("<script>x</script>"))

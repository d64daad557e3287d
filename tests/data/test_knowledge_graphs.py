"""Knowledge graphs from folders and from PyKEEN."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.knowledge_graphs import KnowledgeGraph, token_rows
from kdrun.data.tokenizers import ALPHABET
from kdrun.errors import DataError
from kdrun.parts.knowledge_graphs import triple_index


def folder(path) -> dict[str, str]:
    for split, text in {
        "train": "a\tlikes\tb\nb\tlikes\tc_d\n",
        "valid": "a\tsees\tb\n",
        "test": "c_d\tlikes\ta\n",
    }.items():
        (path / f"{split}.txt").write_text(text)
    return {"source": "folder", "root": str(path), "tokenizer": "characters"}


def test_a_folder_is_read_with_texts_or_names(tmp_path) -> None:
    options = folder(tmp_path)
    splits = KnowledgeGraph(**options, max_tokens=5).load()
    train = splits["train"]
    assert train.info.extra == {"entities": 3, "relations": 2}
    assert torch.stack([train.rows()[k] for k in ("head", "relation", "tail")], 1).tolist() == [[0, 0, 1], [1, 0, 2]]
    tokens = splits["entities"].rows()["tokens"]
    assert "".join(ALPHABET[i - 1] for i in tokens[2].tolist() if i) == "c d"
    texts = tmp_path / "texts.txt"
    texts.write_text("a\tapple\nz\tzebra\n")
    named = KnowledgeGraph(**options, texts=str(texts), max_tokens=5)
    found = named.load()["entities"].rows()["tokens"]
    assert torch.equal(found[0], token_rows(["apple"], "characters", 5)[0])
    before = named.fingerprint()
    texts.write_text("z\tzebra crossing\n")
    assert named.fingerprint() != before
    with pytest.raises(DataError, match="tells of no entity"):
        named.load()


def test_what_a_graph_lacks_is_said(tmp_path) -> None:
    options = folder(tmp_path)
    with pytest.raises(DataError, match="3 entities, expected 9"):
        KnowledgeGraph(**options, entities=9).load()
    with pytest.raises(DataError, match="expected a line entity<TAB>text"):
        KnowledgeGraph(**options, texts=str(tmp_path / "none.txt")).load()
    (tmp_path / "valid.txt").write_text("a b c\n")
    with pytest.raises(DataError, match=r"valid.txt, line 1: expected head<TAB>"):
        KnowledgeGraph(**options).load()
    (tmp_path / "valid.txt").unlink()
    with pytest.raises(DataError, match="there is no .*valid.txt"):
        KnowledgeGraph(**options).load()
    with pytest.raises(DataError, match=r"needs data.name"):
        KnowledgeGraph()
    with pytest.raises(DataError, match="neither 'characters', packaged"):
        token_rows(["x"], str(tmp_path), 4)


def test_real_graphs_come_with_pykeen_and_others_say_what_is_missing(monkeypatch) -> None:
    datasets = pytest.importorskip("pykeen.datasets")
    splits = KnowledgeGraph(name="nations", tokenizer="characters", entities=14, relations=55).load()
    assert [len(splits[n]) for n in ("train", "valid", "test", "entities")] == [1592, 199, 201, 14]
    index = triple_index(splits["train"], splits["valid"], splits["test"])
    assert len(index["keys"].unique()) == 1992
    with pytest.raises(DataError, match="no data set 'nationz'"):
        KnowledgeGraph(name="nationz").load()

    def offline(**_):
        raise ConnectionError

    monkeypatch.setattr(datasets, "get_dataset", offline)
    with pytest.raises(DataError, match=r"cannot fetch 'wn18rr' \(ConnectionError\).*put the file .* into .*wn18rr"):
        KnowledgeGraph(name="wn18rr").load()


def test_a_graph_of_files_is_split_by_entity_with_classes_and_questions(tmp_path) -> None:
    names = [f"e{i:02}" for i in range(30)]
    lines = [f"{names[i]}\tnear\t{names[(i + step) % 30]}" for i in range(30) for step in (1, 2, 3, 5)]
    for split, part in (("train", lines[:100]), ("valid", lines[100:110]), ("test", lines[110:])):
        (tmp_path / f"{split}.txt").write_text("\n".join(part))
    (tmp_path / "classes.txt").write_text(
        "\n".join(f"{name}\t{'odd' if i % 2 else 'even'}" for i, name in enumerate(names))
    )
    (tmp_path / "asked.jsonl").write_text('{"text": "which are first?", "relevant": ["e00", "e01", "far"]}\n')
    beside = {"classes": tmp_path / "classes.txt", "queries": tmp_path / "asked.jsonl"}
    options = {"source": "folder", "root": tmp_path, "tokenizer": "characters", "max_tokens": 8, "least_edges": 1}
    graph = KnowledgeGraph(**options, new_entities=0.1, kinds=2, **beside)
    found = graph.load()
    assert set(found) == set(graph.info())
    new = found["entities_test"].rows()
    assert (new["label"] == new["entity"] % 2).all()
    assert len(new["entity"]) == 3
    old = torch.cat([found["train"].rows()[end] for end in ("head", "tail")])
    assert not torch.isin(new["entity"], old).any()
    assert found["queries"].rows()["relevant"].nonzero()[:, 1].tolist() == [0, 1]
    (tmp_path / "asked.jsonl").write_text('{"text": "?"}\n')
    with pytest.raises(DataError, match="line 1"):
        graph.load()

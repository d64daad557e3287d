"""Claims are written down before they are judged, with the seeds and the miniature."""

from __future__ import annotations

import json

from kdrun.api.frozen import freeze, late

CONFIG = {
    "epochs": 3,
    "arms": {"a": {}, "b": {"epochs": 1}},
    "claims": {"wins": {"test": "a.x > b.x", "says": "so"}},
    "paper": {"title": "One"},
}
OTHER = {**CONFIG, "claims": {"wins": {"test": "a.x > b.x - 0.1", "says": "so"}}}


def test_the_first_claims_of_a_seed_stay_written_down(tmp_path) -> None:
    freeze(tmp_path, CONFIG, [0, 1])
    first = (tmp_path / "claims.json").read_text()
    freeze(tmp_path, CONFIG, [0, 1])
    assert (tmp_path / "claims.json").read_text() == first
    freeze(tmp_path, CONFIG, [0, 1, 2])
    assert [entry["seeds"] for entry in json.loads((tmp_path / "claims.json").read_text())] == [[0, 1], [2]]
    assert late(tmp_path, CONFIG, [0, 1, 2]) == []


def test_claims_that_come_after_results_are_told_with_their_seeds(tmp_path) -> None:
    freeze(tmp_path, CONFIG, [0, 1])
    freeze(tmp_path, OTHER, [0, 1, 2])
    assert late(tmp_path, OTHER, [0, 1, 2]) == [0, 1]
    assert late(tmp_path, CONFIG, [0, 1]) == []


def test_results_of_another_miniature_bind_nothing_and_words_beside_it_do_not_matter(tmp_path) -> None:
    freeze(tmp_path, {**CONFIG, "epochs": 4}, [0])
    freeze(tmp_path, OTHER, [0])
    assert late(tmp_path, OTHER, [0]) == []
    told = {
        **CONFIG,
        "paper": {"title": "Two"},
        "arms": {"a": {}, "b": {"epochs": 1, "exploratory": "looked at"}},
        "store": "x",
    }
    assert late(tmp_path, told, [0], without=("store",)) == [0]


def test_a_file_that_is_none_of_ours_counts_as_none(tmp_path) -> None:
    (tmp_path / "claims.json").write_text('[{"date": 3}]')
    assert late(tmp_path, CONFIG, [0]) == []
    freeze(tmp_path, CONFIG, [0])
    assert len(json.loads((tmp_path / "claims.json").read_text())) == 1

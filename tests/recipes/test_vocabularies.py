"""Distillation across vocabularies: every method plans and runs, and others say where to go."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from support.language import GPT2, saved, tiny

METHODS = ("labels_alone", "universal_logits", "shared_entries", "first_pieces", "edit_distance", "likelihood_matching")
SHORT = (
    "data.train_characters=3000",
    "data.valid_characters=700",
    "data.test_characters=700",
    "data.teacher_vocabulary=110",
    "teacher_steps=2",
    "student_steps=2",
    "batch_size=4",
)


@pytest.mark.parametrize("method", METHODS)
def test_a_teacher_of_other_tokens_is_planned(session, method) -> None:
    ready = session("llm/vocabulary_leaderboard", f"transfer={method}", *SHORT)
    shapes = next(stage.shapes for stage in ready.plan().stages if stage.name == "fit_student")
    assert shapes["s"] == [4, 64, 71]
    if method != "labels_alone":
        assert shapes["t"] == [4, 48, 110]
        assert shapes["kd"] == []


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_student_learns_from_a_teacher_of_other_tokens(session, method) -> None:
    metrics = session("llm/vocabulary_leaderboard", f"transfer={method}", *SHORT).run().metrics
    assert 1 < metrics["test.perplexity"] < 200
    if method in (
        "first_pieces",
        "edit_distance",
    ):  # all that is lost is what stands for no text: the id of what is unknown
        assert metrics["lost.mass"] < 0.1
    if method == "shared_entries":
        assert 0.1 < metrics["lost.mass"] < 0.9


TWO_FOLDERS = ("teacher=transformers", "teacher.task=causal_lm", "teacher.pretrained=true", "student=causal_nano")


def tokenizer_in(folder, words: list[str]) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    known = {word: i for i, word in enumerate(["[?]", *words])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[?]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[?]").save_pretrained(folder)


@pytest.fixture
def folders(tmp_path):
    """A pretrained model with its tokenizer, the same tokenizer by itself, and another one of the same size."""
    pytest.importorskip("transformers")
    model, same, other = (tmp_path / name for name in ("model", "same", "other"))
    saved(model, tiny("gpt2", **GPT2))
    for folder, words in ((model, "the a of"), (same, "the a of"), (other, "of the a")):
        tokenizer_in(folder, words.split())
    return model, same, other


def test_ids_of_another_tokenizer_are_refused_when_planning(session, folders) -> None:
    """Also where both vocabularies have one size, and no shape would tell."""
    model, same, other = folders
    words = (*TWO_FOLDERS, f"teacher.name={model}", "data.vocabulary=71")
    plain = ("privacy/leaderboard", *words, "transfer=plain_distillation")
    with pytest.raises(
        InputError,
        match=r"cannot read 'batch.tokens', ids of the tokenizer '.*other'.*cross_vocabulary/universal_logits",
    ):
        session(*plain, f"data.tokenizer={other}").plan()
    session(*plain, f"data.tokenizer={same}").plan()
    across = (
        "llm/vocabulary_leaderboard",
        "transfer=universal_logits",
        *words,
        f"data.teacher_tokenizer={same}",
        "data.teacher_vocabulary=71",
    )
    session(*across, f"data.tokenizer={other}").plan()
    with pytest.raises(
        InputError, match=r"cannot read 'batch.tokens', ids of the tokenizer 'byte_pairs': it was trained on"
    ):
        session(*across[:-2], "data.teacher_vocabulary=110", f"data.tokenizer={other}").plan()


def test_predictions_over_other_vocabularies_name_the_methods(session) -> None:
    """A teacher that tells more ids apart than the student, both reading one column."""
    with pytest.raises(
        InputError, match=r"one shape, got \[16, 64, 71\] and \[16, 64, 90\].*cross_vocabulary/universal_logits"
    ):
        session(
            "privacy/leaderboard", "transfer=plain_distillation", "teacher={model: causal_transformer, vocabulary: 90}"
        ).plan()
    with pytest.raises(InputError, match="it has a vocabulary of 50, and there are 71 ids"):
        session(
            "privacy/leaderboard", "transfer=plain_distillation", "student={model: causal_transformer, vocabulary: 50}"
        ).plan()

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from model_shapes import random_model, small
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.prepared import PreparedDataset
from seedbed.errors import ConfigError, DataError, how_to_install
from seedbed.evaluation.copies import find_copies
from seedbed.evaluation.figures import TextFigures, text_figures
from seedbed.evaluation.generations import GenerationReport, evaluate_generations
from seedbed.generation.engine import Generation, generate
from seedbed.generation.sampling import SamplingSettings
from seedbed.model.transformer import Transformer, init_weights
from seedbed.tokenizers.simple import ByteTokenizer

pytest.importorskip("sacrebleu")

TOKENIZER = ByteTokenizer()
GREEDY = SamplingSettings(temperature=0)


def saved(folder: Path, model: Transformer) -> Path:
    save_checkpoint(folder, model, TOKENIZER, facts={})
    return folder


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    out = tmp_path_factory.mktemp("data") / "stories"
    return prepare(PrepareConfig(sources=("sample:stories:60",), out=out, tokenizer="byte"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = random_model(vocab_size=TOKENIZER.vocab_size, context_length=128)
    return saved(tmp_path_factory.mktemp("model") / "model", weights)


def prompts_file(folder: Path, *prompts: str | dict[str, Any]) -> Path:
    records = [{"prompt": p} if isinstance(p, str) else p for p in prompts]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder / "prompts.jsonl"


def measured(model: Path, prompts: Path | str, **options: Any) -> GenerationReport:
    """Return a small report; nothing may be noted."""
    notes: list[str] = []
    options = {"max_new_tokens": 30, "device": "cpu", "note": notes.append, **options}
    report = evaluate_generations(model, prompts, **options)
    assert not notes
    return report


def made(*texts: str, finished: str = "end") -> list[Generation]:
    return [Generation("", text, len(text), finished) for text in texts]


def value(figures: TextFigures, name: str) -> float:
    return getattr(figures, name).value


# --- figures --------------------------------------------------------------------------------


def test_figures_are_those_worked_out_by_hand() -> None:
    texts = [*made("a b c d a b c d"), *made("one two", finished="length")]
    copies = find_copies([text.text for text in texts], ["a b c d a b c d a b c d", "two"])
    figures = text_figures(texts, 1, copies)
    assert figures.texts == 2
    assert value(figures, "words") == 5.0
    assert value(figures, "tokens") == (15 + 7) / 2
    assert value(figures, "finished") == 0.5
    assert [e.value for e in figures.distinct] == [6 / 10, 5 / 8, 4 / 6, 4 / 5]
    assert value(figures, "repetition") == pytest.approx(1 / 5)  # only the first has 4-grams
    assert value(figures, "loops") == 0.0
    assert figures.words.standard_error == pytest.approx(3.0)  # of the mean of 8 and 2
    assert figures.word_quantiles == pytest.approx((2.6, 5.0, 7.4))
    assert figures.copies is not None
    assert figures.copies.longest.value == 4.5
    assert figures.copies.longest_of_all == 8
    assert figures.copies.share.value == 0.0  # no run of 10 words


def test_errors_are_over_prompts_and_not_over_their_samples() -> None:
    alike = made("a b", "a b", "a b c d", "a b c d")  # two samples of each of two prompts
    figures = text_figures(alike, 2, None)
    assert figures.words.value == 3.0
    assert figures.words.standard_error == pytest.approx(1.0)
    assert figures.distinct[0].value == pytest.approx(4 / 6)  # of each round, not of all texts


def test_figures_of_one_prompt_and_of_no_words_are_json() -> None:
    for texts in (made("a"), made("", "")):
        figures = text_figures(texts, 1, find_copies([t.text for t in texts], ["a"]))
        json.dumps(asdict(figures), allow_nan=False)
        assert figures.distinct[3].value is None
        assert figures.repetition.value is None


# --- reports --------------------------------------------------------------------------------


def test_a_model_that_learned_a_text_by_heart_copies_it(
    stories: PreparedDataset, tmp_path: Path
) -> None:
    ids = [TOKENIZER.special.bos, *stories.train.document(0)[:150].tolist()]
    model = Transformer(small(vocab_size=TOKENIZER.vocab_size, context_length=160))
    init_weights(model, 0)
    batch = torch.tensor([ids])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(250):
        optimizer.zero_grad()
        F.cross_entropy(model(batch[:, :-1])[0], batch[0, 1:]).backward()
        optimizer.step()
    text = TOKENIZER.decode(ids)
    prompt = text[:20].rsplit(" ", 1)[0]
    report = measured(
        saved(tmp_path / "model", model),
        prompts_file(tmp_path, prompt),
        data=stories.folder,
        max_new_tokens=len(text) - len(prompt),
        sampling=GREEDY,
    )
    [written] = report.texts
    assert written.prompt + written.text == text
    assert report.generated.copies is not None
    assert report.generated.copies.share.value == 1.0
    words = written.text.split()
    assert written.longest_copy in (len(words), len(words) - 1)  # the last may be cut
    assert text.split()[-3] in (written.copy or "")


def test_a_random_model_copies_nothing(model: Path, stories: PreparedDataset) -> None:
    report = measured(model, "val", data=stories.folder, limit=5)
    assert report.generated.copies is not None
    assert report.human is not None
    assert report.human.copies is not None
    assert report.generated.copies.share.value == 0.0
    assert (report.generated.copies.longest.value or 0) < (report.human.copies.longest.value or 0)
    assert report.training_tokens == stories.train.num_tokens


def test_training_documents_are_copies_of_the_training_text(
    model: Path, stories: PreparedDataset
) -> None:
    report = measured(model, "train", data=stories.folder, limit=2, max_new_tokens=1500)
    assert report.human is not None
    assert report.human.copies is not None
    assert report.human.copies.share.value == 1.0
    assert report.human.finished.value == 1.0


def test_the_texts_are_those_of_generate(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = prompts_file(tmp_path, "One", "Two")
    options: dict[str, Any] = {"max_new_tokens": 12, "seed": 3, "sampling": SamplingSettings()}
    report = evaluate_generations(model, path, samples=2, note=lambda _: None, **options)
    loaded = load_checkpoint(model)
    wanted = generate(loaded.model, loaded.tokenizer, ["One", "Two"], samples=2, **options)
    assert [(t.prompt, t.text, t.tokens) for t in report.texts] == [
        (g.prompt, g.text, g.tokens) for g in wanted
    ]
    monkeypatch.setattr("seedbed.generation.engine._MOST_ROWS", 2)
    stages: list[tuple[str, int, int]] = []
    parts = evaluate_generations(
        model,
        path,
        samples=2,
        note=lambda _: None,
        progress=lambda *stage: stages.append(stage),
        **options,
    )
    assert [t.prompt for t in parts.texts] == ["One", "One", "Two", "Two"]
    assert stages == [("writing", 0, 4), ("writing", 2, 4), ("writing", 4, 4)]


def test_only_prompts_with_references_are_scored(
    model: Path, stories: PreparedDataset, tmp_path: Path
) -> None:
    path = prompts_file(
        tmp_path,
        "One",
        {"prompt": "Two", "references": ["was here", "is here"]},
        {"prompt": "Six", "reference": "ran off"},
    )
    report = measured(model, path, data=stories.folder, samples=2)
    assert report.bleu is not None
    assert report.chrf is not None
    assert (report.bleu.texts, report.chrf.texts) == (4, 4)
    assert report.human is not None
    assert (report.generated.texts, report.human.texts) == (6, 2)
    assert value(report.human, "words") == 2.0
    assert report.texts[2].references == ("was here", "is here")
    plain = measured(model, prompts_file(tmp_path, "One"), data=stories.folder)
    assert (plain.bleu, plain.chrf, plain.human) == (None, None, None)


def test_an_unknown_training_text_is_noted(model: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    path = prompts_file(tmp_path, "One")
    report = evaluate_generations(model, path, max_new_tokens=5, note=notes.append)
    assert len(notes) == 1
    assert "Copies of training text are not looked for." in notes[0]
    assert (report.generated.copies, report.training_tokens) == (None, None)
    assert report.texts[0].longest_copy is None
    with pytest.raises(ConfigError, match="--data DIR"):
        evaluate_generations(model, "val")


def test_less_of_the_training_text_is_searched_on_request(
    model: Path, stories: PreparedDataset
) -> None:
    limit = stories.train.num_tokens // 3
    report = measured(model, "val", data=stories.folder, limit=2, limit_tokens=limit)
    assert report.training_tokens == pytest.approx(limit, rel=0.2)


def test_without_sacrebleu_only_own_references_are_refused(
    model: Path, stories: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    notes: list[str] = []
    options: dict[str, Any] = {"data": stories.folder, "max_new_tokens": 5}
    report = evaluate_generations(model, "val", limit=2, note=notes.append, **options)
    assert report.bleu is None
    assert report.human is not None
    assert any(how_to_install("eval") in note for note in notes)
    path = prompts_file(tmp_path, {"prompt": "Two", "reference": "x"})
    with pytest.raises(ConfigError, match="sacrebleu"):
        evaluate_generations(model, path, **options)


def test_what_cannot_be_asked_for_is_refused(
    model: Path, stories: PreparedDataset, tmp_path: Path
) -> None:
    path = prompts_file(tmp_path, "x" * 126, "x" * 127)  # 127 and 128 tokens with the beginning
    with pytest.raises(DataError, match=r"line 2: the prompt has 128 tokens, .* reads 128 "):
        measured(model, path, data=stories.folder)
    with pytest.raises(DataError, match=r"val document .* fewer --prompt-words"):
        measured(model, "val", data=stories.folder, prompt_words=40)
    for name in ("samples", "limit", "prompt_words", "limit_tokens"):
        with pytest.raises(ConfigError, match=f"`{name}` is 0 but must be 1 or more"):
            measured(model, "val", data=stories.folder, **{name: 0})
    with pytest.raises(ConfigError, match="`max_new_tokens` is 0"):
        measured(model, "val", data=stories.folder, max_new_tokens=0)

"""What a model writes: how varied, how long, how much of it is copied, how near to references.

Beside each figure of the generated texts stands that of texts by people, where these are known: a
share of distinct words means nothing alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from seedbed.checkpoints import Checkpoint, load_checkpoint
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.data.token_shards import SPLITS, Split
from seedbed.distributed import join_world
from seedbed.errors import ConfigError, DataError
from seedbed.evaluation.copies import Copies, find_copies
from seedbed.evaluation.evaluate import choose_documents, dataset_of_run, document_text
from seedbed.evaluation.figures import COPIED_RUN, TextFigures, text_figures
from seedbed.evaluation.prompts import (
    NUM_PROMPTS,
    PROMPT_WORDS,
    CutSettings,
    Prompt,
    cut_prompts,
    read_prompts,
)
from seedbed.evaluation.references import (
    ReferenceScore,
    require_sacrebleu,
    score_against_references,
)
from seedbed.generation.engine import Generation, generate, prompt_ids
from seedbed.generation.sampling import SamplingSettings
from seedbed.tokenizers.base import Tokenizer

_DOCUMENTS_BETWEEN_REPORTS = 256

Show = Callable[[str, int, int], object]  # a stage's name, how much is done, of how much


@dataclass(frozen=True)
class WrittenText:
    """One generated text."""

    prompt: str
    text: str  # what was added
    tokens: int
    finished: str  # "end" or "length"
    references: tuple[str, ...]
    longest_copy: int | None  # words of the longest run that the training text has too
    copy: str | None  # these words


@dataclass(frozen=True)
class GenerationReport:
    """What a model writes. The names are those of the JSON that `eval --prompts` prints."""

    prompts: int
    samples: int  # texts for each prompt
    max_new_tokens: int
    seed: int
    sampling: dict[str, Any]
    generated: TextFigures
    human: TextFigures | None  # of the first reference of each prompt that has one
    bleu: ReferenceScore | None
    chrf: ReferenceScore | None
    training_tokens: int | None  # searched for copies; None: the training text is not known
    copied_run: int  # words that make a run count as copied
    texts: tuple[WrittenText, ...]


def evaluate_generations(
    checkpoint: Path,
    prompts: Path | str,
    *,
    data: Path | None = None,
    samples: int = 1,
    max_new_tokens: int = 200,
    sampling: SamplingSettings | None = None,
    seed: int = 0,
    limit: int | None = None,
    prompt_words: int = PROMPT_WORDS,
    limit_tokens: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: Show = lambda stage, done, total: None,  # noqa: ARG005
    note: Callable[[str], object] = warnings.warn,
) -> GenerationReport:
    """Return what a checkpoint or run writes after `prompts`: a file, or "val" or "train".

    From a split, the first `prompt_words` of 100 documents are the prompts, and how these documents
    go on the references; `limit` asks for another number. `data` is the training text, that of the
    run by default; `limit_tokens` of it are searched for copies, all by default. `note` is told
    what cannot be measured; `precision` is that of `load_checkpoint`. Raises
    ConfigError, DataError or CheckpointError.
    """
    counts = {"samples": samples, "max_new_tokens": max_new_tokens, "limit": limit}
    check_counts(**counts, prompt_words=prompt_words, limit_tokens=limit_tokens)
    loaded = load_checkpoint(checkpoint, join_world(device).device, precision)
    from_split = prompts in SPLITS
    dataset = _training_dataset(loaded, data, required=from_split, note=note)
    if from_split and dataset:
        cut = CutSettings(prompt_words, max_new_tokens, limit or NUM_PROMPTS)
        chosen = cut_prompts(dataset, cast("Split", prompts), loaded.tokenizer, cut)
    else:
        chosen = read_prompts(Path(prompts), limit=limit)
    _check_room(chosen, loaded)
    scored = _can_score(chosen, required=not from_split, note=note)
    sampling = sampling or SamplingSettings()
    written = generate(
        loaded.model,
        loaded.tokenizer,
        [prompt.text for prompt in chosen],
        samples=samples,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        seed=seed,
        progress=partial(progress, "writing"),
    )
    human = [_human(prompt, loaded.tokenizer) for prompt in chosen if prompt.references]
    copies, searched = _search([*written, *human], dataset, limit_tokens, progress)
    of_human = copies and copies[len(written) :]
    bleu, chrf = _scores(chosen, written) if scored else (None, None)
    return GenerationReport(
        prompts=len(chosen),
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        sampling=sampling.model_dump(),
        generated=text_figures(written, samples, copies and copies[: len(written)]),
        human=text_figures(human, 1, of_human) if human else None,
        bleu=bleu,
        chrf=chrf,
        training_tokens=searched,
        copied_run=COPIED_RUN,
        texts=_texts(chosen, written, copies),
    )


def check_counts(**counts: int | None) -> None:
    """Raise ConfigError, naming it, for a count below 1."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ConfigError(f"`{name}` is {count} but must be 1 or more.")


def _training_dataset(
    loaded: Checkpoint, data: Path | None, *, required: bool, note: Callable[[str], object]
) -> PreparedDataset | None:
    """Return the dataset to look for copies in; None, with a note, where it is not known."""
    if data:
        return open_dataset(data)
    try:
        return dataset_of_run(loaded)
    except ConfigError as error:
        if required:
            raise
        note(f"Copies of training text are not looked for. {error}")
        return None


def _check_room(prompts: Sequence[Prompt], loaded: Checkpoint) -> None:
    """Raise DataError for a prompt that the model could read only in part."""
    context_length = loaded.model.config.context_length
    for prompt in prompts:
        size = len(prompt_ids(loaded.tokenizer, prompt.text))
        if size >= context_length:
            raise DataError(
                f"{prompt.place}: the prompt has {size:,} tokens, and the model reads "
                f"{context_length:,} at a time. Shorten it, or ask for fewer --prompt-words."
            )


def _can_score(prompts: Sequence[Prompt], *, required: bool, note: Callable[[str], object]) -> bool:
    """Return whether there are references, and the software to compare with them."""
    if not any(prompt.references for prompt in prompts):
        return False
    try:
        require_sacrebleu()
    except ConfigError as error:
        if required:
            raise
        note(str(error))
        return False
    return True


def _human(prompt: Prompt, tokenizer: Tokenizer) -> Generation:
    """Return the first reference of a prompt, as if it had been generated."""
    text = prompt.references[0]
    tokens = len(tokenizer.encode(text)) + prompt.whole
    return Generation(prompt.text, text, tokens, "end" if prompt.whole else "length")


def _search(
    texts: Sequence[Generation],
    dataset: PreparedDataset | None,
    limit_tokens: int | None,
    progress: Show,
) -> tuple[list[Copies] | None, int | None]:
    """Return what the texts share with the training split, and how many tokens of it were read.

    None, twice, without a dataset.
    """
    if dataset is None:
        return None, None
    shards = dataset.train
    numbers = choose_documents(shards, limit_tokens)
    total = int(sum(shards.offsets[n + 1] - shards.offsets[n] for n in numbers))

    def documents() -> Iterator[str]:
        done = 0
        for count, number in enumerate(numbers):
            if count % _DOCUMENTS_BETWEEN_REPORTS == 0:
                progress("searching training", done, total)
            ids = shards.document(number)
            done += ids.size
            yield document_text(dataset, ids)
        progress("searching training", done, total)

    return find_copies([text.text for text in texts], documents()), total


def _scores(
    prompts: Sequence[Prompt], written: Sequence[Generation]
) -> tuple[ReferenceScore, ReferenceScore]:
    """Return BLEU and chrF over the prompts that have references."""
    samples = len(written) // len(prompts)
    texts = [written[i : i + samples] for i in range(0, len(written), samples)]
    pairs = [(p.references, own) for p, own in zip(prompts, texts, strict=True) if p.references]
    return score_against_references(
        [[text.text.strip() for text in own] for _, own in pairs],
        [[text.strip() for text in references] for references, _ in pairs],
    )


def _texts(
    prompts: Sequence[Prompt], written: Sequence[Generation], copies: Sequence[Copies] | None
) -> tuple[WrittenText, ...]:
    samples = len(written) // len(prompts)
    return tuple(
        WrittenText(
            **vars(text),
            references=prompts[number // samples].references,
            longest_copy=copies[number].longest if copies else None,
            copy=copies[number].longest_run if copies else None,
        )
        for number, text in enumerate(written)
    )

"""The README.md that goes with a model: what is known of it, and nothing that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.config import read_yaml
from seedbed.errors import CheckpointError, ConfigError, UserError
from seedbed.evaluation.evaluate import EvalReport, data_of_run
from seedbed.files import read_json, read_manifest
from seedbed.model.config import ModelConfig
from seedbed.model.huggingface import model_config
from seedbed.runs import RunDir

# What of a run's settings says how the weights came to be, in the order of the table.
_SETTINGS = (
    "horizon",
    "seed",
    "batch_size",
    "window",
    "sampling",
    "precision",
    "optimizer",
    "schedule",
)
_SHAPE = {
    "num_layers": "layers",
    "d_model": "width",
    "num_heads": "heads",
    "num_kv_heads": "key and value heads",
    "d_ff": "width inside the MLP",
    "context_length": "context, in tokens",
    "vocab_size": "vocabulary",
    "position": "positions",
    "norm": "norm",
    "mlp": "MLP",
}


@dataclass(frozen=True)
class Origin:
    """What is known of where a checkpoint comes from; empty where it stands alone."""

    facts: dict[str, Any]  # of its manifest: step, tokens
    settings: dict[str, Any]  # of its run, as resolved
    scores: dict[str, Any]  # the line of metrics.jsonl that belongs to it
    dataset: dict[str, Any]  # the manifest of what it was trained on, where that is still there
    packages: dict[str, str]  # their versions at the run's beginning


def origin_of(folder: Path) -> Origin:
    """Return what the run around a checkpoint folder, and the dataset it names, say of it.

    Raises CheckpointError when the checkpoint has no manifest, or its run's metrics are damaged.
    """
    facts = read_manifest(folder, error=CheckpointError)
    run = RunDir(folder.parent.parent)
    if folder.parent.name != "checkpoints" or not run.config.is_file():
        return Origin(facts, {}, {}, {}, {})
    settings = read_yaml(run.config)
    records = [r for r in run.read_metrics() if r.get("val_loss") is not None]
    scores = next((r for r in records if r["step"] == facts.get("step")), {})
    environment = read_json(run.environment) if run.environment.is_file() else {}
    return Origin(facts, settings, scores, _dataset(run), environment.get("packages", {}))


def _dataset(run: RunDir) -> dict[str, Any]:
    """Return the manifest of a run's dataset, or {} when it is not there or was made anew."""
    try:
        return run.manifest_of(data_of_run(run))
    except (UserError, OSError):
        return {}


def model_card(
    folder: Path, *, repo: str, license_name: str = "unknown", report: EvalReport | None = None
) -> str:
    """Return the model card (Markdown) of a checkpoint folder as it would stand in `repo`.

    `report` is a measurement of the whole validation split; without it, the card gives what was
    measured while training. Paths of this machine are left out. Raises ConfigError for a licence
    that is not an identifier.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", license_name):
        raise ConfigError(
            f"`--license` is {license_name!r}. Write an identifier such as apache-2.0 or "
            "cc-by-4.0; https://huggingface.co/docs/hub/repositories-licenses lists them."
        )
    shape = model_config(read_json(folder / "config.json"))
    origin = origin_of(folder)
    name = repo.rpartition("/")[2]
    sections = [
        _front_matter(license_name),
        f"# {name}\n\n" + " ".join(_summary(shape, origin)),
        "## How good it is\n\n" + " ".join(_quality(origin, report)),
        _usage(repo, can_talk=bool(origin.facts.get("chat"))),
        "## Shape\n\n" + _table((text, getattr(shape, key)) for key, text in _SHAPE.items()),
    ]
    if origin.settings:
        sections.append("## How it was trained\n\n" + _table(_training(origin)))
    sections.append("## What to know\n\n" + "\n".join(f"- {line}" for line in _caveats(origin)))
    return "\n\n".join(sections) + "\n"


def _front_matter(license_name: str) -> str:
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "pipeline_tag: text-generation",
            f"license: {license_name}",
            "tags:",
            "- seedbed",
            "- text-generation",
            "---",
        ]
    )


def _summary(shape: ModelConfig, origin: Origin) -> Iterator[str]:
    yield f"A language model of {shape.parameters}, of the class {shape.stock_class},"
    yield "made with Seedbed."
    own = origin.settings.get("finetune")
    if own:
        yield f"It was trained on {_names(own['sources'])}{_conversations(origin)}."
        if own.get("replay"):
            yield f"The text of {_names([own['replay']])} was mixed in."
    elif origin.settings:
        yield f"It was trained on {_names([origin.settings['data']])}{_made_of(origin)}."
    if "tokens" in origin.facts:  # of conversations, what pads the rows is counted there too
        seen = "" if own else f", after {origin.facts['tokens']:,} tokens {_epochs(origin)}"
        yield f"This is step {origin.facts['step']:,}{seen}."
    before = own["checkpoint"] if own else origin.settings.get("from_checkpoint")
    if before:
        yield f"It began with the weights of another model, {_names([before])}, whose training is"
        yield "not counted here."


def _names(sources: Sequence[object]) -> str:
    """Return the first names of what was read, in words."""
    shown = ", ".join(f"`{public_name(str(source))}`" for source in sources[:5])
    return shown + (f" and {len(sources) - 5} more" if len(sources) > 5 else "")


def _made_of(origin: Origin) -> str:
    sources = [source["name"] for source in origin.dataset.get("sources", [])]
    if not sources:
        return ""
    train = origin.dataset["train"]
    size = f"{train['documents']:,} documents, {train['bytes'] / 1e6:,.2f} MB"
    return f", made of {_names(sources)} ({size})"


def _conversations(origin: Origin) -> str:
    """Return how many conversations there were to learn from, or pairs of answers."""
    if not origin.dataset:
        return ""
    number = origin.dataset["train"]["documents"]
    pairs = origin.settings["finetune"]["method"] == "dpo"
    return f" ({number // 2:,} pairs of answers)" if pairs else f" ({number:,} conversations)"


def _epochs(origin: Origin) -> str:
    available = origin.dataset.get("train", {}).get("tokens")
    epochs = f"({origin.facts['tokens'] / available:.2f} epochs) " if available else ""
    return f"{epochs}of training"


def _quality(origin: Origin, report: EvalReport | None) -> Iterator[str]:
    own = origin.settings.get("finetune")
    what = "what the assistant says" if own else "validation text"
    if report is not None:
        error = "" if report.standard_error is None else f" ± {report.standard_error:.4f}"
        each = "conversations" if own else "documents"
        yield f"**{report.bits_per_byte:.4f}{error} bits per byte** on {what},"
        yield f"{report.documents:,} {each} of {report.bytes:,} bytes, which were held out"
        yield f"(loss {report.loss:.4f} nats per token, perplexity {report.perplexity:.2f})."
        if report.baseline_bits_per_byte is not None:
            yield f"A byte n-gram model reaches {report.baseline_bits_per_byte:.4f} on it."
        if report.standard_error is not None:
            yield f"The standard error is over {each}, not over training runs."
        return
    if not origin.scores:
        yield "Not measured."
        return
    of_pairs = own is not None and own["method"] == "dpo"
    loss = "" if of_pairs else f" (loss {origin.scores['val_loss']:.4f} nats per token)"
    yield f"{origin.scores['val_bits_per_byte']:.4f} bits per byte on {what}{loss}, measured while"
    yield f"training on at most {origin.settings['evaluation']['tokens']:,} tokens that were held"
    yield "out."
    if "baseline" in origin.dataset:
        yield "A byte n-gram model reaches"
        yield f"{origin.dataset['baseline']['bits_per_byte']:.4f} on the whole validation text."


def _usage(repo: str, *, can_talk: bool) -> str:
    start = 'tokenizer("Once upon a time", return_tensors="pt").input_ids'
    if can_talk:
        start = """\
tokenizer.apply_chat_template(
    [{"role": "user", "content": "What can you tell me?"}],
    add_generation_prompt=True,
    return_dict=True,
    return_tensors="pt",
).input_ids"""
    written = "ids[0, start.shape[1] :]" if can_talk else "ids[0]"
    return f"""\
## How to use it

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo}")
model = AutoModelForCausalLM.from_pretrained("{repo}")
start = {start}
ids = model.generate(start, max_new_tokens=100, do_sample=True, temperature=0.8, top_k=50)
print(tokenizer.decode({written}, skip_special_tokens=True))
```"""


def _training(origin: Origin) -> Iterator[tuple[str, object]]:
    for key in _SETTINGS:
        value = origin.settings.get(key)
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", part) for name, part in value.items() if part is not None)
        elif value is not None:
            yield key, value
    for name in ("seedbed", "torch"):
        if name in origin.packages:
            yield f"version of {name}", origin.packages[name]


def _caveats(origin: Origin) -> Iterator[str]:
    if origin.facts.get("chat"):
        yield "It answers in the manner of the conversations it has read, which need not be right."
    else:
        yield (
            "It goes on with a text in the manner of what it was trained on. It was not taught to "
            "answer questions, and what it writes need not be true."
        )
    yield "What it may write was not filtered or checked; it may repeat parts of its training text."
    yield "Whether the training text allows a use of this model is for its user to find out."
    if not origin.scores or not origin.dataset:
        yield "Part of what this card would tell was not known when it was written."


def _table(rows: Iterator[tuple[str, object]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])


def public_name(source: str) -> str:
    """Return a source's name without folders of this machine, user names and passwords.

    >>> public_name("/home/ada/texts/poems.txt")
    'poems.txt'
    >>> public_name("https://ada:secret@example.org/poems.txt?token=1")
    'https://example.org/poems.txt'
    """
    scheme, colon, rest = source.partition(":")
    if "://" in source and scheme != "file":
        return re.sub(r"//[^/@]*@", "//", source.partition("?")[0])
    name = re.split(r"[/\\]", source.rstrip("/\\"))[-1]
    if not colon or len(scheme) == 1 or scheme == "file":  # a path, perhaps of Windows
        return name
    return source if re.match(r"\w", rest) and scheme != "nanogpt" else f"{scheme}:{name}"

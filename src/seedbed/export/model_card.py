"""The README.md that goes with a model: what is known of it, and nothing that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
        manifest = read_manifest(data_of_run(run))
    except (UserError, OSError):
        return {}
    return manifest if manifest["checksum"] == run.read_request().get("data") else {}


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
        _usage(repo),
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
    if origin.settings:
        yield f"It was trained on `{public_name(str(origin.settings['data']))}`{_made_of(origin)}."
    if "tokens" in origin.facts:
        yield f"This is step {origin.facts['step']:,}, after {origin.facts['tokens']:,} tokens"
        yield f"{_epochs(origin)}of training."
    own = origin.settings.get("finetune") or {"checkpoint": origin.settings.get("from_checkpoint")}
    if own["checkpoint"]:
        yield "It began with the weights of another model,"
        yield f"`{public_name(str(own['checkpoint']))}`, whose training is not counted here."


def _made_of(origin: Origin) -> str:
    names = [public_name(source["name"]) for source in origin.dataset.get("sources", [])]
    if not names:
        return ""
    shown = ", ".join(f"`{name}`" for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    train = origin.dataset["train"]
    size = f"{train['documents']:,} documents, {train['bytes'] / 1e6:,.2f} MB"
    return f", made of {shown}{more} ({size})"


def _epochs(origin: Origin) -> str:
    available = origin.dataset.get("train", {}).get("tokens")
    return f"({origin.facts['tokens'] / available:.2f} epochs) " if available else ""


def _quality(origin: Origin, report: EvalReport | None) -> Iterator[str]:
    if report is not None:
        error = "" if report.standard_error is None else f" ± {report.standard_error:.4f}"
        what = "what the assistant says" if origin.settings.get("finetune") else "validation text"
        yield f"**{report.bits_per_byte:.4f}{error} bits per byte** on {what},"
        yield f"{report.documents:,} documents of {report.bytes:,} bytes, which were held out"
        yield f"(loss {report.loss:.4f} nats per token, perplexity {report.perplexity:.2f})."
        if report.baseline_bits_per_byte is not None:
            yield f"A byte n-gram model reaches {report.baseline_bits_per_byte:.4f} on it."
        if report.standard_error is not None:
            yield "The standard error is over documents, not over training runs."
        return
    if not origin.scores:
        yield "Not measured."
        return
    yield f"{origin.scores['val_bits_per_byte']:.4f} bits per byte on validation text"
    yield f"(loss {origin.scores['val_loss']:.4f} nats per token), measured while training on at"
    yield f"most {origin.settings['evaluation']['tokens']:,} tokens of it."
    if "baseline" in origin.dataset:
        yield "A byte n-gram model reaches"
        yield f"{origin.dataset['baseline']['bits_per_byte']:.4f} on the whole validation text."


def _usage(repo: str) -> str:
    return f"""\
## How to use it

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo}")
model = AutoModelForCausalLM.from_pretrained("{repo}")
start = tokenizer("Once upon a time", return_tensors="pt").input_ids
ids = model.generate(start, max_new_tokens=100, do_sample=True, temperature=0.8, top_k=50)
print(tokenizer.decode(ids[0], skip_special_tokens=True))
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
    if origin.settings.get("finetune"):
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

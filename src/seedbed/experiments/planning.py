"""From settings to a plan, and to all that it speaks of: the tokenizer, the parts, the evaluation.

The sources are read three times: to see what there is, for the evaluation documents and the
tokenizer, and for the parts, which are as large as the budget wants them. The plan is written last.
A planning that was killed starts anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from seedbed.config import to_yaml
from seedbed.data.ngrams import first_bytes
from seedbed.data.overlap import ContaminationIndex
from seedbed.data.pieces import ReadOptions
from seedbed.data.prepare import (
    MADE_FROM_TEXT,
    PrepareConfig,
    check_tokenizer,
    make_tokenizer,
    prepare,
)
from seedbed.data.survey import Samples
from seedbed.experiments.budgets import Need, Rate, Size, choose_size, resolved_settings
from seedbed.experiments.config import ExperimentConfig
from seedbed.experiments.plan import EvalDocument, ExperimentDir, Plan, usual_workers
from seedbed.experiments.plan_facts import make_facts, refuse_too_few
from seedbed.experiments.portions import Portion, portions
from seedbed.experiments.requests import (
    REQUEST,
    keep_sources,
    read_request,
    refuse_changed_sources,
    refuse_changes,
)
from seedbed.experiments.task_sets import check_tasks, write_tasks
from seedbed.experiments.texts import (
    FEWEST_DOCUMENTS,
    HELD_OUT_DOCUMENTS,
    Found,
    Text,
    can_sketch,
    cut_to,
    hold_out,
    longest_scored,
)
from seedbed.experiments.timing import time_a_core
from seedbed.files import append_json_line, replace_folder, write_json, write_text
from seedbed.model.config import ModelConfig
from seedbed.tokenizers.base import Tokenizer

TOKENIZER_BYTES = 1_000_000  # of each text, at most

Note = Callable[[str], object]


def make_plan(
    config: ExperimentConfig,
    folder: Path,
    *,
    workers: int | None = None,
    note: Note = lambda _: None,
) -> Plan:
    """Return the plan of an experiment, made now, or found in its folder.

    `workers` is how many jobs will run at once where minutes decide; None: one a core. Raises
    ConfigError when the folder holds another experiment or something else, DataError for text that
    cannot be used, or that changed since.
    """
    place = ExperimentDir(folder)
    asked = config.model_dump(mode="json")
    with place.lock():
        before = read_request(folder, "experiment", known_by="datasets")
        if place.plan.is_file():
            refuse_changes(folder, "experiment", before, asked)
            refuse_changed_sources(place.sources)
            return place.read_plan()
        for made in ("data", "eval", "tasks", "tokenizer", "planning"):  # by a killed planning
            shutil.rmtree(folder / made, ignore_errors=True)
        write_json(folder / REQUEST, asked)
        planning = _Planning(config, place, workers or usual_workers(config.device), note)
        plan = planning.run()
        shutil.rmtree(planning.aside)
        place.write_plan(plan)
        return plan


@dataclass
class _Planning:
    """What is known so far."""

    config: ExperimentConfig
    place: ExperimentDir
    workers: int
    note: Note
    found: Found = field(default_factory=Found)

    @property
    def aside(self) -> Path:
        """The folder that is gone when the plan is there."""
        return self.place.path / "planning"

    def run(self) -> Plan:
        """Return the plan."""
        check_tasks(self.config)
        check_tokenizer(self.config.tokenizer)
        (self.aside / "texts").mkdir(parents=True)
        self._survey()
        samples = self._read_samples()
        self.note("making the tokenizer")
        training = [document for documents in samples.values() for document in documents]
        tokenizer = make_tokenizer(
            self.config.tokenizer, Samples.of(training), self.config.vocab_size
        )
        with replace_folder(self.place.tokenizer) as saved:
            tokenizer.save(saved)
        self.found.bytes_per_token = {
            name: _bytes_per_token(tokenizer, documents) for name, documents in samples.items()
        }
        size = choose_size(self.config, self._need(tokenizer), self._measure(samples))
        parts = self._portions(size)
        self._distribute(parts)
        clean = self._clean_evals()
        refuse_too_few(clean)
        self._prepare(parts)
        tasks = write_tasks(self.config, self.place, clean)
        plan = make_facts(self.config, self.found, size, parts, tasks, self.place, self.workers)
        self._write_settings(size, plan)
        return plan

    def _survey(self) -> None:
        """Find out what documents there are, and which of them are held out."""
        config, found = self.config, self.found
        options = ReadOptions(config.text_field, config.document_separator)
        for name, dataset in config.texts.items():
            found.texts[name] = Text(
                name, dataset.sources, options=options, filters=dataset.filters, dedup=config.dedup
            )
        for name, sources in config.evals.items():
            found.texts[name] = Text(name, sources, options=options)
        sources = [source for text in found.texts.values() for source in text.sources]
        keep_sources(self.place.sources, sources)
        for name in config.texts:
            self.note(f"reading {name}")
            found.contents[name] = found.texts[name].survey(at_least=FEWEST_DOCUMENTS)
            found.held_out[name] = hold_out(found.contents[name], config.eval_bytes)
        for name in config.evals:
            self.note(f"reading {name}")
            contents = found.texts[name].survey(at_least=HELD_OUT_DOCUMENTS)
            found.held_out[name] = hold_out(contents, config.eval_bytes, share=1.0)
        held = np.concatenate([found.held_out[name].hashes for name in config.texts])
        for name in config.texts:
            training = found.contents[name].without(held)
            found.training[name] = training.shuffled(config.seed)

    def _read_samples(self) -> dict[str, list[bytes]]:
        """Return equally much training text of each; read the evaluation documents beside it."""
        found = self.found
        size = min(TOKENIZER_BYTES, *(found.training[name].bytes for name in self.config.texts))
        found.tokenizer_bytes = size if self.config.tokenizer in MADE_FROM_TEXT else 0
        samples: dict[str, list[bytes]] = {}
        longest = longest_scored(self.config.eval_bytes)
        for name, text in found.texts.items():
            held = set(found.held_out[name].hashes.tolist())
            training = found.training.get(name)
            wanted = set(training.first_bytes(size).hashes.tolist()) if training else set[int]()
            found.evals[name], sample = {}, []
            for key, document in text.read(held | wanted):
                if key in held:
                    found.evals[name][key] = cut_to(document, longest)
                else:
                    sample.append(document.encode())
            if training:
                samples[name] = first_bytes(sample, size)
        return samples

    def _need(self, tokenizer: Tokenizer) -> Need:
        found = self.found
        evals = [d for documents in found.evals.values() for d in documents.values()]
        return Need(
            vocab_size=tokenizer.vocab_size,
            datasets=len(self.config.datasets),
            bytes_per_token=fmean(found.bytes_per_token.values()),
            eval_bytes=sum(len(document.encode()) for document in evals),
            smallest_bytes=min(contents.bytes for contents in found.training.values()),
            workers=self.workers,
        )

    def _measure(self, samples: Mapping[str, list[bytes]]) -> Callable[[ModelConfig], Rate]:
        """Return the function that times a shape, on the longest sample."""
        data = self.aside / "trial"

        def measure(shape: ModelConfig) -> Rate:
            if not data.exists():
                self._prepare_one(self._sample_file(samples), None, data)
            self.note(f"timing a model of {shape.parameters.total:,} parameters")
            return time_a_core(self.config, shape, data, self.workers)

        return measure

    def _sample_file(self, samples: Mapping[str, list[bytes]]) -> Path:
        name = max(samples, key=lambda n: sum(map(len, samples[n])))
        file = self.aside / "trial.jsonl"
        for document in samples[name]:
            _write_record(file, document.decode("utf-8", "ignore"))
        return file

    def _portions(self, size: Size) -> list[Portion]:
        """Return the parts of all datasets."""
        return [
            portion
            for name, dataset in self.config.datasets.items()
            for portion in portions(
                name,
                dataset,
                self.found.training,
                seeds=size.seeds,
                need=size.bytes(self._mean_bytes_per_token(name)),
                max_epochs=self.config.max_epochs,
            )
        ]

    def _mean_bytes_per_token(self, name: str) -> float:
        """Return what a dataset has, as far as a sample tells; a mixture what its texts have."""
        shares = self.config.datasets[name].shares or {name: 1.0}
        return 1 / sum(share / self.found.bytes_per_token[of] for of, share in shares.items())

    def _distribute(self, parts: list[Portion]) -> None:
        """Write each part's documents to a file, and note which evaluation documents occur."""
        evals = [
            (name, key, text) for name, of in self.found.evals.items() for key, text in of.items()
        ]
        index = ContaminationIndex((text for _, _, text in evals), near=can_sketch())
        for name in self.config.texts:
            self.note(f"dividing {name}")
            uses = self._uses(parts, name)
            for match in index.scan(_written(self.found.texts[name], uses)):
                origin, key, _ = evals[match.document]
                self.found.contamination.setdefault((origin, key), []).append(name)
        for name, documents in self.found.evals.items():
            found_in = self.found.contamination
            self._write_eval(
                name,
                [EvalDocument(t, tuple(found_in.get((name, k), ()))) for k, t in documents.items()],
            )

    def _uses(self, parts: list[Portion], name: str) -> dict[int, list[tuple[Path, float]]]:
        """Return for each document of a text that is learned from, where it goes, how often."""
        uses: dict[int, list[tuple[Path, float]]] = {}
        for portion in parts:
            for key, times in portion.times.get(name, {}).items():
                uses.setdefault(key, []).append((self._file(portion), times))
        return uses

    def _file(self, portion: Portion) -> Path:
        return self.aside / "texts" / f"{portion.dataset}.{portion.part}.jsonl"

    def _write_eval(self, name: str, documents: list[EvalDocument]) -> None:
        lines = [
            json.dumps({"text": d.text, "found_in": d.found_in}, ensure_ascii=False) + "\n"
            for d in documents
        ]
        path = self.place.eval(name)
        path.parent.mkdir(parents=True)
        write_text(path, "".join(lines))

    def _clean_evals(self) -> dict[str, list[str]]:
        """Return the evaluation documents that do not occur in a training text."""
        found_in = self.found.contamination
        return {
            name: [text for key, text in of.items() if (name, key) not in found_in]
            for name, of in self.found.evals.items()
        }

    def _prepare(self, parts: list[Portion]) -> None:
        """Turn each part into a prepared dataset, whose validation text is what was held out."""
        for portion in parts:
            self.note(f"preparing {portion.dataset}, part {portion.part}")
            val = self.aside / "texts" / f"{portion.dataset}.val.jsonl"
            val.unlink(missing_ok=True)  # of another part
            for name in portion.times:
                for document in self.found.evals[name].values():
                    _write_record(val, document)
            folder = self.place.data(portion.dataset, portion.part)
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._prepare_one(self._file(portion), val, folder)
            self._file(portion).unlink()

    def _prepare_one(self, file: Path, val: Path | None, out: Path) -> None:
        prepare(
            PrepareConfig(
                sources=(str(file),),
                val=(str(val),) if val else (),
                out=out,
                tokenizer=str(self.place.tokenizer),
                dedup="none",
            ),
            whole=True,
        )

    def _write_settings(self, size: Size, plan: Plan) -> None:
        resolved = resolved_settings(
            self.config,
            size,
            {"batch_size": plan.batch_size, "precision": plan.precision},
        )
        write_text(self.place.path / "experiment.yaml", to_yaml(resolved))


def _bytes_per_token(tokenizer: Tokenizer, documents: list[bytes]) -> float:
    texts = [document.decode("utf-8", "ignore") for document in documents]
    return sum(map(len, documents)) / len(tokenizer.encode_documents(texts)[0])


def _write_record(file: Path, text: str) -> None:
    append_json_line(file, {"text": text})  # one for each part would be too many to hold open


def _written(text: Text, uses: Mapping[int, list[tuple[Path, float]]]) -> Iterator[str]:
    """Yield what is used of a text's documents, once each has been written where it goes."""
    for key, document in text.read(uses.keys()):
        size = len(document.encode())
        for file, times in uses[key]:
            for _ in range(int(times)):
                _write_record(file, document)
            if beginning := cut_to(document, round(times % 1 * size)).strip():
                _write_record(file, beginning)
        longest = min(1.0, max(times for _, times in uses[key]))
        yield cut_to(document, round(longest * size))

"""What a run does as it goes, and when it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbed.data.token_shards import TokenShards
from seedbed.distributed import World
from seedbed.errors import DataError
from seedbed.evaluation.bits_per_byte import DocumentScores
from seedbed.files import read_json, read_json_lines
from seedbed.model.config import ModelSettings
from seedbed.runs import RunDir
from seedbed.tokenizers.simple import ByteTokenizer
from seedbed.training import loop
from seedbed.training.config import TrainConfig
from seedbed.training.job import RunResult, TrainState
from seedbed.training.text_task import fixed_part

Trained = Callable[..., RunResult]


def test_metrics_have_the_keys_others_script_against(trained: Trained, tmp_path: Path) -> None:
    trained()
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    keys = "step train_loss val_loss val_bits_per_byte lr grad_norm tokens tokens_per_second mfu"
    keys += " data_share"
    for line in lines:
        assert set(line) == {*keys.split(), "seconds", "timestamp"}
        assert line["tokens"] == line["step"] * 4 * 32
        assert (line["val_loss"] is not None) == (line["step"] % 6 == 0)
    samples = read_json_lines(tmp_path / "run" / "samples.jsonl")
    assert {sample["step"] for sample in samples} == {6, 12}


def test_an_early_stop_saves_its_last_step_and_more_patience_goes_on(
    trained: Trained, tmp_path: Path
) -> None:
    worse_and_worse: dict[str, Any] = {
        "optimizer": {"kind": "adamw", "learning_rate": 3.0, "clip_norm": None},
        "checkpoint": {"every": 100},
        "horizon": "60 steps",
    }
    run = RunDir(tmp_path / "run")
    patient = {"every": 3, "tokens": 500, "patience": 2}
    result = trained(**worse_and_worse, evaluation=patient)
    assert result.state == "finished"
    assert result.best_step is not None
    assert result.step == result.best_step + 6 < 60
    assert (run.checkpoints / "latest").resolve().name == f"step-{result.step:06d}"
    assert (run.checkpoints / "best").resolve().name == f"step-{result.best_step:06d}"
    assert trained(**worse_and_worse, evaluation=patient).state == "already finished"
    longer = trained(**worse_and_worse, evaluation={**patient, "patience": 3})
    assert longer.state == "finished"
    assert longer.step > result.step


def test_a_wrong_dataset_does_not_begin_a_run(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a prepared dataset"):
        trained(data=tmp_path / "nothing")
    assert not read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert not (tmp_path / "run" / "request.json").exists()
    trained()
    assert read_json(tmp_path / "run" / "request.json")["config"]["seed"] == 1337


def test_dropout_depends_on_step_and_seed_not_on_what_came_before(
    trained: Trained, tmp_path: Path
) -> None:
    def first_losses(out: str, **changes: Any) -> list[float]:
        trained(
            out,
            horizon="4 steps",
            optimizer={"learning_rate": 1e-12, "matrix_learning_rate": 1e-12},
            **changes,
        )
        return [r["train_loss"] for r in read_json_lines(tmp_path / out / "metrics.jsonl")]

    plain = first_losses("plain")
    assert first_losses("again") == plain
    assert first_losses("sampled", samples={"tokens": 9}, evaluation={"every": 1}) == plain
    assert first_losses("without", model={"dropout": 0.0}) != plain
    assert first_losses("cut", micro_batch_size=1) != plain  # each micro-batch has its own


def test_checkpoints_that_are_not_kept_go_and_the_best_stays(
    trained: Trained, tmp_path: Path
) -> None:
    worse = {"optimizer": {"kind": "adamw", "learning_rate": 3.0, "clip_norm": None}}
    result = trained(**worse, evaluation={"every": 1}, checkpoint={"every": 1, "keep": 3})
    names = {p.name for p in (tmp_path / "run" / "checkpoints").glob("step-*")}
    assert result.best_step is not None
    assert names == {f"step-{n:06d}" for n in {result.best_step, 10, 11, 12}}


def test_a_skipped_step_does_not_hide_the_losses_beside_it(
    trained: Trained, spoil: Callable[[Callable[[int], object]], None], tmp_path: Path
) -> None:
    spoil(lambda step: step in (1, 6, 7, 8))
    trained(log_every=3)
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["train_loss"] is None for line in lines] == [False, False, True, False]


def test_the_share_of_peak_flops_is_that_of_the_windows_trained_on(
    trained: Trained, tmp_path: Path
) -> None:
    model = {"d_model": 32, "num_layers": 2, "num_heads": 2, "context_length": 4096}
    trained(model=model, window=16)
    per_token = ModelSettings.model_validate(model).resolve(260).training_flops_in(16)
    line = read_json_lines(tmp_path / "run" / "metrics.jsonl")[-1]
    assert line["mfu"] == pytest.approx(line["tokens_per_second"] * per_token / 1e10, abs=1e-4)


def test_a_fixed_part_has_no_more_tokens_than_asked(tmp_path: Path) -> None:
    special = ByteTokenizer().special

    def part(sizes: list[int], tokens: int) -> list[int]:
        offsets = np.cumsum([0, *sizes])
        shards = TokenShards(np.arange(offsets[-1], dtype=np.uint16), offsets)
        return [len(document) for document in fixed_part(shards, tokens, special)]

    assert part([5000], 100) == [100]
    assert part([11] * 100, 33) == [10, 10, 10]
    assert part([11, 5000, 11], 5100) == [10, 4999, 10]
    assert sum(part([5, 5000, 20, 3000], 200)) <= 200


def test_the_main_process_says_which_evaluation_is_the_best() -> None:
    class Other(World):
        def from_main(self, number: int) -> int:
            return int(not number)

    state = TrainState(best_loss=2.0)
    scores = DocumentScores(np.array([1.0]), np.array([1]), np.array([1]))
    loop._note_evaluation(state, scores, Other(rank=1, size=2))
    assert (state.best_step, state.evaluations_since_best) == (None, 1)


def test_a_run_that_is_not_compiled_imports_no_compiler(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(settings(horizon="2 steps").model_dump_json())
    code = (
        "import sys, seedbed; from pathlib import Path;"
        f"config = seedbed.TrainConfig.model_validate_json(Path({str(config)!r}).read_text());"
        "seedbed.train(config, quiet=True);"
        "slow = ['torch._dynamo', 'sympy', 'matplotlib', 'transformers'];"
        "sys.exit(' '.join(name for name in slow if name in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

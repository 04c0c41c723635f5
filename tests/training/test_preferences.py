from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from model_shapes import random_model, small
from seedbed.data.token_shards import TokenShards
from seedbed.distributed import World
from seedbed.model.transformer import Transformer, init_weights
from seedbed.tokenizers.chat_template import render
from seedbed.tokenizers.conversation import Message
from seedbed.tokenizers.simple import CharTokenizer
from seedbed.training.config import OptimizerSettings
from seedbed.training.optimizers import Optimizer
from seedbed.training.preferences import (
    PairBatch,
    PairSampler,
    PairScores,
    answer_log_probs,
    answer_margins,
    dpo_losses,
    log_probs_of,
    make_pair_loss,
    score_pairs,
)
from seedbed.training.step import StepMetrics, train_step

TOKENIZER = CharTokenizer("abcdefghé")
LENGTHS = np.array([len(TOKENIZER.token_bytes(i)) for i in range(TOKENIZER.vocab_size)])
PAIRS = [("abc", "b", "a"), ("h", "bbé", "ac"), ("ga", "fé", "aaaa"), ("ddd", "e", "ah"),
         ("c", "cc", "dd")]  # fmt: skip
BETA = 0.3
ORDER = ["bbé", "fé", "cc", "fé"]  # of pairs 3 to 6 with seed 1


def shards_of(pairs: Sequence[tuple[str, str, str]]) -> TokenShards:
    rendered = [
        render(TOKENIZER, [Message("user", prompt), Message("assistant", answer)])
        for prompt, chosen, rejected in pairs
        for answer in (chosen, rejected)
    ]
    return TokenShards(
        np.concatenate([np.array(r.ids, np.uint16) for r in rendered]),
        np.cumsum([0, *(len(r.ids) for r in rendered)]),
        np.concatenate([np.array(r.trained) for r in rendered]),
    )


def log_prob_alone(model: Transformer, prompt: str, answer: str) -> float:
    """Return the log-probability of an answer and of its end, from the conversation alone."""
    rendered = render(TOKENIZER, [Message("user", prompt), Message("assistant", answer)])
    ids = torch.tensor(rendered.ids)
    with torch.no_grad():
        log_probs = model(ids[None, :-1])[0].log_softmax(-1)
    of_targets = log_probs.gather(1, ids[1:, None])[:, 0]
    return of_targets[-(len(answer) + 1) :].sum().item()


def sampled(seed: int = 1) -> PairSampler:
    return PairSampler(shards_of(PAIRS), seed)


def order_of(sampler: PairSampler, first: int, rows: int) -> list[str]:
    """Return the chosen answers of rows, which are all different."""
    batch = sampler.batch(first, rows)
    answers = []
    for targets, documents in zip(batch.targets, batch.documents, strict=True):
        said = targets[(documents == 0) & (targets != -100)]
        answers.append(TOKENIZER.decode(said.tolist()))
    return answers


# --- the loss


def test_the_loss_is_that_of_hand_worked_numbers() -> None:
    policy, reference = torch.tensor([3.0, 2.0, -2.0]), torch.tensor([1.0, 2.0, 2.0])
    losses = dpo_losses(policy, reference, beta=0.5)
    wanted = [math.log(1 + math.exp(-1)), math.log(2), math.log(1 + math.exp(2))]
    assert losses.tolist() == pytest.approx(wanted, rel=1e-6)  # 0.3133, 0.6931, 2.1269


def test_the_loss_is_that_of_the_formula_in_trl() -> None:
    generator = torch.Generator().manual_seed(1)
    chosen, rejected, ref_chosen, ref_rejected = -20 * torch.rand(4, 64, generator=generator)
    # Its "sigmoid" loss: -log sigmoid(beta x), x = the chosen answer's log ratio of policy to
    # reference, minus that of the rejected one.
    x = (chosen - ref_chosen) - (rejected - ref_rejected)
    wanted = (1 + (-0.1 * x.double()).exp()).log().float()
    losses = dpo_losses(chosen - rejected, ref_chosen - ref_rejected, beta=0.1)
    torch.testing.assert_close(losses, wanted)


def test_the_loss_stays_finite_where_a_margin_is_large() -> None:
    losses = dpo_losses(torch.tensor([-2e4, 2e4]), torch.zeros(2), beta=1.0)
    assert losses.tolist() == [2e4, 0.0]


def test_the_gradient_raises_the_chosen_and_lowers_the_rejected_answer() -> None:
    log_probs = torch.tensor([[-3.0, -2.0]], requires_grad=True)
    dpo_losses(log_probs[:, 0] - log_probs[:, 1], torch.tensor([1.0]), beta=0.5).sum().backward()
    pull = 0.5 / (1 + math.exp(-1.0))  # beta sigmoid(beta (reference - policy))
    assert log_probs.grad is not None
    assert log_probs.grad[0].tolist() == pytest.approx([-pull, pull])


# --- log-probabilities


def test_log_probabilities_are_sums_over_the_targets_of_each_answer() -> None:
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, -1]])
    targets = torch.tensor([[-100, 2, 3, -100, 0, 1, 2, -100]])
    logits = torch.zeros(1, 8, 4)  # every token has a chance of 1 in 4
    logits[0, 1, 2] = math.log(3)  # but this one 3 in 6
    made = answer_log_probs(logits, targets, documents)
    assert made[0].tolist() == pytest.approx([-math.log(2) - math.log(4), -3 * math.log(4)])


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_a_pair_in_a_row_counts_as_its_conversations_alone(name: str) -> None:
    model = random_model(name)
    batch = sampled().batch(0, len(PAIRS))
    inputs, targets, documents = batch.tensors
    with torch.no_grad():
        made = answer_log_probs(model(inputs, documents=documents), targets, documents)
    alone = {c: [log_prob_alone(model, p, answer) for answer in (c, r)] for p, c, r in PAIRS}
    wanted = torch.tensor([alone[chosen] for chosen in order_of(sampled(), 0, len(PAIRS))])
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(log_probs_of(model, batch.pieces(2)), wanted, atol=1e-4, rtol=1e-5)


# --- batches


def test_every_pair_comes_once_an_epoch() -> None:
    sampler = sampled()
    assert sampler.pairs_per_epoch == len(PAIRS)
    epochs = [order_of(sampler, epoch * len(PAIRS), len(PAIRS)) for epoch in range(4)]
    assert all(sorted(epoch) == sorted(chosen for _, chosen, _ in PAIRS) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    whole = sampled().batch(2, 4)
    parts = [sampled().batch(first, 2) for first in (2, 4)]
    for whole_tensor, *pieces in zip(whole.tensors, *(p.tensors for p in parts), strict=True):
        assert torch.equal(whole_tensor, torch.cat(pieces))
    assert order_of(sampled(seed=2), 0, 20) != order_of(sampled(), 0, 20)


def test_the_order_of_pairs_stays_for_runs_under_way() -> None:
    assert order_of(sampled(), 3, 4) == ORDER


def test_rows_are_as_long_as_the_longest_pair() -> None:
    batch = sampled().batch(0, 2)
    longest = max(2 * (len(p) + 4) + len(c) + len(r) for p, c, r in PAIRS)
    assert batch.inputs.shape == (2, longest)


def test_a_piece_of_a_batch_counts_its_pairs() -> None:
    batch = sampled().batch(0, 5)
    pieces = batch.to(torch.device("cpu")).pieces(2)
    assert [piece.num_targets for piece in pieces] == [2, 2, 1]
    assert all(isinstance(piece, PairBatch) for piece in pieces)


# --- training


def scored(model: Transformer, reference: Transformer, batches: Sequence[PairBatch]) -> PairScores:
    own, said = log_probs_of(model, batches), log_probs_of(reference, batches)
    return score_pairs(own, said, batches, LENGTHS, beta=BETA)


class Trainer:
    """A model with what a step needs, and the frozen one that it began as."""

    def __init__(self, model: Transformer, shards: TokenShards, rate: float) -> None:
        self.model = model
        self.reference = copy.deepcopy(model).requires_grad_(False).eval()
        self.sampler = PairSampler(shards, 1)
        settings = {"kind": "adamw", "learning_rate": rate, "beta1": 0.9, "beta2": 0.95,
                    "weight_decay": 0.0}  # fmt: skip
        self.optimizer = Optimizer(model, OptimizerSettings.model_validate(settings))
        self.rows = 0

    def step(self, rows: int, piece: int | None = None) -> StepMetrics:
        batch = self.sampler.batch(self.rows, rows)
        self.rows += rows
        return train_step(
            batch.pieces(piece or rows),
            loss_sum=make_pair_loss(self.model, self.reference, BETA),
            optimizer=self.optimizer,
            multiplier=1.0,
            clip_norm=None,
            world=World(),
            loss_scale=None,
            reseed=int,
        )


def test_the_first_loss_is_log_2_and_the_next_is_less() -> None:
    trainer = Trainer(random_model(), shards_of(PAIRS), rate=1e-3)
    assert trainer.step(5).loss == pytest.approx(math.log(2), rel=1e-6)
    assert trainer.step(5).loss < math.log(2) - 0.01


def test_a_step_does_not_depend_on_how_the_batch_is_cut() -> None:
    whole, parts = (Trainer(random_model(), shards_of(PAIRS), rate=1e-3) for _ in range(2))
    first, second = whole.step(5), parts.step(5, piece=2)
    assert second.loss == pytest.approx(first.loss, rel=1e-6)
    assert second.grad_norm == pytest.approx(first.grad_norm, rel=1e-5)
    assert torch.allclose(
        whole.optimizer.gradients.buffer, parts.optimizer.gradients.buffer, atol=1e-6
    )


def prompts(count: int, seed: int) -> list[str]:
    letters = np.random.default_rng(seed).integers(0, 8, size=(count, 4))
    return [TOKENIZER.decode(row.tolist()) for row in letters]


def fresh_model() -> Transformer:
    model = Transformer(small(vocab_size=TOKENIZER.vocab_size)).eval()
    init_weights(model, 3)
    return model


def test_it_learns_an_answer_that_is_always_preferred() -> None:
    model = fresh_model()
    shards = shards_of([(prompt, "b", "a") for prompt in prompts(64, seed=1)])
    trainer = Trainer(model, shards, rate=3e-3)
    held_out = PairSampler(shards_of([(p, "b", "a") for p in prompts(64, seed=2)]), 1)
    batches = [held_out.batch(first, 32) for first in (0, 32)]
    before = scored(model, trainer.reference, batches)
    for _ in range(20):
        trainer.step(8)
    after = scored(model, trainer.reference, batches)
    assert (before.accuracy, before.loss) == (0.0, pytest.approx(math.log(2)))
    assert after.accuracy > 0.95
    assert after.loss < 0.5 * before.loss
    with torch.no_grad():
        margins = answer_margins(model, *batches[0].tensors)
    assert (margins > 0).float().mean() > 0.95  # it also says the better answer


def test_it_learns_which_answer_a_prompt_wants() -> None:
    model = fresh_model()

    def shards(count: int, seed: int) -> TokenShards:  # "a" is right after a, b, c and d
        found = [(p, *("ab" if p[-1] < "e" else "ba")) for p in prompts(count, seed)]
        return shards_of(found)

    trainer = Trainer(model, shards(256, seed=1), rate=5e-3)
    held_out = [PairSampler(shards(96, seed=2), 1).batch(0, 96)]
    for _ in range(60):
        trainer.step(16)
    assert scored(model, trainer.reference, held_out).accuracy > 0.95


# --- scores


def scores_with(gains: Sequence[float], *, rows: int, **options: Any) -> PairScores:
    """Return the scores of a model whose margins are beyond the reference's by `gains`."""
    model = random_model(vocab_size=TOKENIZER.vocab_size)
    batches = sampled().batch(0, len(gains)).pieces(rows)
    own = log_probs_of(model, batches)
    said = own - torch.tensor([[gain, 0.0] for gain in gains])
    return score_pairs(own, said, batches, LENGTHS, **{"beta": BETA, **options})


def test_scores_are_those_of_known_margins() -> None:
    scores = scores_with([2.0, 1.0, -0.5, 4.0], rows=3, beta=0.5)
    wanted = [math.log(1 + math.exp(-0.5 * gain)) for gain in (2.0, 1.0, -0.5, 4.0)]
    assert scores.loss == pytest.approx(np.mean(wanted), rel=1e-5)
    assert scores.accuracy == 0.75
    assert scores.margin == pytest.approx(0.5 * 6.5 / 4, rel=1e-5)
    assert scores.details == {"accuracy": scores.accuracy, "margin": scores.margin}


def test_bits_per_byte_are_those_of_the_chosen_answers() -> None:
    model = random_model(vocab_size=TOKENIZER.vocab_size)
    nats = -sum(log_prob_alone(model, prompt, chosen) for prompt, chosen, _ in PAIRS)
    num_bytes = sum(len(chosen.encode()) for _, chosen, _ in PAIRS)
    scores = scores_with([1.0] * len(PAIRS), rows=5)
    assert scores.bits_per_byte == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-5)


def test_a_space_before_each_answer_is_not_of_its_text() -> None:
    plain = scores_with([1.0] * len(PAIRS), rows=5)
    fewer = scores_with([1.0] * len(PAIRS), rows=5, bytes_before=1)
    num_bytes = sum(len(chosen.encode()) for _, chosen, _ in PAIRS)
    ratio = num_bytes / (num_bytes - len(PAIRS))
    assert fewer.bits_per_byte == pytest.approx(ratio * plain.bits_per_byte)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_model_as_it_was(training: bool) -> None:
    model = random_model().train(training)
    log_probs_of(model, [sampled().batch(0, 1)])
    assert model.training == training


def test_a_reference_has_no_part_in_the_gradient() -> None:
    model, reference = random_model(), random_model()
    make_pair_loss(model, reference, BETA)(*sampled().batch(0, 2).tensors).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in reference.parameters())

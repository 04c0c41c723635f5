"""A race: datasets run seed by seed, and those that cannot be the best stop early.

After each seed but the first, all datasets are compared as in the final verdict, at alpha divided
by the number of looks, the final one among them. A dataset leaves when the leader is better than it
by then. This is successive halving (Karnin, Koren and Somekh, "Almost optimal exploration in
multi-armed bandits", ICML 2013; Jamieson and Talwalkar, AISTATS 2016) that does not halve but waits
for evidence, as Hoeffding races do (Maron and Moore, NIPS 1993): Bonferroni's correction over looks
(Dunn, "Multiple comparisons among means", JASA 1961) on top of Holm's over pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from seedbed.experiments.evidence import Evidence
from seedbed.experiments.jobs import JobScores
from seedbed.experiments.lens import Comparison, compare_through
from seedbed.experiments.plan import Job, Plan
from seedbed.experiments.results import RaceResult
from seedbed.experiments.score_table import Flags


def looks_of(seeds: int) -> int:
    """Return how often a race of so many seeds is judged: after each seed but the first."""
    return max(1, seeds - 1)


def run_race(
    plan: Plan,
    run_jobs: Callable[[Sequence[Job]], object],
    read_scores: Callable[[], Mapping[str, JobScores]],
    *,
    kept: Mapping[str, Flags],
    note: Callable[[str], object] = lambda _: None,
) -> RaceResult:
    """Run a plan's jobs as a race, and return what it dropped.

    What is decided hangs on the scores alone, so that a race that goes on after an interruption
    takes the same course. `note` is told of each dataset that leaves.
    """
    racing = [facts.name for facts in plan.datasets]
    dropped: dict[str, int] = {}
    ran: list[Job] = []
    for replicate in range(plan.seeds):
        jobs = [j for j in plan.main_jobs if j.replicate == replicate and j.dataset in racing]
        run_jobs(jobs)
        ran += jobs
        if not 0 < replicate < plan.seeds - 1:
            continue
        names = {job.name for job in ran}
        seen = {name: scores for name, scores in read_scores().items() if name in names}
        comparison = _look(Evidence(plan, seen, kept))
        for name in _losers(comparison, racing) if comparison else []:
            racing.remove(name)
            dropped[name] = replicate + 1
            note(f"{name} leaves the race after {replicate + 1} seeds: it is not the best")
        if len(racing) < 2:
            break
    if len(racing) > 1:
        others = [job for job in plan.jobs if job.rate != 1 and job.dataset in racing]
        run_jobs(others)
        ran += others
    saved = len(plan.jobs) - len(ran)
    looks = looks_of(plan.seeds)
    return RaceResult(dropped, looks, plan.alpha / looks, saved, saved / len(plan.jobs))


def _look(evidence: Evidence) -> Comparison | None:
    """Return the comparison so far, None where all runs have failed."""
    if not evidence.runs() or not evidence.evals:
        return None
    alpha = evidence.plan.alpha / looks_of(evidence.plan.seeds)
    return compare_through(evidence.lens, evidence.table(), alpha=alpha)


def _losers(comparison: Comparison, racing: Sequence[str]) -> list[str]:
    """Return those in the race that the leader is better than."""
    leader = next((name for name in comparison.ranking if name in racing), None)
    lost = {pair.b for pair in comparison.pairs if leader and pair.winner == leader}
    return [name for name in racing if name in lost]

"""The best mixture of some datasets for a target: small runs on mixtures, a fit, a confirmation.

DIR/request.json   as asked
DIR/design/        an experiment: one run on each designed mixture, the sources alone among them
DIR/fit.json       what these runs say, and the mixture that is proposed; written once
DIR/confirm/       an experiment: the proposal against others, with fresh seeds, and documents drawn
                   anew from the same training text: some of them are those of the design
DIR/results.json   both together; summary.txt says it in words
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seedbed.experiments.compare import compare, plan_comparison
from seedbed.experiments.executors import ExecutorName, run_jobs
from seedbed.experiments.mixture_config import MixtureConfig, confirming_config, design_config
from seedbed.experiments.mixture_results import confirmation_facts, fit_runs, weight_limits
from seedbed.experiments.mixture_words import mixture_in_words
from seedbed.experiments.plan import ExperimentDir, Plan
from seedbed.experiments.requests import follow_tokenizer, keep_request, refuse_changed_sources
from seedbed.files import read_json, write_json, write_text


def mix(
    config: MixtureConfig,
    out: Path,
    *,
    executor: ExecutorName = "local",
    workers: int | None = None,
    options: Mapping[str, Any] | None = None,
    announce: Callable[[Plan], object] = lambda _: None,
    quiet: bool = False,
) -> dict[str, Any] | None:
    """Return the best mixture of some datasets, and how sure that is; None when stopped on request.

    `announce` gets the plan of each of the two experiments before its runs begin. What is returned
    is in `out`/results.json, which depends on no worker or executor. A search that was stopped or
    killed goes on where it was. Raises ConfigError when `out` holds something else, DataError for
    text that cannot be used or runs that failed.
    """
    with ExperimentDir(out).lock():
        keep_request(out, "mixture", config)
        folder, fit_file = out / "design", out / "fit.json"
        if fit_file.is_file():
            refuse_changed_sources(ExperimentDir(folder).sources)
        else:
            plan = plan_comparison(design_config(config), folder, workers=workers, quiet=quiet)
            weight_limits(config, plan)  # too little text is told before any run
            announce(plan)
            outcome = run_jobs(
                folder, executor=executor, workers=workers, options=options, quiet=quiet
            )
            if outcome.stopped:
                return None
            write_json(fit_file, fit_runs(config, folder))
        found: dict[str, Any] = read_json(fit_file)
        asked = confirming_config(config, folder, found["confirmed_mixtures"])
        follow_tokenizer(out / "confirm", asked.tokenizer)
        confirmed = compare(
            asked,
            out / "confirm",
            executor=executor,
            workers=workers,
            options=options,
            announce=announce,
            quiet=quiet,
        )
        if confirmed is None:
            return None
        results = {**found, "confirmation": confirmation_facts(confirmed)}
        write_text(out / "summary.txt", "\n".join(mixture_in_words(results)) + "\n")
        write_json(out / "results.json", results)
        return results

"""What `seedbed demo` takes, and how much its stories copy.

Runs the demo in an empty folder, writes 20 stories with the model, and looks for runs of 20 words
that stand in the training text.

    python benchmarks/demo.py [--minutes 3]
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import harness
from harness import Measured, Report, table

RUN_WORDS = 20
PROMPTS = ("Once upon a time", "One day", "There was once", "Every day")


def seedbed(folder: Path, *words: str) -> Measured:
    return harness.seconds_of(["-m", "seedbed", *words], folder=folder)


def main() -> None:
    from seedbed import load_checkpoint

    parser = harness.arguments(__doc__)
    parser.add_argument("--minutes", default="3", help="of training, at most")
    asked = parser.parse_args()
    report = Report("demo", asked)
    few = ["--minutes", "0.05", "--stories", "300"]
    words = few if asked.quick else ["--minutes", asked.minutes]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = seedbed(folder, "demo", "--out", ".", *words)["seconds"]
        (folder / "prompts.txt").write_text("\n".join(PROMPTS))
        options = ["--prompts", "prompts.txt", "--samples", "5", "--seed", "7", "--json"]
        texts = json.loads(seedbed(folder, "eval", "run", *options)["out"])["texts"]
        loss = json.loads(seedbed(folder, "eval", "run", "--json")["out"])
        parameters = load_checkpoint(folder / "run").model.config.parameters
    stories = [made["prompt"] + made["text"] for made in texts]
    copied = sum(made["longest_copy"] >= RUN_WORDS for made in texts)
    rows = [
        ["whole command", f"{seconds:.0f} s"],
        ["model", parameters],
        [
            "validation",
            f"{loss['bits_per_byte']:.3f} bits per byte "
            f"(byte n-grams {loss['baseline_bits_per_byte']:.3f})",
        ],
        [
            f"stories that share a run of {RUN_WORDS} words with the training text",
            f"{copied} of {len(stories)}",
        ],
    ]
    report.write(
        "The demo",
        table(["", ""], rows),
        "Three of the stories, unedited:",
        *("> " + story.replace("\n", "\n> ") for story in stories[::7]),
    )


if __name__ == "__main__":
    harness.run(main, dict)

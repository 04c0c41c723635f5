"""What was left out of a dataset, how often, why, and where it happened first."""

from __future__ import annotations

from dataclasses import dataclass, field

MALFORMED = "malformed JSON"
MALFORMED_ROW = "malformed row"
NO_TEXT = "no text field"
BROKEN_UTF8 = "broken UTF-8"
EMPTY = "empty"
EXACT = "exact duplicate"
NEAR = "near duplicate"
TOO_SHORT = "too short"
TOO_LONG = "too long"
REPETITIVE = "repetitive"
OTHER_LANGUAGE = "other language"
IN_VALIDATION = "also in the validation source"

# Of conversations.
NOT_A_CONVERSATION = "no conversation"
UNKNOWN_ROLE = "unknown role"
NOT_TEXT = "content that is not text"
LATE_SYSTEM = "system message that is not first"
NO_ANSWER = "no assistant turn after a user's"
NOT_A_PAIR = "no pair of answers"
EMPTY_TURN = "empty turn left out"
ASSISTANT_FIRST = "assistant turn before the first user turn left out"
UNANSWERED = "last turn without an answer left out"


@dataclass
class Drops:
    """Counts by reason, with the first example of each.

    >>> drops = Drops()
    >>> drops.add("empty", "a.txt line 3")
    >>> drops.add("empty", "a.txt line 9")
    >>> drops.facts()
    {'empty': {'documents': 2, 'first': 'a.txt line 3'}}
    """

    counts: dict[str, int] = field(default_factory=dict[str, int])
    first: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, reason: str, example: str) -> None:
        """Count one more document left out for `reason`; keep the example if it is the first."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, example)

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Return the counts and first examples for manifest.json, in a fixed order."""
        reasons = sorted(self.counts)
        return {r: {"documents": self.counts[r], "first": self.first[r]} for r in reasons}

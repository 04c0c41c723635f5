r"""Where words begin: GPT-2's split pattern, computed over whole arrays of bytes at once.

The pattern is `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. Every
character is of one of four classes, and no word but a contraction depends on more than that and on
the literal space: so the words follow from the runs of equal class, by three rules.

1. Before a run of another class, the last character of a run of white space is cut off.
2. If that character is a literal space, it begins the word that the following run makes.
3. An apostrophe that begins a word, before s, d, m, t, ll, ve or re, makes a word with these
   letters; the letters after them begin the next word.

Why not a regular expression: `benchmarks/tokenise.py` shows what the arrays gain.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from seedbed.tokenizers.unicode_classes import OTHER, SPACE, class_of_code_point
from seedbed.tokenizers.utf8 import DOCUMENT_END

_END = SPACE + 1  # the class of DOCUMENT_END: above all others
PADDING = bytes([DOCUMENT_END]) * 16  # so that looking ahead never leaves the array


def word_starts(padded: NDArray[np.uint8]) -> NDArray[np.intp]:
    r"""Return where each word begins in UTF-8 bytes that PADDING follows; last, where they end.

    DOCUMENT_END is a word of its own, and the text on either side of it does not see the other.

    >>> word_starts(np.frombuffer(b"I'll  go\xff" + PADDING, np.uint8)).tolist()
    [0, 1, 4, 5, 8, 9]
    """
    classes = _classes_of_bytes(padded)
    starts = np.empty(padded.size, np.bool_)
    starts[0] = True
    np.not_equal(classes[1:], classes[:-1], out=starts[1:])
    before_word = classes[1:] < SPACE  # is the next byte one of a word?
    _cut_off_last_space(starts, (classes[:-1] == SPACE) & before_word, padded)
    starts[1:] &= ~((padded[:-1] == ord(" ")) & before_word)
    _cut_contractions(starts, classes, padded)
    starts |= classes == _END
    return np.flatnonzero(starts[: padded.size - len(PADDING) + 1])


@functools.cache
def _class_of_byte() -> NDArray[np.uint8]:
    classes = np.full(256, OTHER, np.uint8)
    classes[:128] = class_of_code_point()[:128]
    classes[DOCUMENT_END] = _END
    return classes


def _classes_of_bytes(padded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the class of the character that each byte belongs to."""
    classes = _class_of_byte()[padded]
    leads = np.flatnonzero((padded >= 0xC2) & (padded < DOCUMENT_END))
    if not leads.size:
        return classes
    found = class_of_code_point()[_code_points_at(leads, padded)]
    classes[leads] = found
    classes[leads + 1] = found
    for offset, lowest_lead in ((2, 0xE0), (3, 0xF0)):
        long = padded[leads] >= lowest_lead
        classes[leads[long] + offset] = found[long]
    return classes


def _code_points_at(leads: NDArray[np.intp], padded: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the code points of the non-ASCII characters whose first bytes are at `leads`."""
    first, second, third, fourth = (padded[leads + i].astype(np.uint32) for i in range(4))
    two = (first & 0x1F) << 6 | (second & 0x3F)
    three = (first & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F)
    four = (first & 7) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | (fourth & 0x3F)
    return np.where(first < 0xE0, two, np.where(first < 0xF0, three, four))


def _cut_off_last_space(
    starts: NDArray[np.bool_], is_last: NDArray[np.bool_], padded: NDArray[np.uint8]
) -> None:
    """Begin a word at the white space character whose last byte is marked in `is_last`."""
    ascii_byte = padded[:-1] < 0x80
    starts[:-1] |= is_last & ascii_byte
    wide = np.flatnonzero(is_last & ~ascii_byte)  # U+0085 and U+00A0 have two bytes, others three
    starts[np.where(padded[wide - 1] == 0xC2, wide - 1, wide - 2)] = True


def _cut_contractions(
    starts: NDArray[np.bool_], classes: NDArray[np.uint8], padded: NDArray[np.uint8]
) -> None:
    """Begin and end words at 's, 'd, 'm, 't, 'll, 've and 're."""
    at = np.flatnonzero(padded == ord("'"))
    # At 0, index -1 is padding, whose class and byte are as good as a beginning.
    at = at[(classes[at - 1] != OTHER) & (padded[at - 1] != ord(" "))]
    first, second = padded[at + 1], padded[at + 2]
    one = np.isin(first, np.frombuffer(b"sdmt", np.uint8))
    two = np.zeros_like(one)
    for letters in (b"ll", b"ve", b"re"):
        two |= (first == letters[0]) & (second == letters[1])
    starts[at[one | two] + 1] = False
    starts[at[one] + 2] = True
    starts[at[two] + 3] = True

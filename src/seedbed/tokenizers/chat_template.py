"""How a conversation becomes token ids, and which of them a model learns to say.

    bos, then for each message: the token of its role, the content, eos

Learned are the contents of the assistant's messages and the eos after them. `render` says it in
ids, `jinja_template` in the language of stock software, which gives the same ids and the same mask
by it, but where a content has the name of a special token in it: stock software takes it for that
token, here it stays text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seedbed.errors import CheckpointError
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.conversation import Message

# Each `-` keeps the template's own white space out of what it gives; contents stay as they are.
_TEMPLATE = """\
{%- set role_tokens = {"system": "SYSTEM", "user": "USER", "assistant": "ASSISTANT"} -%}
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message.role not in role_tokens -%}
        {{- raise_exception("A message has the role " ~ message.role
            ~ ", which is none of system, user and assistant.") -}}
    {%- endif -%}
    {{- role_tokens[message.role] -}}
    {%- if message.role == "assistant" -%}
        {%- generation -%}{{- message.content + eos_token -}}{%- endgeneration -%}
    {%- else -%}
        {{- message.content + eos_token -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- role_tokens.assistant -}}
{%- endif -%}"""


@dataclass(frozen=True)
class Rendered:
    """The ids of a conversation, and for each whether a model is trained to say it."""

    ids: list[int]
    trained: list[bool]


def check_turns(tokenizer: Tokenizer, num_rows: int, *, of: object = "The model") -> None:
    """Raise CheckpointError unless a model of `num_rows` tokens has those of a conversation."""
    special = tokenizer.special
    if max(special.user, special.assistant, special.system) >= num_rows:
        raise CheckpointError(
            f"{of} has {num_rows:,} tokens and none for the turns of a conversation. "
            "`seedbed finetune` gives it these."
        )


def render(tokenizer: Tokenizer, messages: Sequence[Message]) -> Rendered:
    """Return the ids of whole messages; n of them give a beginning of what n + 1 give.

    >>> from seedbed.tokenizers.simple import ByteTokenizer
    >>> rendered = render(ByteTokenizer(), [Message("user", "Hi"), Message("assistant", "Ho")])
    >>> rendered.ids
    [256, 257, 72, 105, 256, 258, 72, 111, 256]
    >>> [i for i, trained in zip(rendered.ids, rendered.trained) if trained]
    [72, 111, 256]
    """
    special = tokenizer.special
    ids, trained = [special.bos], [False]
    for message in messages:
        said = [*tokenizer.encode(message.content), special.eos]
        ids += [getattr(special, message.role), *said]
        trained += [False] + [message.role == "assistant"] * len(said)
    return Rendered(ids, trained)


def answer_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Return the ids after which the assistant's next answer follows."""
    return [*render(tokenizer, messages).ids, tokenizer.special.assistant]


def render_answer(tokenizer: Tokenizer, prompt: Sequence[Message], answer: str) -> Rendered:
    """Return the ids of a conversation of which the last answer alone is learned."""
    before = answer_prompt(tokenizer, prompt)
    said = [*tokenizer.encode(answer), tokenizer.special.eos]
    return Rendered([*before, *said], [False] * len(before) + [True] * len(said))


def jinja_template(special_names: Mapping[str, str]) -> str:
    """Return the Jinja template that gives stock software the text of what `render` gives.

    `special_names` are the tokens' names by role. What the template calls bos_token and eos_token
    are those of the tokenizer_config.json beside it.
    """
    template = _TEMPLATE
    for role in ("system", "user", "assistant"):
        template = template.replace(f'"{role.upper()}"', f'"{special_names[role]}"')
    return template


def transcript(tokenizer: Tokenizer, rendered: Rendered) -> str:
    """Return the text of turns, each on a line after who speaks; what is learned stands in « ».

    The end of a turn that is learned too is shown as [end].

    >>> from seedbed.tokenizers.simple import ByteTokenizer
    >>> messages = [Message("user", "Hello"), Message("assistant", "Hi")]
    >>> print(transcript(ByteTokenizer(), render(ByteTokenizer(), messages)))
    user: Hello
    assistant: «Hi[end]»
    """
    special = tokenizer.special
    roles = {special.user: "user", special.assistant: "assistant", special.system: "system"}
    lines: list[str] = []
    start = 0
    for place, token_id in enumerate([*rendered.ids, special.eos]):
        if token_id not in roles and token_id not in (special.bos, special.eos):
            continue
        if lines and place > start:
            text = tokenizer.decode(rendered.ids[start:place])
            lines[-1] += f"«{text}[end]»" if rendered.trained[place - 1] else text
        if token_id in roles:
            lines.append(f"{roles[token_id]}: ")
        start = place + 1
    return "\n".join(lines)

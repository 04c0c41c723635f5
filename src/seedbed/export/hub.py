"""A checkpoint as a model repository on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.checkpoints import find_checkpoint
from seedbed.errors import CheckpointError, ConfigError, UserError
from seedbed.evaluation.evaluate import EvalReport
from seedbed.export.model_card import model_card
from seedbed.files import MANIFEST, check_seal

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

CARD = "README.md"
TOKENS_PAGE = "https://huggingface.co/settings/tokens"


@dataclass(frozen=True)
class Push:
    """What goes to the Hub, and where it is when it is there."""

    repo: str
    files: dict[str, int]  # name -> bytes
    card: str
    url: str | None  # of the commit; None where nothing was sent


def push(
    checkpoint: Path,
    repo: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str | None = None,
    revision: str | None = None,
    license_name: str = "unknown",
    card: Path | None = None,
    with_training: bool = False,
    report: EvalReport | None = None,
    dry_run: bool = False,
    note: Callable[[str], object] = lambda _: None,
) -> Push:
    """Upload a checkpoint or run (its best checkpoint) in one commit, with a model card.

    `card` is a README.md of your own; otherwise one is written from what is known, with `report` in
    it where one is given. `with_training` adds the optimizer's state and the manifest, so that
    Seedbed can open the folder and go on from it. `note` is told what is sent before it is sent.

    Raises CheckpointError when the checkpoint is damaged, ConfigError when there is no token or the
    name is none, UserError when the Hub cannot be reached or refuses.
    """
    check_name(repo)
    folder = find_checkpoint(checkpoint)
    check_seal(folder, error=CheckpointError)
    if card is None:
        text = model_card(folder, repo=repo, license_name=license_name, report=report)
    else:
        text = _read_card(card)
    paths = files_of(folder, with_training=with_training)
    sizes = {CARD: len(text.encode()), **{name: p.stat().st_size for name, p in paths.items()}}
    api = None if dry_run else _api(token)
    for name, size in sizes.items():
        note(f"{size:>15,} bytes  {name}")
    if api is None:
        note(f"Nothing was sent. These would be, to {repo}.")
        return Push(repo, sizes, text, None)
    note(f"sending these to {api.endpoint}/{repo}")
    with _refusals_explained(api, repo, revision):
        full_name = _make_repository(api, repo, private, revision)
        url = _commit(api, full_name, text, paths, message or f"Upload {folder.name}", revision)
    return Push(full_name, sizes, text, url)


def files_of(folder: Path, *, with_training: bool = False) -> dict[str, Path]:
    """Return the files of a checkpoint that make a model folder, by name, in a fixed order."""
    names = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    extra = {name for name in names if name.startswith("training/") or name == MANIFEST}
    return {name: names[name] for name in sorted(names) if with_training or name not in extra}


def check_name(repo: str) -> None:
    """Raise ConfigError when `repo` cannot be the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise ConfigError(
            f"`REPO` is {repo!r}. Write OWNER/NAME, such as ada/stories-3m: letters, digits, and "
            "inside a name `-`, `_` and `.`, at most 96 characters."
        ) from None


def _read_card(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`--card` {path} cannot be read as UTF-8 text: {error}.") from None


def _api(token: str | None) -> HfApi:
    """Return the Hub, seen with the token given or with the one that is stored here."""
    from huggingface_hub import HfApi, get_token

    found = token or get_token()
    if not found:
        raise ConfigError(
            f"There is no token for the Hub. Make one that may write at {TOKENS_PAGE}, then set "
            "HF_TOKEN to it, or store it with `hf auth login`. --dry-run needs none."
        )
    return HfApi(token=found)


def _make_repository(api: HfApi, repo: str, private: bool, revision: str | None) -> str:
    """Return the full name of the repository, which is there from now on, and so is the branch."""
    full_name = api.create_repo(repo, private=private or None, exist_ok=True).repo_id
    if private and not api.model_info(full_name).private:
        raise ConfigError(
            f"--private was given, but {full_name} is there already and is public. Make it private "
            "in its settings on the Hub, choose another name, or leave --private out."
        )
    if revision is not None and revision != "main":
        api.create_branch(full_name, branch=revision, exist_ok=True)
    return full_name


def _commit(
    api: HfApi, repo: str, card: str, paths: dict[str, Path], message: str, revision: str | None
) -> str:
    from huggingface_hub import CommitOperationAdd

    files = [CommitOperationAdd(name, path) for name, path in paths.items()]
    done = api.create_commit(
        repo,
        [CommitOperationAdd(CARD, card.encode()), *files],
        commit_message=message,
        revision=revision,
    )
    return done.commit_url


@contextmanager
def _refusals_explained(api: HfApi, repo: str, revision: str | None) -> Generator[None]:
    """Turn what the Hub and the way there can raise into a UserError that says what to do."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] (by version: of requests or httpx)
        OfflineModeIsEnabled,
    )

    try:
        yield
    except OfflineModeIsEnabled:
        raise UserError("HF_HUB_OFFLINE is set, so nothing is sent. Unset it to push.") from None
    except HfHubHTTPError as error:
        raise UserError(_refusal(error, repo, revision)) from error
    except ValueError as error:  # of the card's front matter, or an answer that is none
        reason = " ".join(str(error).split())
        raise UserError(
            f"{api.endpoint} did not take {repo}: {reason} Nothing was committed."
        ) from error
    except (HTTPError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.filename:
            raise  # a file of this machine
        raise UserError(
            f"Sending to {api.endpoint} failed: {error.__cause__ or error}. Nothing was committed. "
            "Check the network (HF_ENDPOINT names another server) and run the same command again."
        ) from error


def _refusal(error: HfHubHTTPError, repo: str, revision: str | None) -> str:
    status = error.response.status_code if error.response is not None else 0
    if status == 401:
        return f"The Hub does not know the token. Make one that may write at {TOKENS_PAGE}."
    if status in (402, 403):
        return (
            f"The token may not write to {repo}. Choose a name under your own user or "
            f"organisation, and a token that may write: {TOKENS_PAGE}."
        )
    where = f"{repo} (revision {revision})" if revision else repo
    if status == 404:
        return f"The Hub has no {where}, or the token may not see it."
    told = getattr(error, "server_message", None) or str(error).splitlines()[0]
    return f"The Hub refused {where} with status {status}: {told}"

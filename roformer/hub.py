"""Folders of the Hugging Face hub."""

import re
from functools import cache
from pathlib import Path

from roformer.errors import UserError, one_line

_NAME = re.compile(r"(?P<name>[\w-][\w.-]*(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
_SMALL = ["*.json", "*.txt"]


def is_hub_name(given: str) -> bool:
    """Returns whether a text may name a repository of the hub: ``owner/name``, with a ``@revision`` or without one.

    A path whose folder exists here is none.
    """
    path = Path(given).expanduser()
    local = path.exists() or (len(path.parts) > 1 and path.parent.exists())
    return not local and _NAME.fullmatch(given) is not None


@cache
def download(given: str) -> Path:
    """Returns the folder of a model of the hub, from the cache where it is there: settings, tokenizer and weights.

    Asks the hub once: a branch that moves must not give a run the settings of one state and the weights of another.

    Args:
        given: ``owner/name``, or ``owner/name@revision``: a branch, a tag or a commit.

    Raises:
        UserError: if it cannot be reached, or is not there.
    """
    from huggingface_hub import snapshot_download

    match = _NAME.fullmatch(given)
    assert match is not None
    try:
        for weights in ("*.safetensors", "pytorch_model*.bin", "*.weights.h5"):  # one of them
            folder = Path(
                snapshot_download(match["name"], revision=match["revision"], allow_patterns=[*_SMALL, weights])
            )
            if any(folder.glob(weights)):
                break
    except Exception as error:  # of its own, of HTTP and of the file system
        raise UserError(
            f"'{given}' is no folder, and as a name on the hub it cannot be loaded ({one_line(error)}); give a "
            "folder, or a name and a network"
        ) from error
    return folder

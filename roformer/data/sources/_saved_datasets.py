"""Folders that ``datasets.save_to_disk`` wrote: which of their files are data."""

import json
from pathlib import Path

from roformer.data.sources._folders import Parts
from roformer.errors import UserError

_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


def without_metadata(root: Path, listed: list[Parts]) -> list[Parts]:
    """Returns the files below ``root`` without those of saved datasets that hold no documents, or cached ones.

    Raises:
        UserError: if a part of a saved dataset is missing.
    """
    folders = {parts[:-1] for parts in listed if parts[-1] == _STATE and (*parts[:-1], _INFO) in listed}
    data = {(*folder, name) for folder in folders for name in _data_files(root.joinpath(*folder, _STATE))}
    if missing := sorted(data - set(listed)):
        raise UserError(f"{root.joinpath(*missing[0])} is missing; save the dataset anew")
    parents = {folder[:-1] for folder in folders if folder}
    return [
        parts
        for parts in listed
        if parts in data or not (parts[:-1] in folders or (parts[-1] == _SPLITS and parts[:-1] in parents))
    ]


def _data_files(state: Path) -> list[str]:
    try:
        return [each["filename"] for each in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{state} does not list the files of a saved dataset; save it anew") from error

"""``roformer-describe``: print how many documents, characters and tokens a corpus has, how long its documents are, and
how its labels or tags are distributed.

roformer-describe data=docs_topics
roformer-describe data=text data.path=my/folder tokenizer.vocab_size=4096
roformer-describe data=docs +batch=7            # the texts of batch 7 of such a training, after masking
roformer-describe data=docs +near_copies=0.8    # evaluated documents whose shingles are 80 % those of a training one
"""

import json
from collections.abc import Sequence

import numpy as np
from hydra.core.hydra_config import HydraConfig
from numpy.typing import NDArray
from omegaconf import DictConfig, open_dict

from roformer.cli.command import command
from roformer.config import TrainConfig, overridden_keys
from roformer.data.repeated import near_copies
from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.tasks import Task
from roformer.tasks.factory import build_corpus, build_task

_PERCENTILES = (5, 25, 50, 75, 95, 99, 100)
_LISTED_LABELS = 150


def describe(corpus: TokenizedCorpus) -> str:
    """Returns a few lines per split. Lengths are in tokens, without special tokens."""
    sizes = json.loads((corpus.folder / "meta.json").read_text(encoding="utf-8"))["splits"]
    lines = []
    for name, split in corpus.splits.items():
        size = sizes[name]
        lengths = np.percentile(np.diff(split.offsets), _PERCENTILES)
        percentiles = ", ".join(f"{p}% {n:,.0f}" for p, n in zip(_PERCENTILES, lengths, strict=True))
        lines += [
            f"{name}: {size['documents']:,} documents, {size['characters']:,} characters, {size['tokens']:,} tokens",
            f"  tokens per document: {percentiles}",
        ]
        if split.labels is not None:
            lines.append(f"  labels: {_counts(split.labels, corpus.label_names)}")
        if split.annotations is not None:
            without = int((np.diff(split.annotations.span_offsets) == 0).sum())
            ending = f"; documents without one: {without:,}" if without else ""
            lines.append(f"  tags: {_counts(split.annotations.spans[:, 2], corpus.tags)}{ending}")
    return "\n".join([*lines, *(f"warning: {each}" for each in corpus.warnings), f"cached in {corpus.folder}"])


def _counts(numbers: NDArray[np.int64], names: Sequence[str]) -> str:
    """Returns how often each name occurs, by the numbers of those that do."""
    counts = np.bincount(numbers, minlength=len(names))
    found = [f"{name} {count}" for name, count in zip(names, counts, strict=True)]
    more = [f"and {len(found) - _LISTED_LABELS:,} more"] if len(found) > _LISTED_LABELS else []
    return ", ".join([*found[:_LISTED_LABELS], *more])


def describe_batch(task: Task, number: int, batch_size: int) -> str:
    """Returns the segments of a training batch, one per line, as the model gets them."""
    inputs = task.batch(number, batch_size, share=0, shares=1).inputs
    rows = ", ".join(map(str, task.batch_row_numbers(number, batch_size)))
    text = "\n".join(task.tokenizer.batch_decode(inputs["input_ids"]))
    start = task.tokenizer.cls_token
    return f"batch {number}, rows {rows}:\n" + (text.replace(f" {start}", f"\n{start}") if start else text)


def describe_near_copies(corpus: TokenizedCorpus, threshold: float) -> str:
    """Returns a line for each evaluated split: how many of its documents are nearly training documents."""
    lines = []
    for name, copies in sorted(near_copies(corpus.splits, threshold).items()):
        first = next(iter(copies), None)
        example = "" if first is None else f", such as document {first} (training document {copies[first]})"
        count = len(corpus.splits[name])
        lines.append(f"{name}: {len(copies):,} of {count:,} documents nearly are training documents{example}")
    return "\n".join(lines)


@command("train")
def main(raw: DictConfig) -> None:
    with open_dict(raw):
        batch, near = raw.pop("batch", None), raw.pop("near_copies", None)
    config = TrainConfig.from_hydra(raw, overridden_keys(HydraConfig.get().overrides.task))
    if near is not None and (isinstance(near, bool | str) or not 0 < near <= 1):
        raise UserError(f"+near_copies must lie in (0, 1], such as 0.8, got {near}")
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 0):
        raise UserError(f"+batch must be the number of a batch from 0 on, got {batch}")
    if batch is not None:
        print(describe_batch(build_task(config), batch, config.trainer.batch_size))
        return
    tokens, _ = build_corpus(config)
    print(describe(tokens))
    if near is not None:
        print(describe_near_copies(tokens, near))


if __name__ == "__main__":
    main()

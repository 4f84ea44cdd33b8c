"""Prints what a corpus holds: documents, characters, tokens, their distribution, and labels.

python -m roformer.cli.describe data=docs_topics
python -m roformer.cli.describe data=text data.path=my/folder tokenizer.vocab_size=4096
"""

import json

import hydra
import numpy as np
from omegaconf import DictConfig

from roformer.cli.errors import one_line_errors
from roformer.config import TrainConfig
from roformer.data.token_store import TokenizedCorpus
from roformer.tasks.factory import build_corpus

_PERCENTILES = (5, 25, 50, 75, 95, 99, 100)
_LABELS = 150  # that are listed


def describe(corpus: TokenizedCorpus) -> str:
    """Returns a few lines per split; lengths are tokens of a document, without special tokens."""
    sizes = json.loads((corpus.folder / "meta.json").read_text(encoding="utf-8"))["splits"]
    lines = []
    for name, split in corpus.splits.items():
        size = sizes[name]
        lengths = np.percentile(np.diff(split.offsets), _PERCENTILES)
        lines += [
            f"{name}: {size['documents']:,} documents, {size['characters']:,} characters, {size['tokens']:,} tokens",
            "  tokens a document: " + ", ".join(f"{p}% {n:,.0f}" for p, n in zip(_PERCENTILES, lengths, strict=True)),
        ]
        if split.labels is not None:
            counts = np.bincount(split.labels, minlength=len(corpus.label_names))
            labels = [f"{name} {count}" for name, count in zip(corpus.label_names, counts, strict=True)]
            more = [f"and {len(labels) - _LABELS:,} more"] if len(labels) > _LABELS else []
            lines.append(f"  labels: {', '.join([*labels[:_LABELS], *more])}")
    return "\n".join([*lines, f"cached in {corpus.folder}"])


@one_line_errors
@hydra.main(version_base="1.3", config_path="../../conf", config_name="train")
@one_line_errors
def main(raw: DictConfig) -> None:
    tokens, _ = build_corpus(TrainConfig.from_hydra(raw))
    print(describe(tokens))


if __name__ == "__main__":
    main()

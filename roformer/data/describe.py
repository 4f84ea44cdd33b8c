"""Prints what a corpus holds: documents, characters, tokens, their distribution, and labels.

python -m roformer.data.describe data=docs_topics
python -m roformer.data.describe data=text data.path=my/folder tokenizer=wordpiece tokenizer.vocab_size=4096
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roformer.data import SOURCES
from roformer.data.preprocess import TokenizedCorpus, tokenize_corpus
from roformer.errors import UserError
from roformer.tokenizer import TOKENIZERS

_PERCENTILES = (5, 25, 50, 75, 95, 99, 100)


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
            lines.append("  labels: " + ", ".join(f"{n} {c}" for n, c in zip(corpus.label_names, counts, strict=True)))
    return "\n".join([*lines, f"cached in {corpus.folder}"])


def _settings(arguments: list[str], config_dir: Path) -> dict[str, Any]:
    groups = {"data": "docs", "tokenizer": "wordpiece"}
    for name, _, value in (argument.partition("=") for argument in arguments):
        if name in groups:
            groups[name] = value
    overrides = [item for item in arguments if item.split("=", 1)[0] not in groups]
    with initialize_config_dir(str(config_dir.resolve()), version_base="1.3"):
        composed = compose(overrides=[*(f"+{group}={name}" for group, name in groups.items()), *overrides])
    settings = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def main() -> None:
    """Reads the command line; exits with one line where it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for train.py: data=NAME, tokenizer=NAME, data.key=value")
    parser.add_argument("--config-dir", type=Path, default=Path("conf"))
    parser.add_argument("--cache-dir", type=Path, default=Path("data/cache"))
    arguments = parser.parse_args()
    try:
        settings = _settings(arguments.overrides, arguments.config_dir)
        data = settings["data"]
        fractions = {key: data.pop(key) for key in ("validation_fraction", "test_fraction")}
        source = SOURCES.build(data)
        trained = TOKENIZERS.build(settings["tokenizer"])
        tokenizer = trained.prepare(source, cache_dir=arguments.cache_dir, **fractions)
        print(describe(tokenize_corpus(source, tokenizer, cache_dir=arguments.cache_dir, **fractions)))
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()

"""Builds the corpus and the task of a configuration."""

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from roformer.config import TrainConfig
from roformer.data.corpus import Corpus
from roformer.data.token_store import TokenizedCorpus
from roformer.tasks._base import TASKS, Task
from roformer.tokenizer import TOKENIZERS


def build_corpus(config: TrainConfig) -> tuple[TokenizedCorpus, PreTrainedTokenizerFast]:
    """Returns the tokens of every split and their tokenizer, from the cache if possible."""
    corpus, cache_dir = Corpus.from_settings(config.data), Path(config.paths.cache_dir)
    tokenizer = TOKENIZERS.build(config.tokenizer).prepare(corpus.source, cache_dir=cache_dir, **corpus.fractions)
    return corpus.tokenize(tokenizer, cache_dir), tokenizer


def build_task(config: TrainConfig) -> Task:
    """Returns the task on its data."""
    tokens, tokenizer = build_corpus(config)
    return TASKS.build(config.task, tokens, tokenizer, config.seed)

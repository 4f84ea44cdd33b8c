"""From documents to token ids: each corpus is tokenized once per tokenizer and cached under a key of its content."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, RoFormerTokenizer

from roformer.data.annotations import Place
from roformer.data.cache import content_key
from roformer.data.sources import Document, Source
from roformer.data.splits import check_fractions, expected_splits, split_documents
from roformer.data.token_store import TokenizedCorpus, load_corpus, write_corpus
from roformer.io import cached_folder

CACHE_VERSION = 2  # raise it when the same documents would yield other files
Encoder: TypeAlias = Callable[[list[str]], list[list[int]]]
_BATCH = 512  # documents tokenized at once
_SENTENCE_END = re.compile(r"(?<=[\n。])")
_PROBE = "今天天气非常好，RoFormer模型有12层。 Ünïcode  2021\t½ Где? [SEP][MASK] [SEP]"
_PROBED_TOKENS = 1000  # of the vocabulary
_NOT_TOKENS = ("post_processor", "decoder", "padding", "truncation")  # parts of a tokenizer.json


class Tokens(NamedTuple):
    """Ids of the tokens of a text and, if they are needed, their places in it, in characters."""

    ids: list[int]
    places: list[Place]


def tokenize_corpus(
    source: Source,
    tokenizer: PreTrainedTokenizerFast,
    *,
    cache_dir: Path,
    validation_fraction: float,
    test_fraction: float,
) -> TokenizedCorpus:
    """Tokenizes every document once; later calls with the same content only check and open the files.

    If two processes ask for the same tokens, the second waits for the first.

    Raises:
        UserError: if there are no documents, a split is empty, or documents differ in having a label or labeled parts,
            or in their number of texts.
    """
    check_fractions(validation_fraction, test_fraction)
    encode = {needs_places: _encoder(tokenizer, needs_places=needs_places) for needs_places in (False, True)}
    key = content_key(
        "tokens", CACHE_VERSION, source.fingerprint(), tokenizer_key(tokenizer), validation_fraction, test_fraction
    )
    folder = cache_dir / f"tokens-{key}"
    source.skipped.clear()
    with cached_folder(folder) as draft:
        if draft is not None:
            fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
            documents = split_documents(source, **fractions)
            write_corpus(
                draft,
                _encoded(documents, encode, tokenizer),
                vocabulary_limit=vocabulary_size(tokenizer),
                unknown=tokenizer.unk_token_id,
                skipped=source.skipped,
                expected=expected_splits(source, **fractions),
                fingerprint=key,
            )
    corpus = load_corpus(folder)
    unread = [f"skipped: {count:,} {kind}" for kind, count in source.unread_files().items()]
    return replace(corpus, warnings=(*unread, *source.doubts(), *corpus.warnings))


def tokenizer_key(tokenizer: PreTrainedTokenizerFast) -> str:
    """Identifies how a tokenizer splits text into tokens, regardless of special tokens, padding and decoding.

    Code says how a tokenizer with a splitter in Python does so, and code cannot be serialized. Its key holds what the
    tokenizer makes of a probe.
    """
    backend, split = tokenizer.backend_tokenizer, _splitter(tokenizer)
    if not isinstance(tokenizer, RoFormerTokenizer):
        stored = json.loads(backend.to_str())
        parts: list[Any] = [{key: value for key, value in stored.items() if key not in _NOT_TOKENS}]
        (written,) = split([" ".join(tokenizer.all_special_tokens)])
        if not _control_tokens(tokenizer).isdisjoint(written.ids):
            parts.append("special tokens in a text are unknown words")  # caches of before hold them as special tokens
        return content_key(*parts)
    plain = Tokenizer(backend.model)
    plain.normalizer = backend.normalizer
    added = [[number, str(token)] for number, token in sorted(tokenizer.added_tokens_decoder.items())]
    vocabulary = sorted(backend.get_vocab(with_added_tokens=False))
    probe = [each.ids for each in split([_PROBE, *vocabulary[:: max(1, len(vocabulary) // _PROBED_TOKENS)]])]
    return content_key(type(tokenizer).__name__, version("rjieba"), plain.to_str(), added, probe)


def vocabulary_size(tokenizer: PreTrainedTokenizerFast) -> int:
    """Returns the number of embeddings that a tokenizer needs: its highest id + 1.

    It has fewer tokens than that where its ids have holes, such as after a repeated line of a vocab.txt.
    """
    return int(max(tokenizer.get_vocab().values())) + 1


def _encoded(
    documents: Iterator[tuple[str, Document]],
    encode: dict[bool, Callable[[list[str]], list[Tokens]]],
    tokenizer: PreTrainedTokenizerFast,
) -> Iterator[tuple[str, Document, list[int], list[Place]]]:
    """Yields documents with their tokens and, if they have spans, the places of the tokens; tokenizes the next batch
    on all cores while this one is consumed."""
    separator: Any = tokenizer.sep_token_id  # may be None for tokenizers of single texts
    with progress_bar() as progress, ThreadPoolExecutor(1) as pool:
        bar = progress.add_task("tokenizing", total=None)
        batch: list[tuple[str, Document]] = []
        encodings: Future[list[Tokens]] | None = None
        while True:
            following = list(islice(documents, _BATCH))
            needs_places = any(document.spans is not None for _, document in following)
            all_texts = [text for _, document in following for text in document.texts]
            ahead = pool.submit(encode[needs_places], all_texts)
            if encodings is not None:
                texts = iter(encodings.result())
                for split, document in batch:
                    tokens = [next(texts) for _ in document.texts]
                    ids, places = (list(each) for each in zip(*tokens, strict=True))
                    elsewhere = [(0, 0)] * (sum(map(len, ids[:-1])) + len(ids) - 1)
                    yield split, document, _joined(ids, separator), elsewhere + places[-1]
                progress.advance(bar, len(batch))
            if not following:
                return
            batch, encodings = following, ahead


def token_encoder(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    """Returns the function that maps texts to the ids of all their tokens, without special ones.

    A word of a text that is spelled like a special token, such as "[SEP]", is an unknown word.
    """
    encode = _encoder(tokenizer, needs_places=False)
    return lambda texts: [tokens.ids for tokens in encode(texts)]


def place_encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[list[str]], list[Tokens]]:
    """Returns the function that maps texts to the ids and places of all their tokens, as ``token_encoder`` does."""
    return _encoder(tokenizer, needs_places=True)


def _encoder(tokenizer: PreTrainedTokenizerFast, *, needs_places: bool) -> Callable[[list[str]], list[Tokens]]:
    """Returns the function that maps texts to their tokens, as ``token_encoder`` does."""
    split, control = _splitter(tokenizer, needs_places=needs_places), _control_tokens(tokenizer)
    unknown = [] if tokenizer.unk_token_id is None else [tokenizer.unk_token_id]

    def ordinary(tokens: Tokens) -> Tokens:
        if control.isdisjoint(tokens.ids):
            return tokens
        replaced = [unknown if each in control else [each] for each in tokens.ids]
        places = [place for place, ids in zip(tokens.places, replaced, strict=False) for _ in ids]
        return Tokens([token for ids in replaced for token in ids], places)

    return lambda texts: [ordinary(tokens) for tokens in split(texts)]


def _control_tokens(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Returns the ids of the special tokens but that of unknown words, which stands for text."""
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}


def _splitter(
    tokenizer: PreTrainedTokenizerFast, *, needs_places: bool = False
) -> Callable[[list[str]], list[Tokens]]:
    """Returns the function that maps texts to the tokens that the tokenizer itself gives them."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # an earlier call may have left this state behind
    backend.no_padding()
    backend.encode_special_tokens = True  # splits a literal "[SEP]" in a document like any other text
    encode = partial(backend.encode_batch if needs_places else backend.encode_batch_fast, add_special_tokens=False)
    if not isinstance(tokenizer, RoFormerTokenizer):
        return lambda texts: [Tokens(each.ids, each.offsets if needs_places else []) for each in encode(texts)]

    def by_sentence(texts: list[str]) -> list[Tokens]:
        # the splitter's time per word grows with the length of its input; no word spans a sentence end
        sentences = [_SENTENCE_END.split(text) for text in texts]
        encodings = iter(encode([sentence for of_text in sentences for sentence in of_text]))
        found = []
        for of_text in sentences:
            tokens, start = Tokens([], []), 0
            for sentence in of_text:
                encoding = next(encodings)
                tokens.ids.extend(encoding.ids)
                if needs_places:
                    tokens.places.extend((start + first, start + end) for first, end in encoding.offsets)
                start += len(sentence)
            found.append(tokens)
        return found

    return by_sentence


def _joined(texts: list[list[int]], separator: int) -> list[int]:
    return [*texts[0], *(token for text in texts[1:] for token in (separator, *text))]


def progress_bar() -> Progress:
    """Returns a progress bar that is shown on terminals only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

"""What a head says about each token of documents that are cut into segments."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, PackedInputs, pack
from roformer.data.packing import FRAME_TOKENS
from roformer.data.sampler import batches_by_length
from roformer.runtime.inference import evaluating


def longest_first(segments: NDArray[np.int64], chosen: list[int]) -> NDArray[np.int64]:
    """Returns the chosen (k, 2) segments by falling length: attention batches those of equal length."""
    return segments[sorted(chosen, key=lambda number: int(segments[number, 0] - segments[number, 1]))]


def framed(tokens: IntArray, segments: NDArray[np.int64], tokenizer: PreTrainedTokenizerFast) -> PackedInputs:
    """Concatenates segments, each as [CLS] tokens [SEP].

    Args:
        tokens: of all documents.
        segments: (k, 2) start and exclusive end in ``tokens``.
        tokenizer: has the special tokens.
    """
    cls, sep = [tokenizer.cls_token_id], [tokenizer.sep_token_id]
    return pack([np.concatenate([cls, tokens[start:stop], sep]) for start, stop in segments])


def classified_tokens(
    model: nn.Module,
    tokens: int,
    segments: NDArray[np.int64],
    collate: Callable[[NDArray[np.int64]], Mapping[str, Any]],
    batch_tokens: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32], float]:
    """Classifies each token, in batches of similar length.

    Args:
        model: with a head on each token.
        tokens: their number.
        segments: (segments, 2) start and exclusive end in the tokens.
        collate: returns the model's inputs for some segments, which come by falling length.
        batch_tokens: maximum number of tokens in a forward pass; a single longer segment has one of its own.

    Returns:
        the (tokens,) most probable classes, their probabilities, and the sum of the losses where there are labels.
    """
    classes, probabilities, loss = np.zeros(tokens, dtype=np.int64), np.zeros(tokens, dtype=np.float32), 0.0
    with evaluating(model) as on_device:
        for batch in batches_by_length(segments[:, 1] - segments[:, 0] + FRAME_TOKENS, batch_tokens):
            chosen = longest_first(segments, batch)
            inputs = collate(chosen)
            outputs = model(**on_device(inputs))
            loss += 0.0 if outputs.loss is None else outputs.loss.item()
            logits = outputs.logits[0].float().cpu()
            predicted, highest = logits.argmax(-1).numpy(), logits.softmax(-1).amax(-1).numpy()
            for (start, stop), begin in zip(chosen, inputs["cu_seqlens"].tolist(), strict=False):
                inside = slice(begin + 1, begin + 1 + stop - start)
                classes[start:stop], probabilities[start:stop] = predicted[inside], highest[inside]
    return classes, probabilities, loss

"""How much arithmetic the work needs: the numerator of utilization, the same for every contestant.

A multiply-add counts two. Counted are the products with weights and attention's two products (q k^T and the weighted
sum of the values, within documents); not norms, activations, softmax, the optimizer, padding, or anything that is
computed twice. A backward pass needs twice as much as a forward pass.
"""

from collections.abc import Sequence

from benchmarks.contestants import Sizes


def forward_flops(
    sizes: Sizes, lengths: Sequence[int], predicted: int | None, windows: Sequence[int | None] = ()
) -> int:
    """Returns the operations of one forward pass over documents of these lengths.

    Args:
        sizes: of the model: C hidden, n layers, V vocabulary; the feed-forward layers are 4 C wide.
        lengths: tokens of each document.
        predicted: how many tokens the head predicts, the same in each document: the top layer needs queries, and what
            comes after them, for these only. None for the encoder alone.
        windows: how many tokens to each side each layer attends to, None for all; without them, all in all layers.
    """
    tokens, width = sum(lengths), sizes.hidden_size
    share = 1.0 if predicted is None else predicted / tokens
    keys_and_values = 2 * tokens * 2 * width**2
    # queries, attention's output layer, and the two feed-forward layers
    per_query = tokens * 2 * (width**2 + width**2 + 8 * width**2)
    *lower, top = (
        per_query + 4 * width * sum(length * _seen(length, window) for length in lengths)
        for window in windows or [None] * sizes.layers
    )
    encoder = sizes.layers * keys_and_values + sum(lower) + share * top
    head = 0 if predicted is None else 2 * predicted * (width**2 + width * sizes.vocabulary)
    return round(encoder) + head


def _seen(length: int, window: int | None) -> int:
    """Returns the tokens that one in the middle of a document attends to."""
    return length if window is None else min(length, 2 * window + 1)


def training_flops(sizes: Sizes, lengths: Sequence[int], predicted: int) -> int:
    """Returns the operations of a forward and a backward pass."""
    return 3 * forward_flops(sizes, lengths, predicted)

"""Synthetic documents: their labels are right, their words are tokens, and the same settings make the same ones."""

from collections import Counter

import numpy as np
import pytest

from roformer.data import SOURCES
from roformer.data.sources.listops import ListopsSource
from roformer.data.sources.order import OrderSource
from roformer.data.sources.recall import RecallSource
from roformer.errors import UserError
from roformer.tokenizer import TOKENIZERS

SETTINGS = {
    "recall": {"name": "recall", "length": 40, "documents": 300, "seed": 0, "pairs": 4, "keys": 32},
    "order": {"name": "order", "length": 40, "documents": 300, "seed": 0},
    "listops": {"name": "listops", "length": 60, "documents": 300, "seed": 0, "arguments": 4},
}


@pytest.fixture(params=SETTINGS)
def settings(request):
    return SETTINGS[request.param]


def documents(settings):
    return [(document.text.split(), document.label) for document in SOURCES.build(settings).documents()]


@pytest.mark.parametrize(("keys", "others"), [(32, 3), (3, 2), (1, 0)])
def test_the_recalled_value_stands_behind_the_key(keys, others):
    """Catches a label of another pair, a key that is there twice, and values that are told by the lack of a key."""
    for words, label in documents({**SETTINGS["recall"], "keys": keys}):
        assert words[0] == "find"
        assert words.count(words[1]) == 2
        assert words[words.index(words[1], 2) + 1] == label
        assert sum(word.startswith("key") for word in words) == 2 + others
        assert sum(word.startswith("value") for word in words) == 4
        assert len(words) == 40


def test_the_baseline_goes_by_the_values():
    """Catches a floor that reads the order of the words, or a key."""
    source = SOURCES.build(SETTINGS["recall"])
    found = documents(SETTINGS["recall"])
    for words, _ in found:
        values = Counter(word for word in words if word.startswith("value"))
        assert values[source.baseline_label(words)] == max(values.values())
        assert source.baseline_label(words[::-1]) == source.baseline_label(words)  # ties, too
    right = np.mean([source.baseline_label(words) == label for words, label in found])
    assert 1 / 4 < right < 1 / 2  # four pairs, some of which share a value


def test_the_order_and_the_distance_are_those_of_the_words():
    """Catches a border that belongs to the other side, and labels that can be told from the words alone."""
    for words, label in documents(SETTINGS["order"]):
        first, second = words.index("alpha"), words.index("omega")
        assert (words.count("alpha"), words.count("omega"), len(words)) == (1, 1, 40)
        name = "alpha" if first < second else "omega"
        assert label == f"{name} first, {'near' if abs(first - second) <= 16 else 'far'}"
    counts = Counter(label for _, label in documents({**SETTINGS["order"], "documents": 2000}))
    assert len(counts) == 4
    assert max(counts.values()) < 1.4 * min(counts.values())


def value_of(words):
    """Evaluates an expression from right to left with a stack, as no generator would."""
    stack = []
    for word in reversed(words):
        if word == "[":
            name, numbers = stack.pop(), []
            while stack[-1] != "]":
                numbers.append(stack.pop())
            stack.pop()
            numbers.sort()
            middle = numbers[(len(numbers) - 1) // 2]
            stack.append({"MAX": numbers[-1], "MIN": numbers[0], "MED": middle, "SUM": sum(numbers) % 10}[name])
        else:
            stack.append(int(word) if word.isdigit() else word)
    (value,) = stack
    return value


def test_listops_has_the_value_that_it_says():
    """Catches brackets that are lost, lengths beyond the limit and operations on the wrong arguments."""
    found = documents(SETTINGS["listops"])
    for words, label in found:
        assert value_of(words) == int(label)
        assert words.count("[") == words.count("]") >= 1
        assert 5 <= len(words) <= 60
    assert {label for _, label in found} == set("0123456789")
    assert max(len(words) for words, _ in found) > 45


def test_every_word_is_a_token(settings, tmp_path):
    """Catches words that the tokenizer cuts up, so that a length in words is none in tokens."""
    source = SOURCES.build(settings)
    wordpiece = {"name": "wordpiece", "vocab_size": 1000, "alphabet_size": 40, "lowercase": True}
    trained = TOKENIZERS.build({**wordpiece, "max_characters": None}).prepare(
        source, cache_dir=tmp_path, validation_fraction=0.1, test_fraction=0.1
    )
    for words, _ in documents(settings)[:50]:
        assert len(trained(" ".join(words), add_special_tokens=False)["input_ids"]) == len(words)


def test_the_same_settings_make_the_same_documents(settings):
    """Catches a cache that is taken for other documents, and documents that differ from run to run."""
    assert documents(settings) == documents(settings)
    changed = {key: value + 1 for key, value in settings.items() if key != "name"}
    for key, value in changed.items():
        other = {**settings, key: value}
        assert SOURCES.build(other).fingerprint() != SOURCES.build(settings).fingerprint()
        assert documents(other) != documents(settings)
    more = documents({**settings, "documents": 310})
    assert more[:300] == documents(settings)


@pytest.mark.parametrize("length", [40, 160])
def test_a_place_is_kept_at_every_length(length):
    """Catches a heat map whose columns mean something else in longer documents."""
    recall = RecallSource(length=40, documents=1, seed=0, pairs=4, keys=32)
    order = OrderSource(length=40, documents=1, seed=0)
    for place in (0.0, 0.3, 0.999):
        for seed in range(20):
            words, _ = recall.example(np.random.default_rng(seed), length, place)
            assert len(words) == length
            assert abs((words.index(words[1], 2) - 2) / (length - 2) - place) < 0.2
            words, _ = order.example(np.random.default_rng(seed), length, place)
            assert len(words) == length
            assert abs(words.index("alpha") - words.index("omega")) == 1 + int(place * (length - 1))


def test_listops_of_other_lengths():
    """Catches a limit that holds for the training length only, and long documents that are shorter than they say."""
    source = ListopsSource(length=20, documents=1, seed=0, arguments=5)
    for length in (20, 126, 2000):
        lengths = [len(source.example(np.random.default_rng(seed), length)[0]) for seed in range(200)]
        assert max(lengths) <= length
        assert np.mean(lengths) > 0.45 * length


@pytest.mark.parametrize(
    ("name", "changes", "line"),
    [
        ("recall", {"length": 7}, "data=recall needs length >= 8"),
        ("recall", {"pairs": 20}, "pairs must lie between 2 and 19, got 20"),
        ("recall", {"keys": 0}, "keys >= 1, got 0"),
        ("order", {"documents": 0}, "documents >= 1"),
        ("order", {"seed": -1}, "seed >= 0"),
        ("listops", {"arguments": 1}, "arguments >= 2"),
    ],
)
def test_numbers_out_of_range_are_one_line(name, changes, line):
    """Catches settings for which documents cannot be made, or all look the same."""
    with pytest.raises(UserError, match=line):
        SOURCES.build({**SETTINGS[name], **changes})

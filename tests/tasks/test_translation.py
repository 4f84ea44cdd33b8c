"""Translation: pairs, batches of like length within a budget, and what is trained, judged and written."""

from itertools import chain

import numpy as np
import pytest
import torch
from sacrebleu.metrics import BLEU

from roformer.errors import UserError
from roformer.evaluation.harness import load_run
from roformer.evaluation.runs import find_runs
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.results.schema import to_json
from roformer.sections.translation.bleu import tokenizer_for, tokenizer_of
from roformer.sections.translation.measure import TranslationQuality, compound_split_bleu
from roformer.training.warm_start import build_model
from tests.tiny_runs import evaluation

SIZE = 256  # tokens a batch


@pytest.fixture
def task(make_task):
    return make_task("translation")


def documents(task, step):
    return task.batch_row_numbers(step, SIZE)


def test_pairs_are_source_and_target_with_their_ends(task):
    """Catches languages that are swapped, a [SEP] of the cache that stays inside, and lengths of something else."""
    words = {"train": 0, "validation": 0}
    for split in words:
        for index in range(len(task.corpus.splits[split])):
            source, target = task.pair(split, index)
            assert [len(source), len(target)] == task.pairs[split][index].tolist()
            assert source[-1] == target[-1] == task.tokenizer.sep_token_id
            english, german = (task.tokenizer.decode(text[:-1]).strip() for text in (source, target))
            assert english.startswith("the ")
            assert german == " ".join(word[::-1] for word in english.split())  # how the corpus of the tests was made
            words[split] += 1
    assert all(words.values())


def test_an_epoch_has_every_pair_once_and_no_batch_is_too_large(task):
    """Catches pairs that are lost between batches, padding beyond the budget, and batches of any lengths."""
    steps = round(task.steps_per_epoch(SIZE))
    assert steps == task.steps_per_epoch(SIZE) > 3
    for epoch in range(2):
        seen = [documents(task, epoch * steps + step) for step in range(steps)]
        assert sorted(chain(*seen)) == task.trained.tolist()
        for batch in seen:
            assert task.pairs["train"][batch].max() * len(batch) <= SIZE
    padded = real = 0
    for step in range(steps):
        batch = task.batch(step, SIZE, share=0, shares=1)
        padded += batch.inputs["input_ids"].numel() + batch.inputs["labels"].numel()
        real += batch.tokens
    assert real > 0.8 * padded


def test_batches_depend_on_seed_and_step_only(make_task):
    """Catches an order that a second task object, or an earlier call, changes; and one that no seed changes."""
    one, again, other = make_task("translation"), make_task("translation"), make_task("translation", "seed=2")
    for step in (7, 0, 7):
        torch.testing.assert_close(
            one.batch(step, SIZE, share=0, shares=1).inputs, again.batch(step, SIZE, share=0, shares=1).inputs
        )
    order = [[documents(task, step) for step in range(6)] for task in (one, other)]
    assert order[0] != order[1]
    steps = round(one.steps_per_epoch(SIZE))
    assert [documents(one, step) for step in range(steps)] != [documents(one, steps + step) for step in range(steps)]


@pytest.mark.parametrize("shares", [1, 2, 40])
def test_shares_add_up_to_the_batch(task, shares):
    """Catches predictions that are lost or counted twice, and a share without any pair, which has none to give."""
    for step in range(4):
        parts = [task.batch(step, SIZE, share=share, shares=shares) for share in range(shares)]
        predicted = sum(int((part.inputs["labels"] != IGNORE_INDEX).sum()) for part in parts)
        assert predicted == task.num_items(step, SIZE)
        tokens = int(task.pairs["train"][documents(task, step)].sum())
        assert sum(part.tokens for part in parts) == tokens


def test_long_pairs_are_left_out_of_training_and_cut_in_evaluation(make_task):
    """Catches a limit that is not kept, and one that takes pairs out of the test."""
    whole = make_task("translation")
    limit = int(np.median(whole.pairs["train"].max(axis=1)))
    short = make_task("translation", f"task.max_length={limit}")
    assert 0 < short.rows < whole.rows
    for step in range(round(short.steps_per_epoch(SIZE))):
        assert short.pairs["train"][documents(short, step)].max() <= limit
    batches = short.by_length("validation", 64)
    assert sorted(chain(*batches)) == list(range(len(short.corpus.splits["validation"])))
    longest = np.minimum(short.pairs["validation"].max(axis=1), limit)
    assert all(longest[batch].max() * len(batch) <= 64 for batch in batches)
    assert max(map(len, batches)) > 2
    assert max(short.collate("validation", batch).inputs["input_ids"].shape[1] for batch in batches) == limit


def test_loss_is_a_mean_over_tokens_and_not_smoothed(task, tiny_runs):
    """Catches a mean over batches, padding that counts, smoothing in evaluation, and a model left in that mode."""
    model = build_model(tiny_runs.config("unused", task="translation"), task).train()
    losses = [task.evaluate(model, "validation", batch_tokens=size)["validation_loss"] for size in (32, 10_000)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert model.training
    model.eval()
    total, count = 0.0, 0
    for index in range(len(task.corpus.splits["validation"])):
        source, target = (torch.from_numpy(text)[None] for text in task.pair("validation", index))
        total += model(source, labels=target).loss.item() * target.shape[1]
        count += target.shape[1]
    assert losses[0] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.slow
def test_translations_come_in_the_order_of_the_documents(task, tiny_runs):
    """Catches translations in the order of the batches, and ones that depend on who stands beside them."""
    model = build_model(tiny_runs.config("unused", task="translation"), task).eval()
    torch.manual_seed(0)
    for weight in (weight for weight in model.parameters() if weight.dim() > 1):
        torch.nn.init.normal_(weight, std=0.3)
    together, alone = (
        task.translate(model, "validation", num_beams=1, length_penalty=1.0, batch_tokens=tokens)
        for tokens in (10_000, 1)
    )
    assert len(set(together)) > 15
    for ours, theirs in zip(together, alone, strict=True):
        length = min(len(ours), len(theirs)) - 4  # a text that never ends is cut by the longest source of its batch
        assert ours[:length] == theirs[:length]
    some = {"num_beams": 1, "length_penalty": 1.0, "batch_tokens": 100}
    before = task.translate(model, "validation", **some)
    task.pairs["validation"][:, 1] = np.arange(len(before))[::-1]  # as if the references were others
    assert task.translate(model, "validation", **some) == before
    beams = {"num_beams": 3, "length_penalty": 0.6}
    source = torch.from_numpy(task.pair("validation", 2)[0])[None]
    tokens = model.generate(source, do_sample=False, max_new_tokens=source.shape[1] + 50, **beams)
    expected = task.tokenizer.decode(tokens[0], skip_special_tokens=True).strip()
    assert task.translate(model, "validation", batch_tokens=1, **beams)[2] == expected


def test_a_run_is_scored_on_its_test_split(tiny_runs, tmp_path):
    """Catches an evaluation of other texts than those of the test split, or of another model."""
    run = tiny_runs.train(tmp_path / "run", "trainer.max_steps=12", task="translation")
    (found,), _ = find_runs([str(run)])
    with torch.inference_mode():
        metrics = to_json(TranslationQuality(evaluation([])).evaluate(load_run(found)))
    task = load_run(found).task
    texts = [
        task.tokenizer.decode(task.pair("test", index)[1][:-1]).strip() for index in range(len(task.pairs["test"]))
    ]
    assert metrics["references"] == texts
    assert len(metrics["translations"]) == len(texts) > 10
    assert metrics["bleu"] == BLEU().corpus_score(metrics["translations"], [metrics["references"]]).score
    assert "tok:13a" in metrics["signature"]
    assert 0 < metrics["loss"] < 6


SCRIPTS = {
    "13a": [
        "A dog sleeps.",
        "Ein Hund schläft.",
        "Собака спит.",
        "كلب ينام",
        "개가 잔다.",
        "कुत्ता सोता है।",
        "",
        "東京 is big.",
    ],
    "zh": ["红桥晚红天灯头明山雨关。", "GPU 在训练模型,模型很大很大很大"],
    "char": ["犬が寝ている。", "หมานอน", "ຫມານອນ", "ឆ្កែដេក", "ခွေးအိပ်နေသည်", "ཁྱི་ཉལ་"],
}


@pytest.mark.parametrize(("tokenizer", "text"), [(name, text) for name, texts in SCRIPTS.items() for text in texts])
def test_bleu_has_the_words_of_the_script(tokenizer, text):
    """Catches a perfect Chinese translation with a BLEU of zero, and another tokenizer for languages with blanks."""
    assert tokenizer_for([text] * 6) == tokenizer
    metric = BLEU(tokenize=tokenizer_for([text] * 6))
    if len(text) > 5 and tokenizer != "13a":
        assert metric.corpus_score([text] * 6, [[text] * 6]).score > 99.9
        assert compound_split_bleu([text] * 6, [text] * 6) > 99.9
        assert tokenizer_of(str(metric.get_signature())) == tokenizer


def test_compounds_are_split_at_hyphens():
    """Catches compounds that count as one token, and the tokens of one side only."""
    reference, near = "eine rot-weiss-blaue Fahne weht heute , hier .", "eine rot-weiss-gelbe Fahne weht heute, hier."
    split = "eine rot ##AT##-##AT## weiss ##AT##-##AT## {} Fahne weht heute , hier ."
    expected = BLEU(tokenize="none", force=True).corpus_score([split.format("gelbe")], [[split.format("blaue")]]).score
    assert compound_split_bleu([near], [reference]) == expected
    assert expected > BLEU().corpus_score([near], [[reference]]).score


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("task.max_length=3",), "every pair is longer than task.max_length=3"),
        (("data=text", "data.path={text}"), "documents of two texts"),
    ],
)
def test_data_that_cannot_be_translated(make_task, tiny_runs, overrides, named):
    """Catches texts without a translation, and a training set that is empty."""
    with pytest.raises(UserError, match=named):
        make_task("translation", *(each.format(text=tiny_runs.text) for each in overrides))


def test_skipped_pairs_are_counted(make_task):
    """Catches a training set that shrinks in silence."""
    whole, lengths = make_task("translation").summary(), make_task("translation").pairs["train"].max(axis=1)
    limit = int(np.median(lengths))
    assert "skipping" not in whole
    told = make_task("translation", f"task.max_length={limit}").summary()
    longer = f"skipping {(lengths > limit).sum()} of train, longer than task.max_length={limit} tokens"
    assert told == f"{whole}; {longer}"


def test_a_budget_below_one_pair_is_refused(task):
    """Catches a batch that no machine was asked for."""
    with pytest.raises(UserError, match=r"trainer.batch_size=4 tokens is too small for a pair of \d+"):
        task.steps_per_epoch(4)

"""What the tokenizer of an export does by itself, in comparison with what its model was trained on."""

import pytest
import transformers
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from roformer.data.tokenize import tokenizer_key
from roformer.tokenizer._base import NAMED_SPECIAL_TOKENS
from roformer.tokenizer.pretrained import load_tokenizer
from tests.tiny_runs import TOPICS, weights

WORDS = sorted({word for topic in TOPICS.values() for word in topic.split()})
ROBERTA = {
    "cls_token": "<s>",
    "bos_token": "<s>",
    "sep_token": "</s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": AddedToken("<mask>", lstrip=True, special=True),
}


def word_level(special, first):
    """A tokenizer of words at blanks, whose numbers have holes: every other one from ``first`` on."""
    numbers = {str(token): number for number, token in enumerate(dict.fromkeys(map(str, special.values())))}
    numbers |= {word: first + 2 * number for number, word in enumerate(WORDS)}
    inner = Tokenizer(models.WordLevel(numbers, unk_token=special["unk_token"]))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


@pytest.fixture
def given(finished, tmp_path):
    """The function that saves a tokenizer of that kind and returns its folder, and the settings to train with it."""

    def save(kind):
        vocabulary = AutoTokenizer.from_pretrained(finished / "export").get_vocab()
        tokenizers = {
            "holes": lambda: word_level(NAMED_SPECIAL_TOKENS, 40),
            "roberta": lambda: word_level(ROBERTA, 10),
        }
        make = tokenizers.get(kind) or (lambda: getattr(transformers, kind)(vocab=vocabulary))
        make().save_pretrained(tmp_path / kind)
        return tmp_path / kind, ("tokenizer=pretrained", f"tokenizer.path={tmp_path / kind}", "trainer.max_steps=1")

    return save


@pytest.mark.parametrize("task", ["mlm", "causal_lm", "translation", "classification"])
def test_it_truncates_begins_and_ends_as_its_task_did(tiny_runs, tmp_path, task):
    """Catches a limit of 1e30 tokens, a decoder without a token to begin or end with (its config has both), and token
    types, which no task trains and not every model takes."""
    lower = ("tokenizer=wordpiece", "tokenizer.vocab_size=300", "tokenizer.alphabet_size=40")
    more = (*lower, "model.type_vocab_size=0") if task == "translation" else ()
    export = tiny_runs.train(tmp_path / "run", *more, task=task) / "export"
    tokenizer, config = AutoTokenizer.from_pretrained(export), AutoConfig.from_pretrained(export)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (config.bos_token_id, config.eos_token_id)
    assert (tokenizer.eos_token == "[SEP]") == (task in ("causal_lm", "translation"))
    length = 64 if task == "translation" else 32
    encoded = tokenizer("the owl " * 99, "and a gull", truncation=True)
    assert (tokenizer.model_max_length, len(encoded["input_ids"])) == (length, length)
    assert encoded.keys() == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("kind", ["BertTokenizer", "RoFormerTokenizer", "roberta", "holes"])
def test_every_class_frames_pairs_as_training_did(tiny_runs, given, tmp_path, kind):
    """Catches a class with a frame of its own and token types that no text of training had, and an export that cuts
    or names tokens in another way, for which evaluation would tokenize the corpus anew."""
    folder, settings = given(kind)
    run = tiny_runs.train(tmp_path / "run", *settings, task="classification")
    exported = load_tokenizer(str(run / "export"))
    assert tokenizer_key(exported) == tokenizer_key(load_tokenizer(str(folder)))
    pair = exported("owl fern", "owl")
    assert pair.keys() == {"input_ids", "attention_mask"}
    owl, fern = (exported(word, add_special_tokens=False)["input_ids"] for word in ("owl", "fern"))
    cls, sep = [exported.cls_token_id], [exported.sep_token_id]
    assert pair["input_ids"] == [*cls, *owl, *fern, *sep, *owl, *sep]
    assert (exported.model_max_length, exported.padding_side) == (32, "right")


@pytest.mark.parametrize("kind", ["BertTokenizer", "RoFormerTokenizer"])
def test_every_class_pads_prompts_before_them(tiny_runs, given, tmp_path, kind):
    """Catches a class that is exported as it was, with padding between a prompt and what follows."""
    run = tiny_runs.train(tmp_path / "run", *given(kind)[1], task="causal_lm")
    exported = AutoTokenizer.from_pretrained(run / "export")
    assert (exported.padding_side, exported.bos_token, exported.eos_token) == ("left", "[CLS]", "[SEP]")


def test_numbers_of_tokens_may_have_holes(tiny_runs, given, tmp_path):
    """Catches a table with as many rows as tokens, whose end the highest numbers are beyond."""
    run = tiny_runs.train(tmp_path / "run", *given("holes")[1])
    assert len(weights(run)["head.decoder.bias"]) == 40 + 2 * len(WORDS) - 1
    tuned = tiny_runs.train(tmp_path / "tuned", f"init_from={run}", "trainer.max_steps=1", task="classification")
    assert AutoTokenizer.from_pretrained(tuned / "export")("owl")["input_ids"][1] == 40 + 2 * WORDS.index("owl")

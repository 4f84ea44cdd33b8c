"""Forward calls as transformers and the libraries around it make them."""

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AttentionInterface,
    AutoModelForMaskedLM,
    BertConfig,
    ContinuousBatchingConfig,
    DataCollatorWithFlattening,
    GenerationConfig,
)
from transformers import BertForSequenceClassification as StockClassifier

from roformer.attention import ATTENTION_BACKENDS
from roformer.errors import UserError
from roformer.model import (
    RoFormerForCausalLM,
    RoFormerForConditionalGeneration,
    RoFormerForMaskedLM,
    RoFormerForMultipleChoice,
    RoFormerForQuestionAnswering,
    RoFormerForSequenceClassification,
    RoFormerForTokenClassification,
    RoFormerLabConfig,
    RoFormerModel,
)
from tests.choices import each_encoding

TOKENS = torch.arange(24).view(2, 12)
DOCUMENTS = [torch.arange(1, 8), torch.arange(20, 21), torch.arange(30, 42)]
TARGET = {"decoder_input_ids": TOKENS[:, :5]}
NUMBERS = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
HEADS = {  # settings, inputs, labels
    RoFormerModel: ({}, {}, None),
    RoFormerForMaskedLM: ({}, {}, {"labels": TOKENS}),
    RoFormerForCausalLM: ({"is_decoder": True}, {}, {"labels": TOKENS}),
    RoFormerForConditionalGeneration: (
        {"is_encoder_decoder": True, "decoder_start_token_id": 2}, TARGET, {"labels": TOKENS[:, 1:6]},
    ),
    RoFormerForSequenceClassification: ({"num_labels": 3}, {}, {"labels": torch.tensor([2, 0])}),
    RoFormerForTokenClassification: ({"num_labels": 3}, {}, {"labels": TOKENS % 3}),
    RoFormerForMultipleChoice: ({}, {}, {"labels": torch.tensor([1, 0])}),
    RoFormerForQuestionAnswering: (
        {}, {}, {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([4, 2])},
    ),
}  # fmt: skip
each_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)


@pytest.fixture
def built(tiny_model):
    """Builds a model with a head; returns it with its inputs."""

    def build(head, **settings):
        own, more, _ = HEADS[head]
        tokens = torch.stack((TOKENS, TOKENS.flip(1)), dim=1) if head is RoFormerForMultipleChoice else TOKENS
        return tiny_model(model_class=head, **{**own, **settings}), {"input_ids": tokens, **more}

    return build


@each_head
def test_tuple_on_request(head, built):
    """Catches a head that knows no return_dict: PEFT and CrossEncoder pass it to every model."""
    model, inputs = built(head)
    first = model(**inputs, return_dict=True)[0]
    assert isinstance(model(**inputs, return_dict=False), tuple)
    torch.testing.assert_close(model(**inputs, return_dict=False)[0], first)
    model.config.return_dict = False
    assert isinstance(model(**inputs), tuple)


@each_head
def test_typing_error_is_no_argument(head, built):
    """Catches keywords that vanish: a misspelt mask would change nothing and be missed."""
    model, inputs = built(head)
    with pytest.raises(TypeError, match="'atention_mask'; did you mean 'attention_mask'"):
        model(**inputs, atention_mask=torch.ones(2, 12))


@each_head
def test_what_transformers_gives_to_every_model_is_taken(head, built):
    """Catches a TypeError for arguments that mean nothing to this model, or that nobody has given."""
    model, inputs = built(head)
    expected = model(**inputs)[0]
    given = {"use_cache": False, "seq_idx": None, "max_length_q": 12, "output_hidden_states": False, "head_mask": None}
    torch.testing.assert_close(model(**inputs, **given)[0], expected)
    model(**inputs, output_hidden_states=True, output_attentions=True)


@pytest.mark.parametrize("head", [head for head in HEADS if HEADS[head][2]], ids=lambda head: head.__name__)
def test_losses_of_the_parts_of_a_batch_add_up(head, built):
    """Catches a head that ignores num_items_in_batch, which transformers.Trainer gives to each part of a batch."""
    model, inputs = built(head)
    inputs = {**{key: value for key, value in inputs.items() if key not in TARGET}, **HEADS[head][2]}
    items = next(iter(HEADS[head][2].values())).numel() - (2 if head is RoFormerForCausalLM else 0)
    parts = [{key: value[row : row + 1] for key, value in inputs.items()} for row in range(2)]
    total = sum(model(**part, num_items_in_batch=torch.tensor(items)).loss for part in parts)
    torch.testing.assert_close(total, model(**inputs).loss)
    assert model.accepts_loss_kwargs


def test_a_body_has_no_loss_to_share(tiny_model):
    """Catches transformers.Trainer with a compute_loss_func, which would give num_items_in_batch to a body."""
    assert not tiny_model(model_class=RoFormerModel).accepts_loss_kwargs


def padding_free(flash):
    """The documents in one row, as transformers packs them: bounded by positions, or by cumulative lengths alone."""
    collate = DataCollatorWithFlattening(return_flash_attn_kwargs=flash)
    batch = collate([{"input_ids": document.tolist()} for document in DOCUMENTS])
    return {key: value for key, value in batch.items() if key != "labels" and not (flash and key == "position_ids")}


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("flash", [False, True], ids=["positions", "cumulative lengths"])
def test_padding_free_batch_has_a_class_for_each_document(pooling, flash, tiny_model):
    """Catches documents that see only their own tokens, and then are classified as one."""
    model = tiny_model(model_class=RoFormerForSequenceClassification, num_labels=3, pooling=pooling)
    alone = torch.cat([model(document[None]).logits for document in DOCUMENTS])
    torch.testing.assert_close(model(**padding_free(flash)).logits, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("flash", [False, True], ids=["positions", "cumulative lengths"])
def test_padding_free_batch_isolates_documents(is_decoder, flash, tiny_model):
    """Catches documents that see each other in transformers' own padding-free batches."""
    model = tiny_model(is_decoder=is_decoder)
    alone = torch.cat([model(document[None]).logits[0] for document in DOCUMENTS])
    torch.testing.assert_close(model(**padding_free(flash)).logits[0], alone, atol=1e-5, rtol=0)


def test_rows_whose_positions_start_again_isolate_documents(tiny_model):
    """Catches documents that see each other where several rows are packed at once."""
    model, tokens = tiny_model(), torch.arange(20).view(2, 10)
    position_ids = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 0, 1, 2]])
    logits = model(tokens, position_ids=position_ids).logits
    for row, start in ((0, 4), (1, 7)):
        parts = [model(tokens[row : row + 1, part]).logits[0] for part in (slice(start), slice(start, 10))]
        torch.testing.assert_close(logits[row], torch.cat(parts), atol=1e-5, rtol=0)


def test_positions_that_jump_or_are_fractions_isolate_nothing(tiny_model):
    """Catches a rule that takes positions of one text, as randomized ones, for several."""
    model = tiny_model()
    for position_ids in (torch.tensor([[0, 3, 9, 4, 1, 7]]), torch.tensor([[0.0, 0.0, 1.0, 0.0, 2.0, 3.0]])):
        changed = model(torch.tensor([[1, 2, 3, 4, 5, 30]]), position_ids=position_ids).logits[0, 0]
        first = model(torch.arange(1, 7)[None], position_ids=position_ids).logits[0, 0]
        assert (changed - first).abs().max() > 1e-3


@each_head
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("eager", "eager"),
        ({"": "eager"}, "eager"),
        ("sdpa", "sdpa"),
        ("paged|sdpa", "sdpa"),
        ("flex_attention", "kernel"),
        (None, "blocked"),
        ({"another": "eager"}, "blocked"),
    ],
    ids=str,
)
def test_attn_implementation_chooses_the_backend(head, name, backend, built, tmp_path):
    """Catches an argument of everybody's scripts that raises, or that is taken and changes nothing."""

    def backends(model):
        return {type(module.backend) for module in model.modules() if hasattr(module, "backend")}

    built(head, attention_backend="blocked")[0].save_pretrained(tmp_path)
    model = head.from_pretrained(tmp_path, attn_implementation=name)
    assert model.config.attention_backend == backend
    assert backends(model) == {ATTENTION_BACKENDS[backend]}
    model = head.from_pretrained(tmp_path)
    assert model.config.attention_backend == "blocked"
    model.set_attn_implementation(name)
    assert model.config.attention_backend == backend
    assert backends(model) == {ATTENTION_BACKENDS[backend]}


def test_kernel_of_the_interface_computes_attention(tiny_model, tmp_path):
    """Catches a registered kernel that is not called, or called with other scores than eq. 2 has."""
    calls = []

    def attend(module, query, key, value, attention_mask, *, dropout, scaling, is_causal, **kwargs):
        calls.append((attention_mask.shape, is_causal))
        output = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling)
        return output.transpose(1, 2), None

    AttentionInterface.register("counted", attend)
    model = tiny_model()
    model.save_pretrained(tmp_path)
    other = AutoModelForMaskedLM.from_pretrained(tmp_path, attn_implementation="counted")
    mask = torch.ones(2, 12).index_fill(1, torch.tensor([11]), 0)
    expected = model(TOKENS, attention_mask=mask).logits[:, :11]
    torch.testing.assert_close(other(TOKENS, attention_mask=mask).logits[:, :11], expected)
    assert calls == [((2, 1, 12, 12), False)] * 2


@pytest.mark.parametrize(
    ("config", "name", "message"),
    [
        ({}, "flex_atention", "unknown attn_implementation 'flex_atention'; did you mean 'flex_attention'"),
        ({"position": {"name": "alibi"}}, "flex_attention", "AlibiPositionEncoding adds to"),
        ({"attention_backend": "linear"}, "sdpa", "attn_implementation=sdpa is softmax attention"),
    ],
    ids=["typing error", "bias", "other operator"],
)
def test_what_an_attention_cannot_be_is_refused(config, name, message, sizes):
    """Catches a choice that is accepted and dropped, and one that fails within a matrix product."""
    with pytest.raises(ValueError, match=message):
        RoFormerModel(RoFormerLabConfig(**{**sizes, **config}, attn_implementation=name))


@pytest.mark.parametrize(
    ("num_labels", "problem", "labels"),
    [
        (1, None, torch.tensor([0.3, 1.2])),
        (1, None, torch.tensor([[0.3], [1.2]], dtype=torch.float64)),
        (1, None, torch.tensor([1, 0])),
        (3, None, NUMBERS.round()),
        (3, None, torch.tensor([2, 0])),
        (3, None, torch.tensor([[2], [0]])),
        (3, "regression", NUMBERS),
        (3, "multi_label_classification", NUMBERS),
        (1, "multi_label_classification", NUMBERS[:, :1]),
    ],
    ids=str,
)
def test_labels_say_what_the_problem_is(num_labels, problem, labels, tiny_model):
    """Catches a loss that differs from that of transformers' own classifiers, which are asked here."""
    settings = {"num_labels": num_labels, "problem_type": problem}
    model = tiny_model(model_class=RoFormerForSequenceClassification, **settings)
    stock = StockClassifier(BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1,
                                       intermediate_size=4, **settings)).eval()  # fmt: skip
    outputs = model(TOKENS, labels=labels)
    stock.classifier.register_forward_hook(lambda *_: outputs.logits)
    torch.testing.assert_close(outputs.loss, stock(torch.ones(2, 3).long(), labels=labels).loss, check_dtype=False)


def test_loss_of_tokens_and_of_answers(tiny_model):
    """Catches labels of -100 that count, and places beyond the text that do."""
    labels = torch.tensor([[0, 1, -100, *[2] * 9], [-100] * 12])
    outputs = tiny_model(model_class=RoFormerForTokenClassification, num_labels=3)(TOKENS, labels=labels)
    torch.testing.assert_close(outputs.loss, F.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten()))
    places = {"start_positions": torch.tensor([3, 12]), "end_positions": torch.tensor([5, -1])}
    outputs = tiny_model(model_class=RoFormerForQuestionAnswering)(TOKENS, **places)
    expected = (
        F.cross_entropy(outputs.start_logits[:1], torch.tensor([3]))
        + F.cross_entropy(outputs.end_logits[:1], torch.tensor([5]))
    ) / 2
    torch.testing.assert_close(outputs.loss, expected)


def test_choices_are_scored_each_for_itself(tiny_model):
    """Catches choices that see each other."""
    model = tiny_model(model_class=RoFormerForMultipleChoice)
    logits = model(TOKENS.view(1, 2, 12)).logits
    alone = torch.cat([model(TOKENS[row].view(1, 1, 12)).logits for row in range(2)], dim=1)
    torch.testing.assert_close(logits, alone)
    loss = model(TOKENS.view(1, 2, 12), labels=torch.tensor([1])).loss
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([1])))


def test_pooler_reads_the_first_token(tiny_model):
    """Catches a pooler of padding on the left, or of another packed document."""
    model = tiny_model(model_class=RoFormerModel, add_pooler=True)
    expected = torch.cat([model(TOKENS[row : row + 1]).pooler_output for row in range(2)])
    packed = model(TOKENS.view(1, 24), cu_seqlens=torch.tensor([0, 12, 24])).pooler_output
    torch.testing.assert_close(packed, expected, atol=1e-5, rtol=0)
    left = F.pad(TOKENS, (3, 0)), F.pad(torch.ones_like(TOKENS), (3, 0))
    torch.testing.assert_close(model(left[0], attention_mask=left[1]).pooler_output, expected, atol=1e-5, rtol=0)


def test_logits_of_labeled_tokens_only_in_training(tiny_model):
    """Catches a fresh model that is slow in other people's trainings, and an evaluation without all logits."""
    labels = torch.full_like(TOKENS, -100).index_fill(1, torch.tensor([2, 5]), 7)
    model = tiny_model()
    whole = model(TOKENS, labels=labels)
    assert whole.logits.shape == (2, 12, 60)
    sparse = model.train()(TOKENS, labels=labels)
    assert sparse.logits.shape == (4, 60)
    torch.testing.assert_close(sparse.loss, whole.loss)
    assert model(TOKENS, labels=labels, sparse_prediction=False).logits.shape == (2, 12, 60)
    assert model(TOKENS).logits.shape == (2, 12, 60)


def test_cache_by_default_but_not_with_labels(tiny_model):
    """Catches a training step that builds a cache, and a decoder that returns none to who wants to go on."""
    model = tiny_model(is_decoder=True)
    assert model(TOKENS).past_key_values.get_seq_length() == 12
    assert model(TOKENS, labels=TOKENS).past_key_values is None
    assert tiny_model(is_decoder=True, use_cache=False)(TOKENS).past_key_values is None


def test_static_cache_of_an_encoder_decoder(built):
    """Catches a mask of the whole cache that the decoder cannot read, and keys of the source that are lost."""
    model, _ = built(RoFormerForConditionalGeneration)
    mask = F.pad(torch.ones(2, 9, dtype=torch.long), (0, 3))
    settings = {"attention_mask": mask, "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0}
    for more in ({"do_sample": False}, {"do_sample": False, "num_beams": 3}):
        expected = model.generate(TOKENS, **settings, **more)
        assert torch.equal(model.generate(TOKENS, cache_implementation="static", **settings, **more), expected)


@each_encoding
def test_static_cache_gives_the_same_text(encoding, tiny_model):
    """Catches keys of a static cache that are read before they are written, or at other positions."""
    model = tiny_model(encoding, is_decoder=True)
    tokens, mask = F.pad(TOKENS[:, :7], (2, 0)), F.pad(torch.ones(2, 7, dtype=torch.long), (2, 0))
    settings = {"attention_mask": mask, "max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    expected = model.generate(tokens, **settings)
    assert torch.equal(model.generate(tokens, cache_implementation="static", **settings), expected)


@pytest.mark.parametrize("encoding", ["rope", "none"])
def test_continuous_batching_gives_the_same_texts(encoding, tiny_model):
    """Catches pages of other texts' keys that are seen, and keys at other positions."""
    model = tiny_model(encoding, is_decoder=True)
    prompts = [[1, 2, 3], [9, 8, 7, 6, 5], [4]]
    settings = GenerationConfig(max_new_tokens=5, do_sample=False, eos_token_id=-1, pad_token_id=0)
    batching = ContinuousBatchingConfig(num_blocks=16, block_size=16, max_batch_tokens=64)
    texts = model.generate_batch(
        prompts, generation_config=settings, continuous_batching_config=batching, progress_bar=False
    )
    for prompt, text in zip(prompts, texts.values(), strict=True):
        alone = model.generate(torch.tensor([prompt]), generation_config=settings)[0, len(prompt) :]
        assert text.generated_tokens == alone.tolist()


def test_continuous_batching_refuses_what_keeps_no_keys(tiny_model):
    """Catches a bias that would be dropped in silence."""
    model = tiny_model("alibi", is_decoder=True)
    with pytest.raises(UserError, match="use generate"):
        model(torch.tensor([[1]]), position_ids=torch.tensor([[0]]), cache=object())
    model = tiny_model("rope", is_decoder=True, local_attention=4)
    with pytest.raises(UserError, match=r"windows \(local_attention\) .*use generate"):
        model(torch.tensor([[1]]), position_ids=torch.tensor([[0]]), cache=object())

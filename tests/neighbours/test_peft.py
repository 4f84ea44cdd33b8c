"""PEFT: adapters on every head, saved, loaded and merged."""

import peft
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

AUTO = {
    "SEQ_CLS": ("classifier", AutoModelForSequenceClassification),
    "TOKEN_CLS": ("mlm", AutoModelForTokenClassification),
    "CAUSAL_LM": ("causal", AutoModelForCausalLM),
    "SEQ_2_SEQ_LM": ("seq2seq", AutoModelForSeq2SeqLM),
    None: ("mlm", AutoModelForMaskedLM),
}


def inputs_of(export, task_type):
    tokenizer = AutoTokenizer.from_pretrained(export)
    batch = dict(tokenizer(["the badger", "butter and flour"], return_tensors="pt", padding=True))
    if task_type == "SEQ_CLS":
        return {**batch, "labels": torch.tensor([0, 1])}
    return {**batch, "labels": batch["input_ids"] % 2 if task_type == "TOKEN_CLS" else batch["input_ids"]}


@pytest.mark.parametrize("task_type", AUTO)
def test_lora_learns_is_saved_and_merged(task_type, request, tmp_path):
    """Catches a forward that PEFT cannot call (return_dict, decoder_inputs_embeds), and an adapter that is lost."""
    kind, auto = AUTO[task_type]
    export = request.getfixturevalue(kind)
    config = peft.LoraConfig(task_type=task_type, target_modules=["query_key_value"], r=4, init_lora_weights=False)
    model = peft.get_peft_model(auto.from_pretrained(export), config)
    inputs = inputs_of(export, task_type)
    model(**inputs).loss.backward()
    assert any(parameter.grad.abs().max() > 0 for parameter in model.parameters() if parameter.grad is not None)
    logits = model.eval()(**inputs).logits
    model.save_pretrained(tmp_path)
    base = auto.from_pretrained(export)
    if task_type == "TOKEN_CLS":  # whose classifier is new at each loading; the adapter has its own
        base.classifier.load_state_dict(model.base_model.model.classifier.modules_to_save["default"].state_dict())
    again = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    torch.testing.assert_close(again(**inputs).logits, logits)
    merged = again.merge_and_unload()
    torch.testing.assert_close(merged(**inputs).logits, logits, atol=1e-5, rtol=0)


def test_prompt_tuning_of_a_classifier(classifier):
    """Catches a classifier that takes no inputs_embeds with a mask in front of it."""
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)
    model = peft.get_peft_model(AutoModelForSequenceClassification.from_pretrained(classifier), config)
    model(**inputs_of(classifier, "SEQ_CLS")).loss.backward()
    assert model.prompt_encoder["default"].embedding.weight.grad.abs().max() > 0


def test_adapted_causal_model_writes(causal):
    """Catches a generate() that the adapter breaks."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["query_key_value"], r=4)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(causal), config)
    plain = AutoModelForCausalLM.from_pretrained(causal)
    tokens = AutoTokenizer.from_pretrained(causal)("the badger", return_tensors="pt")
    settings = {"max_new_tokens": 4, "do_sample": False}
    assert torch.equal(model.generate(**tokens, **settings), plain.generate(**tokens, **settings))

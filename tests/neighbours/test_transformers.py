"""transformers' own trainer, quantization and generation around our exports."""

import pytest
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def arguments(folder, **settings):
    given = {"max_steps": 2, "per_device_train_batch_size": 4, "logging_steps": 1, **settings}
    return TrainingArguments(
        str(folder), report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True, seed=1, **given
    )


@pytest.mark.parametrize("kind", ["mlm", "causal"])
def test_model_that_the_trainer_saved_is_loaded(kind, texts, tmp_path, request, tiny_runs):
    """Catches a configuration that refuses what transformers.Trainer wrote into it: here and in ``init_from``."""
    export = request.getfixturevalue(kind)
    auto = AutoModelForMaskedLM if kind == "mlm" else AutoModelForCausalLM
    tokenizer, model = AutoTokenizer.from_pretrained(export), auto.from_pretrained(export)
    rows = [dict(tokenizer(text, truncation=True)) for text in texts[0]]
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=kind == "mlm")
    trainer = Trainer(
        model, arguments(tmp_path / "trainer"), train_dataset=rows, data_collator=collate, processing_class=tokenizer
    )
    trainer.train()
    trainer.save_model(tmp_path / "saved")
    again = auto.from_pretrained(tmp_path / "saved").eval()
    batch = tokenizer(texts[0][:2], return_tensors="pt", padding=True)
    torch.testing.assert_close(again(**batch).logits, model.eval()(**batch).logits)
    task = "classification" if kind == "mlm" else "causal_lm"
    run = tiny_runs.train(tmp_path / "run", f"init_from={tmp_path / 'saved'}", task=task)
    assert (run / "export" / "model.safetensors").is_file()


def test_loss_does_not_depend_on_accumulation(mlm, texts, tmp_path):
    """Catches a model that ignores num_items_in_batch: the mean of means is another loss."""
    tokenizer = AutoTokenizer.from_pretrained(mlm)
    rows = [dict(tokenizer(text + " and so on" * (number % 5))) for number, text in enumerate(texts[0][:8])]
    for row in rows:
        row["labels"] = list(row["input_ids"])
    losses = []
    for size, steps in ((8, 1), (2, 4)):
        torch.manual_seed(0)
        model = AutoModelForMaskedLM.from_pretrained(mlm, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "learning_rate": 1e-3}
        trainer = Trainer(
            model,
            arguments(tmp_path / str(size), **settings),
            train_dataset=rows,
            data_collator=lambda features: tokenizer.pad(
                [{"input_ids": each["input_ids"]} for each in features], return_tensors="pt"
            )
            | {"labels": torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(each["labels"]) for each in features], batch_first=True, padding_value=-100
            )},
        )  # fmt: skip
        trainer.train()
        losses.append([line["loss"] for line in trainer.state.log_history if "loss" in line])
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), atol=2e-4, rtol=0)


TARGETS = {
    "AutoModelForCausalLM": [{"labels": [1, 2, 3, 4]}, {"labels": [-100, 5, 6]}],
    "AutoModelForMultipleChoice": [{"labels": 0}, {"labels": 1}],
    "AutoModelForQuestionAnswering": [{"start_positions": 0, "end_positions": 2}] * 2,
    "AutoModelForSeq2SeqLM": [{"labels": [5, 6]}, {"labels": [7, 8]}],
    "AutoModelForSequenceClassification": [{"labels": 0}, {"labels": 1}],
    "AutoModelForTokenClassification": [{"labels": [0, 1, -100, 1]}, {"labels": [1, 1, 0]}],
}


@pytest.mark.parametrize("name", TARGETS)
def test_every_head_is_trained_in_parts_saved_and_loaded(name, mlm, causal, seq2seq, tmp_path):
    """Catches a head whose loss is the mean of means, or that cannot be loaded once the trainer has saved it."""
    export = {"AutoModelForCausalLM": causal, "AutoModelForSeq2SeqLM": seq2seq}.get(name, mlm)
    inputs = [[1, 2, 3, 4], [5, 6, 7]] if "Token" in name or "Causal" in name else [[1, 2, 3], [4, 5, 6]]
    if "Choice" in name:
        inputs = [[row, row[::-1]] for row in inputs]
    parts = [{"input_ids": torch.tensor([row]), **{key: torch.tensor([value]) for key, value in target.items()}}
             for row, target in zip(inputs, TARGETS[name], strict=True)]  # fmt: skip
    auto, steps = getattr(transformers, name), {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    model = auto.from_pretrained(export, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, label_smoothing=0)
    trainer = Trainer(
        model,
        arguments(tmp_path / "trainer", **{**steps, "max_steps": 1}),
        train_dataset=parts,
        data_collator=lambda chosen: chosen[0],
    )
    first = 1 if "Causal" in name else 0  # no token precedes the first one
    counted = [part["labels"].view(1, -1)[:, first:] != -100 for part in parts if "labels" in part]
    items = sum(int(each.sum()) for each in counted) or None
    with torch.no_grad():
        losses = [model(**part, num_items_in_batch=items).loss for part in parts]
    expected = sum(losses) if items else sum(losses) / 2
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(float(expected), abs=1e-4)
    trainer.save_model(tmp_path / "saved")
    again = auto.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(again(**parts[0]).loss, model.eval()(**parts[0]).loss)


def test_classifier_with_another_number_of_labels(mlm, texts, tmp_path):
    """Catches a head that the trainer cannot feed."""
    tokenizer = AutoTokenizer.from_pretrained(mlm)
    rows = [{**tokenizer(text, truncation=True), "labels": label} for text, label in zip(*texts, strict=True)]
    model = AutoModelForSequenceClassification.from_pretrained(mlm, num_labels=3)
    trainer = Trainer(
        model,
        arguments(tmp_path, learning_rate=1e-2, max_steps=30, label_smoothing_factor=0.1),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda given: {"accuracy": float((given[0].argmax(-1) == given[1]).mean())},
    )
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] == 1.0


def test_quantized_model_is_loaded_again(mlm, texts, tmp_path):
    """Catches a configuration that refuses the quantization that it was saved with."""
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    tokenizer = AutoTokenizer.from_pretrained(mlm)
    batch = tokenizer(texts[0][:2], return_tensors="pt", padding=True)
    quantization = TorchAoConfig(Int8WeightOnlyConfig())
    model = AutoModelForMaskedLM.from_pretrained(mlm, quantization_config=quantization)
    plain = AutoModelForMaskedLM.from_pretrained(mlm)
    difference = (model(**batch).logits - plain(**batch).logits).abs().max()
    assert 0 < difference < 0.05
    model.save_pretrained(tmp_path)
    again = AutoModelForMaskedLM.from_pretrained(tmp_path)
    torch.testing.assert_close(again(**batch).logits, model(**batch).logits)

"""TRL's fine-tuning and lm-eval's scores of a causal export."""

import json

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
def test_trl_fine_tunes(causal, texts, tmp_path, packing):
    """Catches a tokenizer without an end of text, and a model that knows no use_cache."""
    import trl

    config = trl.SFTConfig(
        str(tmp_path / "trainer"), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, max_length=32, packing=packing, bf16=False,
    )  # fmt: skip
    trainer = trl.SFTTrainer(str(causal), args=config, train_dataset=Dataset.from_dict({"text": texts[0]}))
    trainer.train()
    trainer.save_model(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    tokens = AutoTokenizer.from_pretrained(causal)(texts[0][0], return_tensors="pt")
    torch.testing.assert_close(again(**tokens).logits, trainer.model.eval()(**tokens).logits)


def test_lm_eval_scores_as_the_model_does(causal, tmp_path):
    """Catches a beginning of text that is missing, and log-likelihoods of other tokens."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    rows = [{"text": "the badger sleeps", "choices": [" under the oak", " in the oven"], "gold": 0}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4), encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(
        "\n".join(
            [
                "task: tiny",
                "dataset_path: json",
                f"dataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}}}",
                "output_type: multiple_choice",
                "test_split: test",
                'doc_to_text: "{{text}}"',
                "doc_to_target: gold",
                "doc_to_choice: choices",
                "metric_list: [{metric: acc}]",
            ]
        ),
        encoding="utf-8",
    )
    model = HFLM(pretrained=str(causal), device="cpu", batch_size=2)
    results = lm_eval.simple_evaluate(
        model, tasks=["tiny"], task_manager=TaskManager(include_path=str(tmp_path)), log_samples=True
    )
    scores = [given[0][0] for given in results["samples"]["tiny"][0]["resps"]]
    tokenizer = AutoTokenizer.from_pretrained(causal)
    network = AutoModelForCausalLM.from_pretrained(causal).eval().requires_grad_(False)
    for choice, score in zip(rows[0]["choices"], scores, strict=True):
        prefix = tokenizer(rows[0]["text"], add_special_tokens=False)["input_ids"]
        whole = tokenizer(rows[0]["text"] + choice, add_special_tokens=False)["input_ids"]
        logits = network(torch.tensor([whole])).logits[0].log_softmax(-1)
        expected = sum(logits[place - 1, whole[place]] for place in range(len(prefix), len(whole)))
        assert float(score) == pytest.approx(float(expected), abs=1e-3)

"""The pipeline that one would write with transformers and datasets alone: the peer of `benchmarks.end_to_end`.

python -m benchmarks.plain_pipeline TEXT.parquet TOKENIZER STEPS     # prints the real tokens that it trained on
"""

import argparse
import tempfile

from datasets import load_dataset
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    RoFormerForMaskedLM,
    RoFormerLabConfig,
    Trainer,
    TrainingArguments,
)

from roformer.runtime.precision import best_device, choose_precision

HIDDEN_SIZE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument("tokenizer")
    parser.add_argument("steps", type=int)
    parser.add_argument("--max-length", type=int, default=512)
    arguments = parser.parse_args()
    device = best_device()
    precision = choose_precision("auto", hidden_size=HIDDEN_SIZE, device=device).value
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.tokenizer)

    def tokenize(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return tokenizer(batch["text"], truncation=True, max_length=arguments.max_length)

    with tempfile.TemporaryDirectory() as folder:
        documents = load_dataset("parquet", data_files=arguments.text, split="train", cache_dir=folder)
        documents = documents.map(tokenize, batched=True, remove_columns=documents.column_names)
        config = RoFormerLabConfig(
            vocab_size=len(tokenizer), hidden_size=HIDDEN_SIZE, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=4 * HIDDEN_SIZE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            max_position_embeddings=arguments.max_length,
        )  # fmt: skip
        collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        tokens = 0

        def counted(examples: list[dict[str, list[int]]]) -> dict[str, object]:
            nonlocal tokens
            tokens += sum(len(example["input_ids"]) for example in examples)
            return collate(examples)

        settings = TrainingArguments(
            output_dir=folder, max_steps=arguments.steps, per_device_train_batch_size=16,
            learning_rate=1e-3, bf16=precision == "bf16", use_cpu=device.type == "cpu", logging_steps=20,
            save_strategy="no", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        Trainer(RoFormerForMaskedLM(config), settings, train_dataset=documents, data_collator=counted).train()
    print(tokens)


if __name__ == "__main__":
    main()

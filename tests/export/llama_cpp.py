"""What llama.cpp does with a GGUF file of its architecture jina-bert-v3: in NumPy, and, where it is installed, itself.

Source: llama.cpp, src/models/bert.cpp (the graph) and src/llama-vocab.cpp (llm_tokenizer_wpm_session).
"""

import itertools
import unicodedata
from pathlib import Path

import numpy as np
from gguf import GGUFReader


class CompiledRuntime:
    """llama.cpp, by the package llama-cpp-python."""

    tolerance = 2e-3  # GELU is a table of float16

    def __init__(self, file: Path) -> None:
        from llama_cpp import Llama  # not in CI, which would compile it

        self.llama = Llama(str(file), embedding=True, verbose=False, n_threads=1, n_ctx=0)

    def tokenize(self, text: str) -> list[int]:
        return self.llama.tokenize(text.encode(), add_bos=True, special=False)

    def embed(self, text: str) -> np.ndarray:
        return np.array(self.llama.embed(text, normalize=False), dtype=np.float64)


class NumpyRuntime:
    """The same from the file alone; ``metadata`` holds its keys without the architecture's prefix."""

    tolerance = 1e-5

    def __init__(self, file: Path) -> None:
        reader = GGUFReader(file)
        self.architecture = reader.fields["general.architecture"].contents()
        self.metadata = {
            key.removeprefix(f"{self.architecture}."): field.contents() for key, field in reader.fields.items()
        }
        self.weights = {tensor.name: np.array(tensor.data, dtype=np.float64) for tensor in reader.tensors}
        self.rows = {text: row for row, text in enumerate(self.metadata["tokenizer.ggml.tokens"])}

    def tokenize(self, text: str) -> list[int]:
        """Returns the numbers of the tokens, framed."""
        special = {role: self.metadata[f"tokenizer.ggml.{role}_token_id"] for role in ("bos", "unknown", "seperator")}
        words = (self._pieces("\u2581" + word) or [special["unknown"]] for word in self._words(text))
        return [special["bos"], *itertools.chain.from_iterable(words), special["seperator"]]

    def _words(self, text: str) -> list[str]:
        """Splits at spaces and around punctuation; there are no Chinese characters in the tests."""
        text = "".join(each for each in text if unicodedata.category(each) != "Cc" or each.isspace())
        if self.metadata["tokenizer.ggml.normalizer.strip_accents"]:
            text = "".join(each for each in unicodedata.normalize("NFD", text) if unicodedata.category(each) != "Mn")
        if self.metadata["tokenizer.ggml.normalizer.lowercase"]:
            text = text.lower()
        return "".join(f" {each} " if _stands_alone(each) else each for each in text).split()

    def _pieces(self, word: str) -> list[int]:
        """Returns the longest tokens from left to right, or none where a character is in no token."""
        pieces: list[int] = []
        while word:
            length = next((end for end in range(len(word), 0, -1) if word[:end] in self.rows), 0)
            if not length:
                return []
            pieces.append(self.rows[word[:length]])
            word = word[length:]
        return pieces

    def embed(self, text: str) -> np.ndarray:
        """Returns the pooled vector (C,) of a text."""
        tokens = self.tokenize(text)
        weights, heads = self.weights, self.metadata["attention.head_count"]
        x = weights["token_embd.weight"][tokens]
        if "token_types.weight" in weights:
            assert len(weights["token_types.weight"]) == self.metadata["tokenizer.ggml.token_type_count"]
            x = x + weights["token_types.weight"][0]
        x = self._norm(x, "token_embd_norm")
        for layer in range(self.metadata["block_count"]):
            name = f"blk.{layer}."
            projected = self._linear(x, f"{name}attn_qkv").reshape(len(tokens), 3, heads, -1)
            query, key, value = projected.transpose(1, 2, 0, 3)  # three times (H, L, D)
            scores = self._rotate(query) @ self._rotate(key).transpose(0, 2, 1) / np.sqrt(query.shape[-1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            context = shares / shares.sum(-1, keepdims=True) @ value
            joined = context.transpose(1, 0, 2).reshape(len(tokens), -1)
            x = self._norm(x + self._linear(joined, f"{name}attn_output"), f"{name}attn_output_norm")
            wide = self._linear(x, f"{name}ffn_up")
            wide = wide / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
            x = self._norm(x + self._linear(wide, f"{name}ffn_down"), f"{name}layer_output_norm")
        return (x.mean(0), x[0], x[-1])[self.metadata["pooling_type"] - 1]  # 1 mean, 2 cls, 3 last

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centered = x - x.mean(-1, keepdims=True)
        scale = np.sqrt(np.square(centered).mean(-1, keepdims=True) + self.metadata["attention.layer_norm_epsilon"])
        return centered / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _rotate(self, x: np.ndarray) -> np.ndarray:
        """Rotates the first R channels of (H, L, D), (i, i + R/2) as a pair (GGML_ROPE_TYPE_NEOX)."""
        size = self.metadata["rope.dimension_count"]
        rates = self.metadata["rope.freq_base"] ** (-np.arange(0, size, 2) / size)
        angles = np.arange(x.shape[1])[:, None] * rates
        first, second, rest = np.split(x, [size // 2, size], axis=-1)
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate((first * cos - second * sin, first * sin + second * cos, rest), axis=-1)


def _stands_alone(character: str) -> bool:
    kind = unicodedata.category(character)[0]
    return kind == "P" or (kind == "S" and character.isascii())

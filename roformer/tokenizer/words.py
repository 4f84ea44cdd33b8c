"""Chinese words as tokens (RoFormer paper, section 4.5.1; WoBERT).

Jieba splits text into words, without its HMM for new words, as in the authors' scripts. A word outside of the
vocabulary is split into characters, and other text by WordPiece. The result is transformers' own
``RoFormerTokenizer``, so ``AutoTokenizer`` can load it.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast, RoFormerTokenizer

from roformer.tokenizer._base import CONTINUED, SPECIAL_TOKENS, TOKENIZERS, SpellingTokenizer


@TOKENIZERS.register("words")
class WordTokenizer(SpellingTokenizer):
    """A vocabulary of the most frequent characters, at the start of a word and inside, and the most frequent words.

    Raises:
        UserError: if rjieba is not installed, or the alphabet does not fit in the vocabulary.
    """

    name = "words"
    cache_version = 1
    packages = ("tokenizers", "rjieba")

    def train(self, texts: Callable[[], Iterator[str]]) -> PreTrainedTokenizerFast:
        import rjieba

        normalizer = normalizers.BertNormalizer(handle_chinese_chars=False, lowercase=self.lowercase)
        alphabet = self.alphabet(texts(), normalizer)
        words: Counter[str] = Counter()
        for text in texts():
            words.update(rjieba.cut(normalizer.normalize_str(text), hmm=False))
        known = set(alphabet)
        ranked = sorted((-count, word) for word, count in words.items() if len(word) > 1 and known.issuperset(word))
        tokens = [*SPECIAL_TOKENS, *alphabet, *(CONTINUED + character for character in alphabet)]
        tokens += [word for _, word in ranked[: self.vocab_size - len(tokens)]]
        vocabulary = {token: number for number, token in enumerate(tokens)}
        return RoFormerTokenizer(vocab=vocabulary, do_lower_case=self.lowercase)

"""Words of Chinese as tokens (RoFormer paper, section 4.5.1; WoBERT).

Text is cut into words by Jieba without its model of new words, as the authors' scripts do; a word that the vocabulary
lacks becomes characters, and what is not Chinese pieces of words. The class is transformers' own for RoFormer
checkpoints, and so is what reads it back: ``AutoTokenizer``.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast, RoFormerTokenizer

from roformer.tokenizer._base import CONTINUED, SPECIAL_TOKENS, TOKENIZERS, SpellingTokenizer


@TOKENIZERS.register("words")
class WordTokenizer(SpellingTokenizer):
    """The most frequent characters of the corpus, alone and continued, then its most frequent words.

    Raises:
        UserError: if rjieba is not installed.
    """

    name = "words"
    format = 1
    made_by = ("tokenizers", "rjieba")

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

"""Results of different test documents are not compared."""

import pytest

from roformer.errors import UserError
from tests.evaluation.conftest import comparison_of
from tests.tiny_runs import evaluation


def test_classifiers_of_other_documents_are_not_compared(classifier_results):
    """Catches a traceback, and a difference between two datasets of one size that passes for one of encodings."""
    here = classifier_results([0, 1, 1], [0, 1, 0])
    for labels in ([1, 0, 1], [0, 1]):
        there = classifier_results(labels, labels, position="none")
        with pytest.raises(UserError, match="other test documents do not compare; narrow runs="):
            comparison_of([*here, *there], evaluation([]))

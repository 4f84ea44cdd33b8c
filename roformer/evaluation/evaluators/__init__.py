"""What can be measured on a finished run, one file each. The file's name is the name in the results files."""

from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun

EVALUATORS.discover(__path__, __name__)

__all__ = ["EVALUATORS", "Evaluator", "LoadedRun"]

"""Evaluate finished runs, compare their position encodings, and write a report.

python evaluate.py runs='outputs/demo/*'
python evaluate.py runs='[outputs/a,outputs/b]' reference=learned output_dir=outputs/compared

An installed package has the same command as ``roformer-evaluate``.
"""

from roformer_lab import evaluate

if __name__ == "__main__":
    evaluate()

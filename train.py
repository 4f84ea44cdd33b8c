"""Train a model: pretraining, fine-tuning or translation, chosen by ``task=`` or ``experiment=``.

python train.py                                                  # RoPE, tiny, on the embedded corpus
python train.py position=sinusoidal seed=1 trainer.max_steps=50
python train.py task=classification init_from=outputs/mlm-docs-rope-seed1
torchrun --nproc-per-node 2 train.py                             # the same batches on two processes

An installed package has the same command as ``roformer-train``.
"""

from roformer_lab import train

if __name__ == "__main__":
    train()

"""Every encoding with every backend: float32 on the CPU, and the same model on this machine's accelerator and in bf16.

Prints what differs, one line each, and at last the device. A process of its own: see conftest.py.
"""

from itertools import product

import torch

from roformer.errors import UserError
from roformer.model import RoFormerConfig, RoFormerForCausalLM, RoFormerForMaskedLM
from roformer.training.precision import autocast, best_device
from tests.conftest import ATTENTION, POSITION, SIZES, draw_weights

LENGTHS = (70, 70, 10)  # more than one chunk of linear attention


def inputs():
    """The same documents in a row each, and end to end."""
    torch.manual_seed(0)
    tokens = torch.randint(5, SIZES["vocab_size"], (len(LENGTHS), max(LENGTHS)))
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    bounds = torch.tensor([0, *LENGTHS]).cumsum(0)
    return {
        "padded": {"input_ids": tokens, "attention_mask": mask.long(), "labels": tokens.where(mask, -100)},
        "packed": {"input_ids": tokens[mask][None], "cu_seqlens": bounds, "labels": tokens[mask][None]},
    }


def losses_and_gradients(model, batch, device):
    """The loss in float32, the gradient of every weight, and the loss in bf16."""
    batch = {key: value.to(device) for key, value in batch.items()}
    loss = model(**batch).loss
    gradients = torch.autograd.grad(loss, [*model.parameters()], allow_unused=True)
    with torch.no_grad(), autocast("bf16", device):
        rough = model(**batch).loss
    return loss.item(), [None if each is None else each.cpu() for each in gradients], rough.item()


def differences(model, batch, device):
    expected, expected_gradients, _ = losses_and_gradients(model.cpu(), batch, torch.device("cpu"))
    loss, gradients, rough = losses_and_gradients(model.to(device), batch, device)
    errors = [
        float((there - here).norm() / (here.norm() + 1e-6))
        for here, there in zip(expected_gradients, gradients, strict=True)
        if here is not None
    ]
    found = {"loss": abs(loss - expected), "gradient": max(errors), "bf16 loss": abs(rough - expected)}
    limits = {"loss": 1e-3, "gradient": 2e-2, "bf16 loss": 0.05 * expected}
    return {name: error for name, error in found.items() if not error < limits[name]}  # NaN is an error, too


def main():
    device, count = best_device(), 0
    for position, attention, model_class in product(POSITION, ATTENTION, (RoFormerForMaskedLM, RoFormerForCausalLM)):
        config = RoFormerConfig(
            **{**SIZES, "max_position_embeddings": max(LENGTHS)}, position=POSITION[position],
            attention_backend=attention, is_decoder=model_class is RoFormerForCausalLM,
        )  # fmt: skip
        try:
            model = draw_weights(model_class(config), 0.1)
        except UserError:  # this backend cannot do what the encoding needs
            continue
        for layout, batch in inputs().items():
            count += 1
            if found := differences(model, batch, device):
                print(position, attention, model_class.__name__, layout, found)
    assert count > 2 * len(POSITION) * len(ATTENTION)  # half of all there could be
    print(device.type)


if __name__ == "__main__":
    main()

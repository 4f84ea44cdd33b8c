"""Every encoding with every backend on this machine's accelerator, in float32 and bf16, beside float32 on the CPU.

Prints what differs, one line each, and at last the device. A process of its own: see conftest.py.
"""

from itertools import product

import torch

from roformer.errors import UserError
from roformer.model import RoFormerForCausalLM, RoFormerForMaskedLM, RoFormerLabConfig
from roformer.runtime.precision import autocast, best_device
from tests.choices import ATTENTION, POSITION
from tests.tiny_models import SIZES, draw_weights

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
    """The loss in float32, the gradient of each weight that has one, and the loss in bf16."""
    batch = {key: value.to(device) for key, value in batch.items()}
    loss = model(**batch).loss
    gradients = torch.autograd.grad(loss, [*model.parameters()], allow_unused=True)
    with torch.no_grad(), autocast("bf16", device):
        rough = model(**batch).loss
    named = zip(model.named_parameters(), gradients, strict=True)
    return loss.item(), {name: each.cpu() for (name, _), each in named if each is not None}, rough.item()


def differences(model, batch, device):
    """What is further from the CPU than it may be."""
    expected, expected_gradients, _ = losses_and_gradients(model.cpu(), batch, torch.device("cpu"))
    loss, gradients, rough = losses_and_gradients(model.to(device), batch, device)
    found = {"loss": (abs(loss - expected), 1e-3), "loss in bf16": (abs(rough - expected), 1e-2)}
    for name, here in expected_gradients.items():
        found[name] = (float((gradients[name] - here).norm() / (here.norm() + 1e-6)), 2e-2)
    return {name: error for name, (error, limit) in found.items() if not error < limit}  # NaN is an error, too


def combinations():
    """Encoding, backend and kind of model, those that people train with first."""
    backends = sorted(ATTENTION, key=lambda name: name != "auto")
    for attention, position, causal in product(backends, sorted(POSITION, key=lambda name: name != "rope"), (0, 1)):
        yield position, attention, RoFormerForCausalLM if causal else RoFormerForMaskedLM


def compare(position, attention, model_class, device):
    """What is further from the CPU than it may be, for each layout; nothing for what cannot be combined."""
    config = RoFormerLabConfig(
        **{**SIZES, "max_position_embeddings": max(LENGTHS)}, position=POSITION[position],
        attention_backend=attention, is_decoder=model_class is RoFormerForCausalLM,
    )  # fmt: skip
    try:
        model = draw_weights(model_class(config), 0.1)
    except UserError:  # this backend cannot do what the encoding needs
        return {}
    return {layout: differences(model, batch, device) for layout, batch in inputs().items()}


def main():
    device, count = best_device(), 0
    if device.type == "cpu":
        print(device.type)
        return
    for position, attention, model_class in combinations():
        for layout, found in compare(position, attention, model_class, device).items():
            count += 1
            if found:
                print(position, attention, model_class.__name__, layout, found)
    assert count > 2 * len(POSITION) * len(ATTENTION)  # half of all there could be
    print(device.type)


if __name__ == "__main__":
    main()

"""RoFormer-Sim: one model that compares sentences by its pooler, and writes similar ones under UniLM's mask."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import RoFormerConfig, RoFormerForMaskedLM

from roformer import model as ours
from roformer.model.masks import unilm_mask

TOKENS = torch.randint(1, 60, (2, 12), generator=torch.Generator().manual_seed(0))
TYPES = (torch.arange(12) > 6).long().expand(2, -1)  # seven tokens to read, five to write


@pytest.fixture
def sim(sizes, visible_weights, tmp_path):
    """A folder as the package ``roformer`` writes one, with the weights of its pooler."""
    stock = visible_weights(RoFormerForMaskedLM(RoFormerConfig(**sizes)))
    pooler = torch.nn.Linear(32, 32)
    weights = {f"roformer.pooler.dense.{name}": weight.detach() for name, weight in pooler.named_parameters()}
    stored = {name: weight.clone() for name, weight in stock.state_dict().items()}
    save_file({**stored, **weights}, tmp_path / "model.safetensors")
    config = {**stock.config.to_dict(), "architectures": ["RoFormerForCausalLM"], "pooler_activation": "linear"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path, stock, pooler


def test_sentence_vectors(sim):
    """Catches a pooler that is dropped, drawn at random, or bent by BERT's tanh."""
    folder, stock, pooler = sim
    encoder = ours.RoFormerModel.from_transformers(folder)
    with torch.no_grad():
        expected = pooler(stock.roformer(TOKENS).last_hidden_state[:, 0])
        torch.testing.assert_close(encoder(TOKENS).pooler_output, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["RoFormerForMaskedLM", "RoFormerForCausalLM"])
def test_the_source_is_read_and_the_target_is_written(sim, name):
    """Catches a source that sees what is to be written, a target that sees later tokens, and one of both that does
    not see what it should."""
    model = getattr(ours, name).from_transformers(sim[0])

    def logits(tokens):
        with torch.no_grad():
            return model(tokens, token_type_ids=TYPES, attention_mask=unilm_mask(TYPES)).logits

    whole = logits(TOKENS)
    for place in range(12):
        changed = TOKENS.clone()
        changed[:, place] = (changed[:, place] + 7) % 59 + 1
        moved = (logits(changed) - whole).abs().amax(dim=(0, 2)) > 1e-6
        seen_by = torch.arange(12) >= (0 if place < 7 else place)
        assert torch.equal(moved, seen_by), place


def test_padding_is_seen_by_none(sim):
    """Catches a mask in which the second of two conditions replaces the first."""
    model = ours.RoFormerForMaskedLM.from_transformers(sim[0])
    padding = torch.ones_like(TYPES)
    padding[:, -2:] = 0
    with torch.no_grad():
        padded = model(TOKENS, token_type_ids=TYPES, attention_mask=unilm_mask(TYPES, padding)).logits[:, :-2]
        mask = unilm_mask(TYPES[:, :-2])
        alone = model(TOKENS[:, :-2], token_type_ids=TYPES[:, :-2], attention_mask=mask).logits
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=0)


def test_written_token_by_token(sim):
    """Catches keys of the source in the cache that were computed from one side."""
    model = ours.RoFormerForCausalLM.from_transformers(sim[0])
    with torch.no_grad():
        whole = model(TOKENS, token_type_ids=TYPES, attention_mask=unilm_mask(TYPES)).logits
        step = model(
            TOKENS[:, :7], token_type_ids=TYPES[:, :7], attention_mask=unilm_mask(TYPES[:, :7]), use_cache=True
        )
        written = [step.logits[:, -1]]
        for place in range(7, 12):
            one = slice(place, place + 1)
            step = model(TOKENS[:, one], token_type_ids=TYPES[:, one], past_key_values=step.past_key_values)
            written.append(step.logits[:, -1])
    torch.testing.assert_close(torch.stack(written, dim=1), whole[:, 6:], atol=1e-5, rtol=0)

"""A document gives the same whatever stands beside it: packed == padded == alone, each encoding and backend."""

import pytest
import torch

from roformer.model import RoFormerModel
from tests.choices import each_hook_and_backend

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture
def model(encoding, backend, tiny_model):
    return tiny_model(encoding, attention_backend=backend)


def alone(model, documents):
    """(T, V) logits of the documents, computed one at a time."""
    return torch.cat([model(document[None]).logits[0] for document in documents])


@each_hook_and_backend
def test_packed_is_one_document_at_a_time(model, documents, packed):
    """Catches attention across documents, positions that run on, and documents that change places."""
    torch.testing.assert_close(model(**packed).logits[0], alone(model, documents), atol=1e-5, rtol=0)


@each_hook_and_backend
def test_padded_is_one_document_at_a_time(model, documents, padded):
    """Catches attention to padding."""
    logits = model(**padded).logits[padded["attention_mask"].bool()]
    torch.testing.assert_close(logits, alone(model, documents), atol=1e-5, rtol=0)


@each_hook_and_backend
def test_padding_may_stand_on_the_left(model, documents):
    """Catches a mask that is read as a length: only the mask, with its own positions, says what is padding."""
    document = documents[6]
    tokens = torch.cat((torch.zeros(3, dtype=torch.long), document))[None]
    positions = torch.cat((torch.zeros(3, dtype=torch.long), torch.arange(len(document))))[None]
    logits = model(tokens, attention_mask=(tokens > 0).long(), position_ids=positions).logits[:, 3:]
    torch.testing.assert_close(logits, model(document[None]).logits, atol=1e-5, rtol=0)


@each_hook_and_backend
def test_other_documents_do_not_matter(model, packed):
    """Catches the smallest leak: exchanging the tokens of one document must not touch a bit of the others."""
    start, stop = packed["cu_seqlens"][6:8].tolist()
    other = packed["input_ids"].clone()
    other[0, start:stop] = other[0, start:stop].flip(0)
    first = model(**packed).logits[0]
    second = model(other, cu_seqlens=packed["cu_seqlens"]).logits[0]
    outside = torch.ones(len(first), dtype=torch.bool)
    outside[start:stop] = False
    torch.testing.assert_close(second[outside], first[outside], atol=1e-6, rtol=0)


@each_hook_and_backend
@pytest.mark.parametrize("lengths", [(4, 4, 4), (1, 1, 1, 1), (12,), (1, 11), (3, 2, 3, 4)], ids=str)
def test_any_lengths(encoding, backend, lengths, tiny_model):
    """Catches lengths that the grouping of equal neighbors gets wrong, such as all equal or all single tokens."""
    model = tiny_model(encoding, attention_backend=backend)
    tokens = torch.arange(1, sum(lengths) + 1)
    packed = model(tokens[None], cu_seqlens=torch.tensor([0, *lengths]).cumsum(0)).logits[0]
    torch.testing.assert_close(packed, alone(model, tokens.split(lengths)), atol=1e-5, rtol=0)


@each_hook_and_backend
def test_packed_positions_may_be_given(model, packed):
    """Catches position_ids that are ignored beside cu_seqlens."""
    lengths = packed["cu_seqlens"].diff().tolist()
    restart = torch.cat([torch.arange(length) for length in lengths])[None]
    torch.testing.assert_close(model(**packed, position_ids=restart).logits, model(**packed).logits)
    stretched = model(**packed, position_ids=3 * restart).logits
    expected = [
        model(tokens[None], position_ids=3 * torch.arange(len(tokens))[None]).logits[0]
        for tokens in packed["input_ids"][0].split(lengths)
    ]
    torch.testing.assert_close(stretched[0], torch.cat(expected), atol=1e-5, rtol=0)


def test_bounds_may_be_32_bit(tiny_model, packed):
    """Catches cu_seqlens of the type that flash attention wants and searchsorted does not."""
    model = tiny_model("rope", model_class=RoFormerModel)
    bounds = packed["cu_seqlens"].int()
    narrow = model(packed["input_ids"], cu_seqlens=bounds).last_hidden_state
    torch.testing.assert_close(narrow, model(**packed).last_hidden_state)


@each_hook_and_backend
def test_gradients_of_packed_are_those_of_padded(model, packed, padded):
    """Catches gradients that are lost or doubled where a packed row is cut and joined."""
    gradients = []
    for inputs in (packed, padded):
        model.zero_grad()
        logits = model(**inputs).logits
        real = logits[0] if inputs is packed else logits[inputs["attention_mask"].bool()]
        real.logsumexp(-1).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5 * second.abs().max().item() + 1e-6, rtol=1e-4)

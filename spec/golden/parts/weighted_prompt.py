"""Prompts in chunks, with weights: torch's own text encoder, chunk by chunk."""
import torch

from generate import save
from parts.lora import tiny

# Each a list of [text, weight].
PROMPTS = {
    "plain": [["a red star and a tree", 1.0]],
    "weighted": [["a ", 1.0], ["red", 1.3], [" star and ", 1.0], ["a tree", 0.6]],
    "long": [["star road tree " * 8, 1.0], ["red", 1.5], [" star and road" * 6, 1.0]],
    "empty": [["", 1.0]],
}


@torch.no_grad()
def generate():
    pipe = tiny()
    tokenizer, tensors = pipe.tokenizer, {}
    for name, pieces in PROMPTS.items():
        ids, weights = [], []
        for text, weight in pieces:
            own = tokenizer(text).input_ids[1:-1]
            ids += own
            weights += [weight] * len(own)
        states, factors = [], []
        for start in range(0, max(1, len(ids)), 75):
            own = ids[start:start + 75]
            row = [tokenizer.bos_token_id, *own, tokenizer.eos_token_id]
            row += [tokenizer.pad_token_id] * (77 - len(row))
            states.append(pipe.text_encoder(torch.tensor([row])).last_hidden_state)
            factors += [1.0, *weights[start:start + 75]] + [1.0] * (76 - len(own))
        states, factors = torch.cat(states, 1), torch.tensor(factors)[None, :, None]
        weighted = states * factors
        tensors[name] = weighted * (states.mean() / weighted.mean())
        if name == "plain":
            assert torch.allclose(tensors[name], pipe.encode_prompt(pieces[0][0], "cpu", 1, False)[0], atol=1e-5)
    save("pipelines/weighted_prompt", tensors, {"prompts": PROMPTS})

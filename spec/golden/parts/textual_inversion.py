"""Learned words in the files that there are, and what diffusers makes of prompts with them."""
import torch
from safetensors.torch import save_file

from generate import HERE, channels_last, save
from parts.lora import tiny
from parts.pipelines import TEXT, seeded

FOLDER = HERE / "textual_inversion"
PROMPTS = ["a <Cat> on a road", "<cat-toy>,<cat-toy>s and a <hat>", "red <hat><hat> star", "no word of these"]


@torch.no_grad()
def generate():
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    cat, toy, hat = (torch.randn(n, TEXT["hidden_size"]).half() for n in (1, 3, 2))
    save_file({"<Cat>": cat[0]}, FOLDER / "learned_embeds.safetensors")
    torch.save({"<cat-toy>": toy}, FOLDER / "toy.bin")
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": hat}, "name": "hat", "step": 7, "sd_checkpoint": None}, FOLDER / "hat.pt")
    save_file({"emb_params": hat}, FOLDER / "hat.safetensors")
    # What no reader of diffusers takes as it is: the first trainer's dictionary of parameters, a parameter with a state, a tensor alone.
    parameter = torch.nn.Parameter(hat)
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": torch.nn.ParameterDict({"*": parameter})}, FOLDER / "dictionary.pt")
    torch.save(torch.nn.ParameterDict({"<hat>": parameter}), FOLDER / "dictionary.bin")
    stated = torch.nn.Parameter(hat)
    stated.note = "kept beside the values"
    torch.save({"<hat>": stated}, FOLDER / "stated.bin")
    torch.save(hat, FOLDER / "tensor.pt")

    pipe = tiny()
    pipe.load_textual_inversion(str(FOLDER))
    pipe.load_textual_inversion(str(FOLDER), weight_name="toy.bin")
    pipe.load_textual_inversion(str(FOLDER / "hat.safetensors"), token="<hat>")
    ids = [pipe.tokenizer(pipe.maybe_convert_prompt(prompt, pipe.tokenizer), padding="max_length", truncation=True).input_ids for prompt in PROMPTS]
    tensors = {f"{i}/embeds": pipe.encode_prompt(prompt, "cpu", 1, False)[0] for i, prompt in enumerate(PROMPTS)}
    tensors["out"] = channels_last(pipe(PROMPTS[0], generator=seeded(0), num_inference_steps=2, output_type="latent").images)
    save("textual_inversion/out", tensors, {"prompts": PROMPTS, "ids": ids})

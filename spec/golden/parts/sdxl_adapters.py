"""What diffusers makes of the tiny SDXL with a LoRA and a learned word for both text encoders, of prompts with weights, and of a base with a refiner."""
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from generate import HERE, channels_last, save
from parts.lora import baked, config, factors, kohya
from parts.pipelines import ROAD, STAR, seeded
from parts.sdxl import FOLDER, quiet
from parts.weighted_prompt import PROMPTS

LORA, WORD = HERE / "lora" / "xl_kohya.safetensors", HERE / "textual_inversion" / "xl.safetensors"


def load(**kwargs):
    return quiet(StableDiffusionXLPipeline.from_pretrained(FOLDER, torch_dtype=torch.float32, add_watermarker=False, **kwargs))


def latents(pipe, prompt, **kwargs):
    return channels_last(pipe(prompt, generator=seeded(0), num_inference_steps=3, output_type="latent", **kwargs).images)


def lora(pipe):
    """The factors of a LoRA for all three networks."""
    unet = factors(pipe.unet, config(["to_q", "to_k", "ff.net.2", "conv1", "proj_in"], 1, 1), 0)
    first = factors(pipe.text_encoder, config(["q_proj", "fc1"], 1, 1), 1)
    return unet, first, factors(pipe.text_encoder_2, config(["v_proj", "fc2"], 1, 1), 2)


def in_peft_keys(unet, first, second):
    return {**baked("unet", unet), **baked("text_encoder", first), **baked("text_encoder_2", second)}


def with_lora(tensors):
    pipe = load()
    unet, first, second = lora(pipe)
    save_file({**kohya(unet, first, "lora_te1_text_model"), **{k: v for k, v in kohya({}, second, "lora_te2_text_model").items()}}, LORA)
    pipe.load_lora_weights(in_peft_keys(unet, first, second))
    tensors["lora/out"] = latents(pipe, STAR)
    pipe.set_adapters(["default_0"], [0.5])
    tensors["lora/half"] = latents(pipe, STAR)


def with_word(tensors):
    pipe = load()
    torch.manual_seed(3)
    word = {"clip_l": torch.randn(2, pipe.text_encoder.config.hidden_size).half(), "clip_g": torch.randn(2, pipe.text_encoder_2.config.hidden_size).half()}
    save_file(word, WORD)
    pipe.load_textual_inversion(word["clip_l"], token="<cat>", text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer)
    pipe.load_textual_inversion(word["clip_g"], token="<cat>", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2)
    tensors["word/out"] = latents(pipe, "a <cat> on a road", negative_prompt="<cat>")


def weighted(pipe, pieces):
    """Of both text encoders side by side, and the first chunk as a whole."""
    sides, pooled = [], None
    for tokenizer, encoder in ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)):
        ids, weights = [], []
        for text, weight in pieces:
            own = tokenizer(text).input_ids[1:-1]
            ids += own
            weights += [weight] * len(own)
        states, factor = [], []
        for start in range(0, max(1, len(ids)), 75):
            own = ids[start:start + 75]
            row = [tokenizer.bos_token_id, *own, tokenizer.eos_token_id]
            out = encoder(torch.tensor([row + [tokenizer.pad_token_id] * (77 - len(row))]), output_hidden_states=True)
            states.append(out.hidden_states[-2])
            factor += [1.0, *weights[start:start + 75]] + [1.0] * (76 - len(own))
            if encoder is pipe.text_encoder_2 and start == 0:
                pooled = out.text_embeds
        states, factor = torch.cat(states, 1), torch.tensor(factor)[None, :, None]
        sides.append(states * factor * (states.mean() / (states * factor).mean()))
    return torch.cat(sides, -1), pooled


def refined(tensors):
    pipe = load()
    unet = UNet2DConditionModel.from_pretrained(HERE / "pipelines" / "unet_xl_refiner", torch_dtype=torch.float32)
    refiner = quiet(StableDiffusionXLImg2ImgPipeline(
        vae=pipe.vae, text_encoder=None, tokenizer=None, text_encoder_2=pipe.text_encoder_2, tokenizer_2=pipe.tokenizer_2, unet=unet, scheduler=pipe.scheduler,
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False))
    options = dict(num_inference_steps=8, output_type="latent", negative_prompt="red")
    begun = pipe(ROAD, generator=seeded(4), denoising_end=0.6, **options).images
    tensors["refined/out"] = channels_last(refiner(ROAD, image=begun, generator=seeded(5), denoising_start=0.6, **options).images)


@torch.no_grad()
def generate():
    tensors, pipe = {}, load()
    with_lora(tensors), with_word(tensors), refined(tensors)
    for name, pieces in PROMPTS.items():
        tensors[f"weighted/{name}"], tensors[f"weighted/{name}/pooled"] = weighted(pipe, pieces)
    save("pipelines/sdxl_adapters", tensors, {"prompts": PROMPTS})

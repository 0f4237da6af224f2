"""A random Stable Diffusion 3 of 16 x 16 pixels, saved as diffusers saves one, with a transformer for it that sees masks, and what diffusers' pipelines make with them."""
import copy
import shutil
import tempfile
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5TokenizerFast

from generate import HERE, channels_last, save
from parts.layers import randomize
from parts.lora import config, factors
from parts.pipelines import ROAD, STAR, TEXT, VAE, mask, picture, seeded, tokenizer

FOLDER = HERE / "pipelines" / "tiny_sd3"
TEXT1 = dict(TEXT, hidden_size=8, intermediate_size=16, projection_dim=8)
TEXT2 = dict(TEXT, hidden_size=12, intermediate_size=16, num_hidden_layers=4, hidden_act="gelu", projection_dim=12)
TEXT3 = dict(d_model=24, d_kv=6, d_ff=20, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu")
TRANSFORMER = dict(sample_size=8, patch_size=2, in_channels=16, num_layers=3, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=24, caption_projection_dim=16,
                   pooled_projection_dim=20, out_channels=16, pos_embed_max_size=12, qk_norm="rms_norm", dual_attention_layers=(0,))
LATENTS = dict(VAE, latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=1.5305, shift_factor=0.0609)
WORDS = ["▁a", "▁red", "▁star", "▁on", "▁the", "▁road", "▁and", "▁cat", "st", "ar", "ro", "ad", *"▁abcdefghijklmnopqrstuvwxyz,.'-0123456789"]
LORA = ["to_q", "to_v", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out", "ff.net.0.proj", "ff_context.net.2", "norm1.linear", "proj_out", "context_embedder"]
FLOW, UNIPC = "FlowMatchEulerDiscreteScheduler", "UniPCMultistepScheduler"
# name -> (prompt, options). config: of the scheduler, besides; t5: whether there is one; model: whose transformer; image: seeds of pictures
TEXT2IMG = {
    "default": (STAR, dict(seeds=0, steps=5)),
    "prompts": (STAR, dict(seeds=1, steps=4, prompt_2=ROAD, prompt_3="a cat, and the star", negative_prompt="red", negative_prompt_2="a road", negative_prompt_3="a tree")),
    "no_t5": (ROAD, dict(seeds=2, steps=4, t5=False, max_sequence_length=9)),
    "list": ([STAR, ROAD], dict(seeds=[6, 7, 8, 9], steps=4, num_images_per_prompt=2, negative_prompt=["red", "a road"], max_sequence_length=21)),
    "unguided": (ROAD, dict(seeds=3, steps=4, guidance_scale=1.0)),
    "clip_skip": (ROAD, dict(seeds=4, steps=4, clip_skip=1, negative_prompt="a star")),
    "wide": (ROAD, dict(seeds=5, steps=4, height=12, width=20)),
    "skip_layers": (STAR, dict(seeds=10, steps=8, skip_guidance_layers=[1], skip_layer_guidance_stop=0.6, skip_layer_guidance_scale=2.0)),
    "skip_two": (STAR, dict(seeds=11, steps=6, skip_guidance_layers=[0, 1], skip_layer_guidance_start=0.2, skip_layer_guidance_stop=0.9, t5=False, max_sequence_length=5)),
    "sigmas": (STAR, dict(seeds=12, steps=3, sigmas=[1.0, 0.7, 0.2])),
    "dynamic": (STAR, dict(seeds=13, steps=4, config=dict(use_dynamic_shifting=True, base_image_seq_len=4, max_image_seq_len=64))),
    "mu": (STAR, dict(seeds=14, steps=4, mu=0.9, config=dict(use_dynamic_shifting=True))),
    "karras": (STAR, dict(seeds=15, steps=5, config=dict(use_karras_sigmas=True))),
    "unipc": (STAR, dict(seeds=16, steps=5, scheduler=UNIPC, config=dict(use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction"))),
    "embeds": (STAR, dict(seeds=17, steps=4, embeds=True, max_sequence_length=13)),
}
IMG2IMG = {
    "default": (STAR, dict(seeds=0, steps=8, image=[1])),
    "strong": (ROAD, dict(seeds=1, steps=10, image=[2], strength=0.55, negative_prompt="red", prompt_2=STAR)),
    "list": ([STAR, ROAD], dict(seeds=[2, 3], steps=5, image=[3, 4], strength=0.7)),
    "two_of_one": (STAR, dict(seeds=4, steps=5, image=[5], num_images_per_prompt=2)),
    "wide": (ROAD, dict(seeds=5, steps=5, image=[6], height=12, width=20, strength=0.9)),
    "dynamic": (STAR, dict(seeds=6, steps=6, image=[7], strength=0.5, config=dict(use_dynamic_shifting=True, base_image_seq_len=4, max_image_seq_len=64))),
    "latents": (STAR, dict(seeds=7, steps=6, latents=20)),
}
INPAINT = {
    "default": (STAR, dict(seeds=0, steps=6, image=[1])),
    "whole": (STAR, dict(seeds=1, steps=4, image=[2], strength=1.0)),
    "weak": (ROAD, dict(seeds=2, steps=7, image=[3], strength=0.3, negative_prompt="red")),
    "masked": (STAR, dict(seeds=3, steps=5, model="masked", image=[4])),
    "masked_whole": (ROAD, dict(seeds=4, steps=4, model="masked", image=[5], strength=1.0)),
    "list": ([STAR, ROAD], dict(seeds=[5, 6], steps=4, image=[6, 7], strength=0.7)),
    "masked_latents": (STAR, dict(seeds=7, steps=4, model="masked", image=[8], masked_latents=21)),
}
OURS = ("seeds", "steps", "scheduler", "config", "image", "latents", "masked_latents", "model", "t5", "embeds")


def t5_tokenizer():
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((word, -1.0 - i / 8) for i, word in enumerate(WORDS))]
    return T5TokenizerFast(vocab=vocab, extra_ids=2, model_max_length=512)


def tiny():
    """Makes the pipeline, keeps it in half precision, and returns it as read again, in single."""
    with tempfile.TemporaryDirectory() as tmp:
        first, second = tokenizer(Path(tmp) / "1"), tokenizer(Path(tmp) / "2", pad_token="!")
    third = t5_tokenizer()
    end = first.eos_token_id
    ids = dict(vocab_size=end + 1, bos_token_id=end - 1, eos_token_id=end, pad_token_id=end)
    pipe = StableDiffusion3Pipeline(
        vae=randomize(AutoencoderKL(**LATENTS)), transformer=randomize(SD3Transformer2DModel(**TRANSFORMER)),
        text_encoder=randomize(CLIPTextModelWithProjection(CLIPTextConfig(**ids, **TEXT1))), tokenizer=first,
        text_encoder_2=randomize(CLIPTextModelWithProjection(CLIPTextConfig(**ids, **TEXT2))), tokenizer_2=second,
        text_encoder_3=randomize(T5EncoderModel(T5Config(vocab_size=len(third), **TEXT3))), tokenizer_3=third,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0))
    shutil.rmtree(FOLDER, ignore_errors=True)
    pipe.to(torch.float16).save_pretrained(FOLDER)
    return StableDiffusion3Pipeline.from_pretrained(FOLDER, torch_dtype=torch.float32)


def transformers(base):
    folder = HERE / "pipelines" / "transformer_sd3_masked"
    randomize(SD3Transformer2DModel(**dict(TRANSFORMER, in_channels=33))).half().save_pretrained(folder)
    return {"base": base, "masked": SD3Transformer2DModel.from_pretrained(folder, torch_dtype=torch.float32)}


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    pipe.check_inputs = lambda *args, **kwargs: None  # it asks for multiples of 16, also where the VAE's factor is 2
    return pipe


def run(kind, parts, made, name, prompt, options, tensors):
    scheduler = getattr(diffusers, options.get("scheduler", FLOW)).from_config(dict(parts["scheduler"].config) | options.get("config", {}))
    parts = dict(parts, transformer=made[options.get("model", "base")], scheduler=scheduler)
    if not options.get("t5", True):
        parts.update(text_encoder_3=None, tokenizer_3=None)
    vae = parts["vae"]
    pipe = quiet(getattr(diffusers, kind)(**parts))
    kwargs = {k: v for k, v in options.items() if k not in OURS}
    kwargs |= {k: kwargs.get(k, 16) for k in ("height", "width")}
    if "image" in options:
        kwargs["image"] = [picture(seed, 16, 16) for seed in options["image"]]
        tensors[f"{name}/image"] = np.stack([np.asarray(each) for each in kwargs["image"]])
    if "latents" in options:
        kwargs["image"] = torch.randn(1, 16, 8, 8, generator=seeded(options["latents"]))
        tensors[f"{name}/latents"] = channels_last(kwargs["image"])
    if "masked_latents" in options:
        kwargs["masked_image_latents"] = torch.randn(1, 16, 8, 8, generator=seeded(options["masked_latents"]))
        tensors[f"{name}/masked_latents"] = channels_last(kwargs["masked_image_latents"])
    if "Inpaint" in kind:
        kwargs["mask_image"] = mask(16, 16)
        tensors[f"{name}/mask"] = np.asarray(kwargs["mask_image"])[None]
    if options.get("embeds"):
        keys = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        length = kwargs.pop("max_sequence_length")
        kwargs.update(zip(keys, pipe.encode_prompt(prompt, None, None, negative_prompt="red", max_sequence_length=length)))
        tensors.update({f"{name}/{k}": kwargs[k] for k in keys})
        prompt = None
    steps = {} if "sigmas" in kwargs else dict(num_inference_steps=options["steps"])
    latents = pipe(prompt, generator=seeded(options["seeds"]), output_type="latent", **steps, **kwargs).images
    tensors[f"{name}/out"] = channels_last(latents)
    # with the shift, which diffusers' inpainting forgets
    images = pipe.image_processor.postprocess(vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample, output_type="pil")
    tensors[f"{name}/pictures"] = np.stack([np.asarray(image) for image in images])


def lora(pipe):
    """A LoRA of the transformer and both of CLIP's encoders, as diffusers saves it, and what it makes: as it is, half as strong, and weakened for a picture."""
    text = ["q_proj", "v_proj", "fc1"]
    layers = {f"{name}_lora_layers": factors(copy.deepcopy(getattr(pipe, name)), config(targets, 3, 4), seed) for name, targets, seed in
              (("transformer", LORA, 31), ("text_encoder", text, 32), ("text_encoder_2", text, 33))}
    folder = HERE / "lora" / "sd3"
    shutil.rmtree(folder, ignore_errors=True)
    StableDiffusion3Pipeline.save_lora_weights(folder, **layers)
    pipe = quiet(copy.deepcopy(pipe))
    pipe.load_lora_weights(folder, adapter_name="made")
    draw = lambda **kwargs: channels_last(pipe(STAR, height=16, width=16, num_inference_steps=3, generator=seeded(0), max_sequence_length=7, output_type="latent", **kwargs).images)
    tensors = {"out": draw(), "weakened": draw(joint_attention_kwargs={"scale": 0.3})}
    pipe.set_adapters("made", 0.5)
    save("pipelines/sd3_lora", tensors | {"half": draw()})


@torch.no_grad()
def generate():
    pipe = tiny()
    lora(pipe)
    made = transformers(pipe.transformer)
    parts = {k: v for k, v in pipe.components.items() if k not in ("image_encoder", "feature_extractor")}
    for file, kind, cases in (
        ("sd3", "StableDiffusion3Pipeline", TEXT2IMG), ("sd3_img2img", "StableDiffusion3Img2ImgPipeline", IMG2IMG), ("sd3_inpaint", "StableDiffusion3InpaintPipeline", INPAINT),
    ):
        tensors = {}
        for name, (prompt, options) in cases.items():
            run(kind, parts, made, name, prompt, options, tensors)
        save(f"pipelines/{file}", tensors, {"cases": cases})

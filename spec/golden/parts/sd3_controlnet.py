"""Random ControlNets for the tiny Stable Diffusion 3, of the kinds that there are, and what diffusers' pipelines make with them."""
import diffusers
import numpy as np
import torch
from diffusers import SD3ControlNetModel, StableDiffusion3Pipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from generate import HERE, channels_last, save
from parts.layers import randomize
from parts.pipelines import ROAD, STAR, mask, picture, seeded
from parts.sd3 import FOLDER, TRANSFORMER

SMALL = {k: TRANSFORMER[k] for k in ("sample_size", "patch_size", "in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim",
                                     "caption_projection_dim", "pooled_projection_dim", "out_channels")} | dict(num_layers=1, pos_embed_max_size=8)
# As InstantX's, which are told zeros; as Stability's, told of no text, of which two steer together; as alimama's, which see a mask
NETS = dict(
    zeros=dict(SMALL, dual_attention_layers=()), text=dict(SMALL, qk_norm="rms_norm", force_zeros_for_pooled_projection=False),
    image_0=dict(SMALL, joint_attention_dim=None, use_pos_embed=False, force_zeros_for_pooled_projection=False),
    image_1=dict(SMALL, joint_attention_dim=None, use_pos_embed=False, force_zeros_for_pooled_projection=False),
    masked=dict(SMALL, extra_conditioning_channels=1),
)
IMAGE = ["image_0", "image_1"]
# name -> (prompt, options). nets: which; size: of the pictures that steer, whose seeds are `pictures`, a list for each net; pooled: seed of what nets are told
TEXT2IMG = {
    "default": (STAR, dict(seeds=0, steps=4, nets=["zeros"])),
    "told": (ROAD, dict(seeds=1, steps=3, nets=["text"], negative_prompt="red", prompt_2=STAR)),
    "image": (STAR, dict(seeds=2, steps=4, nets=IMAGE[:1])),
    "unguided": (ROAD, dict(seeds=3, steps=3, nets=["text"], guidance_scale=1.0, scale=0.6)),
    "window": (STAR, dict(seeds=4, steps=6, nets=IMAGE[1:], start=0.3, end=0.7)),
    "wide": (ROAD, dict(seeds=5, steps=3, nets=["zeros"], size=(20, 30), height=8, width=12)),
    "list": ([STAR, ROAD], dict(seeds=[6, 7, 8, 9], steps=2, nets=["text"], pictures=[[1, 2]], num_images_per_prompt=2)),
    "one_for_all": ([STAR, ROAD], dict(seeds=[10, 11], steps=2, nets=["zeros"])),
    "two": (STAR, dict(seeds=12, steps=4, nets=IMAGE, pictures=[[3], [4]], scale=[1.0, 1.0])),
    "two_scaled": (ROAD, dict(seeds=13, steps=5, nets=IMAGE, pictures=[[5], [6]], scale=[0.7, 1.2], start=[0.0, 0.4], end=[0.6, 1.0])),
    "pooled": (STAR, dict(seeds=[14, 15], steps=2, nets=["text"], pooled=3, num_images_per_prompt=2)),
}
INPAINT = {
    "default": (STAR, dict(seeds=0, steps=4, nets=["masked"])),
    "wide": (ROAD, dict(seeds=1, steps=3, nets=["masked"], size=(24, 30), height=8, width=12, scale=0.95, negative_prompt="red")),
    "unguided": (ROAD, dict(seeds=2, steps=3, nets=["masked"], guidance_scale=1.0, end=0.8)),
    "list": ([STAR, ROAD], dict(seeds=[3, 4], steps=2, nets=["masked"], pictures=[[1, 2]], masks=2)),
    "two_of_one": (STAR, dict(seeds=[5, 6], steps=2, nets=["masked"], num_images_per_prompt=2)),
    "two": (STAR, dict(seeds=7, steps=3, nets=["masked", "masked"], pictures=[[3], [4]], scale=[1.0, 0.4])),
    "pooled": (STAR, dict(seeds=8, steps=2, nets=["masked"], pooled=4)),
}
OURS = ("seeds", "steps", "nets", "size", "pictures", "masks", "scale", "start", "end", "pooled")


class Given(torch.Tensor):
    """diffusers asks whether there is one by its truth, which other tensors have none of."""

    def __bool__(self):
        return True


def networks():
    nets = {}
    for name, config in NETS.items():
        net, folder = randomize(SD3ControlNetModel(**config)), HERE / f"pipelines/controlnet_sd3_{name}"
        for parameter in net.parameters():
            parameter.copy_(parameter.to(torch.float8_e5m2).float())  # fewer bits take less room
        net.half().save_pretrained(folder)
        nets[name] = SD3ControlNetModel.from_pretrained(folder, torch_dtype=torch.float32)
    return nets


def run(kind, parts, nets, name, prompt, options, tensors):
    chosen = [nets[each] for each in options["nets"]]
    pipe = getattr(diffusers, kind)(**parts, controlnet=chosen[0] if len(chosen) == 1 else chosen)
    pipe.set_progress_bar_config(disable=True)
    pipe.check_inputs = lambda *args, **kwargs: None  # it asks for multiples of 8, also where the VAE's factor is 2
    size = options.get("size", (8, 8))
    given = [[picture(seed, *size) for seed in each] for each in options.get("pictures", [[1]] * len(chosen))]
    for n, each in enumerate(given):
        tensors[f"{name}/picture/{n}"] = np.stack([np.asarray(one) for one in each])
    kwargs = dict(height=8, width=8) | {k: v for k, v in options.items() if k not in OURS}
    kwargs |= {to: options[k] for k, to in dict(scale="controlnet_conditioning_scale", start="control_guidance_start", end="control_guidance_end").items() if k in options}
    images = [each if len(each) > 1 else each[0] for each in given]
    kwargs["control_image"] = images if len(images) > 1 else images[0]
    if "Inpainting" in kind:
        masks = [mask(*size) for _ in range(options.get("masks", 1))]
        masks[1:] = [each.transpose(0) for each in masks[1:]]
        tensors[f"{name}/mask"] = np.stack([np.asarray(each) for each in masks])
        kwargs["control_mask"] = masks if len(masks) > 1 else masks[0]
    if "pooled" in options:
        told = torch.randn(1, SMALL["pooled_projection_dim"], generator=seeded(options["pooled"]))
        tensors[f"{name}/pooled"] = told
        kwargs["controlnet_pooled_projections"] = told.repeat(2 * kwargs.get("num_images_per_prompt", 1), 1).as_subclass(Given)
    make = lambda output_type: pipe(prompt, generator=seeded(options["seeds"]), num_inference_steps=options["steps"], output_type=output_type, **kwargs).images
    tensors[f"{name}/out"] = channels_last(torch.as_tensor(make("latent")).as_subclass(torch.Tensor))
    if name == "default":
        tensors[f"{name}/pictures"] = np.stack([np.asarray(image) for image in make("pil")])


@torch.no_grad()
def generate():
    pipe = StableDiffusion3Pipeline.from_pretrained(FOLDER, torch_dtype=torch.float32)
    parts = {k: v for k, v in pipe.components.items() if k not in ("image_encoder", "feature_extractor")}
    nets = networks()
    # diffusers draws latents of what steers without the call's generator, from what cannot be known of another call
    sample, DiagonalGaussianDistribution.sample = DiagonalGaussianDistribution.sample, lambda self, generator=None: self.mode()
    for file, kind, cases in (("sd3_controlnet", "StableDiffusion3ControlNetPipeline", TEXT2IMG), ("sd3_controlnet_inpainting", "StableDiffusion3ControlNetInpaintingPipeline", INPAINT)):
        tensors = {}
        for name, (prompt, options) in cases.items():
            run(kind, parts, nets, name, prompt, options, tensors)
        save(f"pipelines/{file}", tensors, {"cases": cases})
    DiagonalGaussianDistribution.sample = sample

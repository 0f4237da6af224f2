"""ControlNets with small random configs like SD1.x's, SD2.x's and SDXL's, and what they add to a UNet; pipelines that they steer."""
import diffusers
import numpy as np
import torch
from diffusers import (ControlNetModel, StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetInpaintPipeline,
                       StableDiffusionControlNetPipeline, StableDiffusionPipeline, StableDiffusionXLControlNetImg2ImgPipeline,
                       StableDiffusionXLControlNetInpaintPipeline, StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline, UNet2DConditionModel)

from generate import HERE, channels_last, save, saved
from parts.layers import randomize, weights
from parts.models import conditions, x
from parts.pipelines import SECOND_UNET, TINY, mask, picture, quiet, seeded

SMALL = dict(conditioning_embedding_out_channels=(4, 6, 8, 12))
CASES = {
    "sd2": dict(conditioning_embedding_out_channels=(4, 8), controlnet_conditioning_channel_order="bgr"),
    "plain": dict(SMALL, conditioning_channels=5, global_pool_conditions=True),
    "xl": dict(SMALL),
}


def golden_unet(name):
    """The UNet of another golden."""
    tensors, meta = saved(f"models/unet_{name}")
    unet = UNet2DConditionModel(**meta["config"])
    unet.load_state_dict({k.removeprefix("weights/"): v for k, v in tensors.items() if k.startswith("weights/")})
    return unet.eval()


def made(unet, options):
    pooled = options.get("global_pool_conditions", False)
    net = ControlNetModel.from_unet(unet, load_weights_from_unet=False, **{k: v for k, v in options.items() if k != "global_pool_conditions"})
    net.register_to_config(global_pool_conditions=pooled)
    return randomize(net)


def networks():
    for name, options in CASES.items():
        unet = golden_unet(name)
        net = made(unet, options)
        tensors = {f"weights/{k}": v for k, v in weights(net).items()}
        factor = 2 ** (len(options["conditioning_embedding_out_channels"]) - 1)
        runs = [dict(timestep=981, scale=1.0, guess=False), dict(timestep=1, scale=0.7, guess=True)]
        for r, run in enumerate(runs):
            batch, height, width, tokens = ((2, 8, 8, 7), (1, 6, 10, 5))[r]
            sample, text = x(batch, unet.config.in_channels, height, width), x(batch, tokens, unet.config.cross_attention_dim)
            picture = torch.rand(batch, options.get("conditioning_channels", 3), height * factor, width * factor)
            more = conditions(unet, batch)
            added = {k: more[k] for k in ("text_embeds", "time_ids") if k in more} or None
            with torch.no_grad():
                down, mid = net(sample, run["timestep"], text, picture, run["scale"], guess_mode=run["guess"], added_cond_kwargs=added, return_dict=False)
                out = unet(sample, run["timestep"], text, down_block_additional_residuals=down, mid_block_additional_residual=mid, added_cond_kwargs=added).sample
            tensors |= {f"{r}/{k}": channels_last(v) for k, v in dict(sample=sample, encoderHiddenStates=text, picture=picture, mid=mid, out=out).items()}
            tensors |= {f"{r}/down/{i}": channels_last(v) for i, v in enumerate(down)} | {f"{r}/{k}": v for k, v in more.items()}
        config = {k: v for k, v in net.config.items() if not k.startswith("_")}
        save(f"models/controlnet_{name}", tensors, {"config": config, "runs": runs})


PICTURES = dict(
    plain=dict(seeds=0, steps=4), unguided=dict(seeds=1, steps=4, guidance_scale=1.0), scaled=dict(seeds=2, steps=3, scale=0.5),
    guess=dict(seeds=3, steps=4, guess_mode=True, guidance_scale=4.0), guess_unguided=dict(seeds=4, steps=3, guess_mode=True, guidance_scale=1.0),
    window=dict(seeds=5, steps=6, start=0.3, end=0.7), size=dict(seeds=6, steps=3, picture=(20, 30), height=24, width=16),
    own_size=dict(seeds=7, steps=3, picture=(24, 17)), batch=dict(seeds=[8, 9, 10, 11], steps=3, prompts=2, num_images_per_prompt=2, pictures=2),
    one_for_all=dict(seeds=[12, 13], steps=3, prompts=2), two=dict(seeds=14, steps=4, nets=2), two_scaled=dict(seeds=15, steps=4, nets=2, scale=[0.7, 1.2], start=[0.0, 0.4], end=[0.6, 1.0]),
    two_guess=dict(seeds=16, steps=3, nets=2, guess_mode=True), euler=dict(seeds=17, steps=4, scheduler="EulerDiscreteScheduler"),
)
PROMPTS = ["a red star on a road", "an on at"]


def pictures():
    base = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    nets = []
    for i in range(2):
        folder = HERE / f"pipelines/controlnet_{i}"
        made(base.unet, dict(conditioning_embedding_out_channels=(4, 8))).half().save_pretrained(folder)
        nets.append(ControlNetModel.from_pretrained(folder, torch_dtype=torch.float32))
    tensors, cases = {}, {}
    for name, case in PICTURES.items():
        case = dict(case)
        count, prompts = case.get("nets", 1), PROMPTS[: case.get("prompts", 1)]
        scheduler = getattr(diffusers, case.get("scheduler", "PNDMScheduler")).from_config(base.scheduler.config)
        pipe = quiet(StableDiffusionControlNetPipeline(
            vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet, scheduler=scheduler,
            controlnet=nets[0] if count == 1 else nets, safety_checker=None, feature_extractor=None, requires_safety_checker=False))
        height, width = case.get("picture", (16, 16))
        given = [[picture(10 * n + i, height, width) for i in range(case.get("pictures", 1))] for n in range(count)]
        for n, each in enumerate(given):
            tensors[f"{name}/picture/{n}"] = np.stack([np.asarray(one) for one in each])
        image = [each if len(each) > 1 else each[0] for each in given]
        out = pipe(
            prompts, image=image[0] if count == 1 else image, num_inference_steps=case["steps"], generator=seeded(case["seeds"]), output_type="latent",
            guidance_scale=case.get("guidance_scale", 7.5), guess_mode=case.get("guess_mode", False), num_images_per_prompt=case.get("num_images_per_prompt", 1),
            controlnet_conditioning_scale=case.get("scale", 1.0), control_guidance_start=case.get("start", 0.0), control_guidance_end=case.get("end", 1.0),
            height=case.get("height"), width=case.get("width")).images
        tensors[f"{name}/out"] = channels_last(out)
        cases[name] = dict(case, prompts=prompts)
    save("pipelines/controlnet", tensors, {"cases": cases})


FROM_PICTURES = dict(
    plain=dict(seeds=20, steps=5, strength=0.8), weak=dict(seeds=21, steps=6, strength=0.4, scale=1.0), window=dict(seeds=22, steps=6, strength=0.9, start=0.2, end=0.6, guess_mode=True),
)
XL_PICTURES = dict(
    plain=dict(seeds=30, steps=4), guess=dict(seeds=31, steps=3, guess_mode=True), unguided=dict(seeds=32, steps=3, guidance_scale=1.0, scale=0.6),
    wide=dict(seeds=33, steps=3, picture=(16, 24), start=0.3, end=0.9), batch=dict(seeds=[34, 35], steps=3, num_images_per_prompt=2),
)


def drawn(pipe, name, case, tensors, key="image", **more):
    """Latents of a case, beside the picture that steers."""
    steering = picture(case["steps"], *case.get("picture", (16, 16)))
    tensors[f"{name}/picture/0"] = np.asarray(steering)[None]
    options = {k: case[v] for k, v in dict(controlnet_conditioning_scale="scale", control_guidance_start="start", control_guidance_end="end").items() if v in case}
    options |= {k: case[k] for k in ("guess_mode", "guidance_scale", "num_images_per_prompt", "strength") if k in case}
    out = pipe(PROMPTS[0], **{key: steering}, num_inference_steps=case["steps"], generator=seeded(case["seeds"]), output_type="latent", **options, **more).images
    tensors[f"{name}/out"] = channels_last(out)


def other_pictures():
    base = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    net = ControlNetModel.from_pretrained(HERE / "pipelines/controlnet_0", torch_dtype=torch.float32)
    pipe = quiet(StableDiffusionControlNetImg2ImgPipeline(
        vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet, scheduler=base.scheduler,
        controlnet=net, safety_checker=None, feature_extractor=None, requires_safety_checker=False))
    tensors, begun = {}, picture(99, 16, 16)
    tensors["begun"] = np.asarray(begun)[None]
    for name, case in FROM_PICTURES.items():
        drawn(pipe, f"img2img/{name}", case, tensors, "control_image", image=begun)
    xl = StableDiffusionXLPipeline.from_pretrained(HERE / "pipelines/tiny_xl", torch_dtype=torch.float32, add_watermarker=False)
    folder = HERE / "pipelines/controlnet_xl"
    made(xl.unet, dict(conditioning_embedding_out_channels=(4, 8))).half().save_pretrained(folder)
    pipe = StableDiffusionXLControlNetPipeline(
        vae=xl.vae, text_encoder=xl.text_encoder, text_encoder_2=xl.text_encoder_2, tokenizer=xl.tokenizer, tokenizer_2=xl.tokenizer_2, unet=xl.unet,
        scheduler=xl.scheduler, controlnet=ControlNetModel.from_pretrained(folder, torch_dtype=torch.float32), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.check_inputs = lambda *args, **kwargs: None
    for name, case in XL_PICTURES.items():
        drawn(pipe, f"xl/{name}", case, tensors)
    save("pipelines/controlnet_others", tensors, {"img2img": FROM_PICTURES, "xl": XL_PICTURES, "prompt": PROMPTS[0]})


# Pictures, masks and what steers are of `size`; `unet` with 9 channels sees the mask; `crop` works on a part alone, and gives pictures.
EDITS = dict(
    inpaint=dict(seeds=40, steps=4), inpaint_weak=dict(seeds=41, steps=5, strength=0.6, scale=1.0), inpaint_nine=dict(seeds=42, steps=3, unet="nine"),
    inpaint_batch=dict(seeds=[43, 44], steps=3, num_images_per_prompt=2, guess_mode=True, size=(16, 24), start=0.2, end=0.8),
    inpaint_two=dict(seeds=45, steps=3, nets=2, scale=[0.9, 0.3], guidance_scale=1.0), inpaint_crop=dict(seeds=46, steps=3, size=(40, 56), height=16, width=24, crop=4),
    inpaint_crop_two=dict(seeds=47, steps=3, nets=2, size=(37, 51), height=16, width=16, crop=2, unet="nine"),
    xl=dict(seeds=50, steps=4, end=0.6, denoising_end=0.7), xl_img2img=dict(seeds=51, steps=4), xl_img2img_scored=dict(seeds=[52, 53], steps=5, strength=0.5, scale=0.4, size=(16, 24), guess_mode=True,
    num_images_per_prompt=2), xl_inpaint=dict(seeds=54, steps=4), xl_inpaint_nine=dict(seeds=55, steps=4, unet="nine", strength=0.7, guess_mode=True),
    xl_inpaint_range=dict(seeds=56, steps=8, denoising_end=0.6, start=0.1, end=0.5), xl_inpaint_crop=dict(seeds=57, steps=3, size=(40, 56), height=24, width=16, crop=3),
)


def edits():
    base = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    xl = StableDiffusionXLPipeline.from_pretrained(HERE / "pipelines/tiny_xl", torch_dtype=torch.float32, add_watermarker=False)
    net = lambda name: ControlNetModel.from_pretrained(HERE / f"pipelines/controlnet_{name}", torch_dtype=torch.float32)
    unet = lambda folder: UNet2DConditionModel.from_pretrained(HERE / folder, torch_dtype=torch.float32)
    nets, xl_net = [net(0), net(1)], net("xl")
    nine, xl_nine = unet(SECOND_UNET), unet("pipelines/unet_xl_nine")
    tensors = {}
    for name, case in EDITS.items():
        is_xl, paints, begins = name.startswith("xl"), "inpaint" in name, "img2img" in name
        if is_xl:
            Pipeline = StableDiffusionXLControlNetInpaintPipeline if paints else StableDiffusionXLControlNetImg2ImgPipeline if begins else StableDiffusionXLControlNetPipeline
            parts = dict(xl.components, controlnet=xl_net, add_watermarker=False) | (dict(unet=xl_nine) if "unet" in case else {})
            pipe = Pipeline(**parts)
            pipe.set_progress_bar_config(disable=True)
            pipe.check_inputs = lambda *args, **kwargs: None
        else:
            parts = dict(base.components, controlnet=nets if case.get("nets") == 2 else nets[0], requires_safety_checker=False) | (dict(unet=nine) if "unet" in case else {})
            pipe = quiet(StableDiffusionControlNetInpaintPipeline(**parts))
        size = case.get("size", (16, 16))
        steering = [picture(60 + i, *size) for i in range(case.get("nets", 1))]
        given = dict(picture=picture(7, *size), mask=mask(*size)) | {f"steering/{i}": each for i, each in enumerate(steering)}
        tensors |= {f"{name}/{key}": np.asarray(each)[None] for key, each in given.items()}
        options = {k: case[v] for k, v in dict(controlnet_conditioning_scale="scale", control_guidance_start="start", control_guidance_end="end", padding_mask_crop="crop").items() if v in case}
        options |= {k: case[k] for k in ("guess_mode", "guidance_scale", "num_images_per_prompt", "strength", "height", "width", "denoising_end") if k in case}
        control = steering if len(steering) > 1 else steering[0]
        options |= dict(image=given["picture"], control_image=control) if paints or begins else dict(image=control)
        if paints:
            options["mask_image"] = given["mask"]
        out = pipe(PROMPTS[0], num_inference_steps=case["steps"], generator=seeded(case["seeds"]), output_type="pil" if "crop" in case else "latent", **options).images
        tensors[f"{name}/out"] = np.stack([np.asarray(each) for each in out]) if "crop" in case else channels_last(out)
    save("pipelines/controlnet_edits", tensors, {"cases": EDITS, "prompt": PROMPTS[0]})


def generate():
    networks()
    pictures()
    other_pictures()
    edits()

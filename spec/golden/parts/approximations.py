"""What DeepCache and tomesd make of diffusers' UNet and pipeline, guidance that stops early, and the tiny autoencoder. Takes the
models of `models` and `pipelines`."""
import diffusers
import tomesd
import torch
from DeepCache import DeepCacheSDHelper
from diffusers import AutoencoderTiny, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline, UNet2DConditionModel

from generate import channels_last, save, saved
from parts.layers import randomize, weights
from parts.models import UNETS
from parts.pipelines import ROAD, STAR, TINY, picture, quiet, seeded

x = torch.randn
# name -> (interval, branch, timesteps)
DEEP_CACHE = {"outermost": (3, 0, [981, 961, 941, 921]), "one_in": (2, 1, [981, 961, 941]), "below_a_halving": (2, 3, [981, 961]), "innermost": (2, 11, [981, 961])}
# name -> (prompt, options) of the tiny pipeline
PIPELINES = {
    "pndm": (STAR, dict(seed=0, num_inference_steps=7)),
    "heun": (STAR, dict(seed=1, num_inference_steps=6, scheduler="HeunDiscreteScheduler")),
    "kdpm2": (ROAD, dict(seed=2, num_inference_steps=5, scheduler="KDPM2DiscreteScheduler")),
    "image": (ROAD, dict(seed=3, num_inference_steps=8, strength=0.6, scheduler="DPMSolverMultistepScheduler")),
    "unguided": (STAR, dict(seed=4, num_inference_steps=4, guidance_scale=1.0, scheduler="DDIMScheduler")),
}
MERGING = {
    "default": dict(), "deep": dict(ratio=0.75, max_downsample=8), "everything": dict(ratio=0.4, max_downsample=2, merge_crossattn=True, merge_mlp=True),
    "mlp": dict(ratio=0.3, merge_attn=False, merge_mlp=True),
}
TINY_VAE = dict(encoder_block_out_channels=(8,) * 3, decoder_block_out_channels=(8,) * 3, num_encoder_blocks=(1, 2, 1), num_decoder_blocks=(2, 1, 1))


def deep_cache():
    tensors, unet = {}, UNet2DConditionModel(**UNETS["sd1"]).eval()
    stored, _ = saved("models/unet_sd1")
    unet.load_state_dict({k.removeprefix("weights/"): v.float() for k, v in stored.items() if k.startswith("weights/")})
    for name, (interval, branch, timesteps) in DEEP_CACHE.items():
        pipe = type("Pipe", (), {})()
        pipe.unet, pipe.scheduler = unet, type("Scheduler", (), {"timesteps": torch.tensor(timesteps)})()
        helper = DeepCacheSDHelper(pipe=pipe)
        helper.set_params(cache_interval=interval, cache_branch_id=branch)
        helper.enable()
        states = tensors[f"{name}/encoderHiddenStates"] = x(2, 5, 24)
        for i, t in enumerate(timesteps):
            sample = x(2, 4, 9, 16)
            tensors[f"{name}/{i}/sample"] = channels_last(sample)
            tensors[f"{name}/{i}/out"] = channels_last(unet(sample, torch.tensor(t), encoder_hidden_states=states).sample)
        helper.disable()
    save("models/deep_cache", tensors, {"cases": DEEP_CACHE})


def load(options):
    pipe = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    if "scheduler" in options:
        pipe.scheduler = getattr(diffusers, options["scheduler"]).from_config(pipe.scheduler.config)
    return quiet(StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)) if "strength" in options else pipe


def draw(pipe, prompt, options, **more):
    kwargs = {k: v for k, v in options.items() if k not in ("seed", "scheduler")}
    if "strength" in options:
        kwargs["image"] = picture(1, 16, 16)
    return channels_last(pipe(prompt, generator=seeded(options["seed"]), output_type="latent", **kwargs, **more).images)


def pipelines():
    image = torch.frombuffer(bytearray(picture(1, 16, 16).tobytes()), dtype=torch.uint8).view(1, 16, 16, 3)
    tensors, calls = {"image": image}, {}
    for name, (prompt, options) in PIPELINES.items():
        pipe = load(options)
        helper = DeepCacheSDHelper(pipe=pipe)
        helper.set_params(cache_interval=3, cache_branch_id=0)
        helper.enable()
        tensors[f"{name}/deep_cache"] = draw(pipe, prompt, options)
        helper.disable()
        calls[name] = pipe.num_timesteps

        def stop(pipe, i, t, kwargs):  # guidance for the first 3 calls of the UNet
            if i == 2:
                pipe._guidance_scale = 0.0
                kwargs["prompt_embeds"] = kwargs["prompt_embeds"].chunk(2)[-1]
            return kwargs

        if options.get("guidance_scale", 7.5) > 1:
            tensors[f"{name}/guidance_stop"] = draw(pipe, prompt, options, callback_on_step_end=stop, callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"])
    save("pipelines/approximations", tensors, {"cases": PIPELINES, "calls": calls})


def token_merging():
    tensors, cases = {}, []
    unet = randomize(UNet2DConditionModel(**dict(UNETS["sd1"], block_out_channels=(16, 24), norm_num_groups=8, layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2)))
    tensors.update({f"weights/{k}": v for k, v in weights(unet).items()})
    for name, options in MERGING.items():
        tomesd.apply_patch(unet, use_rand=False, **options)
        for shape in ((2, 16, 16), (1, 10, 12), (3, 9, 7)):
            sample, states = x(shape[0], 4, *shape[1:]), x(shape[0], 5, 24)
            if shape[1] % 2 and options.get("max_downsample", 1) > 1:
                continue  # tomesd miscounts the tokens of halved odd sizes
            r = len(cases)
            out = unet(sample, torch.tensor(500), encoder_hidden_states=states).sample
            tensors.update({f"{r}/sample": channels_last(sample), f"{r}/encoderHiddenStates": states, f"{r}/out": channels_last(out)})
            cases.append([name, options])
    tomesd.remove_patch(unet)
    save("models/token_merging", tensors, {"config": {k: v for k, v in unet.config.items() if not k.startswith("_")}, "cases": cases})


def tiny_autoencoder(name="vae_tiny", **options):
    vae = randomize(AutoencoderTiny(**TINY_VAE, **options))
    tensors = {f"weights/{k}": v for k, v in weights(vae).items()}
    for r, (batch, height, width) in enumerate(((2, 4, 6), (1, 5, 3))):
        image, latents = x(batch, 3, 4 * height, 4 * width), 2 * x(batch, 4, height, width)
        tensors.update({k: channels_last(v) for k, v in {
            f"{r}/image": image, f"{r}/encoded": vae.encode(image).latents, f"{r}/latents": latents, f"{r}/decoded": vae.decode(latents).sample}.items()})
    default = {k: list(v.shape) for k, v in AutoencoderTiny().state_dict().items()}
    save(f"models/{name}", tensors, {"config": {k: v for k, v in vae.config.items() if not k.startswith("_")}, "default": default})


@torch.no_grad()
def generate():
    deep_cache(), pipelines(), token_merging(), tiny_autoencoder()

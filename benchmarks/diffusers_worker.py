"""The other side of a case: the same work by diffusers on PyTorch.

    python diffusers_worker.py export NETWORK FOLDER SIZE DEVICE   random weights, float16 safetensors; SIZE: sd15 or small
    python diffusers_worker.py TASK_JSON                           reads `run`, `settle` and `end FILE` lines, answers in JSON
A task's variant: eager, channels_last (eager too) or compile. Needs torch, diffusers and transformers (spec/golden/requirements.txt).
"""
import io
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import diffusers
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, SD3Transformer2DModel, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention import FeedForward
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

for library in diffusers, transformers:
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()

SIZES = {
    "sd15": dict(unet=(320, 640, 1280, 1280), heads=8, vae=(128, 256, 512, 512), layers=12, layers_2=32,
                 xl=dict(block_out_channels=(320, 640, 1280), attention_head_dim=[5, 10, 20], transformer_layers_per_block=[1, 2, 10]),
                 sd35=dict(num_layers=24, num_attention_heads=24, caption_projection_dim=1536, dual_attention_layers=tuple(range(13)))),
    "small": dict(unet=(32, 64, 64, 64), heads=4, vae=(32,) * 4, layers=1, layers_2=1,
                  xl=dict(block_out_channels=(64, 128, 128), attention_head_dim=[1, 2, 2], transformer_layers_per_block=[1, 1, 2]),
                  sd35=dict(num_layers=2, num_attention_heads=2, caption_projection_dim=128, dual_attention_layers=(0,))),
}
NETWORKS = {
    "unet": lambda size: UNet2DConditionModel(cross_attention_dim=768, sample_size=64, block_out_channels=size["unet"], attention_head_dim=size["heads"]),
    "xl/unet": lambda size: UNet2DConditionModel(
        **size["xl"], cross_attention_dim=2048, sample_size=128, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")),
    "sd35/transformer": lambda size: SD3Transformer2DModel(  # SD3.5 medium's
        **size["sd35"], sample_size=128, joint_attention_dim=4096, pos_embed_max_size=384, qk_norm="rms_norm"),
    "vae": lambda size: AutoencoderKL(block_out_channels=size["vae"], layers_per_block=2, sample_size=512,
                                      down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4),
    "text_encoder": lambda size: CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=size["layers"], num_attention_heads=12)),
}
NETWORKS["xl/vae"], NETWORKS["xl/text_encoder"] = NETWORKS["vae"], NETWORKS["text_encoder"]
NETWORKS["xl/text_encoder_2"] = lambda size: CLIPTextModelWithProjection(CLIPTextConfig(
    hidden_size=1280, intermediate_size=5120, num_hidden_layers=size["layers_2"], num_attention_heads=20, hidden_act="gelu", projection_dim=1280))


def device_of(ours):
    """torch's device for one of ours."""
    return "cuda" if ours == "cuda" else "cpu"


def export(network, folder, size, device):
    torch.manual_seed(0)
    with torch.device(device_of(device)):
        module = NETWORKS[network](SIZES[size])
        with torch.no_grad():
            for p in module.parameters():
                if p.ndim == 1:  # norms and biases: ones and zeros would hide swaps
                    p.add_(torch.randn_like(p) * 0.05)
    module.half().save_pretrained(folder)


def bundled_pipeline():
    sys.path.insert(0, str(Path(__file__).parents[1] / "spec" / "golden"))
    from parts.images import pipeline  # reads our layout
    return pipeline()


def prepare(task):
    job, weights, variant, device, dtype = task["job"], task["weights"], task["variant"], device_of(task["device"]), getattr(torch, task["dtype"])
    kind = job["kind"]
    layout = torch.channels_last if variant == "channels_last" else torch.preserve_format
    generator = torch.Generator().manual_seed(0)
    randn = lambda *shape: torch.randn(*shape, generator=generator).to(device, dtype)
    place = lambda module: module.to(device, dtype, memory_format=layout).eval()
    faster = lambda f: torch.compile(f) if variant == "compile" else f
    if kind == "unet":
        unet = place(UNet2DConditionModel.from_pretrained(weights, torch_dtype=dtype))
        sample, text = randn(job["batch"], 4, job["size"], job["size"]), randn(job["batch"], 77, 768)
        network = faster(unet)
        return lambda: network(sample, 981, text).sample
    if kind == "unet-xl":
        unet = place(UNet2DConditionModel.from_pretrained(weights, torch_dtype=dtype))
        sample, text, whole = randn(job["batch"], 4, job["size"], job["size"]), randn(job["batch"], 77, 2048), randn(job["batch"], 1280)
        sizes = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]] * job["batch"], device=device, dtype=dtype)
        network = faster(unet)
        return lambda: network(sample, 981, text, added_cond_kwargs={"text_embeds": whole, "time_ids": sizes}).sample
    if kind == "transformer-sd35":
        transformer = place(SD3Transformer2DModel.from_pretrained(weights, torch_dtype=dtype))
        sample, text, whole = randn(job["batch"], 16, job["size"], job["size"]), randn(job["batch"], 77 + 256, 4096), randn(job["batch"], 2048)
        timestep = torch.tensor([981.5] * job["batch"], device=device)
        network = faster(transformer)
        return lambda: network(sample, text, whole, timestep).sample
    if kind == "vae-decode":
        vae = place(AutoencoderKL.from_pretrained(weights, torch_dtype=dtype))
        latents = randn(job["batch"], 4, job["size"], job["size"])
        decode = faster(vae.decode)
        return lambda: decode(latents).sample
    if kind == "text-encoder":
        encoder = place(CLIPTextModel.from_pretrained(weights, dtype=dtype))
        ids = (320 + 7 * torch.arange(job["tokens"], device=device)).expand(job["batch"], -1)
        network = faster(encoder)
        return lambda: network(ids).last_hidden_state
    if kind == "attention":
        split = lambda t: t.unflatten(-1, (job["heads"], -1)).transpose(1, 2)
        q, k, v = (randn(job["batch"], job["tokens"], job["features"]) for _ in range(3))
        return faster(lambda: F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).flatten(2))
    if kind == "group-norm-silu":
        norm = place(torch.nn.GroupNorm(32, job["channels"]))
        x = randn(job["batch"], job["channels"], job["size"], job["size"]).to(memory_format=layout)
        return faster(lambda: F.silu(norm(x)))
    if kind == "geglu":
        ff = place(FeedForward(job["features"], activation_fn="geglu"))
        for p in ff.parameters():
            p.copy_(randn(*p.shape) * 0.02)
        x = randn(job["batch"], job["tokens"], job["features"])
        return faster(lambda: ff(x))
    if kind == "generate":
        pipe = StableDiffusionPipeline.from_pretrained(weights, torch_dtype=dtype) if "size" in job else bundled_pipeline()
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        pipe.to(device, dtype)
        pipe.unet, pipe.vae = place(pipe.unet), place(pipe.vae)
        pipe.unet, pipe.vae.decode = faster(pipe.unet), faster(pipe.vae.decode)
        if job.get("sliced"):
            pipe.enable_attention_slicing()
            pipe.vae.enable_slicing()
        prompts = ["a red circle on a blue background"] * job["batch"]
        pixels = 8 * job["size"] if "size" in job else None
        seeds = lambda: [torch.Generator().manual_seed(i) for i in range(job["batch"])]

        def pictures():
            images = pipe(prompts, num_inference_steps=job["steps"], generator=seeds(), height=pixels, width=pixels).images
            for image in images:
                image.save(io.BytesIO(), "PNG")
            return torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        return pictures


def main():
    if sys.argv[1] == "export":
        return export(*sys.argv[2:])
    task = json.loads(sys.argv[1])
    is_cuda = device_of(task["device"]) == "cuda"
    wait = torch.cuda.synchronize if is_cuda else lambda: None
    if "gpuMemoryFraction" in task:
        torch.cuda.set_per_process_memory_fraction(task["gpuMemoryFraction"])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32 is float32: cuDNN's convolutions are not, by torch's default
    answers, sys.stdout = sys.stdout, sys.stderr
    answer = lambda value: print(json.dumps(value), file=answers, flush=True)
    with torch.no_grad():
        start = time.perf_counter()
        work = prepare(task)
        wait()
        answer({"load": time.perf_counter() - start, "versions": f"torch {torch.__version__}, diffusers {diffusers.__version__}"})
        for line in sys.stdin:
            command, *file = line.split()
            if command == "run":
                cpu, start = os.times(), time.perf_counter()
                work()
                wait()
                wall, after = time.perf_counter() - start, os.times()
                answer({"wall": wall, "cpu": after.user + after.system - cpu.user - cpu.system})
            if command == "settle":
                answer({})  # torch.compile has compiled within the first run
            if command == "end":
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                allocated = {"peakAllocated": torch.cuda.max_memory_allocated()} if is_cuda else {}
                work().float().cpu().contiguous().numpy().tofile(file[0])
                answer({"peakRss": peak, **allocated})
                break


main()

"""The other side of a case: the same work by diffusers on PyTorch.

    python diffusers_worker.py export MODEL FOLDER        random weights of SD1.5's size, float16 safetensors
    python diffusers_worker.py CASE_JSON WEIGHTS LAYOUT   reads `run` and `end FILE` lines, answers in JSON
LAYOUT: default or channels_last (eager), compile, or bfloat16 (channels_last). Needs spec/golden/requirements.txt.
"""
import json
import os
import resource
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.models.attention import FeedForward
from transformers import CLIPTextConfig, CLIPTextModel

MODELS = {
    "unet": lambda: UNet2DConditionModel(cross_attention_dim=768, sample_size=64),
    "vae": lambda: AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
                                 down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4),
    "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)),
}


def export(model, folder):
    torch.manual_seed(0)
    network = MODELS[model]()
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim == 1:  # norms and biases: ones and zeros would hide swaps
                p.add_(torch.randn_like(p) * 0.05)
    network.half().save_pretrained(folder)


def prepare(job, weights, layout):
    kind = job["kind"]
    generator = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if layout == "bfloat16" else torch.float32
    randn = lambda *shape: torch.randn(*shape, generator=generator).to(dtype)
    place = lambda m: (m.to(memory_format=torch.channels_last) if layout in ("channels_last", "bfloat16") else m).to(dtype).eval()
    faster = lambda f: torch.compile(f) if layout == "compile" else f
    if kind == "unet":
        unet = place(UNet2DConditionModel.from_pretrained(weights, torch_dtype=dtype))
        sample, text = randn(job["batch"], 4, job["size"], job["size"]), randn(job["batch"], 77, 768)
        network = faster(unet)
        return lambda: network(sample, 981, text).sample
    if kind == "vae-decode":
        vae = place(AutoencoderKL.from_pretrained(weights, torch_dtype=dtype))
        latents = randn(job["batch"], 4, job["size"], job["size"])
        decode = faster(vae.decode)
        return lambda: decode(latents).sample
    if kind == "text-encoder":
        encoder = place(CLIPTextModel.from_pretrained(weights, dtype=dtype))
        ids = (320 + 7 * torch.arange(job["tokens"])).expand(job["batch"], -1)
        network = faster(encoder)
        return lambda: network(ids).last_hidden_state
    if kind == "attention":
        split = lambda t: t.unflatten(-1, (job["heads"], -1)).transpose(1, 2)
        q, k, v = (randn(job["batch"], job["tokens"], job["features"]) for _ in range(3))
        return faster(lambda: F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).flatten(2))
    if kind == "group-norm-silu":
        norm = place(torch.nn.GroupNorm(32, job["channels"]))
        x = randn(job["batch"], job["channels"], job["size"], job["size"])
        x = x.to(memory_format=torch.channels_last) if layout in ("channels_last", "bfloat16") else x
        return faster(lambda: F.silu(norm(x)))
    if kind == "geglu":
        ff = place(FeedForward(job["features"], activation_fn="geglu"))
        for p in ff.parameters():
            p.copy_(randn(*p.shape) * 0.02)
        x = randn(job["batch"], job["tokens"], job["features"])
        return faster(lambda: ff(x))
    if kind == "generate":
        sys.path.insert(0, "spec/golden")
        from parts.images import pipeline  # reads our layout
        pipe = pipeline()
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        pipe.to(dtype)
        pipe.unet = faster(place(pipe.unet))
        prompts = ["a red circle on a blue background"] * job["batch"]
        seeds = lambda: [torch.Generator().manual_seed(i) for i in range(job["batch"])]
        return lambda: pipe(prompts, num_inference_steps=job["steps"], generator=seeds(), output_type="pt").images


def main():
    if sys.argv[1] == "export":
        return export(*sys.argv[2:4])
    job, weights, layout = json.loads(sys.argv[1]), *sys.argv[2:4]
    answers, sys.stdout = sys.stdout, sys.stderr
    answer = lambda value: print(json.dumps(value), file=answers, flush=True)
    with torch.no_grad():
        start = time.perf_counter()
        work = prepare(job, weights, layout)
        answer({"load": time.perf_counter() - start})
        for line in sys.stdin:
            command, *file = line.split()
            if command == "run":
                cpu, start = os.times(), time.perf_counter()
                work()
                wall, after = time.perf_counter() - start, os.times()
                answer({"wall": wall, "cpu": after.user + after.system - cpu.user - cpu.system})
            if command == "end":
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                work().float().contiguous().numpy().tofile(file[0])
                answer({"peakRss": peak})
                break


main()

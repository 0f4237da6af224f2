"""The other side of memory.ts: python memory_worker.py CASE_JSON MODELS prints seconds and the peak of resident memory as JSON."""
import json
import resource
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizerFast

job, models = json.loads(sys.argv[1]), sys.argv[2]
dtype = getattr(torch, job["dtype"])
start = time.perf_counter()
pipe = StableDiffusionPipeline(
    tokenizer=CLIPTokenizerFast.from_pretrained("models/shapes/tokenizer"),
    scheduler=DPMSolverMultistepScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    text_encoder=CLIPTextModel.from_pretrained(f"{models}/text_encoder", dtype=dtype),
    unet=UNet2DConditionModel.from_pretrained(f"{models}/unet", torch_dtype=dtype),
    vae=AutoencoderKL.from_pretrained(f"{models}/vae", torch_dtype=dtype),
    safety_checker=None, feature_extractor=None, requires_safety_checker=False)
pipe.set_progress_bar_config(disable=True)
if "AttentionSlicing" in job["on"]:
    pipe.enable_attention_slicing()
if "VaeSlicing" in job["on"]:
    pipe.vae.enable_slicing()
if "VaeTiling" in job["on"]:
    pipe.vae.enable_tiling()
loaded = time.perf_counter()
generator = [torch.Generator().manual_seed(i) for i in range(job["images"])]
pipe(["a red circle"] * job["images"], generator=generator, num_inference_steps=1, height=job["size"], width=job["size"])
print(json.dumps({"load": loaded - start, "run": time.perf_counter() - loaded, "peakRss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))

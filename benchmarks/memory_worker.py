"""The other side of memory.ts: python memory_worker.py CASE_JSON MODEL prints seconds and the peak of resident memory as JSON."""
import json
import resource
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import torch
from diffusers import DPMSolverMultistepScheduler, DiffusionPipeline

job, model = json.loads(sys.argv[1]), sys.argv[2]
start = time.perf_counter()
pipe = DiffusionPipeline.from_pretrained(model, torch_dtype=getattr(torch, job["dtype"]))
pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
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

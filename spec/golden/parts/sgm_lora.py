"""lora/sgm.json.gz: which module of diffusers' UNet a LoRA of kohya's for SDXL is for, by the names of SGM's UNet, module by module.

Not of the refiner: diffusers takes input_blocks_10 for input_blocks_1.
"""
import gzip
import json
import re
from types import SimpleNamespace

from diffusers.loaders import lora_conversion_utils as lora

from generate import HERE
from parts.checkpoints import GENERATIONS, unet_keys


def modules(unet):
    shapes = unet_keys(**unet)
    names = [key.removesuffix(".weight") for key, shape in shapes.items() if key.endswith(".weight") and len(shape) > 1]
    state = {f"lora_unet_{name.replace('.', '_')}.lora_down.weight": name for name in names}
    mapped = lora._maybe_map_sgm_blocks_to_diffusers(dict(state), SimpleNamespace(layers_per_block=unet["blocks"]))
    found = {}
    for key, name in mapped.items():
        path = lora._convert_unet_lora_key(key).replace(".processor.", ".")
        path = re.sub(r"\.to_out_lora\.down\.weight$", ".to_out.0", path)
        found[name.replace(".", "_")] = re.sub(r"(_lora|\.lora)[._]down\.weight$", "", path)
    return found


def generate():
    golden = modules(GENERATIONS["xl"][0])
    path = HERE / "lora" / "sgm.json.gz"
    path.write_bytes(gzip.compress(json.dumps(golden).encode(), 9, mtime=0))
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.2f} MB")

"""LoRA files in the keys that there are, and what diffusers makes of the tiny pipeline with them."""
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from generate import HERE, channels_last, save
from parts.pipelines import ROAD, TINY, quiet, seeded

FOLDER = HERE / "lora"
LINEAR = ["to_q", "to_k", "to_v", "to_out.0", "proj", "ff.net.2", "proj_in", "proj_out", "time_emb_proj"]
CONVS = ["conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def tiny():
    return quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))


def config(targets, rank, alpha, **kwargs):
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights=False, **kwargs)


def factors(network, lora_config, seed):
    """Random factors for what the config targets, as peft names them; the network is left as it was."""
    torch.manual_seed(seed)
    network.add_adapter(lora_config, "made")
    state = {k: (v * 0.5 if "lora_B" in k else v).half() for k, v in get_peft_model_state_dict(network, adapter_name="made").items()}
    (network.delete_adapters if hasattr(network, "delete_adapters") else network.delete_adapter)("made")
    return {k: v.contiguous() for k, v in state.items()}


ALPHAS = (1.0, 2.0, 3.5)


def kohya(unet, text, alphas, te="lora_te_text_model"):
    """The keys of kohya's scripts, and LyCORIS': dots become underscores."""
    out = {}
    for prefix, state in ("lora_unet", unet), (te, text):
        for key, value in state.items():
            module, part = key.replace("text_model.", "").split(".lora_")
            name = f"{prefix}_{module.replace('.', '_')}"
            out[f"{name}.lora_{'down' if part[0] == 'A' else 'up'}.weight"] = value
            if part[0] == "A":
                out[f"{name}.alpha"] = torch.tensor(alphas[len(out) % len(alphas)])
    return out


def old(unet, text):
    """The keys of attention processors, before diffusers had peft."""
    def rename(key):
        for ours, theirs in ("lora_A", "lora.down"), ("lora_B", "lora.up"):
            key = key.replace(ours, theirs)
        for name in "qkv":
            key = key.replace(f".to_{name}.lora.", f".processor.to_{name}_lora.").replace(f".{name}_proj.lora.", f".to_{name}_lora.")
        return key.replace(".to_out.0.lora.", ".processor.to_out_lora.").replace(".out_proj.lora.", ".to_out_lora.")
    return {**{f"unet.{rename(k)}": v for k, v in unet.items()}, **{f"text_encoder.text_model.{rename(k)}": v for k, v in text.items()}}


@torch.no_grad()
def generate():
    pipe, tensors = tiny(), {}
    unet_config, text_config = config(LINEAR, 3, 6), config(TEXT, 2, 1)
    unet, text = factors(pipe.unet, unet_config, 1), factors(pipe.text_encoder, text_config, 2)
    all_unet = factors(pipe.unet, config([*LINEAR, *CONVS], 2, 2), 3)
    few_unet = factors(pipe.unet, config(LINEAR[:4], 4, 4), 4)
    few_text = factors(pipe.text_encoder, config(TEXT[:4], 4, 4), 5)

    FOLDER.mkdir(exist_ok=True)
    pipe.save_lora_weights(FOLDER, unet_lora_layers=unet, text_encoder_lora_layers=text, unet_lora_adapter_metadata=unet_config.to_dict(),
                           text_encoder_lora_adapter_metadata={**text_config.to_dict(), "base_model_name_or_path": None})
    save_file(kohya(all_unet, text, ALPHAS), FOLDER / "kohya.safetensors")
    save_file(old(few_unet, few_text), FOLDER / "old.safetensors")
    torch.save({k: v for k, v in few_unet.items() if ".attn1." in k}, FOLDER / "unet.bin")

    def run(name):
        tensors[name] = channels_last(pipe(ROAD, generator=seeded(0), num_inference_steps=2, output_type="latent").images)

    def load(lora, name):
        pipe.load_lora_weights(lora, adapter_name=name)

    with_kohya = lambda: load(kohya(all_unet, text, ALPHAS, te="lora_te"), "kohya")
    with_old = lambda: load({**{f"unet.{k}": v for k, v in few_unet.items()}, **{f"text_encoder.{k}": v for k, v in few_text.items()}}, "old")
    run("base")
    load(str(FOLDER), "peft"), run("peft")
    pipe.set_adapters("peft", 0.4), run("peft scaled")
    pipe.set_adapters("peft", 1.0), pipe.fuse_lora(lora_scale=0.6), run("peft fused"), pipe.unfuse_lora()
    pipe.unload_lora_weights(), with_kohya(), run("kohya")
    pipe.unload_lora_weights(), with_old(), run("old")
    pipe.unload_lora_weights(), load({f"unet.{k}": v for k, v in few_unet.items() if ".attn1." in k}, "bin"), run("bin")
    # One after the other: transformers 5 makes the first adapter anew when a second comes.
    pipe.unload_lora_weights(), load(str(FOLDER), "peft"), pipe.fuse_lora(lora_scale=0.7)
    pipe.unload_lora_weights(), with_kohya(), pipe.fuse_lora(lora_scale=-0.3), run("peft and kohya")
    save("lora/out", tensors)

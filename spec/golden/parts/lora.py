"""LoRA files in the keys that there are, and what diffusers makes of the tiny pipeline with them."""
import copy
import re
import shutil

import torch
from diffusers import StableDiffusionPipeline
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model, get_peft_model_state_dict
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


def module_name(key):
    """unet...lora_A.weight -> unet..."""
    return key.split(".lora_")[0]


def alphas(state):
    """Another one for each module than for the one before."""
    return {name: ALPHAS[i % len(ALPHAS)] for i, name in enumerate(dict.fromkeys(map(module_name, state)))}


def kohya(unet, text, te="lora_te_text_model"):
    """The keys of kohya's scripts, and LyCORIS': dots become underscores."""
    out = {}
    for prefix, state in ("lora_unet", unet), (te, text):
        for key, value in state.items():
            name = f"{prefix}_{module_name(key.replace('text_model.', '')).replace('.', '_')}"
            out[f"{name}.lora_{'down' if 'lora_A' in key else 'up'}.weight"] = value
            out[f"{name}.alpha"] = torch.tensor(alphas(state)[module_name(key)])
    return out


def baked(prefix, state):
    """In peft's keys, multiplied by what alpha and rank make. (diffusers itself takes one alpha for all attentions of a kohya file.)"""
    rank = next(v.shape[0] for k, v in state.items() if "lora_A" in k)
    return {f"{prefix}.{k}": v.float() * alphas(state)[module_name(k)] / rank if "lora_B" in k else v.float() for k, v in state.items()}


def old(unet, text):
    """The keys of attention processors, before diffusers had peft."""
    def rename(key):
        for ours, theirs in ("lora_A", "lora.down"), ("lora_B", "lora.up"):
            key = key.replace(ours, theirs)
        for name in "qkv":
            key = key.replace(f".to_{name}.lora.", f".processor.to_{name}_lora.").replace(f".{name}_proj.lora.", f".to_{name}_lora.")
        return key.replace(".to_out.0.lora.", ".processor.to_out_lora.").replace(".out_proj.lora.", ".to_out_lora.")
    return {**{f"unet.{rename(k)}": v for k, v in unet.items()}, **{f"text_encoder.text_model.{rename(k)}": v for k, v in text.items()}}


BLOCK = "transformer_blocks.0"
DOWN, UP, MID = f"down_blocks.0.attentions.0.{BLOCK}", f"up_blocks.1.attentions.1.{BLOCK}", f"mid_block.attentions.0.{BLOCK}"


# As diffusers' set_adapters takes them.
BLOCK_SCALES = {
    "blocks": {"unet": {"down": 0.3, "mid": 0.5, "up": {"block_1": [0.7, -1.2]}}, "text_encoder": 0.6},
    "lists": {"unet": {"down": [0.2], "up": {"block_1": [1.5]}}},
    "unet alone": {"unet": 0.25},
}


def laid_out(weight):
    """As the library has it."""
    return weight.permute(2, 3, 1, 0) if weight.ndim == 4 and weight.shape[2] > 1 else weight.flatten(1).T if weight.ndim > 1 else weight


def filled(module, seed):
    """Random values for what is to be learned, rounded to half precision."""
    torch.manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        if parameter.requires_grad:
            values = torch.randn_like(parameter) * 0.5
            parameter.data = (values.abs() + 0.5 if "dora" in name or "magnitude" in name else values).half().float()


def adapters_of_peft(pipe, tensors):
    """Adapters as `save_pretrained` of peft leaves them, with patterns that are regular expressions."""
    conv = [r"down_blocks\.1\.resnets\.0\.conv1", r"mid_block\.resnets\.1\.conv2"]
    linear = rf".*({'|'.join([*conv, r'attn[12].to_[qkv]', r'attn2.to_out.0', r'ff.net.0.proj'])})"
    few = rf"({'|'.join([*conv, r'mid_block.*attn[12].to_k', r'mid_block.*ff.net.0.proj'])})"
    configs = {
        "lora": LoraConfig(r=2, lora_alpha=3, target_modules=linear, init_lora_weights=False, rank_pattern={r"^mid_block\..*attn\d\.to_(k|v)": 3, "conv1": 1},
                           alpha_pattern={r"attn1\.to_[qk]": 16, r"up_blocks.*?to_v": 5, r"(?!mid).*\.to_out\.\d+": 0.5, "to_q": 7}),
        "loha": LoHaConfig(r=2, alpha=3, target_modules=few, init_weights=False, use_effective_conv2d=True, alpha_pattern={"attn[1].to_k": 1}),
        "lokr": LoKrConfig(r=2, alpha=3, target_modules=few, init_weights=False, decompose_both=True, use_effective_conv2d=True,
                           rank_pattern={r"\w+\.proj": 40}, alpha_pattern={r".+2\.to_k": 8}),
    }
    for i, (name, each) in enumerate(configs.items()):
        model = get_peft_model(copy.deepcopy(pipe.unet), each)
        filled(model, 10 + i)
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        model.half().save_pretrained(FOLDER / name)
        (FOLDER / name / "README.md").unlink()
        model.float().merge_and_unload()
        for path, weight in model.base_model.model.state_dict().items():
            if not torch.equal(weight, pipe.unet.state_dict()[path]):
                tensors[f"{name}/unet/{path}"] = laid_out(weight)


def lycoris(pipe, tensors):
    """One file with a module of each kind, and the weights that it makes."""
    from lycoris.modules.full import FullModule
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule
    from lycoris.modules.norms import NormModule

    kinds = {
        f"unet {DOWN}.attn1.to_q": (LohaModule, dict(lora_dim=2, alpha=1)),
        "unet down_blocks.1.resnets.0.conv1": (LohaModule, dict(lora_dim=2, alpha=3, use_tucker=True)),
        "unet mid_block.resnets.0.conv1": (LohaModule, dict(lora_dim=2, alpha=3)),
        f"unet {DOWN}.attn2.to_k": (LohaModule, dict(lora_dim=2, alpha=1, weight_decompose=True)),
        f"unet {DOWN}.ff.net.0.proj": (LokrModule, dict(lora_dim=2, alpha=3)),
        f"unet {DOWN}.ff.net.2": (LokrModule, dict(lora_dim=1, alpha=3, decompose_both=True)),
        f"unet {MID}.attn1.to_q": (LokrModule, dict(lora_dim=2, alpha=5, full_matrix=True)),
        f"unet {MID}.attn1.to_k": (LokrModule, dict(lora_dim=1, alpha=2, factor=2, weight_decompose=True)),
        "unet up_blocks.0.resnets.0.conv1": (LokrModule, dict(lora_dim=2, alpha=3, use_tucker=True)),
        "unet up_blocks.0.resnets.1.conv1": (LokrModule, dict(lora_dim=1, alpha=3, factor=2)),
        "unet up_blocks.0.resnets.0.conv2": (LokrModule, dict(lora_dim=2, alpha=3, factor=8)),
        "unet down_blocks.1.resnets.0.conv2": (LoConModule, dict(lora_dim=3, alpha=1, use_tucker=True)),
        "unet mid_block.resnets.0.conv2": (LoConModule, dict(lora_dim=2, alpha=1, use_tucker=True, weight_decompose=True)),
        "unet mid_block.attentions.0.proj_in": (LoConModule, dict(lora_dim=2, alpha=3, weight_decompose=True, wd_on_out=False)),
        "unet mid_block.resnets.1.conv1": (LoConModule, dict(lora_dim=2, alpha=3, weight_decompose=True, wd_on_out=False)),
        f"unet {MID}.attn2.to_v": (LoConModule, dict(lora_dim=2, alpha=3, weight_decompose=True)),
        "unet conv_in": (FullModule, {}),
        f"unet {MID}.attn2.to_q": (FullModule, {}),
        "unet mid_block.resnets.0.norm1": (NormModule, {}),
        "text_encoder encoder.layers.0.mlp.fc1": (LokrModule, dict(lora_dim=1, alpha=1)),
        "text_encoder encoder.layers.1.self_attn.q_proj": (FullModule, {}),
        "text_encoder encoder.layers.1.layer_norm1": (NormModule, {}),
    }
    state = {}
    for i, (name, (kind, options)) in enumerate(kinds.items()):
        network, path = name.split(" ")
        base = getattr(pipe, network).get_submodule(path)
        prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}[network] + path.replace(".", "_")
        module = kind(prefix, base, multiplier=1.0, **options)
        filled(module, 30 + i)
        weights = dict(module.named_parameters()) | dict(module.named_buffers())
        state |= {f"{prefix}.{k}": v.half() for k, v in (weights | (module.custom_state_dict() or {})).items() if k in kind.weight_list}
        if kind is FullModule:
            state |= {f"{prefix}.{'diff_b' if k == 'bias' else 'diff'}": v.data.half() for k, v in module.named_parameters()}
        if kind in (FullModule, NormModule):
            diff, bias = (module.weight, module.bias) if kind is FullModule else (module.w_norm, module.b_norm)
            if bias is not None:
                tensors[f"lycoris/{network}/{path}.bias"] = base.bias + bias
        else:
            # As its forward has it: LyCORIS' get_merged_weight multiplies LoHa and LoKr by alpha / rank twice.
            diff = module.make_weight() * module.scale if kind is LoConModule else module.get_weight(module.shape)
        merged = base.weight + diff
        tensors[f"lycoris/{network}/{path}.weight"] = laid_out(module.apply_weight_decompose(merged) if getattr(module, "wd", False) else merged)
    save_file({k: v.contiguous() for k, v in state.items()}, FOLDER / "lycoris.safetensors")


def regexes():
    """Patterns and names of modules, and whether peft's way of matching finds them."""
    names = ["a", "ab", "aab", "b.a", "attn1.to_q", f"{DOWN}.attn1.to_q", f"{DOWN}.attn2.to_out.0", "attn10.to_q", "A", "aB_0", "a-b", "a" * 40, "{}a", "]"]
    patterns = ["a", "to_q", r"attn1\.to_[qk]", "attn1.to_q", r"attn\d+\.to_q", r"^a", r"\Aa\Z", "a|ab", "a)|(b", ".*", "", "a{2}b", "a{,2}b", "a{1,}b", "a{}", "{}a",
                "[]]", "[^]a]", "[a-]+b", r"[\w.]+", r"\w+\W\w+", r".+\.\d", "(?!a).*", "(?=a).", r"\w+(?<=b)", r"\w+(?<!b)", "(?i:A)b?", "(?i:a(?-i:B))_0", "(?P<x>a)b",
                "(?:a|b)*", "(a+)+", "((a?){40}){3}", "a??", "a(?#note)b", r"\x61\u0062", r"to_(q|k|v)$", r"\battn1\b.*", "down_blocks.*attn2.*",
                r"(?s:.)b", r"\141?", "(down|up)_blocks\\.[0-3]\\..*"]
    broken = ["(", "a)", "[a", "*", "a**", "(?P<1>a)", r"\q", "[b-a]", "a{3,1}", "(?i)a", "(?<=a", "\\"]
    found = {}
    for pattern in patterns + broken:
        try:
            found[pattern] = [bool(re.match(rf"(.*\.)?({pattern})$", name)) for name in names]
        except re.error:
            found[pattern] = None
    assert [p for p, v in found.items() if v is None] == broken, [p for p, v in found.items() if v is None]
    return {"names": names, "found": found}


def managed(run, state):
    """Two adapters, of which one is for the UNet alone, put on, off and away; and who is said to be there and at work."""
    pipe, steps = tiny(), []

    def step(name, *call):
        if call:
            getattr(pipe, call[0])(*call[1:])
        run(f"managed {name}", pipe)
        steps.append({"name": name, "call": call, "active": pipe.get_active_adapters(), "list": pipe.get_list_adapters()})

    pipe.load_lora_weights(str(FOLDER), adapter_name="style"), pipe.load_lora_weights(state, adapter_name="subject")
    step("both", "set_adapters", ["subject", "style"], [1.2, 0.7])
    step("disabled", "disable_lora")
    step("set while disabled", "set_adapters", ["subject", "style"], [1.2, 0.4])
    step("enabled", "enable_lora")
    step("one alone", "set_adapters", "style", 0.4)
    step("the other deleted", "delete_adapters", "subject")
    pipe.load_lora_weights(state, adapter_name="subject")
    step("again", "set_adapters", ["style", "subject"], [0.7, 1.2])
    step("one of two deleted", "delete_adapters", ["style"])
    pipe.load_lora_weights(str(FOLDER), adapter_name="style")
    step("active alone", "set_adapters", "style", 0.4)
    step("the active one deleted", "delete_adapters", "style")
    step("all deleted", "delete_adapters", ["subject"])
    return steps


@torch.no_grad()
def generate():
    pipe, tensors = tiny(), {}
    FOLDER.mkdir(exist_ok=True)
    adapters_of_peft(pipe, tensors), lycoris(pipe, tensors)
    unet_config, text_config = config(LINEAR, 3, 6), config(TEXT, 2, 1)
    unet, text = factors(pipe.unet, unet_config, 1), factors(pipe.text_encoder, text_config, 2)
    all_unet = factors(pipe.unet, config([*LINEAR, *CONVS], 2, 2), 3)
    few_unet = factors(pipe.unet, config(LINEAR[:4], 4, 4), 4)
    few_text = factors(pipe.text_encoder, config(TEXT[:4], 4, 4), 5)

    pipe.save_lora_weights(FOLDER, unet_lora_layers=unet, text_encoder_lora_layers=text, unet_lora_adapter_metadata=unet_config.to_dict(),
                           text_encoder_lora_adapter_metadata={**text_config.to_dict(), "base_model_name_or_path": None})
    save_file(kohya(all_unet, text), FOLDER / "kohya.safetensors")
    save_file(old(few_unet, few_text), FOLDER / "old.safetensors")
    torch.save({k: v for k, v in few_unet.items() if ".attn1." in k}, FOLDER / "unet.bin")

    def run(name, pipe=pipe, **options):
        tensors[name] = channels_last(pipe(ROAD, generator=seeded(0), num_inference_steps=2, output_type="latent", **options).images)

    def load(lora, name):
        pipe.load_lora_weights(lora, adapter_name=name)

    with_kohya = lambda: load({**baked("unet", all_unet), **baked("text_encoder", text)}, "kohya")
    with_old = lambda: load({**{f"unet.{k}": v for k, v in few_unet.items()}, **{f"text_encoder.{k}": v for k, v in few_text.items()}}, "old")
    def run_adapter(name, **options):
        """A file of what `options` make an adapter of peft have besides. Made in place: loading it, transformers 5 leaves magnitudes out."""
        targets = {"unet": ["attn1.to_q", "attn2.to_out.0", "ff.net.2", "proj_in", "down_blocks.1.resnets.0.conv1"], "text_encoder": ["k_proj", "fc1"]}
        if "lora_bias" in options:
            targets["unet"] = targets["unet"][:4]  # peft has no biases for convolutions
        other, state = tiny(), {}
        for i, (prefix, modules) in enumerate(targets.items()):
            network = getattr(other, prefix)
            network.requires_grad_(False).add_adapter(config(modules, 2, 3, **options), "made")
            filled(network, 20 + i)
            state |= {f"{prefix}.{k}": v.half().contiguous() for k, v in get_peft_model_state_dict(network, adapter_name="made").items()}
        save_file(state, FOLDER / f"{name}.safetensors")
        for scale, title in (2 / 3, name), (2 / 3 * 0.4, f"{name} scaled"):  # the file says nothing of alpha, 3 here over a rank of 2
            other.set_adapters("made", scale), run(title, other)

    run("base")
    run_adapter("dora", use_dora=True), run_adapter("bias", lora_bias=True)
    pipe.unload_lora_weights(), load(str(FOLDER), "peft"), run("peft")
    pipe.set_adapters("peft", 0.4), run("peft scaled")
    for name, scales in BLOCK_SCALES.items():
        pipe.set_adapters("peft", scales), run(f"peft {name}")
    other = tiny()  # the pipeline keeps that scale, for what its text encoder is given later
    other.load_lora_weights(str(FOLDER), adapter_name="peft"), other.set_adapters("peft", 0.8)
    run("peft in one run", other, cross_attention_kwargs={"scale": 0.5})
    pipe.set_adapters("peft", 1.0), pipe.fuse_lora(lora_scale=0.6), run("peft fused"), pipe.unfuse_lora()
    pipe.unload_lora_weights(), with_kohya(), run("kohya")
    pipe.unload_lora_weights(), with_old(), run("old")
    pipe.unload_lora_weights(), load({f"unet.{k}": v for k, v in few_unet.items() if ".attn1." in k}, "bin"), run("bin")
    # One after the other: transformers 5 makes the first adapter anew when a second comes.
    pipe.unload_lora_weights(), load(str(FOLDER), "peft"), pipe.fuse_lora(lora_scale=0.7)
    pipe.unload_lora_weights(), with_kohya(), pipe.fuse_lora(lora_scale=-0.3), run("peft and kohya")
    steps = managed(run, {f"unet.{k}": v for k, v in few_unet.items() if ".attn1." in k})
    save("lora/out", tensors, {"block_scales": BLOCK_SCALES, "regexes": regexes(), "managed": steps})

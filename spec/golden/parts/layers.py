"""Every layer at two or more shapes, odd ones among them, with random weights: ones and zeros would hide swaps."""
import torch
import torch.nn.functional as F
from diffusers import LatentConsistencyModelPipeline
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention, AttnAddedKVProcessor2_0
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import nn

from generate import channels_last, save

tensors, cases = {}, []


def randomize(module):
    """Every parameter random, weights of norms around 1; rounded to float16, which is how goldens store them."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim == 1:
                p.copy_(torch.randn_like(p) * 0.3 + (1 if "weight" in name else 0))
            else:
                p.copy_(torch.randn_like(p) / p[0].numel() ** 0.5)
            p.copy_(p.half())
    return module.eval()


def weights(module):
    return {k: v.half() for k, v in module.state_dict().items()}


def case(layer, args, module, *runs, call=None):
    """Saves the module's weights and, for each run (a tuple of inputs, images as torch has them), inputs and output."""
    name = f"{len(cases)}"
    if isinstance(module, nn.Module):
        randomize(module)
        tensors.update({f"{name}/weights/{k}": v for k, v in weights(module).items()})
    for r, inputs in enumerate(runs):
        with torch.no_grad():
            out = (call or (lambda *a: module(*a)))(*inputs)
        tensors[f"{name}/{r}/out"] = channels_last(out)
        for i, x in enumerate(inputs):
            if isinstance(x, torch.Tensor):
                tensors[f"{name}/{r}/in/{i}"] = channels_last(x)
    cases.append({"layer": layer, "args": args, "runs": len(runs)})


def generate():
    x = lambda *shape: torch.randn(*shape)

    for name, f in {"silu": F.silu, "gelu": F.gelu, "quick_gelu": lambda v: v * torch.sigmoid(1.702 * v)}.items():
        case(name, [], None, (x(3, 7, 11) * 4,), (torch.linspace(-30, 30, 301),), call=f)

    case("Linear", [24, 40], nn.Linear(24, 40), (x(5, 24),), (x(2, 7, 24),))
    case("Linear", [40, 8, {"bias": False}], nn.Linear(40, 8, bias=False), (x(3, 40),), (x(2, 5, 40),))
    conv = nn.Conv2d(24, 40, 1)
    case("Linear", [24, 40], conv, (x(2, 24, 5, 7),), (x(1, 24, 1, 1),))
    case("Conv2d", [12, 20], nn.Conv2d(12, 20, 3, padding=1), (x(2, 12, 8, 8),), (x(1, 12, 7, 5),), (x(3, 12, 1, 2),))
    case("Conv2d", [4, 8, {"kernelSize": 5}], nn.Conv2d(4, 8, 5, padding=2), (x(2, 4, 9, 6),), (x(1, 4, 3, 3),))
    case("Conv2d", [12, 8, {"stride": 2, "padding": [1, 1, 1, 1]}], nn.Conv2d(12, 8, 3, stride=2, padding=1), (x(2, 12, 8, 8),), (x(1, 12, 7, 9),))

    case("GroupNorm", [4, 24], nn.GroupNorm(4, 24), (x(2, 24, 6, 5) * 3 + 2,), (x(1, 24, 1, 3),), (x(3, 24, 9, 9) + 40,))
    case("GroupNorm", [32, 64, 1e-6], nn.GroupNorm(32, 64, eps=1e-6), (x(2, 64, 8, 8) * 0.01,), (x(1, 64, 13, 7),))
    case("LayerNorm", [48], nn.LayerNorm(48), (x(2, 5, 48) * 3 + 2,), (x(77, 48) + 30,))
    case("Embedding", [11, 6], nn.Embedding(11, 6), (torch.tensor([[0, 10, 3], [3, 3, 1]], dtype=torch.int32),), (torch.tensor([[7]], dtype=torch.int32),))

    def sdpa(heads, masked):
        def call(q, k, v):
            split = lambda t: t.unflatten(-1, (heads, -1)).transpose(1, 2)
            return F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=masked).transpose(1, 2).flatten(2)
        return call

    case("scaledDotProductAttention", [{"heads": 2}], None, (x(2, 9, 16), x(2, 5, 16), x(2, 5, 16)), (x(1, 130, 16) * 4, x(1, 77, 16) * 4, x(1, 77, 16)), call=sdpa(2, False))
    case("scaledDotProductAttention", [{"heads": 3, "causal": True}], None, (x(2, 7, 24), x(2, 7, 24), x(2, 7, 24)), (x(1, 77, 24), x(1, 77, 24), x(1, 77, 24)), call=sdpa(3, True))
    case("Attention", [{"queryDim": 32, "heads": 4}], Attention(32, heads=4, dim_head=8), (x(2, 16, 32),), (x(1, 35, 32),))
    case("Attention", [{"queryDim": 32, "contextDim": 20, "heads": 2}], Attention(32, cross_attention_dim=20, heads=2, dim_head=16), (x(2, 16, 32), x(2, 7, 20)), (x(1, 35, 32), x(1, 77, 20)))
    spatial = Attention(24, heads=1, dim_head=24, norm_num_groups=6, eps=1e-6, residual_connection=True, bias=True, _from_deprecated_attn_block=True)
    case("SpatialAttention", [24, {"groups": 6, "epsilon": 1e-6}], spatial, (x(2, 24, 4, 6),), (x(1, 24, 7, 5),))
    case("FeedForward", [24], FeedForward(24, activation_fn="geglu"), (x(2, 9, 24),), (x(1, 1, 24),))

    block = lambda **k: BasicTransformerBlock(32, 4, 8, cross_attention_dim=20, **k)
    text = lambda b, n: x(b, n, 20)
    call = lambda m: lambda h, e: m(h, encoder_hidden_states=e)
    args = {"dim": 32, "heads": 4, "crossAttentionDim": 20}
    m = block(); case("BasicTransformerBlock", [args], m, (x(2, 16, 32), text(2, 7)), (x(1, 35, 32), text(1, 77)), call=call(m))
    m = block(only_cross_attention=True); case("BasicTransformerBlock", [{**args, "onlyCrossAttention": True}], m, (x(2, 16, 32), text(2, 7)), (x(1, 35, 32), text(1, 3)), call=call(m))
    for linear in (False, True):
        m = Transformer2DModel(4, 8, in_channels=32, num_layers=1 + linear, cross_attention_dim=20, norm_num_groups=8, use_linear_projection=linear)
        case("Transformer2DModel", [{"channels": 32, "heads": 4, "layers": 1 + linear, "groups": 8, "crossAttentionDim": 20}], m, (x(2, 32, 4, 6), text(2, 7)), (x(1, 32, 5, 3), text(1, 77)),
             call=lambda h, e, m=m: m(h, encoder_hidden_states=e).sample)

    def resnet(inputs, outputs, temb, scale=1.0, groups=8):
        m = ResnetBlock2D(in_channels=inputs, out_channels=outputs, temb_channels=temb, groups=groups, eps=1e-5, output_scale_factor=scale)
        config = {"inChannels": inputs, "outChannels": outputs, "groups": groups, "epsilon": 1e-5, "outputScaleFactor": scale}
        if temb:
            config["tembChannels"] = temb
        return [config], m

    for built in (resnet(16, 24, 20), resnet(24, 24, 20, scale=1.5)):
        case("ResnetBlock2D", *built, (x(2, built[0][0]["inChannels"], 6, 8), x(2, 20)), (x(3, built[0][0]["inChannels"], 5, 3), x(1, 20)))
    args, m = resnet(16, 8, None)
    case("ResnetBlock2D", args, m, (x(2, 16, 6, 8),), (x(1, 16, 5, 3),), call=lambda h, m=m: m(h, None))

    case("Downsample2D", [8, [1, 1, 1, 1]], Downsample2D(8, use_conv=True, padding=1, name="op"), (x(2, 8, 6, 8),), (x(1, 8, 5, 7),))
    case("Downsample2D", [8, [0, 1, 0, 1]], Downsample2D(8, use_conv=True, padding=0, name="op"), (x(2, 8, 6, 8),), (x(1, 8, 5, 7),))
    m = Upsample2D(8, use_conv=True)
    case("Upsample2D", [8], m, (x(2, 8, 3, 4),), (x(1, 8, 1, 5),))
    case("Upsample2D", [8, [5, 7]], m, (x(2, 8, 3, 4),), call=lambda h: m(h, output_size=(5, 7)))
    case("TimestepEmbedding", [16, 40], TimestepEmbedding(16, 40), (x(3, 16),), (x(1, 16),))
    for dim, flip, shift in ((320, True, 0), (32, False, 1), (9, True, 1)):
        steps = [0, 1, 21, 500.25, 981, 999]
        case("getTimestepEmbedding", [steps, dim, {"flipSinToCos": flip, "downscaleFreqShift": shift}], None, (torch.tensor(steps),),
             call=lambda t: get_timestep_embedding(t, dim, flip_sin_to_cos=flip, downscale_freq_shift=shift))

    for name, f in {"mish": F.mish, "relu": F.relu, "gelu_new": lambda v: F.gelu(v, approximate="tanh")}.items():
        case(name, [], None, (x(3, 7, 11) * 4,), (torch.linspace(-30, 30, 301),), call=f)
    case("Conv2d", [4, 8, {"kernelSize": 4}], nn.Conv2d(4, 8, 4, padding=1), (x(2, 4, 9, 6),), (x(1, 4, 3, 3),))
    for scale_shift, skip, act, resample in (("scale_shift", False, "silu", None), ("default", True, "mish", "down"), ("scale_shift", True, "gelu", "up")):
        m = ResnetBlock2D(in_channels=16, out_channels=8, temb_channels=12, groups=4, eps=1e-5, time_embedding_norm=scale_shift, skip_time_act=skip, non_linearity=act,
                          up=resample == "up", down=resample == "down")
        config = {"inChannels": 16, "outChannels": 8, "tembChannels": 12, "groups": 4, "epsilon": 1e-5, "timeScaleShift": scale_shift, "skipTimeAct": skip, "activation": act}
        case("ResnetBlock2D", [{**config, **({"resample": resample} if resample else {})}], m, (x(2, 16, 6, 8), x(2, 12)), (x(3, 16, 5, 3), x(1, 12)))
    for only, norm, text in ((False, None, 20), (True, "group_norm", 64), (False, "layer_norm", 16)):
        m = Attention(16, cross_attention_dim=16, heads=2, dim_head=8, added_kv_proj_dim=text, norm_num_groups=4, bias=True, only_cross_attention=only, cross_attention_norm=norm,
                      processor=AttnAddedKVProcessor2_0())
        config = {"channels": 16, "heads": 2, "groups": 4, "crossAttentionDim": text, "onlyCrossAttention": only, "crossAttentionNorm": norm}
        case("AddedKVAttention", [config], m, (x(2, 16, 4, 6), x(2, 7, text)), (x(1, 16, 5, 3), x(1, 77, text)))
    case("TimestepEmbedding", [16, 40, {"activation": "mish", "conditionDim": 6}], TimestepEmbedding(16, 40, act_fn="mish", cond_proj_dim=6), (x(3, 16), x(3, 6)), (x(1, 16), x(1, 6)))
    for scales, dim in (([8.5, 7.5, 1, 0, -2.25, 14], 256), ([1.3, 20], 9)):
        case("getGuidanceScaleEmbedding", [scales, dim], None, (torch.tensor([scale - 1 for scale in scales]),),
             call=lambda w: LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, w, dim))
    save("layers", tensors, cases)

"""Small random networks whose configs say what checkpoints beside Stable Diffusion 1.x and 2.x say."""
import torch
from transformers import CLIPTextModelWithProjection

from parts.approximations import tiny_autoencoder
from parts.models import TEXTS, VAES, texts, unets, vaes

TINY = dict(block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, cross_attention_dim=12, attention_head_dim=2,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
SIMPLE = dict(TINY, cross_attention_dim=32, mid_block_type="UNetMidBlock2DSimpleCrossAttn", resnet_time_scale_shift="scale_shift",
              down_block_types=("SimpleCrossAttnDownBlock2D", "ResnetDownsampleBlock2D"), up_block_types=("ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D"))
UNETS = {
    "class_number": dict(TINY, num_class_embeds=7, act_fn="mish", conv_in_kernel=1, conv_out_kernel=5),
    "class_timestep": dict(TINY, class_embed_type="timestep", act_fn="GELU", resnet_time_scale_shift="scale_shift"),
    "class_identity": dict(TINY, class_embed_type="identity", act_fn="relu", time_embedding_dim=20),
    "class_projection": dict(TINY, class_embed_type="projection", projection_class_embeddings_input_dim=10, time_cond_proj_dim=6, act_fn="SiLU"),
    "class_concat": dict(TINY, class_embed_type="simple_projection", projection_class_embeddings_input_dim=5, class_embeddings_concat=True, act_fn="Swish"),
    "text_projection": dict(TINY, encoder_hid_dim=9, time_cond_proj_dim=7, act_fn="gelu"),
    "nested": dict(TINY, layers_per_block=2, transformer_layers_per_block=[[2, 1], [1, 2]], reverse_transformer_layers_per_block=[[1, 2, 1], [2, 1, 1]],
                   block_out_channels=(8, 8), down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2),
    "reversed": dict(TINY, transformer_layers_per_block=[1, 2], reverse_transformer_layers_per_block=[1, 2], down_block_types=("CrossAttnDownBlock2D",) * 2,
                     up_block_types=("CrossAttnUpBlock2D",) * 2),
    "early": dict(TINY, down_block_types=("CrossAttnDownBlock2D", "UNetResDownBlock2D"), up_block_types=("UNetResUpBlock2D", "CrossAttnUpBlock2D"), num_class_embeds=3,
                  class_embed_type="timestep"),
}
EVEN_UNETS = {  # resnets double, so that sizes have to halve evenly
    "simple": dict(SIMPLE, attention_head_dim=[8, 4], cross_attention_norm="group_norm", resnet_skip_time_act=True, resnet_out_scale_factor=1.3, mid_block_scale_factor=0.8),
    "simple_text_alone": dict(SIMPLE, block_out_channels=(8, 8), cross_attention_dim=8, only_cross_attention=True, cross_attention_norm="layer_norm", act_fn="gelu"),
    "simple_mixed": dict(SIMPLE, only_cross_attention=[True, False], mid_block_only_cross_attention=True, down_block_types=("SimpleCrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                         up_block_types=("CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), resnet_time_scale_shift="default"),
}
VAE = VAES["no_quant"]
VAES = {
    "mish": dict(VAE, act_fn="mish", shift_factor=-0.25, latents_mean=[0.1, -0.2, 0.3], latents_std=[1.5, 0.5, 2.0]),
    "relu": dict(VAE, act_fn="ReLU", mid_block_add_attention=True, use_quant_conv=True),
}
TEXT = dict(TEXTS["sd1"], hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
TEXTS = {
    "gelu_new": dict(TEXT, hidden_act="gelu_new", layer_norm_eps=1e-3),
    "relu": dict(TEXT, hidden_act="relu"),
}
PROJECTIONS = {
    "projection": dict(TEXT, hidden_act="gelu_pytorch_tanh", projection_dim=10, eos_token_id=5),
    "projection_old": dict(TEXT, projection_dim=20, eos_token_id=2),
}


def generate():
    unets(UNETS, (((2, 8, 8), 5, 981), ((1, 7, 11), 3, 1)))
    unets(EVEN_UNETS, (((2, 8, 8), 5, 981), ((1, 6, 10), 3, 1)))
    vaes(VAES), texts(TEXTS), texts(PROJECTIONS, CLIPTextModelWithProjection)
    with torch.no_grad():
        tiny_autoencoder("vae_tiny_gelu", act_fn="GELU", shift_factor=-0.5)

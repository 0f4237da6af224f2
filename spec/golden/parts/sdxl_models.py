"""Small random UNets whose configs say what SDXL and those distilled from it say: they are told sizes, and the text as a whole."""
from parts.models import unets

SMALL = dict(block_out_channels=(4, 8, 8), norm_num_groups=2, layers_per_block=1, cross_attention_dim=12, use_linear_projection=True, sample_size=8,
             down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=[1, 2, 4],
             up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), addition_embed_type="text_time", addition_time_embed_dim=6)
UNETS = {
    "xl": dict(SMALL, transformer_layers_per_block=[1, 2, 3], projection_class_embeddings_input_dim=6 * 6 + 9),
    "xl_distilled": dict(SMALL, layers_per_block=2, transformer_layers_per_block=[1, [2, 1], [1, 1]], reverse_transformer_layers_per_block=[[1, 1, 2], [2, 1, 1], 1],
                         mid_block_type=None, time_cond_proj_dim=5, projection_class_embeddings_input_dim=5 * 6 + 8),
}


def generate():
    unets(UNETS, (((2, 8, 8), 5, 981), ((1, 7, 11), 3, 1)))

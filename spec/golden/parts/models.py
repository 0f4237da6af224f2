"""The three networks with small random configs like SD1.x's and SD2.x's, and configs that use what else a config can say."""
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from generate import channels_last, save
from parts.layers import randomize, weights

UNETS = {
    "sd1": dict(block_out_channels=(8, 16, 16, 16), norm_num_groups=4, layers_per_block=2, attention_head_dim=4, cross_attention_dim=24, sample_size=16),
    "sd2": dict(block_out_channels=(8, 16, 16, 16), norm_num_groups=8, layers_per_block=2, attention_head_dim=[2, 4, 4, 8], cross_attention_dim=32, use_linear_projection=True, upcast_attention=True, sample_size=24),
    "other": dict(
        block_out_channels=(16, 24), norm_num_groups=4, norm_eps=1e-4, layers_per_block=[1, 2], attention_head_dim=[2, 3], cross_attention_dim=16, transformer_layers_per_block=[1, 2],
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), only_cross_attention=[True, False],
        mid_block_scale_factor=1.5, flip_sin_to_cos=False, freq_shift=1, center_input_sample=True, in_channels=9, out_channels=5, downsample_padding=0, time_embedding_dim=20, conv_in_kernel=5, conv_out_kernel=1),
    "plain": dict(block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, cross_attention_dim=8, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, mid_block_type="UNetMidBlock2D"),
    "no_mid": dict(block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, cross_attention_dim=8, attention_head_dim=2, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), mid_block_type=None),
}
VAE = dict(block_out_channels=(8, 16, 16, 24), down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, norm_num_groups=4, latent_channels=4, sample_size=64)
VAES = {
    "sd": VAE,
    "no_quant": dict(VAE, block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1, latent_channels=3, use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False),
}
TEXTS = {
    "sd1": dict(vocab_size=99, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=77, hidden_act="quick_gelu"),
    "sd2": dict(vocab_size=99, hidden_size=48, intermediate_size=96, num_hidden_layers=4, num_attention_heads=3, max_position_embeddings=77, hidden_act="gelu"),
}
x = torch.randn


def conditions(unet, batch):
    """Random class labels and timestep conditions, where the UNet takes such."""
    config, known = unet.config, {}
    if config.time_cond_proj_dim:
        known["timestep_cond"] = x(batch, config.time_cond_proj_dim)
    if config.class_embed_type in ("identity", "projection", "simple_projection"):
        known["class_labels"] = x(batch, config.projection_class_embeddings_input_dim or unet.time_embedding.linear_2.out_features)
    elif config.class_embed_type == "timestep":
        known["class_labels"] = torch.randint(0, 1000, (batch,))
    elif config.num_class_embeds:
        known["class_labels"] = torch.randint(0, config.num_class_embeds, (batch,))
    if config.addition_embed_type:
        numbers = 5 + config.projection_class_embeddings_input_dim % 2  # of a refiner one less
        text = config.projection_class_embeddings_input_dim - numbers * config.addition_time_embed_dim
        known["text_embeds"], known["time_ids"] = x(batch, text), torch.randint(0, 1025, (batch, numbers)).float()
    return known


def unets(configs=UNETS, shapes=(((2, 16, 16), 77, 981), ((1, 9, 13), 7, 1), ((3, 8, 24), 5, [999, 500, 0]))):
    for name, config in configs.items():
        unet = randomize(UNet2DConditionModel(**config))
        tensors, runs = {f"weights/{k}": v for k, v in weights(unet).items()}, []
        channels, text = unet.config.in_channels, unet.config.encoder_hid_dim or unet.config.cross_attention_dim
        for shape, tokens, timestep in shapes:
            sample, states = x(shape[0], channels, *shape[1:]), x(shape[0], tokens, text)
            more = conditions(unet, shape[0])
            with torch.no_grad():
                added = {k: more[k] for k in ("text_embeds", "time_ids") if k in more}
                rest = {k: v for k, v in more.items() if k not in added}
                out = unet(sample, torch.tensor(timestep), states, added_cond_kwargs=added or None, **rest).sample
            r = len(runs)
            tensors.update({f"{r}/sample": channels_last(sample), f"{r}/encoderHiddenStates": states, f"{r}/out": channels_last(out)})
            tensors.update({f"{r}/{k}": v for k, v in more.items()})
            runs.append(timestep)
        save(f"models/unet_{name}", tensors, {"config": {k: v for k, v in unet.config.items() if not k.startswith("_")}, "timesteps": runs})


def vaes(configs=VAES):
    for name, config in configs.items():
        vae = randomize(AutoencoderKL(**config))
        tensors, factor = {f"weights/{k}": v for k, v in weights(vae).items()}, 2 ** (len(vae.config.block_out_channels) - 1)
        shapes = ((2, 4, 6), (1, 5, 3))
        for r, (batch, height, width) in enumerate(shapes):
            image, latents = x(batch, 3, height * factor, width * factor), x(batch, vae.config.latent_channels, height, width)
            with torch.no_grad():
                latent_dist = vae.encode(image).latent_dist
                sample = latent_dist.sample(torch.Generator().manual_seed(r))
                tensors.update({k: channels_last(v) for k, v in {
                    f"{r}/image": image, f"{r}/mean": latent_dist.mean, f"{r}/logvar": latent_dist.logvar, f"{r}/sample": sample,
                    f"{r}/latents": latents, f"{r}/decoded": vae.decode(latents).sample}.items()})
        save(f"models/vae_{name}", tensors, {"config": {k: v for k, v in vae.config.items() if not k.startswith("_")}, "runs": len(shapes)})


def texts(configs=TEXTS, Model=CLIPTextModel):
    for name, config in configs.items():
        model = randomize(Model(CLIPTextConfig(**config)))
        tensors, batches = {f"weights/{k.removeprefix('text_model.')}": v for k, v in weights(model).items() if not k.endswith("position_ids")}, []
        for r, shape in enumerate(((2, 77), (1, 1), (3, 8))):
            ids = torch.randint(0, config["vocab_size"], shape)
            with torch.no_grad():
                out = model(ids, output_hidden_states=True)
            if Model is not CLIPTextModel:
                tensors[f"{r}/embeds"] = out.text_embeds
            tensors.update({f"{r}/last": out.last_hidden_state, **{f"{r}/hidden/{i}": h for i, h in enumerate(out.hidden_states)}})
            batches.append(ids.tolist())
        save(f"models/text_{name}", tensors, {"config": config, "inputIds": batches})


def generate():
    unets(), vaes(), texts()

"""Which size diffusers' pipelines take a UNet to be trained on, by the config that an old or a new diffusers wrote."""
from diffusers import (LatentConsistencyModelPipeline, LCMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline,
                       StableDiffusionPipeline, UNet2DConditionModel)

from generate import save
from parts.pipelines import UNET

VERSIONS = [None, "0", "0.2.3", "0.6.0", "0.6.0.dev0", "v0.7.1", "0.8", "0.8.1.post2", "0.9.0.dev0", "0.9.0", "0.10.0", "0.42.1", "1.0.0"]
SIZES = [8, 32, 63, 64, 96, [32, 48], None]


def generate():
    rows = []
    for pipeline in (StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, LatentConsistencyModelPipeline):
        for version in VERSIONS:
            for size in SIZES:
                if not isinstance(size, int) and "StableDiffusionI" in pipeline.__name__:
                    continue  # it compares them with a number, and fails
                config = dict(UNET, sample_size=size, **({"_diffusers_version": version} if version else {}))
                pipe = pipeline(vae=None, text_encoder=None, tokenizer=None, unet=UNet2DConditionModel.from_config(config), scheduler=LCMScheduler(),
                                safety_checker=None, feature_extractor=None, requires_safety_checker=False)
                rows.append([pipeline.__name__, version, size, pipe.unet.config.sample_size])
    save("pipelines/sample_sizes", {}, rows)

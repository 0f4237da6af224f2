import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../../lib/models/clip_text_model_with_projection.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { byteSize, readSafetensorsHeader } from '../../lib/weights/safetensors.js';
import { closeWeightFiles, openWeightFiles } from '../../lib/loading/weight_files.js';
import type { Checkpoint, CheckpointTensor } from '../../lib/checkpoints/checkpoint.js';
import { checkpointFolder, type CheckpointOptions } from '../../lib/checkpoints/checkpoint_folder.js';
import { bytesSource } from '../support/memory_folder.js';

interface Golden {
  shapes: Record<string, number[]>;
  /** Per network and diffusers key: the key of the file, and which third of it. */
  sources: Record<string, Record<string, [string, number]>>;
  unet: object;
  vae: object;
  text_encoder: object;
  text_encoder_2?: object;
}

const golden: Record<'sd1' | 'sd2' | 'xl' | 'refiner', Golden> = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/ldm.json.gz')).toString());

/** A checkpoint of the shapes, one byte an element: the first of each third of a tensor tells which tensor and third it is. */
function checkpoint(shapes: Record<string, number[]>, extra: Partial<Checkpoint> = {}): Checkpoint {
  const tensors = new Map(Object.entries(shapes).map(([key, shape], index): [string, CheckpointTensor] => [key, {
    dtype: 'F16',
    shape,
    read: async () => {
      const bytes = new Uint8Array(byteSize({ dtype: 'F16', shape }));
      const words = new Uint16Array(bytes.buffer);
      for (let third = 0; third < 3; third++) words[third * words.length / 3] = 3 * index + third;
      if (words.length % 3 !== 0) words[0] = 3 * index;
      return bytes;
    },
  }]));
  return { name: 'model.ckpt', tensors, metadata: {}, open: async () => bytesSource(new Uint8Array()), ...extra };
}

/** Whether a key is left of SDXL's UNet, if no more transformer blocks are than `depth` says of each, and the first resnet of the middle. */
function isLeft(depth: (block: string) => number): (key: string) => boolean {
  return key => {
    const [, block, number] = /\.((?:input|output)_blocks\.\d+)\.1\.transformer_blocks\.(\d+)\./.exec(key) ?? [];
    return !/\.middle_block\.[12]\./.test(key) && (block === undefined || Number(number) < depth(block));
  };
}

const SSD_DEPTHS: Record<string, number> = {
  'input_blocks.4': 2, 'input_blocks.5': 2, 'input_blocks.7': 4, 'input_blocks.8': 4,
  'output_blocks.0': 4, 'output_blocks.1': 4, 'output_blocks.2': 10, 'output_blocks.3': 2, 'output_blocks.4': 1, 'output_blocks.5': 1,
};

/** As segmind/SSD-1B's config, and as A1111's web user interface makes SSD-1B of SDXL; Vega as ComfyUI knows it. */
const DISTILLED = {
  'SSD-1B': {
    leaves: isLeft(block => SSD_DEPTHS[block]), count: 1_331_334_404,
    config: {
      transformer_layers_per_block: [1, [2, 2], [4, 4]], reverse_transformer_layers_per_block: [[4, 4, 10], [2, 1, 1], 1], mid_block_type: 'UNetMidBlock2D',
    },
  },
  'Segmind-Vega': {
    leaves: isLeft(block => /^(input_blocks\.[78]|output_blocks\.[012])$/.test(block) ? 2 : 1), count: 745_225_604,
    config: { transformer_layers_per_block: [1, 1, 2], mid_block_type: 'UNetMidBlock2D' },
  },
};

describe('checkpointFolder', () => {
  const networks = { unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel, text_encoder_2: CLIPTextModelWithProjection };

  for (const generation of ['sd1', 'sd2', 'xl', 'refiner'] as const) {
    const { shapes, sources, ...configs } = golden[generation];
    const keys = Object.keys(shapes);
    const parts = Object.keys(sources) as Array<keyof typeof networks>;

    it(`infers the configs of a full-size ${generation} as diffusers has them`, async () => {
      const folder = await checkpointFolder(checkpoint(shapes));
      for (const part of parts) {
        const config = await folder.readJson(`${part}/config.json`) as Record<string, unknown>;
        for (const [key, value] of Object.entries(configs[part]!)) {
          const known = key === 'attention_head_dim' && typeof value === 'number' ? 8 : value;
          assert.deepEqual(config[key], known, `${part}: ${key}`);
        }
      }
      const scheduler = await folder.readJson('scheduler/scheduler_config.json') as Record<string, unknown>;
      assert.equal(scheduler.prediction_type, generation === 'sd2' ? 'v_prediction' : 'epsilon');
      const index = await folder.readJson('model_index.json') as Record<string, unknown>;
      assert.deepEqual(['text_encoder', 'text_encoder_2'].filter(part => part in index), parts.filter(part => part.startsWith('text')));
    });

    it(`finds every weight of a full-size ${generation} where diffusers finds it`, async () => {
      const folder = await checkpointFolder(checkpoint(shapes));
      for (const part of parts) {
        const specs = new networks[part](configs[part] as never).parameterSpecs();
        const files = await openWeightFiles(folder, { subfolder: part });
        const weights = await matchWeights(part, specs, files); // strict: none is missing, unexpected or misshapen
        for (const { path, file, info } of weights) {
          const [key, third] = sources[part][path];
          if (info.byteLength > 1e6 && third === 0 && !key.includes('in_proj')) continue; // the small ones tell enough
          const bytes = await file.source.read(info.offset, info.byteLength);
          assert.equal(new Uint16Array(bytes.slice(0, 2).buffer)[0], (3 * keys.indexOf(key) + third) % 65536, `${path} of ${key}`);
        }
        assert.equal(weights.length, Object.keys(sources[part]).length);
        await closeWeightFiles(files);
      }
    });
  }

  it('brings the tokenizer, which pads as the generation does', async () => {
    for (const [generation, pad] of [['sd1', 49407], ['sd2', 0]] as const) {
      const tokenizer = await CLIPTokenizer.fromPretrained(await checkpointFolder(checkpoint(golden[generation].shapes)), { subfolder: 'tokenizer' });
      assert.deepEqual(tokenizer.encode('a cat')[0].slice(0, 5), [49406, 320, 2368, 49407, pad]);
    }
  });

  it('knows SD2 base by its training step, or is told', async () => {
    const prediction = async (extra: Partial<Checkpoint>, options?: CheckpointOptions) => {
      const folder = await checkpointFolder(checkpoint(golden.sd2.shapes, extra), options);
      const { prediction_type: type } = await folder.readJson('scheduler/scheduler_config.json') as { prediction_type: string };
      return [type, (await folder.readJson('unet/config.json') as { sample_size: number }).sample_size];
    };
    assert.deepEqual(await prediction({ globalStep: 875000 }), ['epsilon', 64]);
    assert.deepEqual(await prediction({ globalStep: 110000 }), ['v_prediction', 96]);
    assert.deepEqual(await prediction({}, { predictionType: 'epsilon' }), ['epsilon', 64]);
  });

  it('knows what SDXL predicts by what newer files say, or is told', async () => {
    const scheduler = async (more: Record<string, number[]>, options?: CheckpointOptions) =>
      (await checkpointFolder(checkpoint({ ...golden.xl.shapes, ...more }), options)).readJson('scheduler/scheduler_config.json');
    const { prediction_type: usual } = await scheduler({}) as { prediction_type: string };
    const { prediction_type: told } = await scheduler({}, { predictionType: 'v_prediction' }) as { prediction_type: string };
    assert.deepEqual([usual, told], ['epsilon', 'v_prediction']);
    const { prediction_type, rescale_betas_zero_snr, timestep_spacing } = await scheduler({ v_pred: [0], ztsnr: [0] }) as Record<string, unknown>;
    assert.deepEqual([prediction_type, rescale_betas_zero_snr, timestep_spacing], ['v_prediction', true, 'trailing']);
  });

  for (const [channels, task] of [[5, 'Depth2Img'], [8, 'InstructPix2Pix'], [9, 'Inpaint']] as const) {
    it(`knows ${task} by its ${channels} channels, and that it predicts the noise`, async () => {
      for (const generation of channels === 5 ? ['sd1', 'sd2'] as const : ['sd1', 'sd2', 'xl'] as const) {
        const folder = await checkpointFolder(checkpoint({ ...golden[generation].shapes, 'model.diffusion_model.input_blocks.0.0.weight': [320, channels, 3, 3] }));
        const { _class_name: className } = await folder.readJson('model_index.json') as { _class_name: string };
        assert.equal(className, `StableDiffusion${generation === 'xl' ? 'XL' : ''}${task}Pipeline`);
        assert.equal((await folder.readJson('unet/config.json') as { in_channels: number }).in_channels, channels);
        assert.equal((await folder.readJson('scheduler/scheduler_config.json') as { prediction_type: string }).prediction_type, 'epsilon');
      }
    });
  }

  for (const [name, { leaves, config, count }] of Object.entries(DISTILLED)) {
    it(`infers the config of a full-size ${name}, which has some of SDXL's blocks, and finds its weights`, async () => {
      const shapes = Object.fromEntries(Object.entries(golden.xl.shapes).filter(([key]) => leaves(key)));
      const folder = await checkpointFolder(checkpoint(shapes));
      const found = await folder.readJson('unet/config.json') as Record<string, unknown>;
      const expected = { ...golden.xl.unet, ...config };
      for (const [key, value] of Object.entries(expected)) assert.deepEqual(found[key], value, key);
      const unet = new UNet2DConditionModel(found);
      assert.equal(unet.numParameters, count);
      const files = await openWeightFiles(folder, { subfolder: 'unet' });
      await matchWeights('unet', unet.parameterSpecs(), files); // strict
      await closeWeightFiles(files);
    });
  }

  it('leaves averages and losses out', async () => {
    const shapes = { ...golden.sd1.shapes, 'model_ema.diffusion_modelinput_blocks00weight': [4], 'first_stage_model.loss.logvar': [], betas: [1000] };
    const folder = await checkpointFolder(checkpoint(shapes));
    for (const part of ['unet', 'vae'] as const) {
      const files = await openWeightFiles(folder, { subfolder: part });
      await matchWeights(part, new networks[part](golden.sd1[part] as never).parameterSpecs(), files);
    }
  });

  it('leaves out what a whole CLIP has beside its text encoder', async () => {
    const clip = { 'text_projection.weight': [768, 768], text_projection: [768, 768], logit_scale: [], 'visual_projection.weight': [768, 1024], 'vision_model.pre_layrnorm.weight': [1024] };
    const extra = Object.fromEntries(Object.entries(clip).map(([key, shape]) => [`cond_stage_model.transformer.${key}`, shape]));
    const folder = await checkpointFolder(checkpoint({ ...golden.sd1.shapes, ...extra, 'cond_stage_model.logit_scale': [] }));
    await matchWeights('text', new CLIPTextModel(golden.sd1.text_encoder).parameterSpecs(), await openWeightFiles(folder, { subfolder: 'text_encoder' }));
  });

  it('takes a VAE alone, with and without its prefix', async () => {
    const prefix = 'first_stage_model.';
    const own = Object.fromEntries(Object.entries(golden.sd1.shapes).filter(([key]) => key.startsWith(prefix)));
    for (const shapes of [own, Object.fromEntries(Object.entries(own).map(([key, shape]) => [key.slice(prefix.length), shape]))]) {
      const folder = await checkpointFolder(checkpoint(shapes));
      assert.equal(await folder.has('model_index.json'), false);
      const files = await openWeightFiles(folder);
      await matchWeights('vae', new AutoencoderKL(await folder.readJson('config.json') as object).parameterSpecs(), files);
    }
  });

  it('gives the same bytes whole and in pieces', async () => {
    const source = await (await checkpointFolder(checkpoint({ ...golden.sd1.shapes }))).open('text_encoder/model.safetensors');
    const header = await readSafetensorsHeader(source);
    const [first, second] = [...header.tensors.values()].filter(info => info.byteLength < 10_000);
    assert.deepEqual(await source.read(first.offset + 2, 4), (await source.read(first.offset, first.byteLength)).slice(2, 6));
    const whole = await source.read(second.offset - 6, second.byteLength + 6);
    assert.deepEqual(whole.slice(6), new Uint8Array(await source.read(second.offset, second.byteLength)));
  });

  const { shapes } = golden.sd1;
  const without = (prefix: string) => Object.fromEntries(Object.entries(shapes).filter(([key]) => !key.startsWith(prefix)));
  const refuses: Array<[string, Record<string, number[]>, RegExp]> = [
    ['a file of no model', { 'lora.weight': [1] }, /^ModelFileError: model\.ckpt: holds lora\.weight, takes a checkpoint of Stable Diffusion 1\.x, 2\.x, XL or 3, its UNet or transformer, its VAE, CLIP, T5 or a ControlNet$/],
    ['an empty file', {}, /: holds no tensor at all/],
    ['a UNet without blocks', { 'model.diffusion_model.input_blocks.0.0.weight': [320, 4, 3, 3] }, /UNet: has no blocks or no attention/],
    ['other depths', { ...golden.xl.shapes, 'model.diffusion_model.middle_block.1.transformer_blocks.10.attn2.to_k.weight': [1280, 2048] }, /has 10 transformer blocks in the last level and 11 in the middle/],
    ['Playground 2.5', { ...golden.xl.shapes, edm_mean: [1, 4, 1, 1] }, /model\.ckpt: is Playground 2\.5, whose latents have a mean of their own: load its folder/],
    ['another vocabulary', { ...shapes, 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight': [100, 768] }, /knows 100 tokens, takes CLIP's 49408/],
    ['levels that differ', without('model.diffusion_model.input_blocks.8.0'), /UNet: has 2, 2, 1 resnets in its levels, takes as many in each$/],
    ['a level that attends in part', without('model.diffusion_model.output_blocks.4.1.'), /UNet: has 1, 0, 1 transformer blocks after the resnets of a level, takes some after each or none$/],
    ['a way up that ends early', without('model.diffusion_model.output_blocks.11.'), /UNet: the checkpoint has no output_blocks\.11\.0\.in_layers\.2\.weight$/],
    ['a missing end', without('model.diffusion_model.out.2'), /UNet: the checkpoint has no out\.2\.weight/],
  ];
  for (const [title, changed, message] of refuses) {
    it(`refuses ${title}`, async () => {
      await assert.rejects(checkpointFolder(checkpoint(changed)), message);
    });
  }

  it('names weights that it does not know when they are matched', async () => {
    const folder = await checkpointFolder(checkpoint({ ...shapes, 'model.diffusion_model.adapter.weight': [1] }));
    const files = await openWeightFiles(folder, { subfolder: 'unet' });
    await assert.rejects(matchWeights('unet', new UNet2DConditionModel(golden.sd1.unet).parameterSpecs(), files), /unexpected adapter\.weight/);
  });
});

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { loadPipeline } from '../../lib/pipelines/load_components.js';
import { schedulerClass, schedulerClasses } from '../../lib/schedulers/index.js';
import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { openWeightFiles } from '../../lib/weights/weight_files.js';
import { checkpointFolder } from '../../weights-converter/checkpoint_folder.js';
import { bytesSource, MemoryFolder } from '../support/memory_folder.js';
import { captureWarnings } from '../support/warnings.js';
import { json, object, parse, type Target } from './target.js';

const vocab = { a: 0, b: 1, ab: 2, 'c</w>': 3, 'abc</w>': 4, '<|startoftext|>': 5, '<|endoftext|>': 6 };
const merges = '#version: 0.2\na b\nab c</w>\n';
const token = { content: '<|endoftext|>', lstrip: false, normalized: true, rstrip: false, single_word: false };
const networks = { unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel };

/** What a pipeline's folder has besides networks, and single files, whose configs come from the shapes of strangers. */
export function pipelineTargets(): Target[] {
  const scheduler = readFileSync('models/shapes/scheduler/scheduler_config.json');
  const given = { unet: new UNet2DConditionModel({}), vae: new AutoencoderKL({}), textEncoder: new CLIPTextModel({}) };
  const golden = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/single_file.json.gz')).toString());
  const shapes = ['sd1', 'sd2'].map(generation => Object.fromEntries(
    Object.entries<number[]>(golden[generation].shapes).filter(([key]) => !key.startsWith('model_ema')).map(([key, shape]) => [key, shape])));
  return [
    {
      name: 'model_index.json', isJson: true, seeds: [new Uint8Array(readFileSync('models/shapes/model_index.json'))],
      read: async bytes => {
        const files = { 'model_index.json': bytes, 'scheduler/scheduler_config.json': scheduler, 'tokenizer/vocab.json': json(vocab), 'tokenizer/merges.txt': merges };
        await loadPipeline(new MemoryFolder(files), given);
        await loadPipeline(new MemoryFolder(files), {}).catch(error => {
          if (!/has no weights/.test(error.message)) throw error;
        });
      },
    },
    {
      name: 'scheduler_config.json', isJson: true,
      seeds: [new Uint8Array(scheduler), ...Object.values(schedulerClasses).map(Class => json(new Class().config))],
      read: async bytes => {
        const config = object(bytes) as { _class_name?: unknown };
        await captureWarnings(() => {
          const made = schedulerClass(String(config._class_name)).fromConfig(config);
          made.setTimesteps(5);
          if (!made.timesteps.every(t => Number.isFinite(t)) || made.timesteps.length > 200) throw new Error(`timesteps ${made.timesteps}`);
          if (!Number.isFinite(made.initNoiseSigma)) throw new Error(`initNoiseSigma ${made.initNoiseSigma}`);
        });
      },
    },
    {
      name: 'vocab.json', isJson: true, seeds: [json(vocab)],
      read: bytes => void CLIPTokenizer.fromFiles({ vocab: parse('vocab.json', bytes), merges }).encode('abc'),
    },
    {
      name: 'special_tokens_map.json', isJson: true, seeds: [json({ bos_token: { ...token, content: '<|startoftext|>' }, eos_token: token, unk_token: token, pad_token: '<|endoftext|>' })],
      read: async bytes => {
        const folder = new MemoryFolder({ 'vocab.json': json(vocab), 'merges.txt': merges, 'tokenizer_config.json': '{"model_max_length":77}', 'special_tokens_map.json': bytes });
        (await CLIPTokenizer.fromPretrained(folder)).encode('abc');
      },
    },
    {
      name: 'single-file pipeline', isJson: true, seeds: shapes.map(json),
      read: async bytes => {
        const entries = Object.entries(object(bytes));
        if (!entries.every(([, shape]) => Array.isArray(shape) && shape.every(size => Number.isSafeInteger(size) && size >= 0))) throw new TypeError('shape'); // as the header's reader checks
        const tensors = new Map(entries.map(([key, shape]) => [key, { dtype: 'F16' as const, shape, read: async () => new Uint8Array() }]));
        const folder = await checkpointFolder({ name: 'file', tensors, open: async () => bytesSource(new Uint8Array()) });
        for (const [subfolder, Network] of Object.entries(networks)) {
          const config = await folder.readJson(`${subfolder}/config.json`) as object;
          await matchWeights(subfolder, new Network(config).parameterSpecs(), await openWeightFiles(folder, { subfolder }));
        }
      },
    },
  ];
}

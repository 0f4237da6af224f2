import { readFileSync } from 'node:fs';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { PNDMScheduler } from '../../lib/schedulers/index.js';
import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { loadIpAdapters } from '../../lib/adapters/ip_adapter_files.js';
import { parseLora } from '../../lib/adapters/lora_weights.js';
import { readCheckpoint } from '../../lib/checkpoints/checkpoint.js';
import { readStateDict } from '../../lib/loading/state_dict.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { TINY } from '../support/tiny_pipeline.js';
import { golden, parse, safetensors, text, type Target } from './target.js';
import { merges, vocab } from './tokenizer_targets.js';

/** What is added to a model: LoRA files and learned words, as safetensors and as pickles. */
export async function adapterTargets(): Promise<Target[]> {
  const config = (path: string) => JSON.parse(readFileSync(`${TINY}/${path}`, 'utf8'));
  const [unet, textEncoder] = [new UNet2DConditionModel(config('unet/config.json')), new CLIPTextModel(config('text_encoder/config.json'))];
  const scheduler = PNDMScheduler.fromConfig(config('scheduler/scheduler_config.json'));
  const vae = new AutoencoderKL({});
  const specs = { unet: unet.parameterSpecs(), text_encoder: textEncoder.parameterSpecs() };
  textEncoder.addTokenEmbeddings = () => undefined; // it has no weights
  const lora = (file: string) => async (bytes: Uint8Array) => void parseLora(await readStateDict(new MemoryFolder({ [file]: bytes }), file), specs);
  const textualInversion = (weightName: string) => async (bytes: Uint8Array) => {
    const pipe = new StableDiffusionPipeline({ unet, textEncoder, vae, scheduler, tokenizer: CLIPTokenizer.fromFiles({ vocab, merges }) });
    await pipe.loadTextualInversion(new MemoryFolder({ [weightName]: bytes }), { weightName });
    pipe.tokenizer.encode('a <cat>');
  };
  const ipAdapter = (file: string) => async (bytes: Uint8Array) => {
    const folder = new MemoryFolder({ [file]: bytes });
    (await loadIpAdapters(unet, [await readCheckpoint(file, () => folder.open(file))], true)).dispose();
  };
  const small = await safetensors({ 'unet.conv_in.lora_A.weight': [1, 4, 3, 3], 'unet.conv_in.lora_B.weight': [8, 1, 1, 1] },
    { lora_adapter_metadata: JSON.stringify({ 'unet.lora_alpha': 2, 'unet.alpha_pattern': { conv_in: 3 }, 'unet.use_rslora': true }) });
  const files = ['kohya', 'old', 'pytorch_lora_weights', 'dora', 'bias', 'lycoris'];
  const adapters = await Promise.all(['lora', 'lokr'].map(async name =>
    readStateDict(new MemoryFolder({ 'a.safetensors': golden(`lora/${name}/adapter_model.safetensors`) }), 'a.safetensors')));
  return [
    {
      name: 'adapter_config.json', isJson: true, seeds: ['lora', 'lokr'].map(name => golden(`lora/${name}/adapter_config.json`)),
      read: bytes => {
        const content = parse('adapter_config.json', bytes);
        parseLora(adapters[text(bytes).includes('LOKR') ? 1 : 0], specs, content);
      },
    },
    { name: 'LoRA', isJson: false, seeds: [small, ...files.map(name => golden(`lora/${name}.safetensors`))], read: lora('lora.safetensors') },
    { name: 'pickled LoRA', isJson: false, seeds: [golden('lora/unet.bin')], read: lora('lora.bin') },
    { name: 'IP-Adapter', isJson: false, seeds: [golden('pipelines/ip_adapter/plus.safetensors')], read: ipAdapter('a.safetensors') },
    { name: 'pickled IP-Adapter', isJson: false, seeds: ['base', 'full'].map(name => golden(`pipelines/ip_adapter/${name}.bin`)), read: ipAdapter('a.bin') },
    { name: 'textual inversion', isJson: false, seeds: [golden('textual_inversion/learned_embeds.safetensors')], read: textualInversion('learned_embeds.safetensors') },
    { name: 'pickled textual inversion', isJson: false, seeds: ['toy.bin', 'hat.pt', 'dictionary.pt'].map(name => golden(`textual_inversion/${name}`)), read: textualInversion('learned_embeds.bin') },
  ];
}

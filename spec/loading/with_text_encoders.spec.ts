import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { openModelFolder } from '../../lib/loading/open_model_folder.js';
import { withTextEncoders } from '../../lib/loading/with_text_encoders.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../../lib/models/clip_text_model_with_projection.js';
import { StableDiffusion3Pipeline } from '../../lib/pipelines/index.js';
import { readSafetensorsHeader, writeSafetensors } from '../../lib/weights/safetensors.js';
import { convertModel } from '../../weights-converter/convert.js';
import { startCommand } from '../support/command.js';
import { bytesSource } from '../support/memory_folder.js';
import { digestsOf, singleFile } from '../support/single_file.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { seeded, TINY, TINY_SD3 } from '../support/tiny_pipeline.js';

type Shapes = Record<string, number[]>;
type Config = Record<string, unknown>;

/** See spec/golden/parts/sd3_files.py: what diffusers' from_single_file and save_pretrained made of the file that has all in it. */
const { shapes, saved, configs }: { shapes: Shapes; saved: Record<string, Record<string, string>>; configs: Record<string, Config> } =
  JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/sd3.json.gz')).toString()).small.t5;

/** Some of a file's tensors under other names, as a file of their own. */
async function part(bytes: Uint8Array, rename: (key: string) => string | undefined): Promise<Uint8Array> {
  const { tensors } = await readSafetensorsHeader(bytesSource(bytes));
  const taken = [...tensors].flatMap(([key, { dtype, shape, offset, byteLength }]) => {
    const name = rename(key);
    return name === undefined ? [] : [{ name, dtype, shape, bytes: () => bytes.subarray(offset, offset + byteLength) }];
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeSafetensors(taken, { format: 'pt' })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The same, of a transformer that takes what these text encoders give. */
const FITTING: Shapes = Object.fromEntries(Object.entries(shapes).map(([key, shape]) => {
  const isOfT5 = key.startsWith('text_encoders.t5xxl.') || key.endsWith('.context_embedder.weight');
  return [key, key.endsWith('y_embedder.mlp.0.weight') ? [shape[0], 64 + 48] : isOfT5 ? shape.map(size => ({ 24: 192, 40: 64 })[size] ?? size) : shape];
}));

const without = (given: object, ...names: string[]) => Object.fromEntries(Object.entries(given).filter(([name]) => !names.includes(name)));
const below = (prefix: string) => (key: string) => key.startsWith(prefix) ? key.slice(prefix.length) : undefined;

describe('Text encoders in files of their own', () => {
  const folder = temporaryFolder();
  const place = (name: string) => join(folder(), `${name}.safetensors`);
  const contents = new Map<string, Uint8Array>();
  let files: ReturnType<typeof filesOf>;
  before(async () => {
    const whole = await singleFile(shapes);
    await addParts('', whole);
    await addParts('fit_', await singleFile(FITTING));
  });
  const filesOf = (prefix: string) => ({
    textEncoder: place(`${prefix}clip_l`), textEncoder2: place(`${prefix}clip_g`), textEncoder3: place(`${prefix}t5xxl`), tokenizer3: TINY_SD3,
  });
  const addParts = async (prefix: string, whole: Uint8Array) => {
    contents.set(`${prefix}whole`, whole).set(`${prefix}sd3`, await part(whole, key => key.startsWith('text_encoders.') ? undefined : key));
    for (const name of ['clip_l', 'clip_g', 't5xxl']) contents.set(prefix + name, await part(whole, below(`text_encoders.${name}.transformer.`)));
  };
  beforeEach(async () => {
    for (const [name, bytes] of contents) await writeFile(place(name), bytes);
    files = filesOf('');
  });

  it('make of a file of SD3 without any what diffusers makes of one that has them, to the last bit', async () => {
    const joined = await withTextEncoders(await openModelFolder(place('sd3')), files, {});
    const index = await joined.readJson('model_index.json') as Config;
    assert.deepEqual([index.text_encoder, index.text_encoder_3, index.tokenizer_3],
      [['transformers', 'CLIPTextModelWithProjection'], ['transformers', 'T5EncoderModel'], ['transformers', 'T5TokenizerFast']]);
    for (const [part, digests] of Object.entries(saved)) {
      const expected = without(digests, 'encoder.embed_tokens.weight'); // which is the same as another
      const file = part.startsWith('text') ? 'model' : 'diffusion_pytorch_model';
      assert.deepEqual(await digestsOf(await joined.open(`${part}/${file}.safetensors`)), expected, part);
      for (const [key, value] of Object.entries(await joined.readJson(`${part}/config.json`) as Config)) {
        if (key !== '_class_name') assert.deepEqual(value, configs[part][key], `${part}: ${key}`);
      }
    }
  });

  it('draw the same pictures, from files, by convert, and without T5', async () => {
    const draw = async (file: string, options: object) => {
      const pipe = await StableDiffusion3Pipeline.fromPretrained(file, { device: 'wasm', ...options });
      pipe.setProgressBarConfig({ disable: true });
      const { images: latents } = await pipe.generate('a road', {
        numInferenceSteps: 1, generator: seeded(1), height: 16, width: 16, maxSequenceLength: 8, outputType: 'latent',
      });
      const values = latents.dataSync();
      latents.dispose();
      pipe.dispose();
      return values;
    };
    const fitting = filesOf('fit_');
    const expected = await draw(place('fit_whole'), { tokenizer3: TINY_SD3 });
    assert.deepEqual(await draw(place('fit_sd3'), fitting), expected);
    const clips = without(fitting, 'textEncoder3', 'tokenizer3');
    const none = { textEncoder3: null, tokenizer3: null };
    const bare = await draw(place('fit_whole'), none);
    assert.notDeepEqual(bare, expected);
    assert.deepEqual(await draw(place('fit_sd3'), { ...clips, ...none }), bare);
    await convertModel(place('fit_sd3'), join(folder(), 'converted'), { ...fitting, verify: true });
    assert.deepEqual(await draw(join(folder(), 'converted'), {}), expected);
    await convertModel(place('fit_sd3'), join(folder(), 'bare'), { ...clips, t5: false });
    assert.deepEqual(await draw(join(folder(), 'bare'), {}), bare);
  });

  it('are networks of their classes by themselves', async () => {
    const first = await CLIPTextModel.fromSingleFile(files.textEncoder);
    assert.deepEqual([first.config.hidden_size, first.config.hidden_act], [64, 'quick_gelu']);
    first.dispose();
    const second = await CLIPTextModelWithProjection.fromSingleFile(files.textEncoder2);
    assert.equal(second.config.projection_dim, 48);
    second.dispose();
  });

  it('of which the first of SD3 projects nothing, though its file has something to project by', async () => {
    const bytes = await singleFile({ ...shapes, 'text_encoders.clip_l.transformer.text_projection.weight': [64, 64] });
    await writeFile(place('projects'), await part(bytes, below('text_encoders.clip_l.transformer.')));
    const joined = await withTextEncoders(await openModelFolder(place('sd3')), { textEncoder: place('projects') }, {});
    const { 'text_projection.weight': found } = await digestsOf(await joined.open('text_encoder/model.safetensors'));
    assert.equal(found, saved.text_encoder['text_projection.weight']);
    const alone = await openModelFolder(place('projects'));
    assert.notEqual((await digestsOf(await alone.open('model.safetensors')))['text_projection.weight'], found);
  });

  const load = (options: object) => StableDiffusion3Pipeline.fromSingleFile(place('sd3'), { device: 'wasm', ...options });

  it('are asked for by one line, where they are missing or others', async () => {
    await assert.rejects(load({}), /sd3\.safetensors: has no text encoder \(.*\); give it or its file as the option textEncoder; it has no textEncoder2, nor textEncoder3 \(null goes without\) either$/);
    await assert.rejects(load({ textEncoder: files.textEncoder, textEncoder2: files.textEncoder2 }), /has no T5 \(.*\); give it or its file, or null to go without, as the option textEncoder3$/);
    await assert.rejects(load(without(files, 'tokenizer3')), /^TypeError: textEncoder3: takes its tokenizer too, as tokenizer3: 'stabilityai\/stable-diffusion-3-medium-diffusers' \(--tokenizer-3\)$/);
    await assert.rejects(load({ ...files, textEncoder2: files.textEncoder }), /^ModelFileError: .*clip_l\.safetensors: has no text_projection\.weight, which the second text encoder has, as clip_g\.safetensors$/);
    await assert.rejects(load({ ...files, textEncoder: files.textEncoder3 }), /^RangeError: textEncoder: .*t5xxl\.safetensors is a T5EncoderModel, takes CLIPTextModelWithProjection$/);
    await assert.rejects(load({ ...files, textEncoder3: files.textEncoder }), /^RangeError: textEncoder3: .*clip_l\.safetensors is a CLIPTextModelWithProjection, takes T5EncoderModel$/);
    await assert.rejects(load({ ...files, tokenizer3: TINY }), /^ModelFileError: tokenizer3: spec\/golden\/pipelines\/tiny has no tokenizer\.json, nor a folder tokenizer_3 with one$/);
    const plain = convertModel(TINY, join(folder(), 'plain'), { textEncoder2: files.textEncoder2 });
    await assert.rejects(plain, /^ModelFileError: textEncoder2: spec\/golden\/pipelines\/tiny has no place for it, takes none$/);
  });

  it('are given on the command line too', async () => {
    const target = join(folder(), 'by_command');
    const fitting = filesOf('fit_');
    const { ended } = await startCommand(['convert', place('fit_sd3'), target, '--quiet', '--text-encoder', fitting.textEncoder,
      '--text-encoder-2', fitting.textEncoder2, '--text-encoder-3', fitting.textEncoder3, '--tokenizer-3', TINY_SD3]);
    assert.deepEqual(await ended, [0, '']);
    const out = join(folder(), 'out.png');
    const picture = await startCommand(['generate', 'a road', '--model', place('fit_sd3'), '--device', 'wasm', '--steps', '1', '--height', '16', '--width', '16',
      '--text-encoder', fitting.textEncoder, '--text-encoder-2', fitting.textEncoder2, '--no-t5', '--quiet', '--output', out]);
    assert.deepEqual(await picture.ended, [0, '']);
    assert.ok(existsSync(out) && existsSync(join(target, 'tokenizer_3', 'tokenizer.json')));
  });
});

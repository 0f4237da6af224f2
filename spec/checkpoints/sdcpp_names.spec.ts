import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { readCheckpoint } from '../../lib/checkpoints/checkpoint.js';
import { checkpointFolder } from '../../lib/checkpoints/checkpoint_folder.js';
import type { ModelFolder } from '../../lib/files/model_folder.js';
import { readSafetensorsHeader, writeSafetensors, type Dtype } from '../../lib/weights/safetensors.js';
import { bytesSource } from '../support/memory_folder.js';
import { digestsOf, singleFile, singleFileGolden } from '../support/single_file.js';

type Shapes = Record<string, number[]>;
interface Part { name: string; dtype: Dtype; shape: readonly number[]; bytes: () => Uint8Array }

const { shapes: sd3, saved: sd3Saved }: { shapes: Shapes; saved: Record<string, Record<string, string>> } =
  JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/sd3.json.gz')).toString()).small.t5;

/** What stable-diffusion.cpp makes of a checkpoint of the first three generations; of one that is `old`, with parts and 1x1 convolutions. */
function converted({ name, shape, bytes, ...others }: Part, old: boolean): Part[] {
  const isLinear = old && name.startsWith('model.diffusion_model.') && /proj_(in|out)\.weight$/.test(name) && shape.length === 2;
  const [, second, rest] = /^(?:cond_stage_model|conditioner\.embedders\.([01]))\.(?:model|transformer)\.(.*)$/.exec(name) ?? [];
  if (rest === undefined || name.includes('.transformer.text_model')) {
    return [{ ...others, name: name.replace('conditioner.embedders.0.', 'cond_stage_model.'), shape: isLinear ? [...shape, 1, 1] : shape, bytes }];
  }
  const key = rest.replace('transformer.resblocks.', 'text_model.encoder.layers.').replace('ln_final', 'text_model.final_layer_norm')
    .replace(/^text_projection$/, 'text_model.text_projection').replace(/^positional_embedding$/, 'text_model.embeddings.position_embedding.weight')
    .replace(/^token_embedding/, 'text_model.embeddings.token_embedding').replace(/\.ln_(\d)\./, '.layer_norm$1.').replace('mlp.c_fc', 'mlp.fc1')
    .replace('mlp.c_proj', 'mlp.fc2').replace('attn.out_proj', 'self_attn.out_proj').replace('attn.in_proj_', 'self_attn.in_proj.');
  const place = `cond_stage_model.${second === '1' ? '1.' : ''}transformer.${key}`;
  if (!old || !key.includes('in_proj')) return [{ ...others, name: place, shape, bytes }];
  return ['q', 'k', 'v'].map((letter, i) => {
    const all = bytes();
    const size = all.length / 3;
    return { ...others, name: place.replace('in_proj', `${letter}_proj`), shape: [shape[0] / 3, ...shape.slice(1)], bytes: () => all.subarray(i * size, (i + 1) * size) };
  });
}

async function folderOf(bytes: Uint8Array, convert: (tensor: Part) => Part[]): Promise<ModelFolder> {
  const { tensors } = await readSafetensorsHeader(bytesSource(bytes));
  const parts = [...tensors].flatMap(([name, { dtype, shape, offset, byteLength }]) => (
    convert({ name, dtype, shape, bytes: () => bytes.subarray(offset, offset + byteLength) })
  ));
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeSafetensors(parts, { format: 'pt' })) chunks.push(chunk);
  return checkpointFolder(await readCheckpoint('model.safetensors', async () => bytesSource(Buffer.concat(chunks))));
}

/** What the names were is read equal to diffusers, as other specs hold. */
async function expectSame(folder: ModelFolder, plain: ModelFolder, parts: object): Promise<void> {
  for (const part of Object.keys(parts)) {
    const file = part.startsWith('text') ? 'model' : 'diffusion_pytorch_model';
    const [found, expected] = await Promise.all([folder, plain].map(async each => digestsOf(await each.open(`${part}/${file}.safetensors`))));
    assert.deepEqual(found, expected, part);
    assert.deepEqual(await folder.readJson(`${part}/config.json`), await plain.readJson(`${part}/config.json`), part);
  }
}

describe('A checkpoint in stable-diffusion.cpp\'s names', () => {
  for (const generation of ['sd1', 'sd2', 'xl', 'refiner'] as const) {
    for (const old of [false, true]) {
      it(`(${generation}${old ? ', of its first versions' : ''}) is what it was made of, to the last bit`, async () => {
        const { shapes, saved } = singleFileGolden[generation];
        const bytes = await singleFile(shapes);
        await expectSame(await folderOf(bytes, part => converted(part, old)), await folderOf(bytes, part => [part]), saved);
      });
    }
  }

  it('(SD3) has the projection of the second text encoder under another name', async () => {
    const bytes = await singleFile(sd3);
    const folder = await folderOf(bytes, part => [{ ...part, name: part.name.replace('transformer.text_projection.weight', 'transformer.text_model.text_projection') }]);
    await expectSame(folder, await folderOf(bytes, part => [part]), sd3Saved);
  });

  it('may have the VAE below vae', async () => {
    const bytes = await singleFile(singleFileGolden.sd1.shapes);
    const folder = await folderOf(bytes, part => [{ ...part, name: part.name.replace('first_stage_model.', 'vae.') }]);
    await expectSame(folder, await folderOf(bytes, part => [part]), singleFileGolden.sd1.saved);
  });
});

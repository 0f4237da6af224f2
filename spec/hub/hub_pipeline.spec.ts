import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HubFolder } from '../../lib/hub/hub_folder.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { LoadingProgress } from '../../lib/pipelines/components/load_components.js';
import { DDIMScheduler } from '../../lib/schedulers/index.js';
import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { locateFile } from '../../lib/loading/locate_file.js';
import { modelFiles } from '../../lib/loading/weight_files.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { HubServer } from '../support/hub_server.js';
import { temporaryFolder } from '../support/temporary_folder.js';

/** The demo model, beside all else that a repository holds. */
function repository(): Record<string, Uint8Array | string> {
  const files: Record<string, Uint8Array | string> = {};
  for (const entry of readdirSync(DEMO_MODEL, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files[relative(DEMO_MODEL, path)] = readFileSync(path);
  }
  const index = JSON.parse(String(files['model_index.json']));
  index.safety_checker = ['stable_diffusion', 'StableDiffusionSafetyChecker'];
  index.feature_extractor = ['transformers', 'CLIPImageProcessor'];
  const others = ['README.md', 'files.json', 'demo.png', 'model-pruned.ckpt', 'model-emaonly.safetensors', 'safety_checker/config.json', 'safety_checker/model.safetensors',
    'feature_extractor/preprocessor_config.json', 'text_encoder/pytorch_model.bin', 'text_encoder/model.fp16.safetensors', 'unet/diffusion_pytorch_model.bin',
    'unet/diffusion_pytorch_model.non_ema.safetensors', 'unet/diffusion_pytorch_model.fp16.safetensors', 'vae/diffusion_pytorch_model.bin',
    'vae/diffusion_pytorch_model.fp16.safetensors', 'unet/model.onnx', 'scheduler/README.md'];
  for (const path of others) files[path] = `not wanted: ${path}`;
  return { ...files, 'model_index.json': JSON.stringify(index) };
}

describe('A model on the hub', () => {
  const cacheDir = temporaryFolder();
  const files = repository();
  let server: HubServer;
  beforeEach(async () => {
    server = await HubServer.start();
    server.push('owner/shapes', files);
  });
  afterEach(() => server.close());
  const hub = () => ({ endpoint: server.endpoint, cacheDir: cacheDir(), token: false as const });

  it('becomes a pipeline, of the files that it needs and no others', async () => {
    const progress: LoadingProgress[] = [];
    const options = { ...hub(), device: 'wasm' as const, useSafetensors: true, progressCallback: (each: LoadingProgress) => { progress.push(each); } };
    const pipe = await DiffusionPipeline.fromPretrained('owner/shapes', options);
    pipe.dispose();
    const wanted = Object.keys(files).filter(path => !String(files[path]).startsWith('not wanted'));
    assert.deepEqual(server.fetched.sort(), wanted.sort());
    const downloads = progress.filter(({ stage }) => stage === 'download');
    assert.equal(downloads.at(-1)!.loaded, wanted.filter(path => path !== 'model_index.json').reduce((sum, path) => sum + files[path].length, 0));
    assert.deepEqual(progress.slice(downloads.length).map(({ stage }) => stage), new Array(progress.length - downloads.length).fill('load'));
  });

  it('is fetched only as far as components are not passed in, and of known classes', async () => {
    const scheduler = new DDIMScheduler({ steps_offset: 1, clip_sample: false });
    const vae = await AutoencoderKL.fromPretrained(DEMO_MODEL, { subfolder: 'vae' });
    (await DiffusionPipeline.fromPretrained('owner/shapes', { ...hub(), device: 'wasm', vae, scheduler })).dispose();
    assert.ok(!server.fetched.some(path => path.startsWith('vae/') || path.startsWith('scheduler/')));

    const index = JSON.parse(String(files['model_index.json']));
    server.push('owner/other', { ...files, 'model_index.json': JSON.stringify({ ...index, vae: ['diffusers', 'VQModel'] }) });
    server.requests.length = 0;
    await assert.rejects(DiffusionPipeline.fromPretrained('owner/other', { ...hub(), device: 'wasm' }),
      /^RangeError: owner\/other\/model_index\.json: vae: got 'VQModel', takes 'AutoencoderKL', 'AutoencoderTiny'$/);
    assert.deepEqual(server.fetched, ['model_index.json']);
  });

  it('becomes a network', async () => {
    server.push('owner/vae', Object.fromEntries(['config.json', 'diffusion_pytorch_model.safetensors'].map(file => [file, files[`vae/${file}`]])));
    (await AutoencoderKL.fromPretrained('owner/vae', hub())).dispose();
    (await AutoencoderKL.fromPretrained('owner/shapes', { ...hub(), subfolder: 'vae' })).dispose();
    assert.deepEqual(server.fetched.sort(), ['config.json', 'diffusion_pytorch_model.safetensors', 'vae/config.json', 'vae/diffusion_pytorch_model.safetensors']);
    const tokenizer = await CLIPTokenizer.fromPretrained('owner/shapes', { ...hub(), subfolder: 'tokenizer' });
    assert.equal(tokenizer.modelMaxLength, 77);
    await assert.rejects(AutoencoderKL.fromPretrained('owner/shapes', { ...hub(), subfolder: 'vae', variant: 'bf16' }),
      { message: 'owner/shapes/vae: has no weights of the variant \'bf16\', only without a variant' });
  });

  it('has LoRAs, which are named by their address too', async () => {
    const lora = readFileSync('spec/golden/lora/kohya.safetensors');
    server.push('owner/style', { 'sub/my style.safetensors': lora, 'pytorch_lora_weights.safetensors': 'another' });
    const { endpoint } = server;
    for (const address of ['blob/main/sub/my%20style.safetensors', 'resolve/main/sub/my%20style.safetensors?download=true']) {
      const { folder, path } = await locateFile(`${endpoint}/owner/style/${address}`, undefined, [], hub());
      const source = await folder.open(path);
      assert.deepEqual(Buffer.from(await source.read(0, source.size)), lora);
      await source.close();
    }
    assert.deepEqual(server.fetched, ['sub/my style.safetensors']);
    await assert.rejects(locateFile(`${endpoint}/owner/style/blob/main/none.safetensors`, undefined, [], hub()), /there is no such file/);
  });

  it('has the variant that was asked for, in shards as well', async () => {
    server.push('owner/shards', {
      'unet/config.json': '{}', 'unet/diffusion_pytorch_model.safetensors': 'large',
      'unet/diffusion_pytorch_model.safetensors.index.fp16.json': JSON.stringify({ weight_map: { a: 'diffusion_pytorch_model.fp16-1.safetensors', b: 'diffusion_pytorch_model.fp16-2.safetensors' } }),
      'unet/diffusion_pytorch_model.fp16-1.safetensors': '1', 'unet/diffusion_pytorch_model.fp16-2.safetensors': '2',
    });
    const folder = await HubFolder.open('owner/shards', hub());
    await folder.prefetch!(await modelFiles(folder, { subfolder: 'unet', variant: 'fp16' }));
    assert.deepEqual(server.fetched.map(path => path.slice('unet/'.length)).sort(), [
      'config.json', 'diffusion_pytorch_model.fp16-1.safetensors', 'diffusion_pytorch_model.fp16-2.safetensors', 'diffusion_pytorch_model.safetensors.index.fp16.json',
    ]);
    server.push('owner/evil', { 'config.json': '{}', 'model.safetensors.index.json': '{"weight_map":{"a":"../../../x.safetensors"}}' });
    const evil = await HubFolder.open('owner/evil', hub());
    await assert.rejects(modelFiles(evil), /names the shard '\.\.\/\.\.\/\.\.\/x\.safetensors', takes a \.safetensors file beside it/);
  });

  it('is drawn with and converted from the command line', async () => {
    const run = (args: string[], variables: Record<string, string>) => new Promise<{ code: number | null; stdout: string; stderr: string }>(resolve => {
      const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url));
      const env = { ...process.env, HF_HOME: cacheDir(), HF_HUB_CACHE: '', HF_TOKEN: '', ...variables };
      const child = spawn(process.execPath, [cli, ...args], { cwd: cacheDir(), env });
      const output = { code: null as number | null, stdout: '', stderr: '' };
      child.stdout.on('data', text => { output.stdout += text; });
      child.stderr.on('data', text => { output.stderr += text; });
      child.on('close', code => resolve({ ...output, code }));
    });
    const draw = ['generate', 'a red circle', '--device', 'wasm', '--steps', '1', '--height', '16', '--width', '16'];
    const online = await run([...draw, '--model', 'owner/shapes'], { HF_ENDPOINT: server.endpoint });
    assert.equal(online.stderr, '');
    assert.match(online.stdout, /^Downloading owner\/shapes: \d+ files, [\d.]+ MB\nowner\/shapes on wasm, /);
    assert.ok(existsSync(join(cacheDir(), 'out.png')));
    rmSync(join(cacheDir(), 'hub'), { recursive: true });
    const converted = await run(['convert', 'owner/shapes', 'mine'], { HF_ENDPOINT: server.endpoint });
    assert.equal(converted.stderr, '');
    assert.match(converted.stdout, /^Downloading owner\/shapes: \d+ files, [\d.]+ MB\nmine {2}is ready: /);
    const none = await run([...draw, '--model', 'owner/none', '--revision', 'v1', '--variant', 'fp16'], { HF_ENDPOINT: server.endpoint });
    assert.equal(none.code, 1);
    assert.match(none.stderr, /^error: owner\/none: there is no such folder here, and no such model on .*\n$/);
  });
});

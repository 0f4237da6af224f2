import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { singleFile, singleFileGolden } from '../support/single_file.js';
import { temporaryFolder } from '../support/temporary_folder.js';

const execute = promisify(execFile);

/** Draws a picture with what the bundle holds, and reads the tokenizer of a single file. */
const PROGRAM = `
import { CLIPTokenizer, DiffusionPipeline, Generator } from 'tfjs-diffusers';
async function main([model, file]) {
  const pipe = await DiffusionPipeline.fromPretrained(new URL(model), { device: 'wasm' });
  const { images: [image] } = await pipe.generate('a star', { numInferenceSteps: 1, height: 16, width: 16, generator: new Generator().manualSeed(0) });
  const tokenizer = await CLIPTokenizer.fromPretrained(file, { subfolder: 'tokenizer' });
  console.log(JSON.stringify({ device: pipe.device, pixels: [...image.data], ids: tokenizer.encode('a cat', { padding: false }) }));
}
void main(process.argv.slice(2));
`;

describe('A program that is bundled as the docs say', () => {
  const folder = temporaryFolder();

  it('does what it does unbundled', async function () {
    if (process.platform === 'win32') return this.skip(); // the lines are those of a POSIX shell
    const repository = resolve('.');
    mkdirSync(join(folder(), 'node_modules'));
    symlinkSync(repository, join(folder(), 'node_modules/tfjs-diffusers'));
    symlinkSync(join(repository, 'node_modules/@tensorflow'), join(folder(), 'node_modules/@tensorflow'));
    writeFileSync(join(folder(), 'main.mjs'), PROGRAM);
    const file = join(folder(), 'model.safetensors');
    writeFileSync(file, await singleFile(singleFileGolden.sd1.shapes, /^(first_stage_model|cond_stage_model)\./));

    const [, ...blocks] = readFileSync('docs/bundling.md', 'utf8').split('```sh\n');
    const lines = blocks.map(block => block.slice(0, block.indexOf('```')));
    const command = lines.join('').replaceAll('npx esbuild', `'${join(repository, 'node_modules/.bin/esbuild')}' --log-level=error`);
    await execute('sh', ['-ec', command], { cwd: folder() });
    const run = async (bundle: string) => {
      const { stdout } = await execute(process.execPath, [join(folder(), bundle), pathToFileURL(join(repository, 'models/shapes')).href, file]);
      return JSON.parse(stdout) as { device: string; pixels: number[]; ids: number[][] };
    };
    const expected = await run('main.mjs');
    assert.deepEqual([expected.device, expected.pixels.length, expected.ids], ['wasm', 16 * 16 * 3, [[49406, 320, 2368, 49407]]]);
    for (const bundle of ['beside.mjs', 'beside.cjs', 'whole.mjs', 'whole.cjs']) assert.deepEqual(await run(bundle), expected, bundle);
  });
});

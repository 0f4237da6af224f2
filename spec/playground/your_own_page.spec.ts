import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PNG } from 'pngjs';
import type { Browser } from 'playwright-core';
import { StaticServer } from '../../docs/playground/server.js';
import { DiffusionPipeline, Generator } from '../../lib/index.js';
import { describeInBrowser, PATIENCE, startChromium } from '../support/chromium.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { execute, installPackage, isClone } from '../support/installed_package.js';

const page = readFileSync('docs/your_own_page.md', 'utf8');
const blocks = (language: string) => [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, code]) => code);
const [worker, main, viteConfig, webpackConfig] = blocks('js');
const STEPS = 4;

/** A program that serves, and says at which address. */
function serve(program: string, parameters: readonly string[], cwd: string): Promise<{ url: string; server: ChildProcess }> {
  const server = spawn(process.execPath, [program, ...parameters], { cwd, env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    let said = '';
    server.stdout.on('data', text => {
      const [url] = /http:\/\/localhost:\d+\//.exec(said += String(text)) ?? [];
      if (url) resolve({ url, server });
    });
    server.on('exit', code => reject(new Error(`${program}: ends with ${code}: ${said}`)));
  });
}

describeInBrowser('Use it on your own page', () => {
  const vite = resolve('node_modules/vite/bin/vite.js');
  let project: string;
  let browser: Browser;
  let expected: Uint8Array;
  let closing: Array<() => unknown> = [];

  before(async function () {
    if (!isClone || process.platform === 'win32') return this.skip(); // the lines are those of a POSIX shell
    project = (await installPackage()).program;
    browser = await startChromium();
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
    const options = { numInferenceSteps: STEPS, generator: new Generator().manualSeed(0) };
    expected = (await pipe.generate('a red circle on a white background', options)).images[0].data;
    pipe.dispose();

    write('worker.js', worker.replace('numInferenceSteps: 20', `numInferenceSteps: ${STEPS}`));
    write('page.js', main);
    write('index.html', blocks('html')[0].replace('<img', '<link rel="icon" href="data:,"><img'));
    write('vite.config.js', viteConfig);
    write('webpack.config.js', webpackConfig);
    write('webpack.js', `import webpack from '${resolve('node_modules/webpack/lib/index.js')}';\nimport config from './webpack.config.js';
      webpack(config, (error, stats) => { if (error || stats.hasErrors()) throw error ?? new Error(stats.toString()); });`);
    const copying = blocks('sh')[0].split('\n').filter(line => !line.startsWith('npm ')).join('\n');
    await shell(copying);
  });
  after(() => browser?.close());
  afterEach(async () => {
    for (const close of closing) await close();
    closing = [];
  });

  const write = (path: string, text: string) => writeFileSync(join(project, path), text);
  const shell = (commands: string) => execute('sh', ['-ec', commands.replaceAll('npx esbuild', `'${resolve('node_modules/.bin/esbuild')}' --log-level=error`)], project);

  const start = async (parameters: readonly string[]) => {
    const { url, server } = await serve(vite, parameters, project);
    closing.push(() => server.kill());
    return url;
  };
  const startStatic = async (folder: string, isolated: boolean) => {
    const server = await StaticServer.start(join(project, folder), { isolated });
    closing.push(() => server.close());
    return server.url;
  };

  /** What the page at an address comes to, and what it asked for on the way. */
  const open = async (url: string) => {
    const context = await browser.newContext();
    closing.push(() => context.close());
    context.setDefaultTimeout(PATIENCE);
    const tab = await context.newPage();
    const [messages, missing, wasm]: string[][] = [[], [], []];
    tab.on('console', message => { if (['error', 'warning'].includes(message.type())) messages.push(message.text()); });
    context.on('response', response => {
      if (!response.ok()) missing.push(response.url());
      if (response.url().endsWith('.wasm')) wasm.push(response.url().replace(/.*\//, ''));
    });
    await tab.goto(url);
    await tab.waitForFunction(() => !/^$|^step/.test(document.querySelector('output')!.textContent!));
    return { text: await tab.locator('output').textContent(), picture: await tab.locator('img').getAttribute('src'), messages, missing, wasm };
  };
  const draws = async (url: string, wasm: string[], messages: RegExp[] = []) => {
    const seen = await open(url);
    assert.deepEqual([seen.text, seen.missing, seen.wasm], ['done', [], wasm]);
    assert.equal(seen.messages.length, messages.length, seen.messages.join('\n'));
    messages.forEach((message, i) => assert.match(seen.messages[i], message));
    const pixels = PNG.sync.read(Buffer.from(seen.picture!.split(',')[1], 'base64')).data.filter((_, i) => i % 4 !== 3);
    assert.equal(pixels.length, expected.length);
    assert.ok(pixels.every((value, i) => Math.abs(value - expected[i]) <= 2));
  };
  const [threads, oneThread] = [['tfjs-backend-wasm-threaded-simd.wasm'], ['tfjs-backend-wasm-simd.wasm']];

  it('draws what Node draws under Vite, while one writes it', async () => {
    await draws(await start([]), threads);
  });

  it('draws it as Vite builds it, and shows what is wrong where the server has a page for everything', async () => {
    await execute(process.execPath, [vite, 'build', '--logLevel', 'error'], project);
    await draws(await startStatic('dist', false), oneThread);
    const url = await start(['preview']);
    await draws(url, threads);
    renameSync(join(project, 'dist/models'), join(project, 'dist/elsewhere'));
    assert.match((await open(url)).text!, /^http.*\/models\/shapes\/model_index\.json: the server answers with a page \(HTML\), as many do where there is no such file/);
  });

  it('draws it as esbuild builds it', async () => {
    await shell(blocks('sh')[1]);
    await draws(await startStatic('public', true), threads);
    await draws(await startStatic('public', false), oneThread);
  });

  it('draws it on one thread where a minifier keeps threads from starting', async () => {
    const script = readFileSync(join(project, 'public/worker.js'), 'utf8');
    const spoilt = script.replaceAll(/typeof (\w+)<"u"&&\1&&/g, 'void 0!==$1&&$1&&');
    assert.notEqual(spoilt, script);
    write('public/worker.js', spoilt);
    const seen = await open(await startStatic('public', true));
    assert.deepEqual([seen.text, seen.wasm], ['done', [...threads, ...oneThread]]);
    assert.ok(seen.messages.some(text => /^wasm: runs on one thread, because its threads do not start: .* is not defined/.test(text)), seen.messages.join('\n'));
  });

  it('draws it as webpack builds it', async () => {
    for (const name of readdirSync(join(project, 'public')).filter(name => name.endsWith('.js'))) rmSync(join(project, 'public', name));
    await execute(process.execPath, ['webpack.js'], project);
    await draws(await startStatic('public', true), threads);
    await draws(await startStatic('public', false), oneThread);
  });

  it('counts its lines honestly', () => {
    const lines = [worker, main].flatMap(code => code.trim().split('\n').filter(Boolean));
    assert.ok(lines.length <= 32, `${lines.length} lines`);
  });
});

import { build, type BuildOptions, type Metafile } from 'esbuild';
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BundledFolder } from './protocol.js';

const sources = 'docs/playground/page';
const compiled = fileURLToPath(new URL('.', import.meta.url));
const clipTokenizer = 'models/clip-tokenizer';
const controlnetFolder = 'models/shapes-controlnet'; // for the bundled model
const wasmFiles = 'node_modules/@tensorflow/tfjs-backend-wasm/dist';

/** What went into the site, for those who want to look: paths of modules, and bytes of scripts. */
export interface Site {
  modules: string[];
  /** By what they are for: all that the page and its worker load, without WebGPU's part, which is loaded where there is WebGPU. */
  scriptBytes: Record<'page' | 'worker' | 'webgpu', number>;
}

/**
 * Makes a static site of the playground in `folder`, with the model of another folder. Any server can serve it, under any path.
 * Names of scripts and of the model's folder change with their content, so that they may be cached forever.
 */
export async function buildSite(folder = 'dist/playground', modelFolder = 'models/shapes'): Promise<Site> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const model = await copyFolder(modelFolder, folder);
  const controlnet = await copyFolder(controlnetFolder, folder);
  const tokenizer = await copyFolder(clipTokenizer, folder);
  const wasmFolder = `tfjs-${await tfjsVersion()}/`;
  await mkdir(join(folder, wasmFolder));
  for (const name of (await readdir(wasmFiles)).filter(file => file.endsWith('.wasm'))) await cp(join(wasmFiles, name), join(folder, wasmFolder, name));

  const metafiles: Metafile[] = [];
  const bundle = async (entry: string, define: Record<string, unknown>, options: BuildOptions = {}): Promise<string> => {
    const { metafile } = await build({
      entryPoints: [entry], metafile: true, outdir: folder, entryNames: '[name]-[hash]', chunkNames: '[name]-[hash]', define: mapValues(define, JSON.stringify),
      bundle: true, splitting: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022', logLevel: 'error', ...options,
    });
    const { outputs } = metafile!;
    metafiles.push(metafile!);
    const source = relative('.', entry).split(sep).join('/'); // chunks that are imported later are entry points too
    return basename(Object.keys(outputs).find(path => outputs[path].entryPoint === source)!);
  };
  const worker = await bundle(join(compiled, 'worker/worker.js'), { BUNDLED_MODEL: model, BUNDLED_CONTROLNET: controlnet, CLIP_TOKENIZER: tokenizer, WASM_FOLDER: wasmFolder });
  const main = await bundle(join(compiled, 'page/main.js'), { WORKER: worker });
  const style = await bundle(join(sources, 'style.css'), {});
  for (const name of ['icon.svg', 'manifest.webmanifest']) await cp(join(sources, name), join(folder, name));
  const page = (await readFile(join(sources, 'index.html'), 'utf8')).replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => ({ main, worker, style })[name]!);
  await writeFile(join(folder, 'index.html'), page);

  const files = (await listFiles(folder)).filter(path => !path.startsWith('models/') && !path.endsWith('/tfjs-backend-wasm.wasm')); // browsers without SIMD are rare
  const version = `playground-${await hashFiles(folder, files)}`;
  const offline = ['.', ...files.filter(path => path !== 'index.html')];
  await bundle(join(compiled, 'page/service_worker.js'), { VERSION: version, FILES: offline, MODELS: [model.url, controlnet.url] }, { entryNames: '[name]', splitting: false, format: 'iife' });
  return { modules: metafiles.flatMap(({ inputs }) => Object.keys(inputs)), scriptBytes: countScripts(metafiles) };
}

/** A folder's files below `models/`, in a folder that is named by their content. They are fetched when they are needed. */
async function copyFolder(from: string, folder: string): Promise<BundledFolder> {
  const paths = (await listFiles(from)).filter(path => /\.(json|txt|gz|safetensors)$/.test(path));
  const name = basename(from);
  const url = `models/${name}-${await hashFiles(from, paths)}`;
  await cp(from, join(folder, url), { recursive: true });
  return { name, url, files: await Promise.all(paths.map(async path => [path, (await stat(join(from, path))).size] as [string, number])) };
}

async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter(entry => entry.isFile()).map(entry => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/')).sort();
}

async function hashFiles(folder: string, paths: string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(path).update(await readFile(join(folder, path)));
  return hash.digest('hex').slice(0, 8);
}

async function tfjsVersion(): Promise<string> {
  return JSON.parse(await readFile('node_modules/@tensorflow/tfjs/package.json', 'utf8')).version;
}

function countScripts(metafiles: Metafile[]): Site['scriptBytes'] {
  const scripts = metafiles.flatMap(({ outputs }) => Object.entries(outputs)).filter(([path]) => path.endsWith('.js'));
  const isWebgpu = ([, { inputs }]: typeof scripts[number]) => Object.keys(inputs).some(path => path.includes('tfjs-backend-webgpu'));
  const sum = (which: typeof scripts) => which.reduce((bytes, [, output]) => bytes + output.bytes, 0);
  const page = scripts.filter(([path]) => /\/main-[^/]*$/.test(path));
  const webgpu = scripts.filter(isWebgpu);
  const worker = scripts.filter(script => !page.includes(script) && !webgpu.includes(script) && !script[0].endsWith('service_worker.js'));
  return { page: sum(page), worker: sum(worker), webgpu: sum(webgpu) };
}

function mapValues<V, R>(record: Record<string, V>, map: (value: V) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

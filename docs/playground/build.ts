import { build, type BuildOptions, type Metafile } from 'esbuild';
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BundledFolder } from './protocol.js';

const sources = 'docs/playground/page';
const benchmarkSources = 'docs/playground/benchmark';
const compiled = fileURLToPath(new URL('.', import.meta.url));
const clipTokenizer = 'models/clip-tokenizer';
const [controlnetFolder, ipAdapterFolder] = ['models/shapes-controlnet', 'models/shapes-ip-adapter']; // for the bundled model
const wasmFiles = 'node_modules/@tensorflow/tfjs-backend-wasm/dist';

/** What went into the site, for those who want to look: paths of modules, and bytes of scripts. */
export interface Site {
  modules: string[];
  /** By what they are for: all that the page and its worker load, what WebGPU adds where it is used, and the benchmark besides the worker's. */
  scriptBytes: Record<'page' | 'worker' | 'webgpu' | 'benchmark', number>;
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
  const ipAdapter = await copyFolder(ipAdapterFolder, folder);
  const tokenizer = await copyFolder(clipTokenizer, folder);
  const wasmFolder = `tfjs-${await versionIn('node_modules/@tensorflow/tfjs/package.json')}/`;
  await mkdir(join(folder, wasmFolder));
  for (const name of (await readdir(wasmFiles)).filter(file => file.endsWith('.wasm'))) await cp(join(wasmFiles, name), join(folder, wasmFolder, name));

  const metafiles: Metafile[] = [];
  const bundle = async (entryPoints: string[], define: Record<string, unknown>, options: BuildOptions = {}): Promise<string[]> => {
    const { metafile } = await build({
      entryPoints, metafile: true, outdir: folder, entryNames: '[name]-[hash]', chunkNames: '[name]-[hash]', define: mapValues(define, JSON.stringify),
      bundle: true, splitting: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022', logLevel: 'error', ...options,
    });
    const { outputs } = metafile!;
    metafiles.push(metafile!);
    const madeOf = (entry: string) => Object.keys(outputs).find(path => outputs[path].entryPoint === relative('.', entry).split(sep).join('/'))!; // chunks that are imported later are entry points too
    return entryPoints.map(entry => basename(madeOf(entry)));
  };
  const workers = ['worker/worker.js', 'benchmark/measuring_worker.js'].map(path => join(compiled, path)); // most of which is the same
  const [worker, measuringWorker] = await bundle(workers, {
    BUNDLED_MODEL: model, BUNDLED_CONTROLNET: controlnet, BUNDLED_IP_ADAPTER: ipAdapter, CLIP_TOKENIZER: tokenizer, WASM_FOLDER: wasmFolder,
  });
  const preload = preloads(metafiles[0], worker);
  const [main] = await bundle([join(compiled, 'page/main.js')], { WORKER: worker });
  const [benchmark] = await bundle([join(compiled, 'benchmark/page.js')], { WORKER: measuringWorker, LIBRARY_VERSION: await versionIn('package.json') });
  const [style, benchmarkStyle] = await bundle([join(sources, 'style.css'), join(benchmarkSources, 'style.css')], {});
  for (const name of ['icon.svg', 'manifest.webmanifest']) await cp(join(sources, name), join(folder, name));
  for (const [from, to] of [[join(sources, 'index.html'), 'index.html'], [join(benchmarkSources, 'index.html'), 'benchmark.html']]) {
    const page = (await readFile(from, 'utf8')).replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => ({ main, benchmark, preload, style, benchmarkStyle })[name]!);
    await writeFile(join(folder, to), page);
  }

  const files = (await listFiles(folder)).filter(path => !path.startsWith('models/') && !path.endsWith('/tfjs-backend-wasm.wasm')); // browsers without SIMD are rare
  const version = `playground-${await hashFiles(folder, files)}`;
  const offline = ['.', ...files.filter(path => path !== 'index.html')];
  await bundle([join(compiled, 'page/service_worker.js')], { VERSION: version, FILES: offline, MODELS: [model, controlnet, ipAdapter].map(({ url }) => url) }, { entryNames: '[name]', splitting: false, format: 'iife' });
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

async function versionIn(packageFile: string): Promise<string> {
  return JSON.parse(await readFile(packageFile, 'utf8')).version;
}

/** Links by which a page fetches a script, and all that it imports, at once. */
function preloads({ outputs }: Metafile, script: string): string {
  return withImports(outputs, Object.keys(outputs).filter(path => basename(path) === script)).map(path => `<link rel="modulepreload" href="${basename(path)}">`).join('\n  ');
}

/** Scripts, and what they import at once. */
function withImports(outputs: Metafile['outputs'], scripts: string[]): string[] {
  const found = new Set(scripts);
  for (const path of found) { // which those that are added come to, too
    for (const { kind, path: imported } of outputs[path].imports) if (kind === 'import-statement') found.add(imported);
  }
  return [...found];
}

function countScripts([workers, page, benchmark]: Metafile[]): Site['scriptBytes'] {
  const { outputs } = workers;
  const scripts = Object.keys(outputs).filter(path => path.endsWith('.js'));
  const isFor = (path: string, source: string) => Object.keys(outputs[path].inputs).some(input => input.includes(source));
  const webgpu = scripts.filter(path => isFor(path, 'tfjs-backend-webgpu'));
  const measuring = scripts.filter(path => outputs[path].entryPoint?.endsWith('measuring_worker.js'));
  const sum = (of: Metafile['outputs'], which = Object.keys(of)) => which.reduce((bytes, path) => bytes + of[path].bytes, 0);
  return {
    page: sum(page.outputs), worker: sum(outputs, scripts.filter(path => !webgpu.includes(path) && !measuring.includes(path))),
    webgpu: sum(outputs, webgpu), benchmark: sum(benchmark.outputs) + sum(outputs, measuring),
  };
}

function mapValues<V, R>(record: Record<string, V>, map: (value: V) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

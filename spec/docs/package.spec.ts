import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { execute, installPackage, isClone } from '../support/installed_package.js';

const compiler = resolve('node_modules/typescript/bin/tsc');
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, unknown>;

const IMPORT = `import { DiffusionPipeline, tf } from 'tfjs-diffusers';\nconsole.log(DiffusionPipeline.name, tf.version.tfjs);\n`;
const REQUIRE = `const { DiffusionPipeline, tf } = require('tfjs-diffusers');\nconsole.log(DiffusionPipeline.name, tf.version.tfjs);\n`;

describe('The package, as npm packs it from a clean clone', () => {
  let project: string;
  let clone: string;
  const run = (command: string, parameters: readonly string[]) => execute(command, parameters, project);

  before('and installs it in an empty project', async function () {
    if (!isClone) return this.skip();
    ({ program: project, clone } = await installPackage());
  });

  const installed = (path: string) => join(project, 'node_modules/tfjs-diffusers', path);

  it('has the code of the clone, and no other', () => {
    const compiled = readdirSync(installed('dist'), { recursive: true, encoding: 'utf8' }).filter(path => path.endsWith('.js')).map(path => path.replaceAll('\\', '/'));
    const sources = ['lib', 'weights-converter'].flatMap(root => readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter(path => path.endsWith('.ts')).map(path => `${root}/${path.replaceAll('\\', '/').replace(/ts$/, 'js')}`));
    assert.deepEqual(compiled.sort(), sources.sort());
  });

  it('is compiled anew only after a change, and keeps nothing of sources that moved', async () => {
    const compiled = () => statSync(join(clone, 'dist/.compiled')).mtimeMs;
    const before = compiled();
    writeFileSync(join(clone, 'dist/spec/moved_since.spec.js'), 'fail();\n');
    await execute(process.execPath, ['compile.js'], clone);
    assert.equal(compiled(), before);
    assert.ok(!existsSync(join(clone, 'dist/spec/moved_since.spec.js')));
    writeFileSync(join(clone, 'lib/new.ts'), 'export const answer: number = 42;\n');
    await execute(process.execPath, ['compile.js'], clone);
    assert.ok(existsSync(join(clone, 'dist/lib/new.js')));
    rmSync(join(clone, 'lib/new.ts'));
    await execute(process.execPath, ['compile.js'], clone);
    assert.ok(!existsSync(join(clone, 'dist/lib/new.js')) && !existsSync(join(clone, 'dist/lib/new.d.ts')));
    writeFileSync(join(clone, 'lib/wrong.ts'), 'export const answer: number = true;\n');
    await assert.rejects(execute(process.execPath, ['compile.js'], clone), /Command failed/);
    rmSync(join(clone, 'lib/wrong.ts'));
  });

  it('is not published without the addresses that README.md needs on npm\'s page', async () => {
    const publish = (folder: string) => execute(process.execPath, [resolve('prepublish.js')], folder);
    await assert.rejects(publish(project), /package\.json: has no repository, no homepage, no bugs; as in: npm pkg set/);
    const addresses = { repository: 'github:owner/name', homepage: 'https://name.example', bugs: 'https://name.example/bugs' };
    const elsewhere = join(project, 'with-addresses');
    mkdirSync(elsewhere);
    writeFileSync(join(elsewhere, 'package.json'), JSON.stringify(addresses));
    await publish(elsewhere);
  });

  it('has every file that its package.json names', () => {
    const { main, types, bin, exports, browser, files } = manifest as { main: string; types: string; files: string[] } & Record<string, object>;
    const named: unknown[] = [main, types, ...files, ...Object.values(bin), exports, ...Object.entries(browser)];
    const paths = JSON.stringify(named).match(/(?<=")\.?\/?(dist|lib|models)\/[^"*]+/g)!;
    assert.ok(paths.length > 15);
    assert.deepEqual(paths.filter(path => !existsSync(installed(path))), []);
  });

  it('is imported by ESM and by require, as one module', async () => {
    const expected = 'DiffusionPipeline 4.22.0\n';
    writeFileSync(join(project, 'import.js'), IMPORT);
    writeFileSync(join(project, 'require.cjs'), REQUIRE);
    assert.deepEqual((await run(process.execPath, ['import.js'])).stdout, expected);
    assert.deepEqual((await run(process.execPath, ['require.cjs'])).stdout, expected);
    writeFileSync(join(project, 'paths.js'), `console.log(import.meta.resolve('tfjs-diffusers/models/shapes/model_index.json'), import.meta.resolve('tfjs-diffusers/package.json'));`);
    assert.match((await run(process.execPath, ['paths.js'])).stdout, /models\/shapes\/model_index\.json .*package\.json\n$/);
    assert.match((await run(process.execPath, ['node_modules/tfjs-diffusers/dist/lib/cli.js', '--version'])).stdout, /^0\./);
  });

  it('has types under strict, however modules are resolved', async () => {
    const [, program] = /^```ts\n(.*?)^```/ms.exec(readFileSync('README.md', 'utf8'))!;
    writeFileSync(join(project, 'program.ts'), `${program}\nimport { tf } from 'tfjs-diffusers';\nexport const sum: tf.Tensor = tf.add(1, 2);\n`);
    for (const [module, moduleResolution] of [['node16', 'node16'], ['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
      const options = ['--strict', '--noEmit', '--target', 'es2022', '--skipLibCheck', '--module', module, '--moduleResolution', moduleResolution];
      await run(process.execPath, [compiler, ...options, 'program.ts']).catch(({ stdout }) => assert.fail(`${moduleResolution}: ${stdout}`));
    }
  });

  it('says in one sentence that there is a second TensorFlow.js', async () => {
    const copies = join(project, 'node_modules/other/node_modules');
    for (const name of readdirSync(join(project, 'node_modules/@tensorflow'))) {
      cpSync(join(project, 'node_modules/@tensorflow', name), join(copies, '@tensorflow', name), { recursive: true, filter: path => !/\.(map|wasm)$|\.min\.js$|es2017/.test(path) });
    }
    writeFileSync(join(project, 'node_modules/other/index.js'), `module.exports = require('@tensorflow/tfjs');`);
    const sentences = async (...lines: string[]) => {
      writeFileSync(join(project, 'two.js'), lines.join('\n'));
      const { stderr } = await run(process.execPath, ['two.js']);
      return stderr.split('\n').filter(line => /^tfjs-diffusers: this program has loaded two copies of @tensorflow\/tfjs/.test(line)).length;
    };
    const [ours, its, other, start] = [
      `import { useDevice } from 'tfjs-diffusers';`, `import '@tensorflow/tfjs';`, `import 'other/index.js';`, `await useDevice('wasm'); await useDevice('wasm');`,
    ];
    assert.equal(await sentences(ours, other, start), 1);
    assert.equal(await sentences(other, ours, start), 1);
    assert.equal(await sentences(its, ours, its, start), 0);
  });
});

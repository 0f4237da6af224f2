import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = 'docs/docker';

/** No image is built: what these files say of this package is compared with it. */
describe('Files for Docker', () => {
  const files = readdirSync(FOLDER).filter(name => !name.endsWith('.dockerignore'));
  const texts = new Map(files.map(name => [name, readFileSync(join(FOLDER, name), 'utf8')]));
  const commands = [...texts].flatMap(([name, text]) => [
    ...[...text.matchAll(/(?:^CMD|command:) (\[.*\])$/gm)].map(([, list]) => ({ name, words: JSON.parse(list) as string[] })),
    ...[...text.matchAll(/npx tfjs-diffusers (.*)$/gm)].map(([, line]) => ({ name, words: line.split(' ') })),
  ]).filter(({ words }) => words[0] !== 'redis-server');

  it('call commands and options that there are', () => {
    assert.deepEqual([...new Set(commands.map(({ words }) => words[0]))].sort(), ['serve', 'setup', 'work']);
    for (const { name, words: [command, ...words] } of commands) {
      const help = execFileSync(process.execPath, ['dist/lib/cli.js', command, '--help'], { encoding: 'utf8' });
      for (const option of words.filter(word => word.startsWith('--'))) assert.match(help, new RegExp(`^ +${option} `, 'm'), `${name}: ${command} ${option}`);
    }
  });

  it('name files that there are, and an entry that the package has', () => {
    const { bin } = JSON.parse(readFileSync('package.json', 'utf8')) as { bin: Record<string, string> };
    for (const [name, text] of texts) {
      for (const [, path] of text.matchAll(/(docs\/docker\/[\w.]+)/g)) assert.ok(existsSync(path), `${name}: ${path}`);
      for (const [, entry] of text.matchAll(/^ENTRYPOINT (\[.*\])$/gm)) {
        assert.deepEqual(JSON.parse(entry), ['node', `node_modules/tfjs-diffusers/${bin['tfjs-diffusers']}`]);
      }
    }
  });

  it('share a queue and a store, and install what both take', () => {
    const shared = commands.filter(({ name }) => name === 'compose.yaml').map(({ words }) => words.slice(1, 5));
    assert.deepEqual(shared, [shared[0], shared[0]]);
    const { peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { peerDependencies: Record<string, string> };
    for (const name of ['Dockerfile', 'Dockerfile.cuda']) {
      const [, installed] = /npm install \S+ (.*?) &&/.exec(texts.get(name)!)!;
      for (const each of installed.split(' ')) assert.ok(each in peerDependencies, each);
    }
  });
});

// npm runs this before it packs, links or installs this package, from git too: so there is no package without code, nor with code of another day.
// It is JavaScript because it comes before anything is compiled.
import { execFileSync, execSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

// Said again because an outer npm hands its own options down: a program's `npm install --omit=dev ../clone` must not take the compiler away.
const options = '--ignore-scripts --include=dev --location=project --no-dry-run --loglevel=error';
const compiler = 'node_modules/typescript/bin/tsc';
if (!existsSync(compiler)) execSync(`npm ci ${options}`, { stdio: 'inherit' });
execFileSync(process.execPath, [compiler], { stdio: 'inherit' });

for (const folder of ['lib', 'weights-converter']) {
  for (const file of readdirSync(join('dist', folder), { recursive: true })) {
    const [, stem] = /^(.*?)(?:\.d)?\.[jt]s$/.exec(file) ?? [];
    if (stem && !existsSync(join(folder, `${stem}.ts`))) rmSync(join('dist', folder, file)); // its source was moved
  }
}

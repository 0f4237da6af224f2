// npm runs this before it packs, links or installs this package, from git too: there is no package without code, nor with code of another day.
// It is JavaScript because it comes before anything is compiled.
import { execSync } from 'node:child_process';
import { existsSync } from 'node:fs';

// Said again because an outer npm hands its options down: a program's `npm install --omit=dev ../clone` must not take the compiler away.
const options = '--ignore-scripts --include=dev --location=project --no-dry-run --loglevel=error';
if (!existsSync('node_modules/typescript/bin/tsc')) execSync(`npm ci ${options}`, { stdio: 'inherit' });
await import('./compile.js');

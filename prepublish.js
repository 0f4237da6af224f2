// npm runs this before it publishes: without an address of the sources, the pictures and links of README.md lead nowhere on npm's page.
import { readFileSync } from 'node:fs';

const missing = ['repository', 'homepage', 'bugs'].filter(field => !(field in JSON.parse(readFileSync('package.json', 'utf8'))));
if (missing.length > 0) {
  console.error(`package.json: has no ${missing.join(', no ')}; as in: npm pkg set repository=github:owner/name homepage=https://... bugs=https://...`);
  process.exit(1);
}

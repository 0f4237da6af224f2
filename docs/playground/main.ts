import { parseArgs } from 'node:util';
import { buildSite } from './build.js';
import { StaticServer } from './server.js';

// npm run playground [-- --port 8080]: builds the site and serves it; npm run playground:build only builds it.
const { values } = parseArgs({ options: { port: { type: 'string', default: '8080' }, build: { type: 'boolean', default: false } } });
const folder = 'dist/playground';
const { scriptBytes } = await buildSite(folder);
const kilobytes = Object.entries(scriptBytes).map(([what, bytes]) => `${what} ${Math.round(bytes / 1000)} kB`);
console.log(`${folder}: scripts of ${kilobytes.join(', ')}`);
if (!values.build) {
  const port = Number(values.port);
  try {
    const { url } = await StaticServer.start(folder, { port });
    console.log(`The playground is at ${url} (Ctrl-C ends it)`);
  } catch (error) {
    console.error(`Port ${port} cannot be taken: ${(error as Error).message}; choose another with -- --port`);
    process.exitCode = 1;
  }
}

import { buildSite } from './build.js';
import { StaticServer } from './server.js';

// npm run playground [-- --port 8080]: builds the site and serves it; npm run playground:build only builds it.
const folder = 'dist/playground';
const { scriptBytes } = await buildSite(folder);
const kilobytes = Object.entries(scriptBytes).map(([what, bytes]) => `${what} ${Math.round(bytes / 1000)} kB`);
console.log(`${folder}: scripts of ${kilobytes.join(', ')}`);
if (!process.argv.includes('--build')) {
  const port = Number(process.argv[process.argv.indexOf('--port') + 1] || 8080);
  try {
    const { url } = await StaticServer.start(folder, { port });
    console.log(`The playground is at ${url} (Ctrl-C ends it)`);
  } catch (error) {
    console.error(`Port ${port} cannot be taken: ${(error as Error).message}; choose another with -- --port`);
    process.exitCode = 1;
  }
}

import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';

const usualPlaces = [
  '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:/Program Files/Google/Chrome/Application/chrome.exe',
];

/** A Chromium of this machine: the one that CHROMIUM names, or one in a usual place. */
export const chromiumPath = [process.env.CHROMIUM, ...usualPlaces].find(path => path && existsSync(path));

/** Whether the specs that take a browser run, said in their titles where they do not. */
export const describeInBrowser = (title: string, body: () => void) => {
  if (chromiumPath) describe(title, body);
  else describe.skip(`${title} (there is no Chromium: install one, or set CHROMIUM to its path)`, body);
};

/** Milliseconds that a page may take for a step: no more than a guard, since other specs may keep the processor busy. */
export const PATIENCE = 120_000;

/** Headless, with GPUs in software, and silent on the network. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: chromiumPath, timeout: PATIENCE,
    args: [
      '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--enable-unsafe-swiftshader', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader',
    ],
  });
}

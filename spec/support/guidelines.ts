import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';

/** Has a page know axe, which `violations` asks. */
export async function bringAxe(page: Page): Promise<void> {
  await page.evaluate(readFileSync('node_modules/axe-core/axe.min.js', 'utf8'));
}

/** Rules of axe that the page breaks, each with the element. */
export function violations(page: Page): Promise<string[]> {
  return page.evaluate(`axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ': ' + html)))`);
}

/** What a finger can hardly hit, by the 44 pixels of the guidelines of Apple and WCAG 2.5.5. */
export function smallTargets(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const targets = [...document.querySelectorAll<HTMLElement>('button, a, select, summary, textarea, input:not([type=checkbox], [type=radio]), label.check, .segments label, .paint')];
    return targets.filter(each => each.checkVisibility()).flatMap(each => {
      const { width, height } = each.getBoundingClientRect();
      return Math.min(width, height) < 43.99 ? [`${width} x ${height}: ${each.outerHTML}`] : [];
    });
  });
}

/** All of the page, in one window: while a `fullPage` screenshot is taken, Chromium forgets that there are fingers. */
export async function takePicture(page: Page, path: string): Promise<void> {
  const { width, height } = page.viewportSize()!;
  await page.setViewportSize({ width, height: await page.evaluate(() => document.documentElement.scrollHeight) });
  await page.screenshot({ path });
  await page.setViewportSize({ width, height });
}

/** Elements that stick out of the page. */
export function sticksOut(page: Page): Promise<number> {
  return page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - innerWidth));
}

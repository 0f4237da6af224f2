import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new folder for each test of the surrounding `describe`, removed after it. */
export function temporaryFolder(): () => string {
  let folder = '';
  beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'spec-')); });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  return () => folder;
}

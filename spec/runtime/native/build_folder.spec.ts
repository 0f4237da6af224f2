import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../../../lib/core/package.js';
import { ADDONS_DIGEST, buildFolder } from '../../../lib/runtime/native/build_folder.js';

describe('the folder of a build', () => {
  it('has another name for other sources of the addons', () => {
    const sources = ['binding.cc', 'quiet.cc'].map(name => readFileSync(join(packageFolder(), 'lib', 'runtime', 'native', 'addon', name)));
    assert.equal(ADDONS_DIGEST, createHash('sha256').update(Buffer.concat(sources)).digest('hex').slice(0, 8), 'write the new digest into build_folder.ts');
    assert.match(buildFolder('cpu'), new RegExp(`-${ADDONS_DIGEST}$`));
  });
});

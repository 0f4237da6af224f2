import assert from 'node:assert/strict';
import { fuzz } from './fuzz.js';
import { hostileTargets } from './targets.js';

describe('Hostile files', () => {
  it('are read or refused by name, whatever is spoilt in them (npm run fuzz tries more)', async () => {
    for (const target of await hostileTargets()) {
      const { cases, read } = await fuzz(target, 300);
      assert.ok(read < cases, `${target.name}: nothing was refused`);
    }
  });

  it('are read as they are when nothing is spoilt', async () => {
    for (const { name, seeds, read } of await hostileTargets()) {
      if (name !== 'pickle' && name !== 'safetensors' && name !== 'safetensors header') await read(seeds[0]);
    }
  });
});

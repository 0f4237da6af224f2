import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { parseLora } from '../../lib/adapters/lora_weights.js';
import type { StateDict, StoredTensor } from '../../lib/loading/state_dict.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { torchShape } from '../../lib/weights/layouts.js';
import { captureWarnings } from '../support/warnings.js';

/** Module of SGM's UNet, dots as underscores -> diffusers' path. */
const golden: Record<string, string> = JSON.parse(gunzipSync(readFileSync('spec/golden/lora/sgm.json.gz')).toString());
const { xl } = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/ldm.json.gz')).toString()) as { xl: { unet: object } };

describe('LoRAs of SDXL in SGM\'s names', () => {
  const specs = new UNet2DConditionModel(xl.unet).parameterSpecs(); // at full size: nothing is allocated
  const zeros = (shape: readonly number[]): StoredTensor => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });

  /** A LoRA of rank 1 for these modules, by how a file names them. */
  function file(modules: ReadonlyMap<string, string>): StateDict {
    const tensors = new Map([...modules].flatMap(([name, path]): Array<[string, StoredTensor]> => {
      const [outputs, ...inputs] = torchShape(specs.get(`${path}.weight`)!);
      return [[`lora_unet_${name}.lora_down.weight`, zeros([1, ...inputs])],
        [`lora_unet_${name}.lora_up.weight`, zeros([outputs, 1, ...inputs.slice(1).map(() => 1)])], [`lora_unet_${name}.alpha`, zeros([])]];
    }));
    return { name: 'style.safetensors', metadata: {}, tensors };
  }

  it('are found module by module where diffusers finds them', () => {
    for (const [name, path] of Object.entries(golden)) {
      const { unet } = parseLora(file(new Map([[name, path]])), { unet: specs });
      assert.deepEqual([...unet.keys()], [`${path}.weight`], name);
    }
  });

  it('are taken together, and in diffusers\' names as well', () => {
    assert.equal(parseLora(file(new Map(Object.entries(golden))), { unet: specs }).unet.size, Object.keys(golden).length);
    const names = new Map(Object.values(golden).map(path => [path.replaceAll('.', '_'), path]));
    assert.equal(parseLora(file(names), { unet: specs }).unet.size, names.size);
  });

  it('for a smaller UNet, whose layers SDXL has too, are told by one line', async () => {
    const pick = (fits: (path: string, block: number) => boolean) => file(new Map(Object.values(golden)
      .filter(path => fits(path, Number(/transformer_blocks\.(\d+)/.exec(path)?.[1] ?? -1))).map(path => [path.replaceAll('.', '_'), path])));
    const warningsOf = (lora: StateDict) => captureWarnings(() => parseLora(lora, { unet: specs }));
    // SSD-1B has four of ten blocks on the way down and at first on the way up, one of two in the last layers, and none in the middle.
    const ssd = pick((path, block) => !path.startsWith('mid_block.') && block >= 0
      && block < (/^(down_blocks\.2|up_blocks\.0\.attentions\.0)\./.test(path) ? 4 : /^up_blocks\.1\.attentions\.[12]/.test(path) ? 1 : 10));
    assert.deepEqual(await warningsOf(ssd), ['style.safetensors: fits no more than the first 4 of 10 transformer blocks of down_blocks.2.attentions.0, and ' +
      'some of 4 other places: it seems to be for a smaller UNet, as that of SSD-1B, and pictures may not be what it was made for']);
    for (const whole of [pick(() => true), pick(path => path.startsWith('up_blocks.0.attentions.1.')), pick((_, block) => block === 5)]) {
      assert.deepEqual(await warningsOf(whole), []);
    }
  });

  it('name what there is no place for', () => {
    const strange = file(new Map([['input_blocks_4_1_proj_in', 'down_blocks.1.attentions.0.proj_in']]));
    const tensors = new Map([...strange.tensors].map(([key, tensor]) => [key.replace('blocks_4', 'blocks_44'), tensor]));
    assert.throws(() => parseLora({ ...strange, tensors }, { unet: specs }), /unexpected lora_unet_input_blocks_44_1_proj_in\.lora_down\.weight/);
  });
});

/** What CompVis' code, and SGM's after it, calls the modules of a UNet: the way back of ldm_keys.ts, for files that name modules alone. */

const RESNET: Readonly<Record<string, string>> = {
  norm1: 'in_layers.0', conv1: 'in_layers.2', time_emb_proj: 'emb_layers.1', norm2: 'out_layers.0', conv2: 'out_layers.3',
  conv_shortcut: 'skip_connection',
};

const ENDS: Readonly<Record<string, string>> = {
  conv_in: 'input_blocks.0.0', conv_norm_out: 'out.0', conv_out: 'out.2',
  'time_embedding.linear_1': 'time_embed.0', 'time_embedding.linear_2': 'time_embed.2',
  'add_embedding.linear_1': 'label_emb.0.0', 'add_embedding.linear_2': 'label_emb.0.2',
};

/** The name of each of a UNet's modules, of those that diffusers' names are given of, as far as they have one there. */
export function ldmModules(modules: readonly string[]): Map<string, string> {
  const layers = modules.filter(path => /^down_blocks\.0\.resnets\.\d+\.conv1$/.test(path)).length;
  const attends = new Set(modules.map(path => /^(up_blocks\.\d+)\.attentions\./.exec(path)?.[1]));
  return new Map(modules.flatMap(path => {
    const name = ldmModule(path, layers, attends);
    return name === undefined ? [] : [[path, name] as const];
  }));
}

function ldmModule(path: string, layers: number, attends: ReadonlySet<string | undefined>): string | undefined {
  if (ENDS[path]) return ENDS[path];
  const [, middle, middleIndex, inMiddle] = /^mid_block\.(resnets|attentions)\.(\d+)\.(.*)$/.exec(path) ?? [];
  if (middle) return middle === 'attentions' ? `middle_block.1.${inMiddle}` : `middle_block.${2 * Number(middleIndex)}.${RESNET[inMiddle]}`;
  const [, way, block, kind, index, rest] = /^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)$/.exec(path) ?? [];
  if (!way) return undefined;
  const first = Number(block) * (layers + 1) + (way === 'down' ? 1 : 0);
  const blocks = `${way === 'down' ? 'input' : 'output'}_blocks`;
  switch (kind) {
    case 'resnets': return `${blocks}.${first + Number(index)}.0.${RESNET[rest]}`;
    case 'attentions': return `${blocks}.${first + Number(index)}.1.${rest}`;
    case 'downsamplers': return `${blocks}.${first + layers}.0.op`;
    default: return `${blocks}.${first + layers}.${attends.has(`up_blocks.${block}`) ? 2 : 1}.conv`;
  }
}

import { Conv2d, DiffusionPipeline, Generator, Linear, scaledDotProductAttention, tf, UNet2DConditionModel, type Block, type Device, type Image, type ModelFolder } from '../../../lib/index.js';
import type { Size, Trial } from './measure.js';
import type { Part } from './report.js';

/** The picture that is made. */
export const PICTURE = { prompt: 'a red circle on a white background', seed: 0 };

/** UNets by their channels: as large as that of Stable Diffusion 1.5, and narrower ones, which all devices have memory for. */
export const FULL = { name: 'as in Stable Diffusion 1.5', channels: [320, 640, 1280, 1280] };
const FIFTH = { name: 'a fifth as wide', channels: [64, 128, 256, 256] };
const TENTH = { name: 'a tenth as wide', channels: [32, 64, 128, 128] };
const TEXT = { tokens: 77, features: 768 };

/** What the parts need of where they run. */
export interface Place {
  device: Device;
  /** Whether the full UNet's weights may have a place there. */
  takesFull: boolean;
  /** The bundled model. */
  openModel(): Promise<ModelFolder | string>;
  /** Gets the picture. */
  show(image: Image): Promise<void>;
}

/** Each part, smallest size first. */
export function sizesOf(part: Part, place: Place): Size[] {
  switch (part) {
    case 'matrixProduct': return [128, 256, 512, 1024, 2048].map(matrixProduct);
    case 'attention': return [64, 256, 1024, 4096].map(tokens => attention(tokens, 8, 40));
    case 'convolution': return [8, 16, 32, 64].map(side => convolution(side, 320));
    case 'picture': return [1, 5, 20].map(steps => picture(steps, place));
    case 'unet': return [
      unet(TENTH, 8, 0.819), unet(FIFTH, 16, 4.84), unet(FIFTH, 32, 18.10), unet(FIFTH, 64, 105.65), ...place.takesFull ? [unet(FULL, 64, 1606.8)] : [],
    ];
  }
}

function matrixProduct(side: number): Size {
  return {
    name: `${side} × ${side} by ${side} × ${side}`, gflop: 2 * side ** 3 / 1e9,
    prepare: async () => computing(new Linear(side, side, { bias: false }), { x: noise([side, side]) }, (layer, { x }) => layer.forward(x)),
  };
}

function attention(tokens: number, heads: number, headSize: number): Size {
  return {
    name: `${tokens} tokens, ${heads} heads of ${headSize}`, gflop: 4 * tokens ** 2 * heads * headSize / 1e9,
    prepare: async () => {
      const inputs = { query: noise([1, tokens, heads * headSize]), key: noise([1, tokens, heads * headSize]), value: noise([1, tokens, heads * headSize]) };
      return computing(undefined, inputs, (_, { query, key, value }) => scaledDotProductAttention(query, key, value, { heads }));
    },
  };
}

function convolution(side: number, channels: number): Size {
  return {
    name: `${side} × ${side}, ${channels} to ${channels} channels, 3 × 3`, gflop: 2 * 9 * side ** 2 * channels ** 2 / 1e9,
    prepare: async () => computing(new Conv2d(channels, channels), { x: noise([1, side, side, channels]) }, (layer, { x }) => layer.forward(x)),
  };
}

/** A step with guidance, which is a batch of two. What it computes was counted, as benchmarks/flops.ts does. */
function unet({ name, channels }: typeof FULL, side: number, gflop: number): Size {
  return {
    name: `${name}, ${side * 8} × ${side * 8} pixels`, gflop,
    prepare: async () => {
      const network = new UNet2DConditionModel({ block_out_channels: channels, cross_attention_dim: TEXT.features });
      const inputs = { sample: noise([2, side, side, 4]), encoderHiddenStates: noise([2, TEXT.tokens, TEXT.features]) };
      return computing(network, inputs, (unet, { sample, encoderHiddenStates }) => unet.forward(sample, 500, { encoderHiddenStates }));
    },
  };
}

function picture(steps: number, { device, openModel, show }: Place): Size {
  return {
    name: `64 × 64 pixels, ${steps} ${steps === 1 ? 'step' : 'steps'}`, steps,
    prepare: async () => {
      const pipe = await DiffusionPipeline.fromPretrained(await openModel(), { device });
      pipe.setProgressBarConfig({ disable: true });
      return {
        run: async times => {
          for (let i = 0; i < times; i++) {
            const { images } = await pipe.generate(PICTURE.prompt, { numInferenceSteps: steps, generator: new Generator().manualSeed(PICTURE.seed) });
            await show(images[0]);
          }
        },
        dispose: () => pipe.dispose(),
      };
    },
  };
}

/** Computes with a network, whose weights are noise, and waits for the device by reading one value. */
function computing<B extends Block | undefined, I extends Record<string, tf.Tensor>>(network: B, inputs: I, compute: (network: B, inputs: I) => tf.Tensor): Trial {
  if (network) fillWithNoise(network);
  return {
    run: async times => {
      for (let i = 1; i < times; i++) compute(network, inputs).dispose();
      const last = tf.tidy(() => tf.slice(tf.reshape(compute(network, inputs), [-1]), 0, 1));
      const [value] = await last.data();
      last.dispose();
      if (!Number.isFinite(value)) throw new Error(`got ${value} for a result`);
    },
    dispose: () => {
      network?.dispose();
      tf.dispose(inputs as tf.TensorContainer);
    },
  };
}

/** Gives matrices and kernels values as torch begins with, made on the device: to draw millions of them in JavaScript takes longer than all else. */
export function fillWithNoise(network: Block): void {
  tf.tidy(() => {
    const drawn = draw();
    for (const [path, { shape, layout }] of network.parameterSpecs()) {
      if (layout === 'plain') continue; // ones for norms, zeros for biases
      const inputs = shape.slice(0, -1).reduce((product, size) => product * size, 1);
      network.setParameter(path, tf.keep(repeat(drawn, shape, 1 / Math.sqrt(inputs))));
    }
  });
}

/** Values from -1 to 1. */
function noise(shape: readonly number[]): tf.Tensor {
  return tf.tidy(() => repeat(draw(), shape, 1));
}

/** As many values as are drawn for a network: a prime number, so that no row of a matrix is as another. */
const DRAWN = 65_521;

function draw(): tf.Tensor {
  return tf.randomUniform([DRAWN], -1, 1, 'float32', 0);
}

/** Drawn values, one after the other and again from the first on, within a scale: what is there is doubled until it is enough, which is copying. */
function repeat(drawn: tf.Tensor, shape: readonly number[], scale: number): tf.Tensor {
  const count = tf.util.sizeFromShape([...shape]);
  return tf.tidy(() => {
    let values = tf.mul(drawn, scale);
    while (values.size < count) values = tf.concat([values, values]);
    return tf.reshape(tf.slice(values, 0, count), [...shape]);
  });
}

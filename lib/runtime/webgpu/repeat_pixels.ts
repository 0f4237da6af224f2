import type { Kernel } from './program.js';

/** Each pixel twice as high and wide, of four channels at a time; a last row or column may be left out. */
export const REPEAT_PIXELS: Kernel = {
  key: 'repeat pixels', inputs: ['x'], components: { result: 4, inputs: [4] }, numbers: ['elements'], code: () => `
  fn main(index: i32) {
    if (index >= uniforms.elements) { return; }
    let fours = uniforms.outShape[3] / 4;
    let pixel = index / fours;
    let column = pixel % uniforms.outShape[2];
    let rows = pixel / uniforms.outShape[2];
    let row = rows % uniforms.outShape[1];
    let image = rows / uniforms.outShape[1];
    let source = (image * uniforms.xShape[1] + row / 2) * uniforms.xShape[2] + column / 2;
    result[index] = x[source * fours + index % fours];
  }`,
};

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, readFileSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PNG } from 'pngjs';
import { Generator } from '../../lib/core/random.js';
import { cannyEdges } from '../../lib/image/edges.js';
import { Image } from '../../lib/image/image.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { ControlNetUnionModel } from '../../lib/models/controlnet_union.js';
import type { ControlNets } from '../../lib/models/controlnets.js';
import { MultiControlNetModel } from '../../lib/models/multi_controlnet.js';
import { SD3ControlNetModel } from '../../lib/models/sd3_controlnet.js';
import { SD3MultiControlNetModel, type SD3ControlNets } from '../../lib/models/sd3_multi_controlnet.js';
import { AutoPipelineForInpainting, AutoPipelineForText2Image, DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusion3ControlNetInpaintingPipeline } from '../../lib/pipelines/controlnet/stable_diffusion_3_controlnet_inpainting.js';
import { StableDiffusionControlNetPipeline } from '../../lib/pipelines/controlnet/stable_diffusion_controlnet.js';
import { StableDiffusionControlNetImg2ImgPipeline } from '../../lib/pipelines/controlnet/stable_diffusion_controlnet_img2img.js';
import { StableDiffusionControlNetInpaintPipeline } from '../../lib/pipelines/controlnet/stable_diffusion_controlnet_inpaint.js';
import { StableDiffusionXLControlNetUnionPipeline } from '../../lib/pipelines/controlnet/stable_diffusion_xl_controlnet_union.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js';
import { useDevice } from '../../lib/runtime/devices.js';
import { DDIMScheduler } from '../../lib/schedulers/index.js';
import { checkedModel } from '../support/checked_model.js';
import { DEMO_CONTROLNET, DEMO_IP_ADAPTER, DEMO_MODEL } from '../support/demo_model.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { TINY, TINY_SD3, TINY_UNION, TINY_XL } from '../support/tiny_pipeline.js';

const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url));

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

describe('tfjs-diffusers', () => {
  const folder = temporaryFolder();

  /** Runs the command line in an empty folder. */
  function run(args: string[], { interruptAfter = '', twice = false, interruptWhen = (): boolean => false } = {}): Promise<Run> {
    return new Promise(resolve => {
      const child = spawn(process.execPath, [cli, ...args], { cwd: folder(), env: { ...process.env, npm_lifecycle_event: '' } });
      const output: Run = { code: null, stdout: '', stderr: '' };
      child.stdout.on('data', text => {
        output.stdout += text;
        if (!interruptAfter || !output.stdout.includes(interruptAfter)) return;
        interruptAfter = '';
        child.kill('SIGINT');
        if (twice) setTimeout(() => child.kill('SIGINT'), 100);
      });
      child.stderr.on('data', text => { output.stderr += text; });
      const timer = setInterval(() => {
        if (!interruptWhen()) return;
        clearInterval(timer);
        child.kill('SIGINT');
      }, 1);
      child.on('close', code => {
        clearInterval(timer);
        resolve({ ...output, code });
      });
    });
  }

  /** Fails with one line on stderr and leaves no file. */
  async function fails(args: string[], code: number, expected: RegExp): Promise<void> {
    const result = await run(args);
    assert.match(result.stderr, expected);
    assert.equal(result.code, code);
    assert.equal(result.stderr.trim().split('\n').length, 1, 'one line');
    assert.deepEqual(readdirSync(folder()), []);
  }

  const pixels = (file: string) => {
    const { data } = PNG.sync.read(readFileSync(join(folder(), file)));
    return [...data.filter((_, i) => i % 4 !== 3)];
  };

  it('tells its version and what it can do', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    assert.deepEqual(await run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
    const { code, stdout } = await run(['--help']);
    assert.equal(code, 0);
    for (const command of ['generate', 'compile', 'convert', 'setup', 'info']) {
      assert.match(stdout, new RegExp(`^ +${command} `, 'm'));
      const help = await run([command, '--help']);
      assert.deepEqual({ code: help.code, stderr: help.stderr }, { code: 0, stderr: '' });
    }
  });

  it('says what this machine has', async () => {
    const { code, stdout } = await run(['info']);
    assert.equal(code, 0);
    assert.match(stdout, /^(->| {2}) wasm +yes/m);
    assert.match(stdout, /--device auto takes (cuda|webgpu|cpu|wasm)/);
    const report = JSON.parse((await run(['info', '--json'])).stdout);
    assert.ok(report.devices.some((each: { device: string }) => each.device === report.auto));
  });

  describe('generate', () => {
    it('makes the picture that the API makes', async () => {
      const { code, stdout, stderr } = await run([
        'generate', 'a red star', '--steps', '3', '--seed', '5', '--scheduler', 'DDIMScheduler', '--guidance-scale', '4',
        '--negative-prompt', 'blue', '--height', '48', '--width', '72', '--device', 'wasm']);
      assert.equal(stderr, '');
      assert.equal(code, 0);
      assert.match(stdout, /^out\.png {2}a red star {2}\(seed 5\)$/m);
      assert.ok(stdout.includes(folder()), 'says where it is');
      const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
      pipe.scheduler = DDIMScheduler.fromConfig(pipe.scheduler.config);
      const { images: [image] } = await pipe.generate('a red star', {
        numInferenceSteps: 3, generator: new Generator().manualSeed(5), guidanceScale: 4, negativePrompt: 'blue', height: 48, width: 72,
      });
      pipe.dispose();
      assert.deepEqual(pixels('out.png'), [...image.data]);
    });

    it('numbers files and seeds, makes grids, and prints JSON', async () => {
      const { code, stdout, stderr } = await run([
        'generate', 'a red star', 'a blue moon', '--num-images', '2', '--steps', '2', '--seed', '7', '--grid', '2x2',
        '--output', 'pictures.PNG', '--model', resolve(DEMO_MODEL), '--json']);
      assert.deepEqual([code, stderr], [0, '']);
      const report = JSON.parse(stdout);
      assert.deepEqual(report.images.map(({ file, prompt, seed }: Record<string, unknown>) => [file, prompt, seed]), [
        ['pictures-0.PNG', 'a red star', 7], ['pictures-1.PNG', 'a red star', 8],
        ['pictures-2.PNG', 'a blue moon', 9], ['pictures-3.PNG', 'a blue moon', 10]]);
      assert.equal(report.grid, 'pictures-grid.PNG');
      assert.deepEqual([report.steps, report.guidanceScale, report.scheduler], [2, 7.5, 'PNDMScheduler']);
      assert.equal(readdirSync(folder()).length, 5);
      const grid = pixels('pictures-grid.PNG');
      assert.equal(grid.length, 128 * 128 * 3);
      assert.deepEqual(grid.slice(0, 64 * 3), pixels('pictures-0.PNG').slice(0, 64 * 3));
      await run(['generate', 'a blue moon', '--steps', '2', '--seed', '10', '--quiet']);
      assert.deepEqual(pixels('out.png'), pixels('pictures-3.PNG'), 'seed + index');
    });

    it('says which pictures the safety checker gave black', async () => {
      const { stdout, stderr } = await run([
        'generate', 'a red circle', '--model', checkedModel(folder()), '--num-images', '2', '--steps', '3', '--seed', '0', '--safety-checker', '--json', '--device', 'wasm']);
      const { images } = JSON.parse(stdout) as { images: Array<{ file: string; nsfwContentDetected: boolean }> };
      assert.deepEqual(images.map(image => image.nsfwContentDetected), [false, true]);
      assert.deepEqual(images.map(({ file }) => pixels(file).every(byte => byte === 0)), [false, true]);
      assert.match(stderr, /a picture may not be safe for work, and given black instead/);
    });

    it('takes any seed of 64 bits, or draws one and says which', async () => {
      const common = ['generate', 'a red star', '--steps', '1', '--height', '16', '--width', '16', '--device', 'wasm'];
      const seeds = async (...args: string[]) => JSON.parse((await run([...common, '--json', ...args])).stdout).images.map(({ seed }: { seed: unknown }) => seed);
      assert.deepEqual(await seeds('--seed', '18446744073709551615', '--num-images', '2'), ['18446744073709551615', 0]);
      const { stdout } = await run([...common, '--seed', '-1', '--output', 'drawn.png']);
      const [, drawn] = /^drawn\.png {2}a red star {2}\(seed (\d+)\)$/m.exec(stdout) ?? [];
      assert.deepEqual(await seeds('--seed', drawn, '--output', 'again.png'), [Number(drawn)]);
      assert.deepEqual(pixels('again.png'), pixels('drawn.png'));
      for (const seed of ['-2', '18446744073709551616', '1.5', 'x', '']) {
        const { code, stderr } = await run([...common, '--seed', seed]);
        assert.deepEqual([code, /It takes a whole number from 0 to 18446744073709551615, or -1 to draw one\.\n$/.test(stderr)], [2, true], stderr);
      }
    });

    it('tells where the time went, and writes a trace of it', async () => {
      const { code, stdout } = await run(['generate', 'a red star', '--steps', '2', '--device', 'wasm', '--profile', 'trace.json']);
      assert.equal(code, 0);
      assert.match(stdout, /^unet +3 +[\d.]+ +[\d.]+%$/m);
      assert.match(stdout, /^Conv2d +\d+ +[\d.]+ +[\d.]+%$/m);
      const { traceEvents } = JSON.parse(readFileSync(join(folder(), 'trace.json'), 'utf8'));
      assert.ok(traceEvents.some(({ name }: { name: string }) => name === 'unet.mid_block.attentions.0'));
      const report = JSON.parse((await run(['generate', 'a red star', '--steps', '1', '--json', '--profile'])).stdout);
      assert.ok(report.profile.networks.some(({ name }: { name: string }) => name === 'unet')); // of one step, any network may take most
    });

    it('begins from pictures, wears LoRAs, knows learned words, and writes down how', async () => {
      const red = new Image(new Uint8Array(16 * 16 * 3).map((_, i) => i % 3 ? 0 : 255), 16, 16);
      const white = new Image(new Uint8Array(16 * 16 * 3).fill(255), 16, 16);
      await red.save(join(folder(), 'red.png'));
      await white.save(join(folder(), 'white.png'));
      const more = ['--lora', resolve('spec/golden/lora'), '--lora-scale', '0.5', '--embedding', `<hat>=${resolve('spec/golden/textual_inversion/hat.pt')}`];
      const common = ['generate', 'a <hat>', '--model', resolve(TINY), '--device', 'wasm', '--steps', '4', '--seed', '5', '--quiet'];
      assert.deepEqual(await run([...common, ...more, '--image', 'red.png', '--strength', '0.5', '--output', 'changed.png']), { code: 0, stdout: '', stderr: '' });
      assert.deepEqual(await run([...common, '--image', 'red.png', '--mask', 'white.png', '--output', 'painted.png']), { code: 0, stdout: '', stderr: '' });
      const [changed, painted] = await Promise.all(['changed.png', 'painted.png'].map(file => Image.open(join(folder(), file))));

      const pipe = await StableDiffusionImg2ImgPipeline.fromPretrained(TINY, { device: 'wasm' });
      const options = { numInferenceSteps: 4, generator: new Generator().manualSeed(5) };
      const inpaint = new StableDiffusionInpaintPipeline(pipe.components);
      assert.deepEqual((await inpaint.generate('a <hat>', { ...options, image: red, maskImage: white })).images, [painted]);
      await pipe.loadLoraWeights('spec/golden/lora', { adapterScale: 0.5 });
      await pipe.loadTextualInversion('spec/golden/textual_inversion/hat.pt', { token: '<hat>' });
      options.generator.manualSeed(5);
      assert.deepEqual((await pipe.generate('a <hat>', { ...options, image: red, strength: 0.5 })).images, [changed]);
      pipe.dispose();
      assert.match(changed.text.parameters, /^a <hat>\nSteps: 4, Sampler: PLMS, CFG scale: 7\.5, Seed: 5, Size: 16x16, Denoising strength: 0\.5$/);
    });

    it('is steered by a picture, or by the edges of one', async () => {
      const circle = new Image(Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => {
        const [x, y] = [Math.floor(i / 3) % 64 - 44, Math.floor(i / 192) - 20];
        return x * x + y * y < 14 ** 2 ? 255 : 0;
      }), 64, 64);
      await circle.save(join(folder(), 'circle.png'));
      await circle.resize(128, 128).save(join(folder(), 'large.png'));
      const edges = cannyEdges(circle);
      await edges.save(join(folder(), 'edges.png'));
      const common = ['generate', 'a red circle on white', '--device', 'wasm', '--steps', '4', '--quiet', '--controlnet', resolve(DEMO_CONTROLNET)];
      const draw = async (...args: string[]) => {
        assert.deepEqual(await run([...common, ...args]), { code: 0, stdout: '', stderr: '' });
        return (await Image.open(join(folder(), 'out.png'))).toRgb();
      };
      const drawn = await draw('--control-image', 'edges.png', '--controlnet-scale', '0.9');
      assert.deepEqual((await draw('--control-image', 'circle.png', '--canny', '--controlnet-scale', '0.9')).data, drawn.data);
      const sized = await draw('--control-image', 'large.png', '--canny', '--width', '64', '--height', '48');
      assert.deepEqual([sized.width, sized.height], [64, 48]);
      await new Image(new Uint8Array(64 * 64 * 3).fill(255), 64, 64).save(join(folder(), 'white.png'));
      const painted = await draw('--image', 'circle.png', '--mask', 'white.png', '--control-image', 'edges.png');
      const begun = await draw('--image', 'circle.png', '--strength', '0.5', '--control-image', 'large.png', '--canny');

      await useDevice('wasm');
      const controlnet = await ControlNetModel.fromPretrained(DEMO_CONTROLNET);
      const pipe = await StableDiffusionControlNetPipeline.fromPretrained(DEMO_MODEL, { controlnet, device: 'wasm' });
      const options = { numInferenceSteps: 4, generator: new Generator().manualSeed(0) };
      const { images: [image] } = await pipe.generate('a red circle on white', { ...options, image: edges, controlnetConditioningScale: 0.9 });
      assert.deepEqual(image.data, drawn.data);
      options.generator.manualSeed(0);
      const img2img = new StableDiffusionControlNetImg2ImgPipeline(pipe.components);
      const controlImage = cannyEdges(circle.resize(128, 128).resize(64, 64));
      const { images: [again] } = await img2img.generate('a red circle on white', { ...options, image: circle, strength: 0.5, controlImage });
      assert.deepEqual(again.data, begun.data);
      options.generator.manualSeed(0);
      const maskImage = await Image.open(join(folder(), 'white.png'));
      const inpaint = new StableDiffusionControlNetInpaintPipeline(pipe.components);
      const { images: [anew] } = await inpaint.generate('a red circle on white', { ...options, image: circle, maskImage, controlImage: edges });
      assert.deepEqual(anew.data, painted.data);
      pipe.dispose();
    });

    it('is steered by several pictures, through several ControlNets or by several modes of one', async () => {
      const pictures = [0, 1].map(k => new Image(Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => i * (k + 3) % 256), 16, 16));
      await Promise.all(pictures.map((picture, i) => picture.save(join(folder(), `${i}.png`))));
      await useDevice('wasm');
      const golden = (name: string) => resolve('spec/golden/pipelines', name);
      const controlnets: Record<string, ControlNets | SD3ControlNets> = {
        [TINY]: new MultiControlNetModel(await Promise.all(['controlnet_0', 'controlnet_1'].map(name => ControlNetModel.fromPretrained(golden(name))))),
        [TINY_SD3]: new SD3MultiControlNetModel(
          await Promise.all(['controlnet_sd3_image_0', 'controlnet_sd3_image_1'].map(name => SD3ControlNetModel.fromPretrained(golden(name)))),
        ),
        [TINY_XL]: await ControlNetUnionModel.fromPretrained(TINY_UNION),
      };
      const nets = (...names: string[]) => names.flatMap(name => ['--controlnet', golden(name)]);
      const cases: Array<[string, string[], object]> = [
        [TINY, [...nets('controlnet_0', 'controlnet_1'), '--controlnet-scale', '0.9', '--controlnet-scale', '0.4', '--control-guidance-end', '0.8'],
          { image: pictures, controlnetConditioningScale: [0.9, 0.4], controlGuidanceEnd: 0.8 }],
        [TINY, [...nets('controlnet_0', 'controlnet_1'), '--control-guidance-start', '0', '--control-guidance-start', '0.5'],
          { image: pictures, controlGuidanceStart: [0, 0.5] }],
        [TINY_SD3, [...nets('controlnet_sd3_image_0', 'controlnet_sd3_image_1'), '--controlnet-scale', '0.7'],
          { controlImage: pictures, controlnetConditioningScale: 0.7 }],
        [TINY_XL, ['--controlnet', resolve(TINY_UNION), '--control-mode', '3', '--control-mode', '1', '--controlnet-scale', '1', '--controlnet-scale', '0.5'],
          { controlImage: pictures, controlMode: [3, 1], controlnetConditioningScale: [1, 0.5] }],
      ];
      for (const [model, args, options] of cases) {
        const common = ['--model', resolve(model), '--steps', '3', '--width', '16', '--height', '16', '--device', 'wasm', '--quiet'];
        const given = [...args, '--control-image', '0.png', '--control-image', '1.png'];
        assert.deepEqual(await run(['generate', 'a star', ...common, ...given]), { code: 0, stdout: '', stderr: '' });
        const pipe = await AutoPipelineForText2Image.fromPretrained(model, { device: 'wasm', controlnet: controlnets[model] });
        const settings = { numInferenceSteps: 3, width: 16, height: 16, generator: new Generator().manualSeed(0), ...options };
        assert.deepEqual((await Image.open(join(folder(), 'out.png'))).toRgb().data, (await pipe.generate('a star', settings)).images[0].data);
      }
      Object.values(controlnets).forEach(each => each.dispose());
    });

    it('paints by a ControlNet of Stable Diffusion 3 that sees the picture and the mask', async () => {
      const picture = new Image(Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => i % 251), 16, 16);
      const mask = new Image(Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => Math.floor(i / 3) % 16 < 8 ? 255 : 0), 16, 16);
      await picture.save(join(folder(), 'in.png'));
      await mask.save(join(folder(), 'mask.png'));
      const net = resolve('spec/golden/pipelines/controlnet_sd3_masked');
      const args = ['generate', 'a star', '--model', resolve(TINY_SD3), '--steps', '2', '--width', '16', '--height', '16', '--device', 'wasm', '--quiet',
        '--controlnet', net, '--control-image', 'in.png', '--image', 'in.png', '--mask', 'mask.png'];
      assert.deepEqual(await run(args), { code: 0, stdout: '', stderr: '' });
      const controlnet = await SD3ControlNetModel.fromPretrained(net);
      const pipe = await AutoPipelineForInpainting.fromPretrained(TINY_SD3, { device: 'wasm', controlnet }) as unknown as StableDiffusion3ControlNetInpaintingPipeline;
      const { images } = await pipe.generate('a star', { numInferenceSteps: 2, width: 16, height: 16, generator: new Generator().manualSeed(0), controlImage: picture, controlMask: mask });
      assert.deepEqual((await Image.open(join(folder(), 'out.png'))).toRgb().data, images[0].data);
      controlnet.dispose();
      assert.match((await run([...args, '--strength', '0.5'])).stderr, /^error: --strength: this ControlNet only sees the picture, and all of it is drawn$/m);
    });

    it('is led by a picture', async () => {
      const style = new Image(Uint8Array.from({ length: 70 * 90 * 3 }, (_, i) => i % 3 === 0 || i < 10_000 ? 220 : 30), 70, 90);
      await style.save(join(folder(), 'style.png'));
      await new Image(new Uint8Array(64 * 64 * 3).fill(128), 64, 64).save(join(folder(), 'grey.png'));
      const common = ['generate', 'a circle', '--device', 'wasm', '--steps', '4', '--quiet', '--ip-adapter-image', 'style.png'];
      const draw = async (...args: string[]) => {
        assert.deepEqual(await run([...common, ...args]), { code: 0, stdout: '', stderr: '' });
        return (await Image.open(join(folder(), 'out.png'))).toRgb();
      };
      const drawn = await draw('--ip-adapter', resolve(DEMO_IP_ADAPTER), '--ip-adapter-scale', '0.8');
      const inFolder = ['--ip-adapter', resolve('models'), '--ip-adapter-weights', 'shapes-ip-adapter/ip_adapter.safetensors'];
      const begun = await draw(...inFolder, '--image', 'grey.png', '--strength', '0.9', '--controlnet', resolve(DEMO_CONTROLNET), '--control-image', 'style.png', '--canny');

      const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
      await pipe.loadIpAdapter(DEMO_IP_ADAPTER);
      await pipe.setIpAdapterScale(0.8);
      const options = { numInferenceSteps: 4, ipAdapterImage: style };
      const { images: [image] } = await pipe.generate('a circle', { ...options, generator: new Generator().manualSeed(0) });
      assert.deepEqual(image.data, drawn.data);
      await pipe.setIpAdapterScale(1);
      const controlnet = await ControlNetModel.fromPretrained(DEMO_CONTROLNET);
      const img2img = new StableDiffusionControlNetImg2ImgPipeline({ ...pipe.components, controlnet });
      const { images: [again] } = await img2img.generate('a circle', {
        ...options, generator: new Generator().manualSeed(0), image: await Image.open(join(folder(), 'grey.png')), strength: 0.9, controlImage: cannyEdges(style.resize(64, 64)),
      });
      assert.deepEqual(again.data, begun.data);
      [pipe, controlnet].forEach(each => each.dispose());
    });

    it('guides by perturbed attention, and by layers that are skipped', async () => {
      await useDevice('wasm');
      const cases: Array<[string, string[], object]> = [
        [TINY, ['--pag-scale', '2', '--pag-adaptive-scale', '0.001', '--pag-layers', 'mid', '--pag-layers', 'up_blocks.1'],
          { pagScale: 2, pagAdaptiveScale: 0.001, pagAppliedLayers: ['mid', 'up_blocks.1'] }],
        [TINY_SD3, ['--skip-layers', '0,1', '--skip-layer-guidance-scale', '3', '--skip-layer-guidance-start', '0.1', '--skip-layer-guidance-stop', '0.9'],
          { skipGuidanceLayers: [0, 1], skipLayerGuidanceScale: 3, skipLayerGuidanceStart: 0.1, skipLayerGuidanceStop: 0.9 }],
      ];
      for (const [model, args, options] of cases) {
        const common = ['--model', resolve(model), '--steps', '3', '--device', 'wasm', '--quiet'];
        assert.deepEqual(await run(['generate', 'a star', ...common, ...args]), { code: 0, stdout: '', stderr: '' });
        const pipe = await AutoPipelineForText2Image.fromPretrained(model, { device: 'wasm' });
        const draw = async (more: object) => (await pipe.generate('a star', { numInferenceSteps: 3, generator: new Generator().manualSeed(0), ...more })).images[0].data;
        assert.deepEqual((await Image.open(join(folder(), 'out.png'))).toRgb().data, await draw(options));
        assert.notDeepEqual(await draw({}), await draw(options));
        pipe.dispose();
      }
    });

    it('takes a model of another family, and begins from a picture with it', async () => {
      const model = ['--model', resolve('spec/golden/pipelines/tiny_xl'), '--steps', '2'];
      assert.equal((await run(['generate', 'a star', ...model])).code, 0);
      const { code, stderr } = await run(['generate', 'a star', ...model, '--image', 'out.png', '--strength', '0.8', '--output', 'again.png', '--quiet']);
      assert.deepEqual([code, stderr], [0, '']);
      assert.deepEqual(readdirSync(folder()).sort(), ['again.png', 'out.png']);
      const union = ['--controlnet', resolve(TINY_UNION), '--control-image', 'out.png', '--control-mode', '7', '--device', 'wasm', '--quiet'];
      assert.deepEqual(await run(['generate', 'a star', ...model, ...union, '--output', 'steered.png']), { code: 0, stdout: '', stderr: '' });
      await useDevice('wasm');
      const pipe = await StableDiffusionXLControlNetUnionPipeline.fromPretrained(TINY_XL, { device: 'wasm', controlnet: await ControlNetUnionModel.fromPretrained(TINY_UNION) });
      const controlImage = await Image.open(join(folder(), 'out.png'));
      const { images: [image] } = await pipe.generate('a star', { numInferenceSteps: 2, generator: new Generator().manualSeed(0), controlImage, controlMode: 7 });
      assert.deepEqual((await Image.open(join(folder(), 'steered.png'))).toRgb().data, image.data);
      pipe.dispose();
    });

    it('shows a gallery when asked for nothing', async () => {
      const { code, stdout } = await run(['generate', '--steps', '1']);
      assert.equal(code, 0);
      assert.deepEqual(readdirSync(folder()).length, 9);
      assert.match(stdout, /^out-grid\.png/m);
      assert.match(stdout, /Try your own: npx tfjs-diffusers generate "/);
    });

    it('ends within a step when interrupted, and leaves whole files only', async () => {
      const { code, stderr } = await run(['generate', 'a red star', 'a blue moon', '--steps', '200'], { interruptAfter: 'The demo model' });
      assert.deepEqual([code, stderr], [130, 'interrupted\n']);
      assert.deepEqual(readdirSync(folder()), []);
    });

    it('ends at once when interrupted again, also in an op that takes minutes', async () => {
      const long = ['--device', 'wasm', '--height', '768', '--width', '768', '--steps', '1']; // its attention alone is 2 x 8 x 9216 x 9216 products
      const { code, stderr } = await run(['generate', 'a red star', ...long], { interruptAfter: 'The demo model', twice: true });
      assert.deepEqual([code, stderr], [130, 'interrupted\n']);
      assert.deepEqual(readdirSync(folder()), []);
    });

    it('is quiet where nobody reads on', async () => {
      const child = spawn(process.execPath, [cli, 'generate', 'a red star', 'a blue moon', '--steps', '1'], { cwd: folder() });
      child.stdout.once('data', () => child.stdout.destroy());
      let stderr = '';
      child.stderr.on('data', text => { stderr += text; });
      const code = await new Promise(resolve => { child.on('close', resolve); });
      assert.deepEqual([code, stderr], [141, '']);
    });

    it('shows where an error comes from when asked to', async () => {
      const { stderr } = await run(['generate', 'a red star', '--height', '63', '--verbose']);
      assert.match(stderr, /^error: RangeError: height: got 63.*\n +at /);
    });

    const wrong: Array<[string, string[], number, RegExp]> = [
      ['steps', ['a star', '--steps', '-1'], 2, /^error: option '--steps <n>' argument '-1' is invalid\. It takes a whole number, 1 or more\.$/m],
      ['a number', ['a star', '--guidance-scale', 'much'], 2, /'--guidance-scale <x>' argument 'much' is invalid\. It takes a number\./],
      ['a grid', ['a star', '--grid', '2'], 2, /argument '2' is invalid\. It takes rows and columns, as in 2x3\./],
      ['a grid of another size', ['a star', '--grid', '2x2'], 2, /^error: --grid: got 2x2, takes rows and columns for 1 images$/m],
      ['an option', ['a star', '--stesp', '1'], 2, /^error: unknown option '--stesp'/],
      ['a device', ['a star', '--device', 'tpu'], 2, /argument 'tpu' is invalid\. Allowed choices are auto, cuda, webgpu, cpu, wasm\./],
      ['a mask alone', ['a star', '--mask', 'a.png'], 2, /^error: --mask: takes --image too$/m],
      ['a strength alone', ['a star', '--strength', '0.5'], 2, /^error: --strength: takes --image too$/m],
      ['a picture', ['a star', '--image', 'none.png'], 1, /^error: none\.png: there is no such file$/m],
      ['an embedding', ['a star', '--embedding', 'cat.pt'], 2, /^error: --embedding: got 'cat\.pt', takes what prompts call it and its file, as in '<cat>=cat\.safetensors'$/m],
      ['a LoRA', ['a star', '--lora', 'none.safetensors'], 1, /^error: none\.safetensors: there is no such file$/m],
      ['a scale of no LoRA', ['a star', '--lora-scale', '2'], 2, /^error: --lora-scale: takes --lora too$/m],
      ['layers alone', ['a star', '--pag-layers', 'mid'], 2, /^error: --pag-layers: takes --pag-scale too$/m],
      ['layers', ['a star', '--pag-scale', '3', '--pag-layers', 'mild'], 1, /^error: pagAppliedLayers: got 'mild', takes what is found in the path of a self-attention: /m],
      ['a falling strength alone', ['a star', '--pag-adaptive-scale', '0'], 2, /^error: --pag-adaptive-scale: takes --pag-scale too$/m],
      ['perturbed attention of another family', ['a star', '--model', resolve(TINY_SD3), '--pag-scale', '3'], 2, /^error: --pag-scale: takes a model with a UNet, and this one has a transformer$/m],
      ['skipped layers', ['a star', '--skip-layers', '7,'], 2, /'--skip-layers <list>' argument '7,' is invalid\. It takes a whole number, 0 or more\./],
      ['skipped layers of another family', ['a star', '--skip-layers', '7,8'], 2, /^error: --skip-layers: takes a model of Stable Diffusion 3, and this one is of another family$/m],
      ['layers that are not there', ['a star', '--model', resolve(TINY_SD3), '--skip-layers', '7'], 1, /^error: skipGuidanceLayers: got 7, takes a whole number, from 0 to 2$/m],
      ['skipped layers beside a picture', ['a star', '--skip-layers', '7', '--image', 'a.png'], 2, /^error: --skip-layers: got --image too, is for pictures of a prompt alone$/m],
      ['skipped layers beside a ControlNet', ['a star', '--skip-layers', '7', '--controlnet', 'a'], 2, /^error: --skip-layers: got --controlnet too, is for pictures of a prompt alone$/m],
      ['a share of no skipped layers', ['a star', '--skip-layer-guidance-stop', '1'], 2, /^error: --skip-layer-guidance-stop: takes --skip-layers too$/m],
      ['a ControlNet alone', ['a star', '--controlnet', 'a'], 2, /^error: --controlnet: takes --control-image too$/m],
      ['a picture that nothing is steered by', ['a star', '--control-image', 'a.png'], 2, /^error: --control-image: takes --controlnet too$/m],
      ['edges of nothing', ['a star', '--canny'], 2, /^error: --canny: takes --controlnet too$/m],
      ['a mode of no ControlNet', ['a star', '--control-mode', '2'], 2, /^error: --control-mode: takes --controlnet too$/m],
      ['a scale of no ControlNet', ['a star', '--controlnet-scale', '2'], 2, /^error: --controlnet-scale: takes --controlnet too$/m],
      ['a window of no ControlNet', ['a star', '--control-guidance-end', '0.5'], 2, /^error: --control-guidance-end: takes --controlnet too$/m],
      ['one picture for two ControlNets', ['a star', '--controlnet', 'a', '--controlnet', 'b', '--control-image', 'a.png'], 2, /^error: --control-image: got 1, takes 2, one for each --controlnet$/m],
      ['two pictures for one mode', ['a star', '--controlnet', 'a', '--control-image', 'a.png', '--control-image', 'b.png', '--control-mode', '1'], 2, /^error: --control-mode: got 1, takes 2, one for each --control-image$/m],
      ['two scales for one ControlNet', ['a star', '--controlnet', 'a', '--control-image', 'a.png', '--controlnet-scale', '1', '--controlnet-scale', '2'], 2, /^error: --controlnet-scale: got 2, takes 1, one for each --control-image$/m],
      ['ControlNets of two kinds', ['a star', ...['controlnet_0', 'controlnet_sd3_text'].flatMap(name => ['--controlnet', resolve('spec/golden/pipelines', name), '--control-image', resolve('docs/images/batch.png')])], 2, /^error: --controlnet: got ControlNetModel and SD3ControlNetModel, takes several of one kind$/m],
      ['an IP-Adapter alone', ['a star', '--ip-adapter', 'a'], 2, /^error: --ip-adapter: takes --ip-adapter-image too$/m],
      ['a picture that leads nothing', ['a star', '--ip-adapter-image', 'a.png'], 2, /^error: --ip-adapter-image: takes --ip-adapter too$/m],
      ['weights of no IP-Adapter', ['a star', '--ip-adapter-weights', 'a.bin'], 2, /^error: --ip-adapter-weights: takes --ip-adapter too$/m],
      ['a scale of no IP-Adapter', ['a star', '--ip-adapter-scale', '2'], 2, /^error: --ip-adapter-scale: takes --ip-adapter too$/m],
      ['a picture that leads', ['a star', '--ip-adapter', 'a', '--ip-adapter-image', 'none.png'], 1, /^error: none\.png: there is no such file$/m],
      ['an IP-Adapter without its file', ['a star', '--ip-adapter', resolve(dirname(DEMO_IP_ADAPTER)), '--ip-adapter-image', resolve('docs/images/batch.png')], 1, /^error: .*shapes-ip-adapter: takes a weightName, which says which file it is$/m],
      ['a picture to steer by', ['a star', '--controlnet', 'a', '--control-image', 'none.png'], 1, /^error: none\.png: there is no such file$/m],
      ['a ControlNet', ['a star', '--controlnet', resolve(DEMO_MODEL, 'vae'), '--control-image', resolve('docs/images/batch.png')], 1, /^error: .*vae.config\.json: _class_name: got 'AutoencoderKL', takes 'ControlNetModel'$/m],
      ['a size that nothing holds', ['a star', '--width', '100000', '--height', '100000'], 1, /^error: width, height: got 100000 x 100000 pixels, which take [\d.]+ TB and more, and there are/m],
      ['an output', ['a star', '--output', 'a.gif'], 2, /^error: --output: got 'a\.gif', takes a name that ends in \.png$/m],
      ['a trace', ['--profile', 'a star'], 2, /^error: --profile: got 'a star', takes a name that ends in \.json$/m],
      ['a prompt for another model', ['--model', resolve(DEMO_MODEL)], 2, /^error: prompt: got none, takes at least one with --model$/m],
      ['an output folder', ['a star', '--output', 'none/a.png'], 1, /^error: --output: cannot write into none: there is no such folder$/m],
      ['a model', ['a star', '--model', 'none'], 1, /^error: none: there is no such folder, and no model on the hub is called so/m],
      ['a height', ['a star', '--height', '63'], 1, /^error: height: got 63, takes a number of pixels divisible by 4$/m],
      ['a scheduler', ['a star', '--scheduler', 'Magic'], 1, /^error: scheduler: got 'Magic', takes .*PNDMScheduler/m],
    ];
    for (const [name, args, code, expected] of wrong) it(`names what is wrong with ${name}`, () => fails(['generate', ...args], code, expected));

    it('names what is wrong with a truncated file', async () => {
      const broken = join(folder(), 'broken');
      cpSync(DEMO_MODEL, broken, { recursive: true });
      truncateSync(join(broken, 'vae', 'diffusion_pytorch_model.safetensors'), 100_000);
      const { code, stderr } = await run(['generate', 'a star', '--model', 'broken']);
      assert.match(stderr, /^error: broken.vae.diffusion_pytorch_model\.safetensors: is cut off: .*\n$/);
      assert.equal(code, 1);
      assert.deepEqual(readdirSync(folder()), ['broken']);
    });
  });

  describe('convert', () => {
    it('writes a model that generate takes', async () => {
      const { code, stdout, stderr } = await run(['convert', resolve(DEMO_MODEL), 'mine', '--dtype', 'float32', '--verify']);
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /^mine {2}is ready and verified/);
      const made = await run(['generate', 'a star', '--steps', '1', '--model', 'mine', '--quiet']);
      assert.deepEqual([made.code, made.stdout, made.stderr], [0, '', '']);
    });

    it('splits weights into files of a size', async () => {
      const { code, stderr } = await run(['convert', resolve(DEMO_MODEL), 'mine', '--max-shard-size', '2MB']);
      assert.deepEqual([code, stderr], [0, '']);
      const sizes = readdirSync(join(folder(), 'mine/unet')).filter(name => name.endsWith('.safetensors')).map(name => statSync(join(folder(), 'mine/unet', name)).size);
      assert.ok(sizes.length > 3 && sizes.every(size => size < 2_100_000), `${sizes}`);
    });

    it('takes a single file, which generate takes too', async () => {
      const file = resolve('spec/golden/checkpoints/vae.ckpt');
      const { code, stdout, stderr } = await run(['convert', file, 'vae', '--dtype', 'float32', '--verify']);
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /^vae {2}is ready and verified$/m);
      const made = await run(['generate', 'a star', '--model', file]);
      assert.equal(made.code, 1);
      assert.match(made.stderr, /^error: .*vae\.ckpt: has no model_index\.json, takes a whole pipeline\n$/);
    });

    it('ends when interrupted, and leaves nothing', async () => {
      const child = run(['convert', resolve(DEMO_MODEL), 'mine', '--verify'], { interruptWhen: () => readdirSync(folder()).length > 0 });
      const { code, stderr } = await child;
      assert.deepEqual([code, stderr], [130, 'interrupted\n']);
      assert.deepEqual(readdirSync(folder()), []);
    });

    it('names what is wrong', async () => {
      await fails(['convert', 'none', 'mine'], 1, /^error: none: /);
      await fails(['convert', resolve(DEMO_MODEL), 'mine', '--max-shard-size', 'big'], 2, /--max-shard-size: got 'big', takes a size as in 500MB or 2GB/);
      await fails(['convert', resolve(DEMO_MODEL), 'mine', '--prediction-type', 'sample'], 2, /argument 'sample' is invalid\. Allowed choices are epsilon, v_prediction\./);
      await fails(['convert', resolve(DEMO_MODEL), 'mine', '--prediction-type', 'epsilon'], 1, /^error: predictionType: got 'epsilon' for a folder, takes none/);
      await fails(['convert', resolve(DEMO_MODEL), '/dev/null/mine'], 1, /^error: \/dev\/null\/mine: (exists already|cannot be written)/);
      await fails(['convert', resolve(DEMO_MODEL)], 2, /^error: missing required argument 'target'/);
    });
  });

  it('takes one kind of setup', () => fails(['setup', '--gpu', '--cpu'], 2, /^error: setup: got both --gpu and --cpu, takes one of the two$/m));

  it('takes CUDA libraries for a GPU build alone', () =>
    fails(['setup', '--cpu', '--cuda-libraries', '/usr/local/cuda'], 2, /^error: setup: got --cuda-libraries with --cpu, takes it for a GPU build$/m));
});

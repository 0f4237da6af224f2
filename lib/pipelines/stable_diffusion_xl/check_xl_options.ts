import { checkInteger, checkNumber, show } from '../../core/checks.js';
import type { CLIPTextModelWithProjection } from '../../models/clip_text_model_with_projection.js';
import { checkTexts } from '../inputs/check_generate_options.js';
import { checkUNetOptions, type ExpectedUNet, type UNetGenerating } from '../inputs/check_unet_options.js';
import { checkPooled, refuseBoth } from '../inputs/check_pooled.js';
import { checkDenoisingRange } from './denoising_range.js';
import type { GenerateRequest, OutputType } from '../inputs/generate_options.js';
import type { Pair, XLImageOptions, XLOptions, XLRequest } from './xl_options.js';

/** What makes pictures: options are checked against it. */
export interface XLGenerating extends UNetGenerating {
  readonly textEncoder2: CLIPTextModelWithProjection;
  readonly forceZerosForEmptyPrompt: boolean;
  readonly requiresAestheticsScore: boolean;
}

interface XLCheckOptions extends Pick<ExpectedUNet, 'guides'> {
  /** How many channels the UNet may take; those of the latents by default. */
  unetChannels?: readonly number[];
  /** Whether it begins from a picture, as a refiner does. */
  fromImage?: boolean;
}

/** @throws TypeError or RangeError that names the option, what it got and what it takes. */
export function checkXLOptions(
  pipe: XLGenerating, prompt: string | string[] | undefined, options: XLOptions<OutputType> & XLImageOptions,
  { unetChannels, fromImage = false, guides }: XLCheckOptions = {},
): XLRequest {
  const {
    prompt2, negativePrompt2, pooledPromptEmbeds, negativePooledPromptEmbeds, originalSize, cropsCoordsTopLeft, targetSize,
    negativeOriginalSize, negativeCropsCoordsTopLeft, negativeTargetSize, denoisingStart, denoisingEnd, aestheticScore = 6,
    negativeAestheticScore = 2.5, ...common
  } = options;
  const { promptEmbeds, negativePrompt, negativePromptEmbeds } = common;
  checkNumbersOfUNet(pipe, fromImage);
  for (const [name, embeds] of Object.entries({ promptEmbeds, negativePromptEmbeds })) checkWhole(pipe, name, embeds?.shape[2]);
  const avoidsZeros = pipe.forceZerosForEmptyPrompt && negativePrompt === undefined && negativePrompt2 === undefined;
  const request = checkUNetOptions(pipe, prompt, common, { channels: unetChannels, guides, avoidsZeros });
  const batch = request.latentShape[0] / request.numImagesPerPrompt;
  refuseBoth({ prompt2, promptEmbeds });
  refuseBoth({ negativePrompt2, negativePromptEmbeds });
  const given = { promptEmbeds, pooledPromptEmbeds, negativePromptEmbeds, negativePooledPromptEmbeds };
  checkPooled(given, batch, pipe.textEncoder2.config.projection_dim);
  const layers = Math.min(...pipe.promptEncoders.map(({ textEncoder }) => textEncoder.config.num_hidden_layers));
  checkInteger('clipSkip', request.clipSkip, 0, layers - 1);
  checkDenoisingRange({ denoisingStart, denoisingEnd });
  const timeIds = timeIdsOf(request, {
    originalSize: checkPair('originalSize', originalSize, 1), targetSize: checkPair('targetSize', targetSize, 1),
    cropsCoordsTopLeft: checkPair('cropsCoordsTopLeft', cropsCoordsTopLeft, 0),
    negativeOriginalSize: checkPair('negativeOriginalSize', negativeOriginalSize, 1),
    negativeTargetSize: checkPair('negativeTargetSize', negativeTargetSize, 1),
    negativeCropsCoordsTopLeft: checkPair('negativeCropsCoordsTopLeft', negativeCropsCoordsTopLeft, 0),
    aestheticScore: checkNumber('aestheticScore', aestheticScore),
    negativeAestheticScore: checkNumber('negativeAestheticScore', negativeAestheticScore),
  }, pipe, fromImage);
  return {
    ...request, timeIds, pooledPromptEmbeds, negativePooledPromptEmbeds, denoisingStart, denoisingEnd,
    prompts2: prompt === undefined ? undefined : checkTexts('prompt2', prompt2 || prompt, batch), // an empty one is none, as in diffusers
    negativePrompts2: checkTexts('negativePrompt2', negativePrompt2 || negativePrompt || '', batch),
    avoidsZeros,
  };
}

/** @throws RangeError unless the UNet takes as many numbers as this pipeline tells it: a refiner's takes one less. */
function checkNumbersOfUNet({ unet, textEncoder2, requiresAestheticsScore, familyName }: XLGenerating, fromImage: boolean): void {
  const { addition_time_embed_dim: dim, projection_class_embeddings_input_dim: features } = unet.config;
  if (!unet.takesAdditions) return; // which is refused for another reason
  const takes = (features! - textEncoder2.config.projection_dim) / dim!;
  const told = fromImage && requiresAestheticsScore ? 5 : 6;
  if (takes === told) return;
  const why = takes === 6 ? 'a base model takes requiresAestheticsScore: false'
    : takes !== 5 ? 'it is for another textEncoder2'
    : fromImage ? 'a refiner takes requiresAestheticsScore: true'
    : `it is a refiner's, which ${familyName}Img2ImgPipeline runs; ${familyName}Pipeline takes a base model's`;
  throw new RangeError(`unet: takes ${takes} numbers besides the text, is told ${told}: ${why}`);
}

/** @throws RangeError for the states of one text encoder, where there are two. */
function checkWhole({ promptEncoders }: XLGenerating, name: string, features: number | undefined): void {
  const sizes = promptEncoders.map(({ textEncoder }) => textEncoder.config.hidden_size);
  if (sizes.length < 2 || features === undefined || !sizes.includes(features)) return;
  const which = ['textEncoder', 'textEncoder2'][sizes.indexOf(features)];
  const takes = `${sizes[0]} + ${sizes[1]}: of textEncoder and textEncoder2, one behind the other`;
  throw new RangeError(`${name}: got ${features} features, those of ${which} alone, takes ${takes}`);
}

function checkPair(name: string, pair: Pair | undefined, min: number): Pair | undefined {
  if (pair === undefined) return undefined;
  const takes = min === 0 ? '[top, left]' : '[height, width]';
  if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError(`${name}: got ${show(pair)}, takes two numbers, ${takes}`);
  pair.forEach(value => checkInteger(name, value, min));
  return pair;
}

type Sizes = Pick<XLOptions,
  'originalSize' | 'cropsCoordsTopLeft' | 'targetSize' | 'negativeOriginalSize' | 'negativeCropsCoordsTopLeft' | 'negativeTargetSize'
> & Required<Pick<XLImageOptions, 'aestheticScore' | 'negativeAestheticScore'>>;

/**
 * What the UNet is told besides the text. Equals `_get_add_time_ids` of diffusers' pipelines, which differ in what to avoid; of several
 * pictures, its text to image gives some the wrong one of the two.
 */
function timeIdsOf(
  { latentShape: [, rows, columns] }: GenerateRequest, sizes: Sizes, pipe: XLGenerating, fromImage: boolean,
): XLRequest['timeIds'] {
  const own: Pair = [rows * pipe.vaeScaleFactor, columns * pipe.vaeScaleFactor];
  const { originalSize = own, targetSize = own, cropsCoordsTopLeft: crop = [0, 0], negativeOriginalSize, negativeTargetSize } = sizes;
  const scored = fromImage && pipe.requiresAestheticsScore;
  const hasOwnCrop = scored || (!fromImage && (negativeOriginalSize ?? negativeTargetSize) !== undefined);
  const negativeCrop = sizes.negativeCropsCoordsTopLeft ?? (hasOwnCrop ? [0, 0] : crop);
  const [last, negativeLast] = scored
    ? [[sizes.aestheticScore], [sizes.negativeAestheticScore]] : [targetSize, negativeTargetSize ?? targetSize];
  return {
    wanted: [...originalSize, ...crop, ...last],
    avoided: [...negativeOriginalSize ?? originalSize, ...negativeCrop, ...negativeLast],
  };
}

import { checkSaveOptions, jsonFile, saveFolder, type SaveOptions } from '../../models/save_model.js';
import { pipelineClasses, type PipelineClass } from './registry.js';

/** Writes a pipeline as a folder; see DiffusionPipeline.savePretrained. */
export async function savePipeline(
  Pipeline: PipelineClass, components: object, folder: string | URL, options: SaveOptions,
): Promise<void> {
  checkSaveOptions(options);
  const values = components as Record<string, unknown>;
  const table = Object.entries(Pipeline.family.components);
  const [className] = Object.entries(pipelineClasses).find(([, each]) => each === Pipeline) ?? [Pipeline.name];
  const index = Object.assign({ _class_name: className }, ...table.map(([name, component]) => component.entries(values[name]))) as object;
  const there = table.filter(([name]) => values[name] !== undefined);
  const parts = there.flatMap(([name, component]) => component.parts(values[name], options));
  await saveFolder(folder, [...parts, jsonFile('model_index.json', index)], options);
}

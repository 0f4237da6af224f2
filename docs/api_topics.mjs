import { Comment, CommentTag, Converter } from 'typedoc';

/** The topics of the reference in their order, each with the places in the code that it takes; the first that fits counts. */
const TOPICS = {
  Errors: /Error$/,
  'Prompts, LoRA and learned words': /lib\/adapters\/|\/(weighted_prompt|prompt_weights|adaptable_pipeline|image_prompt_\w+)\.ts:/,
  Pictures: /lib\/image\/|\/(latents_preview|image_input)\.ts:/,
  Pipelines: /lib\/(pipelines|worker)\//,
  Schedulers: /lib\/schedulers\//,
  'Seeds and noise': /lib\/core\/random/,
  'Devices and speed': /lib\/runtime\/|lib\/core\/(profile|graph)\.ts:/,
  'Loading and converting': /lib\/(files|hub|loading|checkpoints|weights)\/|weights-converter\/|lib\/core\/(float16|stored_value)\.ts:/,
  'Networks and tokenizer': /lib\/(models|tokenizer)\//,
  Layers: /lib\/layers\/|lib\/core\//,
};

/** A plugin of typedoc: what `lib/index.ts` exports is grouped by topic, which the place in the code tells; guides are called by their headings. */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (!reflection.parent?.isProject()) return;
    const file = context.getSymbolFromReflection(reflection)?.declarations?.[0].getSourceFile().fileName ?? '';
    const place = `${file}:${reflection.name}`;
    const topic = Object.keys(TOPICS).find(name => TOPICS[name].test(place)) ?? 'Other';
    const comment = (reflection.signatures?.[0] ?? reflection).comment ?? new Comment();
    reflection.comment ??= comment;
    reflection.comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: topic }]));
  });
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const guide of project.documents ?? []) {
      const [heading] = guide.content;
      const [line, title] = /^# (.*)\n/.exec(heading.text) ?? [];
      if (!title) continue;
      guide.name = title;
      heading.text = heading.text.slice(line.length);
    }
  });
}

import { context, propagation, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';

/** Where a trace is: header fields of W3C's trace context, which go to other processes. Empty where nobody traces. */
export type TraceFields = Readonly<Record<string, string>>;

const tracer = trace.getTracer('tfjs-diffusers');

/** Of what runs now. */
export function currentTrace(): TraceFields {
  const fields = {};
  propagation.inject(context.active(), fields);
  return fields;
}

/**
 * Runs `work` as a span: of the trace that runs now, or of the first of `traces`, with links to the others.
 * Nothing is done besides where nobody traces.
 */
export async function traced<T>(name: string, work: () => Promise<T>, traces?: readonly TraceFields[]): Promise<T> {
  const [parent = context.active(), ...others] = (traces ?? []).map(contextOf);
  const links = others.flatMap(other => trace.getSpanContext(other) ?? []).map(context => ({ context }));
  return tracer.startActiveSpan(name, { links }, parent, async span => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).name }); // a message may quote a prompt
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Adds a span that began before and ends now. @param since milliseconds since 1970. */
export function traceSince(name: string, since: number, fields: TraceFields): void {
  tracer.startSpan(name, { startTime: since }, contextOf(fields)).end();
}

function contextOf(fields: TraceFields) {
  return propagation.extract(ROOT_CONTEXT, fields);
}

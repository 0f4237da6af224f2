/**
 * Sends traces by OpenTelemetry where the environment asks for them, by OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
 * or OTEL_TRACES_EXPORTER. Comes before anything is served.
 * @returns what sends the last of them and ends it.
 * @throws Error if the packages for it are not installed.
 */
export async function startTracing(): Promise<() => Promise<void>> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: all, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: traces, OTEL_TRACES_EXPORTER: exporter } = process.env;
  if (!(all || traces || exporter) || exporter === 'none' || process.env.OTEL_SDK_DISABLED === 'true') return async () => {};
  const [{ NodeSDK }, { FastifyOtelInstrumentation }] = await Promise.all([import('@opentelemetry/sdk-node'), import('@fastify/otel')])
    .catch((error: Error) => {
      const packages = '@opentelemetry/sdk-node @fastify/otel';
      throw new Error(`the environment asks for traces, which takes other packages too: npm install ${packages}`, { cause: error });
    });
  process.env.OTEL_SERVICE_NAME ??= 'tfjs-diffusers';
  const sdk = new NodeSDK({ instrumentations: [new FastifyOtelInstrumentation({ registerOnInitialization: true })] });
  sdk.start();
  return () => sdk.shutdown();
}

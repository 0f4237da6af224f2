/** The bundled model, small enough for whole pictures in specs. */
export const DEMO_MODEL = 'models/shapes';

/** What steers it by edges. */
export const DEMO_CONTROLNET = 'models/shapes-controlnet';

/** What lets it take the style from a picture. */
export const DEMO_IP_ADAPTER = 'models/shapes-ip-adapter/ip_adapter.safetensors';

/** The bundled model, small enough for whole pictures in specs. */
export const DEMO_MODEL = 'models/shapes';

/** What steers it by edges. */
export const DEMO_CONTROLNET = 'models/shapes-controlnet';

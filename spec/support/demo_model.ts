/** The bundled model, small enough for whole pictures in specs. */
export const DEMO_MODEL = 'models/shapes';

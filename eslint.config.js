import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', '.build/', 'docs/api/'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  { // but for the rooms whose lines do not all fit yet
    files: ['lib/**', 'weights-converter/**'],
    ignores: ['lib/{adapters,models,pipelines}/**'],
    rules: { 'max-len': ['error', { code: 140 }] },
  },
);

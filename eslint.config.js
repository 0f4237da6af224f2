import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', '.build/', 'docs/api/'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  { files: ['*.js'], languageOptions: { globals: { console: 'readonly', process: 'readonly' } } },
  {
    files: ['lib/**', 'weights-converter/**'],
    rules: { 'max-len': ['error', { code: 140 }] },
  },
);

import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import tseslint from 'typescript-eslint'

// The mistakes that kill an encrypting proxy, as lint errors. Reasons: docs/decisions/0002-lint-bans.md
const bans = [
  {
    selector: "CallExpression[callee.property.name='pipe']",
    message: '.pipe( leaks the other side when one side goes away: use pipeline.'
  },
  {
    selector: "CallExpression[callee.name='fetch']",
    message: 'fetch( follows redirects and decompresses: use the pools of src/upstream.'
  },
  {
    selector: "CallExpression[callee.name=/^create(Dec|C)ipheriv$/][arguments.length<4]",
    message: 'Without { authTagLength: 16 } Node accepts tags of 4 bytes.'
  }
]
// What V8 makes outlive its request, and with it all that the request held. Reasons: docs/decisions/0014-garbage-that-outlives-its-request.md
const outliving = [
  {
    selector: "AssignmentExpression[left.type='MemberExpression'][right.type=/^(Arrow)?FunctionExpression$/]",
    message: 'A function literal assigned straight to a property is allocated in the old generation: give it a name first.'
  },
  {
    selector: "ObjectExpression > Property[kind=/^[gs]et$/]",
    message: 'An accessor in an object literal makes a hidden class of its own for every object, in the old generation: write a class.'
  }
]
const rawHeadersOnly = {
  selector: "MemberExpression[property.name='headers'][object.name=/^(req|request|raw|incoming)$/][object.type='Identifier']",
  message: 'Node joins and drops repeated headers: authentication reads HttpRequest.headers made from rawHeaders.'
}

export default tseslint.config(
  { ignores: ['node_modules/**', 'data/**', '.tap/**'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ['.ci/*.js'] },
        tsconfigRootDir: dirname(dirname(fileURLToPath(import.meta.url)))
      }
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'no-restricted-syntax': ['error', ...bans],
      'no-console': 'error',
      'eqeqeq': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: false, allowNullish: false }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/require-await': 'off'
    }
  },
  { files: ['src/**/*.ts'], rules: { 'no-restricted-syntax': ['error', ...bans, ...outliving] } },
  {
    files: ['src/listener/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', ...bans, ...outliving, { ...rawHeadersOnly, selector: "MemberExpression[property.name='headers'][object.property.name='raw']" }] }
  },
  { files: ['test/**/*.ts', 'bench/**/*.ts', '.ci/**'], rules: { 'no-console': 'off', '@typescript-eslint/no-non-null-assertion': 'off', '@typescript-eslint/no-unsafe-assignment': 'off', '@typescript-eslint/no-unsafe-member-access': 'off' } },
  { files: ['**/*.js'], ...tseslint.configs.disableTypeChecked }
)

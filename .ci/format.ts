// Formats every TypeScript file of the project, or with `--check` names those that are not formatted and exits with 1;
// with file names, these alone.
// dprint's formatter runs inside this process (one WebAssembly module), keeps line breaks an author chose, and needs no network.
import { createFromBuffer } from '@dprint/formatter'
import { getPath } from '@dprint/typescript'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import process from 'node:process'

const PLACES = ['src', 'test', 'bench', 'docs/generate', '.ci']
const STYLE = {
  'lineWidth': 160,
  'indentWidth': 2,
  'semiColons': 'asi',
  'quoteStyle': 'alwaysSingle',
  'trailingCommas': 'never',
  'arrowFunction.useParentheses': 'force',
  'quoteProps': 'preserve',
  'operatorPosition': 'maintain',
  'memberExpression.preferSingleLine': false,
  'module.sortImportDeclarations': 'maintain',
  'module.sortExportDeclarations': 'maintain',
  'importDeclaration.sortNamedImports': 'maintain',
  'exportDeclaration.sortNamedExports': 'maintain'
}

// Formatting is not idempotent on a few long calls: the second pass settles them.
const MOST_PASSES = 4

const check = process.argv.includes('--check')
const named = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const formatter = createFromBuffer(readFileSync(getPath()))
formatter.setConfig({}, STYLE)
const problems = formatter.getConfigDiagnostics()
if (problems.length > 0) throw new Error(`the style of .ci/format.ts is not understood: ${JSON.stringify(problems)}`)

const files = named.length > 0 ? named : PLACES.flatMap((place) => globSync(`${place}/**/*.ts`)).sort()
const changed = files.filter((file) => {
  const text = readFileSync(file, 'utf8')
  const formatted = format(file, text)
  if (formatted !== text && !check) writeFileSync(file, formatted)
  return formatted !== text
})
if (check && changed.length > 0) {
  process.stderr.write(`not formatted (npm run format):\n${changed.map((file) => `  ${file}\n`).join('')}`)
  process.exitCode = 1
}

function format(file: string, text: string): string {
  let current = text
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    const next = formatter.formatText({ filePath: file, fileText: current })
    if (next === current) break
    current = next
  }
  return current
}

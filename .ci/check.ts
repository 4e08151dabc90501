// What `npm run check` does: types and style of every file, from one program. `tsc --noEmit && eslint .` reports the same, but
// reads and checks everything twice. Prints what is wrong; exit code 1 if anything is.
import process from 'node:process'
import { ESLint } from 'eslint'
import ts from 'typescript'

const program = createProgram('tsconfig.json')
const typeErrors = ts.getPreEmitDiagnostics(program)
if (typeErrors.length > 0) console.log(ts.formatDiagnostics(typeErrors, formatHost()))

const eslint = new ESLint({
  overrideConfigFile: '.ci/eslint.config.js',
  overrideConfig: { files: ['**/*.ts'], languageOptions: { parserOptions: { projectService: false, programs: [program] } } }
})
const styleResults = await eslint.lintFiles('.')
const formatter = await eslint.loadFormatter('stylish')
const styleErrors = await formatter.format(styleResults)
if (styleErrors !== '') console.log(styleErrors)

process.exitCode = typeErrors.length > 0 || styleResults.some(({ errorCount }) => errorCount > 0) ? 1 : 0

function createProgram(configFile: string): ts.Program {
  const parsed = ts.getParsedCommandLineOfConfigFile(configFile, {}, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (problem) => { throw new Error(ts.formatDiagnostic(problem, formatHost())) }
  })
  if (parsed === undefined) throw new Error(`${configFile} cannot be read`)
  return ts.createProgram({ rootNames: parsed.fileNames, options: parsed.options, configFileParsingDiagnostics: parsed.errors })
}

function formatHost(): ts.FormatDiagnosticsHost {
  return { getCanonicalFileName: (name) => name, getCurrentDirectory: () => process.cwd(), getNewLine: () => '\n' }
}

import { parseArgs } from 'node:util'
import { exitCodes, type Platform } from './platform.ts'

/** A wrong command line. The message names the fault. */
export class UsageError extends Error {}

interface Option {
  /** Name of the value in help: `FILE`. Absent: a switch without a value. */
  readonly value?: string
  readonly help: string
  readonly required?: true
}
type Options = Readonly<Record<string, Option>>

/** The values of the options as given: texts (undefined: left out) and switches. */
type Values<O extends Options> = {
  readonly [Name in keyof O]: O[Name] extends { readonly value: string } ? O[Name] extends { readonly required: true } ? string : string | undefined
    : boolean
}

/** One command: its help, and what runs it. */
export interface Command {
  /** Words that call it: `keys create`. */
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** Details that do not fit into the one line. */
  readonly description: string
  readonly options: Options
  readonly examples: readonly string[]
  /** Its exit codes, in addition to `usualCodes`. */
  readonly codes: Readonly<Partial<Record<number, string>>>
  run(values: Readonly<Record<string, string | boolean | undefined>>, platform: Platform): Promise<number>
}

export const usualCodes: Readonly<Record<number, string>> = {
  [exitCodes.done]: 'done',
  [exitCodes.failed]: 'refused or failed; the reason is on standard error',
  [exitCodes.usage]: 'the command line, the configuration, or a file that it names is not good'
}

/** Makes a command whose `run` gets the values of exactly the options it declares. */
export function command<const O extends Options>(
  definition: Omit<Command, 'options' | 'run' | 'codes'> & {
    readonly options: O
    readonly codes?: Command['codes']
    run(values: Values<O>, platform: Platform): Promise<number>
  }
): Command {
  // `parse` returns exactly the declared values, which the compiler cannot know.
  return { codes: {}, ...definition, run: (values, platform) => definition.run(values as Values<O>, platform) }
}

/** @throws UsageError naming the option. */
export function parse({ options }: Command, args: readonly string[]): Record<string, string | boolean | undefined> {
  const types = Object.fromEntries(Object.entries(options).map(([name, { value }]) => [name, { type: value === undefined ? 'boolean' : 'string' }] as const))
  const { tokens } = parseArgs({ args: [...args], options: types, strict: false, tokens: true })
  const values: Record<string, string | boolean | undefined> = Object.fromEntries(
    Object.entries(options).map(([name, { value }]) => [name, value === undefined ? false : undefined])
  )
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') throw new UsageError(`"${token.value}" is no option: this command takes options only.`)
    const { name, rawName, value } = token
    const option = rawName.startsWith('--') && Object.hasOwn(options, name) ? options[name] : undefined
    if (option === undefined) throw new UsageError(`There is no option ${rawName}.`)
    if (values[name] !== undefined && values[name] !== false) throw new UsageError(`--${name} is given twice.`)
    if (option.value === undefined) {
      if (value !== undefined) throw new UsageError(`--${name} takes no value.`)
      values[name] = true
    } else {
      if (value === undefined || value === '') throw new UsageError(`--${name} needs a value: --${name} ${option.value}.`)
      // `--config --dry-run` means that the file was forgotten; a value that begins with a dash is written with "=".
      if (!token.inlineValue && value.startsWith('-')) throw new UsageError(`--${name} needs a value: --${name} ${option.value}, or --${name}=${option.value}.`)
      values[name] = value
    }
  }
  for (const [name, { required, value = '' }] of Object.entries(options)) {
    if (required === true && values[name] === undefined) throw new UsageError(`--${name} ${value} must be given.`)
  }
  return values
}

/** What `--help` prints for one command. */
export function helpOf({ name, description, options, examples, codes }: Command): string {
  const shown = Object.entries(options).map(([option, { value, required, help }]) => {
    const flag = value === undefined ? `--${option}` : `--${option} ${value}`
    return { flag, use: required === true ? flag : `[${flag}]`, help }
  })
  const all = { ...usualCodes, ...codes }
  return [
    `Usage: sealgate ${[name, ...shown.map(({ use }) => use)].join(' ')}`,
    '',
    description,
    '',
    'Options:',
    ...table([...shown.map(({ flag, help }) => [flag, help] as const), ['--help', 'print this']]),
    '',
    'Examples:',
    ...examples.map((example) => `  ${example}`),
    '',
    'Exit codes:',
    ...table(Object.entries(all).map(([code, meaning]) => [code, meaning ?? ''])),
    ''
  ].join('\n')
}

/** What `--help` prints for a group of commands, or for all: one line each. */
export function listOf(group: string, commands: readonly Command[]): string {
  const prefix = group === '' ? '' : `${group} `
  return [
    `Usage: sealgate ${prefix}COMMAND [options]`,
    '',
    ...table(commands.filter(({ name }) => name.startsWith(prefix)).map(({ name, summary }) => [name, summary])),
    '',
    `"sealgate ${prefix}COMMAND --help" prints options, examples and exit codes.`,
    ...group === '' ? ['"sealgate --version" prints the version.', 'SEALGATE_CONFIG names the configuration where --config does not.'] : [],
    ''
  ].join('\n')
}

function table(rows: readonly (readonly [left: string, right: string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length))
  const indent = `\n${' '.repeat(width + 4)}`
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right.replaceAll('\n', indent)}`)
}

import { parseArgs } from 'node:util'
import { exitCodes, type Platform } from './platform.ts'
import { ConfigError } from '../config/load.ts'
import { S3Error } from '../errors.ts'
import { KeyringError } from '../keys/keyring.ts'
import { coreReason } from '../native/core.ts'
import { version } from '../version.ts'

/** A wrong command line. The message names the fault. */
export class UsageError extends Error {}

interface Option {
  /** Name of the value in help: `FILE`. Absent: a switch without a value. */
  readonly value?: string
  readonly help: string
  readonly required?: true
  /** Its name may be left out. */
  readonly position?: true
  /** May be given several times: a list. */
  readonly many?: true
}
type Options = Readonly<Record<string, Option>>

/** The values of the options as given: texts (undefined: left out) and switches. */
type Values<O extends Options> = {
  readonly [Name in keyof O]: O[Name] extends { readonly many: true } ? readonly string[]
    : O[Name] extends { readonly value: string } ? O[Name] extends { readonly required: true } ? string : string | undefined
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
  run(values: Readonly<Record<string, string | boolean | readonly string[] | undefined>>, platform: Platform): Promise<number>
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
export function parse({ options }: Command, args: readonly string[]): Record<string, string | boolean | readonly string[] | undefined> {
  const types = Object.fromEntries(Object.entries(options).map(([name, { value }]) => [name, { type: value === undefined ? 'boolean' : 'string' }] as const))
  const { tokens } = parseArgs({ args: [...args], options: types, strict: false, tokens: true })
  const values: Record<string, string | boolean | readonly string[] | undefined> = Object.fromEntries(
    Object.entries(options).map(([name, { value, many }]) => [name, value === undefined ? false : many === true ? [] : undefined])
  )
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      const name = Object.keys(options).find((each) => options[each]?.position === true)
      if (name === undefined) throw new UsageError(`"${token.value}" is no option: this command takes options only.`)
      if (values[name] !== undefined) throw new UsageError(`--${name} is given twice.`)
      values[name] = token.value
      continue
    }
    const { name, rawName, value } = token
    const option = rawName.startsWith('--') && Object.hasOwn(options, name) ? options[name] : undefined
    if (option === undefined) throw new UsageError(`There is no option ${rawName}.`)
    const before = values[name]
    if (before !== undefined && before !== false && option.many !== true) throw new UsageError(`--${name} is given twice.`)
    if (option.value === undefined) {
      if (value !== undefined) throw new UsageError(`--${name} takes no value.`)
      values[name] = true
    } else {
      if (value === undefined || value === '') throw new UsageError(`--${name} needs a value: --${name} ${option.value}.`)
      // `--config --dry-run` means that the file was forgotten; a value that begins with a dash is written with "=".
      if (!token.inlineValue && value.startsWith('-')) throw new UsageError(`--${name} needs a value: --${name} ${option.value}, or --${name}=${option.value}.`)
      values[name] = option.many === true ? [...Array.isArray(before) ? before as readonly string[] : [], value] : value
    }
  }
  for (const [name, { required, many, value = '' }] of Object.entries(options)) {
    const given = values[name]
    if (required === true && (many === true ? Array.isArray(given) && given.length === 0 : given === undefined)) {
      throw new UsageError(`--${name} ${value} must be given.`)
    }
  }
  return values
}

/** What `--help` prints for one command. */
function helpOf({ name, description, options, examples, codes }: Command): string {
  const shown = Object.entries(options).map(([option, { value, required, position, many, help }]) => {
    const flag = value === undefined ? `--${option}` : `--${option} ${value}`
    const use = position === true ? value ?? '' : flag
    return { flag, use: (required === true ? use : `[${use}]`) + (many === true ? '…' : ''), help }
  })
  const all = { ...usualCodes, ...codes }
  return [
    ...wrapped(`Usage: sealgate ${name}`, shown.map(({ use }) => use)),
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
function listOf(group: string, commands: readonly Command[]): string {
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

const WIDTH = 120

/** Words behind a start, in as many lines as they need. */
function wrapped(start: string, words: readonly string[]): string[] {
  const lines: string[] = []
  let line = start
  for (const word of words) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = '      '
    }
    line += ` ${word}`
  }
  return [...lines, line]
}

function table(rows: readonly (readonly [left: string, right: string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length))
  const indent = `\n${' '.repeat(width + 4)}`
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right.replaceAll('\n', indent)}`)
}

/**
 * Runs that of the commands which the arguments name. Every expected failure gives its exit code and a message on standard error.
 * @returns the exit code.
 */
export async function runFrom(commands: readonly Command[], platform: Platform): Promise<number> {
  const [first, ...rest] = platform.args.filter((arg) => arg !== '--help' && arg !== '-h')
  // `help keys create`, and `keys help`: later the word may be a value.
  const args = first === 'help' ? rest : [...first === undefined ? [] : [first], ...rest[0] === 'help' ? rest.slice(1) : rest]
  const asksHelp = args.length < platform.args.length
  if (args[0] === '--version' || args[0] === '-v') {
    const reason = coreReason()
    platform.stdout.write(`sealgate ${version()}\n${reason === '' ? 'native core' : `JavaScript core (native: ${reason})`}\n`)
    return exitCodes.done
  }
  const command = commands.find(({ name }) => name.split(' ').every((word, i) => args[i] === word))
  if (command === undefined) return listCommands(commands, args, asksHelp, platform)
  if (asksHelp) {
    platform.stdout.write(helpOf(command))
    return exitCodes.done
  }
  try {
    return await command.run(parse(command, args.slice(command.name.split(' ').length)), platform)
  } catch (error) {
    return failed(command, error, platform)
  }
}

function failed({ name }: Command, error: unknown, { stderr }: Platform): number {
  if (error instanceof UsageError) {
    stderr.write(`sealgate ${name}: ${error.message}\n"sealgate ${name} --help" prints options and examples.\n`)
    return exitCodes.usage
  }
  if (error instanceof ConfigError) {
    stderr.write(`${error.message}\n`)
    return exitCodes.usage
  }
  if (!(error instanceof S3Error) && !(error instanceof KeyringError)) throw error
  stderr.write(`sealgate ${name}: ${error.message}\n`)
  return exitCodes.failed
}

/** For arguments that name no command: the commands of the group they name, or all. */
function listCommands(commands: readonly Command[], args: readonly string[], asksHelp: boolean, { stdout, stderr }: Platform): number {
  const [first = '', second] = args
  const group = commands.some(({ name }) => name.startsWith(`${first} `)) ? first : ''
  const named = group === '' ? first : second === undefined ? '' : `${first} ${second}`
  if (asksHelp && (named === '' || group !== '')) {
    stdout.write(listOf(group, commands))
    return exitCodes.done
  }
  stderr.write(`${named === '' ? 'No command is given.' : `There is no command "${named}".`}\n\n${listOf(group, commands)}`)
  return exitCodes.usage
}

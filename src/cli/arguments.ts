import { ConfigError } from '../config/load.ts'
import { S3Error } from '../errors.ts'
import { KeyringError } from '../keys/keyring.ts'
import { helpOf, listOf, parse, UsageError, type Command } from './command-line.ts'
import { commands } from './commands.ts'
import { exitCodes, type Platform } from './platform.ts'
import { version } from '../version.ts'

/**
 * Runs the command that the arguments name, and gives every foreseen failure its exit code and its words on standard error.
 * @returns the exit code.
 */
export async function runCommand(platform: Platform): Promise<number> {
  const [first, ...rest] = platform.args.filter((arg) => arg !== '--help' && arg !== '-h')
  // `help keys create`, and `keys help`: further on the word may be a value.
  const args = first === 'help' ? rest : [...first === undefined ? [] : [first], ...rest[0] === 'help' ? rest.slice(1) : rest]
  const asksHelp = args.length < platform.args.length
  if (args[0] === '--version' || args[0] === '-v') {
    platform.stdout.write(`sealgate ${version()}\n`)
    return exitCodes.done
  }
  const command = commands.find(({ name }) => name.split(' ').every((word, i) => args[i] === word))
  if (command === undefined) return listCommands(args, asksHelp, platform)
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
function listCommands(args: readonly string[], asksHelp: boolean, { stdout, stderr }: Platform): number {
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

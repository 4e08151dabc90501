import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { KeyringError } from '../keys/keyring.ts'
import {
  checkBackup, type CommandIo, createKeys, exportKeys, listKeys, restoreKeys, rotateKeys, setKeyState
} from './keys-commands.ts'

/** A command line that cannot be understood. */
class UsageError extends Error {}

const usage = `Usage: sealgate keys COMMAND [options]

  create       --keyring FILE [--name NAME]            make a keyring with one new master key
  rotate       --keyring FILE                          add a new version; new objects use it after a reload (SIGHUP)
  list         --keyring FILE [--json]                 versions, states and dates; never keys
  enable       --keyring FILE --version ID             wrap and unwrap again
  disable      --keyring FILE --version ID [--decrypt-only]
                                                       refuse every use, or only new wraps
  export       --keyring FILE --backup FILE [--passphrase-file FILE]
                                                       write an encrypted backup
  check-backup --backup FILE [--keyring FILE] [--passphrase-file FILE]
                                                       open a backup, and compare it with the keyring
  restore      --backup FILE --keyring FILE [--passphrase-file FILE]
                                                       make a keyring from a backup
  usage        --config FILE --bucket NAME [--versions]
                                                       count objects and bytes by the key that sealed them

The passphrase is the content of --passphrase-file, without a line end, or of the environment variable
SEALGATE_KEYRING_PASSPHRASE.
`

const optionTypes = {
  'keyring': { type: 'string' }, 'name': { type: 'string' }, 'version': { type: 'string' }, 'backup': { type: 'string' },
  'passphrase-file': { type: 'string' }, 'decrypt-only': { type: 'boolean' }, 'json': { type: 'boolean' }
} as const
type OptionName = keyof typeof optionTypes
type Values = Partial<Record<OptionName, string | boolean>>

interface Command {
  readonly required: readonly OptionName[]
  readonly optional: readonly OptionName[]
  run(option: (name: OptionName) => string, values: Values, io: CommandIo): Promise<number>
}

const commands: Readonly<Record<string, Command>> = {
  'create': {
    required: ['keyring'], optional: ['name'],
    run: (option, values, io) => createKeys(option('keyring'), text(values, 'name') ?? nameFor(option('keyring')), io)
  },
  'rotate': { required: ['keyring'], optional: [], run: (option, _values, io) => rotateKeys(option('keyring'), io) },
  'list': { required: ['keyring'], optional: ['json'], run: (option, values, io) => listKeys(option('keyring'), values.json === true, io) },
  'enable': {
    required: ['keyring', 'version'], optional: [],
    run: (option, _values, io) => setKeyState(option('keyring'), option('version'), 'enabled', io)
  },
  'disable': {
    required: ['keyring', 'version'], optional: ['decrypt-only'],
    run: (option, values, io) =>
      setKeyState(option('keyring'), option('version'), values['decrypt-only'] === true ? 'decrypt-only' : 'disabled', io)
  },
  'export': {
    required: ['keyring', 'backup'], optional: ['passphrase-file'],
    run: (option, values, io) => exportKeys(option('keyring'), option('backup'), text(values, 'passphrase-file'), io)
  },
  'check-backup': {
    required: ['backup'], optional: ['keyring', 'passphrase-file'],
    run: (option, values, io) => checkBackup(option('backup'), text(values, 'keyring'), text(values, 'passphrase-file'), io)
  },
  'restore': {
    required: ['backup', 'keyring'], optional: ['passphrase-file'],
    run: (option, values, io) => restoreKeys(option('backup'), option('keyring'), text(values, 'passphrase-file'), io)
  }
}

/**
 * `sealgate keys …`: everything that is done to a keyring by hand.
 * @param argv what follows `keys` on the command line.
 * @returns the exit code: 0 done, 1 refused or failed, 2 the command line was not understood.
 */
export async function runKeys(argv: readonly string[], io: CommandIo): Promise<number> {
  const [name = '', ...rest] = argv
  if (name === '' || name === 'help' || name === '--help') {
    io[name === '' ? 'stderr' : 'stdout'].write(usage)
    return name === '' ? 2 : 0
  }
  try {
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (command === undefined) throw new UsageError(`There is no command "keys ${name}".`)
    const values = parse(rest)
    checkOptions(name, command, values)
    return await command.run((option) => text(values, option) ?? '', values, io)
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr.write(`${error.message}\n\n${usage}`)
      return 2
    }
    if (!(error instanceof KeyringError)) throw error
    io.stderr.write(`sealgate keys ${name}: ${error.message}\n`)
    return 1
  }
}

function parse(args: string[]): Values {
  try {
    return parseArgs({ args, options: optionTypes, strict: true, allowPositionals: false }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function checkOptions(name: string, command: Command, values: Values): void {
  for (const option of command.required) {
    if (text(values, option) === null) throw new UsageError(`"keys ${name}" needs --${option}.`)
  }
  for (const option of Object.keys(values) as OptionName[]) {
    if (!command.required.includes(option) && !command.optional.includes(option)) {
      throw new UsageError(`"keys ${name}" does not take --${option}.`)
    }
  }
}

/** The value of an option; null when absent or empty. */
function text(values: Values, option: OptionName): string | null {
  const value = values[option]
  return typeof value === 'string' && value !== '' ? value : null
}

/** A keyring is named after its file unless told otherwise. */
function nameFor(path: string): string {
  return basename(path).replace(/\.[^.]*$/, '')
}

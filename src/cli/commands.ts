// The command line: every command with its options, help and exit codes, and the file that runs it, which is loaded when it is called.
// `serve` with its worker processes is in serve.ts, primary.ts and worker.ts; commands that work on a store are engines of `maintenance`.
// Only this room sees arguments, environment and signals; what it gets of the process is a `Platform`.
import { command, type Command, runFrom } from './command-line.ts'
import { ProcessSignals } from './signals.ts'
import { exitCodes, type Platform } from './platform.ts'
import { auditCommands } from './audit-commands.ts'
import { existingCommands } from './existing-commands.ts'
import { keyCommands } from './key-commands.ts'
import { config, current, upstream } from './options.ts'

/** Every command. Its code is loaded when it is called: `keys` need not load the HTTP server, nor the other way round. */
export const commands: readonly Command[] = [
  command({
    name: 'serve',
    summary: 'run the gateway',
    description: 'Runs the gateway until SIGTERM or SIGINT, and reads the configuration again on SIGHUP.',
    options: {
      ...config,
      trial: { help: 'without a configuration: run a trial with a store, a keyring and a credential under ./data.\nNot for data that must be kept' }
    },
    examples: ['sealgate serve --config sealgate.yaml', 'sealgate serve --trial'],
    codes: {
      [exitCodes.done]: 'stopped, everything delivered',
      [exitCodes.failed]: 'could not start, or a failure of the gateway itself',
      [exitCodes.cut]: 'stopped, but transfers had to be cut after limits.graceSeconds'
    },
    run: async (values, platform) => {
      // Before anything is loaded, so that no signal is lost.
      const signals = new ProcessSignals(platform)
      const [{ serve }, { createGateway }] = await Promise.all([import('./serve.ts'), import('../gateway/gateway.ts')])
      return serve(values, platform, createGateway, signals)
    }
  }),
  command({
    name: 'config check',
    summary: 'check a configuration, and print what it means',
    description: 'Reads a configuration with its secrets, keyrings and certificates, reports every fault by its path, and prints what was\n'
      + 'understood, with warnings. Writes nothing. Contacts nothing, unless --online is given. Run it as the user of the gateway.',
    options: {
      ...config,
      online: {
        help:
          'also ask the store, the keys and the sinks of the audit trail: address, credentials, clock, state bucket,\nrights, conditional requests, every key, every sink. Writes and removes small objects under probe/ in the state bucket'
      },
      bucket: { value: 'NAME', help: 'with --online: try the rights on this bucket too. An upload is started and aborted there' },
      ...upstream
    },
    examples: ['sealgate config check --config sealgate.yaml', 'sealgate config check --config sealgate.yaml --online --bucket backup-eu'],
    codes: { [exitCodes.done]: 'good; with --online: every check passed', [exitCodes.failed]: '--online: a check failed' },
    run: async (values, platform) => (await import('./check-config.ts')).runConfig(values, platform)
  }),
  command({
    name: 'config example',
    summary: 'print a configuration with every option',
    description: 'Prints an example with every option, its default and what it is for, to begin a configuration with.',
    options: {},
    examples: ['sealgate config example >sealgate.yaml'],
    run: async (_, platform) => (await import('./check-config.ts')).printExample(platform)
  }),
  command({
    name: 'store check',
    summary: 'ask the store what it can do, and print the settings that fit it',
    description:
      'Asks the store, with the gateway\'s own credentials, everything that the gateway relies on or can use: rights, conditions, checksums, bodies,\n'
      + 'parts, metadata, names, listings, copies, versions, locks. Each kind of bucket is asked apart. Prints what was seen and what it means, the\n'
      + 'settings to put into the configuration, and what will not work for clients. Works in buckets that it makes, named after the state bucket,\n'
      + 'and removes them, also when it fails or is stopped; it says what it could not remove. The cost is printed before it begins.',
    options: {
      ...config,
      bucket: { value: 'NAME', help: 'ask in this bucket, under a prefix of its own, and make none: where buckets may not be created' },
      deep: { help: 'also upload 1,001 parts, which may cost 5 GiB of traffic: the same as --parts 1001' },
      upstream: { value: 'NAME', help: 'where the configuration has several stores: which; default: that of the bucket' },
      parts: { value: 'N', help: 'also make an upload of N parts, up to 10,000, of 1 byte or, where that is too small, of 5 MiB' },
      write: { help: 'write the settings into the configuration; comments stay' },
      json: { help: 'as JSON' }
    },
    examples: ['sealgate store check --config sealgate.yaml', 'sealgate store check --config sealgate.yaml --bucket backup-eu --json'],
    codes: {
      [exitCodes.done]: 'the store has everything that the gateway needs',
      [exitCodes.failed]: 'the store cannot be reached or refuses the credentials; or stopped by a signal',
      [exitCodes.change]: 'settings should change: they are printed, or with --write written',
      [exitCodes.unfit]: 'something that the gateway needs will not work, whatever the settings'
    },
    run: async (values, platform) => (await import('./store-check.ts')).runStoreCheck(values, platform)
  }),
  command({
    name: 'gc',
    summary: 'remove what dead multipart uploads and interrupted probes have left in the gateway\'s own buckets',
    description: 'Removes from the state bucket what belongs to no upload that the store knows, and has not changed for some hours; and, of the same\n'
      + 'age, what interrupted probes have left under "probe/" in the gateway\'s own buckets, the buckets that "store check" could not remove,\n'
      + 'and uploads in parts that a killed "encrypt", "decrypt" or "rewrap" has left.',
    options: {
      ...config,
      'dry-run': { help: 'count, remove nothing' },
      'older-than-hours': { value: 'N', help: 'hours without a change; 24, which is also the least' },
      ...upstream
    },
    examples: ['sealgate gc --config sealgate.yaml --dry-run'],
    codes: { [exitCodes.failed]: 'something could not be removed, or the store refused', [exitCodes.stopped]: 'stopped by a signal: start it again' },
    run: async (values, platform) => (await import('./object-commands.ts')).runGc(values, platform)
  }),
  ...existingCommands,
  command({
    name: 'rewrap',
    summary: 're-wrap the keys of a bucket\'s objects',
    description: 'Re-wraps the keys of objects, after a rotation or to move to another key. The current version of every object that is not\n'
      + 'under the current version of its key is copied onto itself inside the store; no body passes through this machine. Can be killed\n'
      + 'and started again at any time: what is done is skipped.\n\n'
      + 'Only what the bucket may open (its key, allowedKeys, openKeys) is re-wrapped; an object under any other key is a failure.\n'
      + 'Left as they are and counted: objects under a customer\'s key, not encrypted, archived or locked. Noncurrent versions cannot be\n'
      + 're-wrapped: keep their keys decrypt-only ("sealgate keys usage --versions" counts them).',
    options: {
      ...current,
      'to': {
        value: 'KEYNAME',
        help: 'bring every object under this key, which must be the bucket\'s own or in its allowedKeys;\ndefault: each stays with its key'
      },
      'dry-run': { help: 'count; change nothing, use no key' },
      'assume-no-writers': {
        help:
          'there are no writers. Where the store does not enforce conditions on copies, a write that happens\nwhile its object is being re-wrapped may be lost: there the command needs this option'
      }
    },
    examples: ['sealgate rewrap --config sealgate.yaml --bucket backup-eu --dry-run', 'sealgate rewrap --config sealgate.yaml --bucket backup-eu --to cloud'],
    codes: { [exitCodes.failed]: 'some objects could not be re-wrapped, or the store refused', [exitCodes.stopped]: 'stopped by a signal: start it again' },
    run: async (values, platform) => (await import('./rewrap.ts')).runRewrap(values, platform)
  }),
  command({
    name: 'export-key',
    summary: 'print the key of one object\'s streams as a keyset of Tink',
    description: 'Prints the key of one object\'s streams in plaintext, as a keyset of Tink in JSON (AesGcmHkdfStreaming), so that Google\'s libraries open\n'
      + 'the streams in its stored body. The audit trail records the use of the master key as "export-key". Anyone with the key and the\n'
      + 'stored bytes can read this object for ever, but no other object. docs/TINK.md explains where the streams are, and has programs.',
    options: {
      ...config,
      'tink-keyset': { value: 'BUCKET/OBJECT', required: true, help: 'the object; its name as clients know it' },
      'version-id': { value: 'ID', help: 'a version of it; default: the current one' },
      'customer-key-file': { value: 'FILE', help: 'of an object under a customer\'s key (SSE-C): the key, 32 bytes in hex' }
    },
    examples: ['sealgate export-key --config sealgate.yaml --tink-keyset photos/a/b.jpg'],
    run: async (values, platform) => (await import('./object-commands.ts')).runExportKey(values, platform)
  }),
  ...keyCommands,
  ...auditCommands
]

/** Runs the command that the arguments name. @returns the exit code. */
export function runCommand(platform: Platform): Promise<number> {
  return runFrom(commands, platform)
}

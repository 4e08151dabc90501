import { command, type Command } from './command-line.ts'
import { config } from './options.ts'
import { exitCodes } from './platform.ts'

/** The commands of the group `audit`. */
export const auditCommands: readonly Command[] = [
  command({
    name: 'audit verify',
    summary: 'find out whether files of the audit trail are as they were written',
    description:
      'Reads files of an audit trail that is chained (audit.key), and finds a line that was changed, removed, moved, repeated or added, a file that\n'
      + 'is missing between others, and what is missing before a checkpoint. Names the first bad line. Several files are given oldest first; those that\n'
      + 'end in .gz are unpacked. Runs beside a gateway that writes. A run without an orderly end is told: it runs, was killed, or its end was cut off;\n'
      + 'only --against can tell which. docs/AUDIT.md has the format and what it does not show.',
    options: {
      'file': { value: 'FILE', many: true, required: true, help: 'a file of the trail; several: oldest first' },
      ...config,
      'key-file': { value: 'FILE', many: true, help: 'in place of the configuration: a keyring, or what "audit key" has printed' },
      'against': {
        value: 'FILE',
        many: true,
        help: 'what was kept elsewhere: the log of the gateway in JSON, or lines that a sink has received.\nWhat it has seen must be in the files'
      },
      'json': { help: 'as JSON' }
    },
    examples: [
      'sealgate audit verify --config sealgate.yaml --file audit.jsonl.2.gz --file audit.jsonl.1 --file audit.jsonl',
      'sealgate audit verify --key-file audit.key --file audit.jsonl --against gateway.log --json'
    ],
    codes: {
      [exitCodes.done]: 'whole; runs without an orderly end are printed',
      [exitCodes.tampered]: 'tampered with: the first bad line and what is wrong are printed'
    },
    run: async (values, platform) => (await import('./audit.ts')).verifyAudit(values, platform)
  }),
  command({
    name: 'audit key',
    summary: 'print the keys that verify the audit trail, and open no object',
    description: 'Prints the keys of the audit trail, one a line, for an auditor who must not have the keyring. They open no object, but who has them\n'
      + 'can also make a trail that verifies. Keep them in a file that only its owner may read.',
    options: config,
    examples: ['sealgate audit key --config sealgate.yaml'],
    run: async (values, platform) => (await import('./audit.ts')).printAuditKeys(values, platform)
  })
]

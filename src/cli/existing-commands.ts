// The commands on existing objects, with options, help and exit codes.
import { command, type Command } from './command-line.ts'
import { config, current, existing } from './options.ts'
import { exitCodes } from './platform.ts'

export const existingCommands: readonly Command[] = [
  command({
    name: 'scan',
    summary: 'find out which objects of a bucket are encrypted',
    description: 'Examines every object of a bucket and reports what it is: encrypted by Sealgate (for this name, or for another), plaintext, of the\n'
      + 'Amazon S3 Encryption Client, under a client\'s key, encrypted by another tool, written by the store itself, damaged, archived.\n'
      + 'One HEAD for each object; of those that Sealgate did not write also the first 512 bytes. Changes nothing. Objects under keys of\n'
      + 'this configuration are opened, which the audit trail records as "scan". docs/EXISTING-DATA.md explains states and reports.',
    options: existing,
    examples: [
      'sealgate scan --config sealgate.yaml --bucket backup-eu --report scan.csv',
      'sealgate scan --config sealgate.yaml --bucket backup-eu --versions --filter "age>30d" --json'
    ],
    codes: {
      [exitCodes.done]: 'everything is encrypted',
      [exitCodes.failed]: 'some objects could not be examined, or the store refused',
      [exitCodes.plaintext]: 'there are objects that are not encrypted, or archived ones of which it is not known',
      [exitCodes.damaged]: 'there are objects that do not open here: damaged, or encrypted for another place',
      [exitCodes.stopped]: 'stopped by a signal; what was seen is reported'
    },
    run: async (values, platform) => (await import('./scan.ts')).runScan(values, platform)
  }),
  command({
    name: 'encrypt',
    summary: 'encrypt the objects of a bucket that are not encrypted',
    description: 'Encrypts the current objects of a bucket in place: each is copied onto itself through a gateway in this process, so its bytes pass\n'
      + 'through this machine twice. Metadata, tags, grants, storage class and checksums stay; the date becomes new. Each write is\n'
      + 'conditional on the object that was read, so that no write of a client is lost. Can be killed and started again at any time:\n'
      + 'what is done is skipped.\n\n'
      + 'Left as they are and counted: objects that are locked, archived, too large, under a client\'s key (SSE-C), encrypted by another\n'
      + 'tool, by the S3 Encryption Client (unless --from names s3ec), or written by the store itself. In a bucket that keeps versions the\n'
      + 'OLDER PLAINTEXT VERSIONS STAY READABLE until they are removed. The audit trail names the principal "cli-encrypt".',
    options: {
      ...current,
      'from': {
        value: 'KINDS',
        help:
          'what to encrypt, with commas between: plaintext, other-key (sealed with another key than the bucket\'s),\ns3ec (objects of the S3 Encryption Client that the bucket reads); default: plaintext'
      },
      'dry-run': { help: 'count; change nothing' },
      'estimate': { help: 'as --dry-run, with bytes, requests, time at the rate measured now, and cost' },
      'verify': { help: 'read every new object back before it counts' },
      'purge-plaintext-versions': {
        help:
          'of every object that is encrypted now: read it back, then remove its older versions that are plaintext;\nlocked ones stay. They are gone for ever'
      },
      'assume-no-writers': {
        help:
          'there are no writers. Where the store does not enforce conditions on writes, a write that happens\nwhile its object is being encrypted may be lost: there the command needs this option'
      }
    },
    examples: [
      'sealgate encrypt --config sealgate.yaml --bucket backup-eu --estimate',
      'sealgate encrypt --config sealgate.yaml --bucket backup-eu --verify --rate 200/s --report encrypt.csv'
    ],
    codes: {
      [exitCodes.failed]: 'some objects could not be encrypted, or the store refused',
      [exitCodes.plaintext]: 'done, but some objects that are not encrypted were left; the report says why',
      [exitCodes.stopped]: 'stopped by a signal: start it again'
    },
    run: async (values, platform) => (await import('./existing-actions.ts')).runEncrypt(values, platform)
  }),
  command({
    name: 'verify',
    summary: 'check that the objects of a bucket open and are what was encrypted',
    description: 'Opens the envelope of every object with its key and checks its size; with --deep also decrypts every byte, through a gateway in\n'
      + 'this process, and compares the digests. Changes nothing. The outcome in report and summary is one of:\n'
      + '  verified         it opens, and is what was encrypted\n'
      + '  mismatch         it opens, and its bytes, size or metadata are not what was encrypted\n'
      + '  unreadable       it does not open here, or the store does not deliver it\n'
      + '  key-unavailable  its key could not be used: nothing is known of the object\n'
      + '  not-sealed       Sealgate did not encrypt it',
    options: {
      ...existing,
      deep: { help: 'decrypt every byte and compare the digests' },
      sample: { value: 'N%', help: 'only so many of the objects, chosen at random' },
      since: { value: 'AGE', help: 'only objects written within this time, such as 24h, 7d' }
    },
    examples: ['sealgate verify --config sealgate.yaml --bucket backup-eu --deep --sample 5% --report verify.jsonl'],
    codes: {
      [exitCodes.done]: 'everything is verified',
      [exitCodes.failed]: 'some objects could not be examined, or their keys not be used',
      [exitCodes.plaintext]: 'there are objects that Sealgate did not encrypt',
      [exitCodes.damaged]: 'there are mismatches or objects that do not open',
      [exitCodes.stopped]: 'stopped by a signal'
    },
    run: async (values, platform) => (await import('./existing-actions.ts')).runVerify(values, platform)
  }),
  command({
    name: 'decrypt',
    summary: 'copy the plaintext of a bucket\'s objects to a bucket that is not encrypted',
    description: 'The way out: reads every current object as a client reads it and writes it, in plaintext, to another bucket, under the same name\n'
      + 'and with its metadata, tags, checksums and storage class, and reads it back. Grants, locks and older versions are not copied.\n'
      + 'Objects that Sealgate did not encrypt are copied as they are. Can be killed and started again: what is there is skipped.\n'
      + 'THE STORE OF THE OTHER BUCKET SEES THE PLAINTEXT. The audit trail names the principal "cli-decrypt".',
    options: {
      ...current,
      to: { value: 'NAME', required: true, help: 'the bucket for the plaintext: one that exists and is not configured, or has encryption: off' }
    },
    examples: ['sealgate decrypt --config sealgate.yaml --bucket backup-eu --to backup-eu-plain'],
    codes: {
      [exitCodes.failed]: 'some objects could not be decrypted, or a store refused',
      [exitCodes.damaged]: 'done, but some objects cannot be opened here; the report says why',
      [exitCodes.stopped]: 'stopped by a signal: start it again'
    },
    run: async (values, platform) => (await import('./existing-actions.ts')).runDecrypt(values, platform)
  }),
  command({
    name: 'inspect',
    summary: 'everything about one object: encrypted or not, by which key, and what the store says of it',
    description: 'Examines one object as "scan" does, and prints what is known of it: state, key and its version, realm, whether it is bound to this\n'
      + 'name, sizes, parts, checksums, lock, storage class, versions, and the last uses of its key in the audit file. An object under a\n'
      + 'key of the configuration is opened, which the audit trail records as "inspect"; its body is not read: "verify --deep" does that.\n'
      + 'Changes nothing. The values of checksums and metadata are not printed.',
    options: {
      ...config,
      'object': { value: 's3://BUCKET/KEY', required: true, position: true, help: 'the object; "--object" may be left out' },
      'version-id': { value: 'ID', help: 'a version of it; default: the current one' },
      'json': { help: 'as JSON' }
    },
    examples: [
      'sealgate inspect --config sealgate.yaml s3://backup-eu/db/base.tar',
      'sealgate inspect --config sealgate.yaml --json s3://backup-eu/db/base.tar'
    ],
    codes: {
      [exitCodes.done]: 'it is encrypted, or a delete marker',
      [exitCodes.failed]: 'there is no such object, or it could not be examined',
      [exitCodes.plaintext]: 'it is not encrypted, or archived and not known',
      [exitCodes.damaged]: 'it does not open here: damaged, or encrypted for another place'
    },
    run: async (values, platform) => (await import('./inspect.ts')).runInspect(values, platform)
  }),
  command({
    name: 'report check',
    summary: 'check that a report and its evidence are as they were written',
    description: 'Checks the evidence that a command has written beside its report (FILE.evidence.json): that somebody with the key of the bucket has\n'
      + 'made it, that nothing in it has changed since, and that the report is the one that it is about. Contacts no store.',
    options: { ...config, report: { value: 'FILE', required: true, help: 'the report' } },
    examples: ['sealgate report check --config sealgate.yaml --report scan.csv'],
    codes: { [exitCodes.done]: 'both are as they were written', [exitCodes.damaged]: 'the evidence or the report was changed' },
    run: async (values, platform) => (await import('./report-check.ts')).runReportCheck(values, platform)
  })
]

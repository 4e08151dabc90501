import { command, UsageError, type Command } from './command-line.ts'
import { exitCodes } from './platform.ts'
import { ageIdentity, config, keyring, passphrase, rows, versionOption } from './options.ts'

/** The commands of the group `keys`. */
export const keyCommands: readonly Command[] = [
  command({
    name: 'keys create',
    summary: 'make a keyring with one new master key',
    description: 'Makes a keyring, mode 0600, with one new master key. Back it up: a lost keyring is lost data.',
    options: {
      ...keyring,
      name: { value: 'NAME', help: 'name of the keyring, part of its key ids; default: that of the file' },
      realm: { value: 'NAME', help: 'upstream.realm of the configuration, which the keyring then holds; default: "default", as there' }
    },
    examples: ['sealgate keys create --keyring keyring.json --name main'],
    run: async ({ keyring, name, realm = 'default' }, platform) => {
      const { createKeys, nameFor } = await import('./keys-commands.ts')
      return createKeys(keyring, name ?? nameFor(keyring), realm, platform)
    }
  }),
  command({
    name: 'keys rotate',
    summary: 'add a new version to a keyring',
    description: 'Adds a new version, which new objects use after a reload (SIGHUP). Enabled versions become decrypt-only.',
    options: keyring,
    examples: ['sealgate keys rotate --keyring keyring.json'],
    run: async ({ keyring }, platform) => (await import('./keys-commands.ts')).rotateKeys(keyring, platform)
  }),
  command({
    name: 'keys list',
    summary: 'print realm, versions, states and dates; never keys',
    description: 'Prints realm, versions, states and dates of a keyring; or key ids, versions and states of all keys of a configuration, for which it asks\n'
      + 'key services that have versions. Never keys.',
    options: { keyring: { value: 'FILE', help: 'the keyring' }, ...config, json: { help: 'as JSON' } },
    examples: ['sealgate keys list --keyring keyring.json', 'sealgate keys list --config sealgate.yaml'],
    run: async ({ keyring, config, json }, platform) => {
      if (keyring === undefined) return (await import('./keys-list.ts')).listConfiguredKeys({ config }, json, platform)
      if (config !== undefined) throw new UsageError('Give either --keyring or --config.')
      return (await import('./keys-commands.ts')).listKeys(keyring, json, platform)
    }
  }),
  command({
    name: 'keys set-realm',
    summary: 'write into a keyring which realm it serves',
    description: 'Writes upstream.realm of the configuration into the keyring, and so into its backups: a lost realm is lost data.',
    options: { ...keyring, realm: { value: 'NAME', help: 'the realm; left out: the keyring names none, as one that serves several must' } },
    examples: ['sealgate keys set-realm --keyring keyring.json --realm default'],
    run: async ({ keyring, realm }, platform) => (await import('./keys-commands.ts')).setRealm(keyring, realm, platform)
  }),
  command({
    name: 'keys enable',
    summary: 'let a version wrap and unwrap again',
    description: 'Lets a version wrap and unwrap again, after a reload (SIGHUP).',
    options: { ...keyring, ...versionOption },
    examples: ['sealgate keys enable --keyring keyring.json --version 20260722-9f3c01ab'],
    run: async ({ keyring, version }, platform) => (await import('./keys-commands.ts')).setKeyState(keyring, version, 'enabled', platform)
  }),
  command({
    name: 'keys disable',
    summary: 'refuse every use of a version, or only new wraps',
    description:
      'Refuses every use of a version after a reload (SIGHUP) or within keyCache.maxAgeSeconds. Objects sealed with a disabled version cannot be read.',
    options: { ...keyring, ...versionOption, 'decrypt-only': { help: 'refuse only new wraps' } },
    examples: ['sealgate keys disable --keyring keyring.json --version 20260722-9f3c01ab --decrypt-only'],
    run: async ({ keyring, version, 'decrypt-only': decryptOnly }, platform) =>
      (await import('./keys-commands.ts')).setKeyState(keyring, version, decryptOnly ? 'decrypt-only' : 'disabled', platform)
  }),
  command({
    name: 'keys shred',
    summary: 'destroy a key, and with it whatever is sealed under it',
    description:
      'Destroys a key of the configuration: every version in a keyring file, of a Transit key, in a token of PKCS#11, or at a KMIP server; at AWS KMS and\n'
      + 'Google Cloud KMS by scheduling it, at Azure Key Vault by deleting the key. Without --confirm it prints what the key is used for and changes\n'
      + 'nothing. The signed record says what was destroyed, when and by whom. Backups still hold the key.',
    options: {
      ...config,
      bucket: { value: 'NAME', required: true, help: 'a bucket whose key, another one, signs the record' },
      key: { value: 'NAME', required: true, help: 'the key, by its name in the configuration' },
      record: { value: 'FILE', required: true, help: 'the signed record to write; never one that exists' },
      days: { value: 'N', help: 'days that AWS KMS waits before it deletes the key, 7 to 30; default 30. It refuses every use at once' },
      confirm: { value: 'NAME', help: 'the name of the key once more: destroy it' }
    },
    examples: ['sealgate keys shred --config sealgate.yaml --bucket data --key tenant-7 --record tenant-7.json --confirm tenant-7'],
    run: async (values, platform) => (await import('./shred.ts')).shredKey(values, platform)
  }),
  command({
    name: 'keys encrypt',
    summary: 'seal a small secret under a key',
    description: 'Seals a secret of 1 to 4,096 bytes, from standard input or a file, under a key of the configuration. The configuration itself takes what it\n'
      + 'prints as { sealed: TEXT } in the place of a secret; a line end behind the secret is then left out.',
    options: {
      ...config,
      key: { value: 'NAME', help: 'the key, by its name in the configuration; may be left out where there is one' },
      in: { value: 'FILE', help: 'the secret; default: standard input' },
      out: { value: 'FILE', help: 'a new file, mode 0600; default: standard output' }
    },
    examples: ['sealgate keys encrypt --config sealgate.yaml --key hsm --in store-secret.txt'],
    run: async (values, platform) => (await import('./secret-commands.ts')).encryptSecret(values, platform)
  }),
  command({
    name: 'keys decrypt',
    summary: 'open what "keys encrypt" has sealed',
    description: 'Opens what "sealgate keys encrypt" has sealed, and prints the secret.',
    options: {
      ...config,
      in: { value: 'FILE', help: 'the sealed secret; default: standard input' },
      out: { value: 'FILE', help: 'a new file, mode 0600; default: standard output' }
    },
    examples: ['sealgate keys decrypt --config sealgate.yaml --in sealed.txt'],
    run: async (values, platform) => (await import('./secret-commands.ts')).decryptSecret(values, platform)
  }),
  command({
    name: 'keys export',
    summary: 'write an encrypted backup of a keyring',
    description: 'Writes a backup of a keyring, encrypted with a passphrase or for recipients of age (age-encryption.org). Keep the backup and what\n'
      + 'opens it apart, and away from the store.',
    options: {
      ...keyring,
      backup: { value: 'FILE', required: true, help: 'the backup to write; never one that exists' },
      ...passphrase,
      'make-passphrase': { help: 'make the file of --passphrase-file, with a new random passphrase and mode 0600' },
      'age': { value: 'RECIPIENTS', help: 'in place of a passphrase: public keys of age (age1…), with commas between them' }
    },
    examples: [
      'sealgate keys export --keyring keyring.json --backup keyring.backup --passphrase-file passphrase.txt --make-passphrase',
      'sealgate keys export --keyring keyring.json --backup keyring.age --age age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p'
    ],
    run: async (values, platform) => (await import('./keys-commands.ts')).exportKeys(values, platform)
  }),
  command({
    name: 'keys check-backup',
    summary: 'open a backup, and compare it with the keyring',
    description: 'Opens a backup, and compares it with the keyring where one is named. Then notes beside the keyring, in KEYRING.backup-checked,\n'
      + 'that it was checked: the status page shows how long ago.',
    options: {
      backup: { value: 'FILE', required: true, help: 'the backup' },
      keyring: { value: 'FILE', help: 'a keyring; the backup must hold all of its keys' },
      ...passphrase,
      ...ageIdentity
    },
    examples: ['sealgate keys check-backup --backup keyring.backup --keyring keyring.json --passphrase-file passphrase.txt'],
    run: async (values, platform) => (await import('./keys-commands.ts')).checkBackup(values, platform)
  }),
  command({
    name: 'keys restore',
    summary: 'make a keyring from a backup',
    description: 'Makes a keyring from a backup. Never replaces a file.',
    options: { backup: { value: 'FILE', required: true, help: 'the backup' }, ...keyring, ...passphrase, ...ageIdentity },
    examples: [
      'sealgate keys restore --backup keyring.backup --keyring keyring.json --passphrase-file passphrase.txt',
      'sealgate keys restore --backup keyring.age --keyring keyring.json --age-identity identity.txt'
    ],
    run: async (values, platform) => (await import('./keys-commands.ts')).restoreKeys(values, platform)
  }),
  command({
    name: 'keys usage',
    summary: 'count the objects of a bucket by the key that sealed them',
    description:
      'Counts the objects of a bucket and their stored bytes by the id of the key that sealed them, and by prefix where prefixes have keys of their\n'
      + 'own. Tells those under a key that does not open them where they lie. Asks no key: it reads the metadata of each object, with one HEAD per object.',
    options: {
      ...rows,
      versions: { help: 'every version, not only the current ones: before a key is disabled, no version should need it' },
      report: {
        value: 'FILE',
        help: 'a line for every object with the id of its key; the name ends in .csv or .jsonl. No key\nis used, so it has no evidence'
      },
      json: { help: 'as JSON' }
    },
    examples: [
      'sealgate keys usage --config sealgate.yaml --bucket backup-eu --versions',
      'sealgate keys usage --config sealgate.yaml --bucket backup-eu --report keys.csv'
    ],
    codes: {
      [exitCodes.failed]: 'some objects could not be examined, or the store refused',
      [exitCodes.stopped]: 'stopped by a signal; what was seen is counted'
    },
    run: async (values, platform) => (await import('./key-usage.ts')).runUsage(values, platform)
  })
]

// Options that several commands take.
export const config = { config: { value: 'FILE', help: 'the configuration; default: SEALGATE_CONFIG' } } as const
const bucket = { bucket: { value: 'NAME', required: true, help: 'the bucket, as the store calls it' } } as const
export const upstream = { upstream: { value: 'NAME', help: 'where the configuration has several stores: this one; default: all' } } as const
export const keyring = { keyring: { value: 'FILE', required: true, help: 'the keyring' } } as const
export const versionOption = { version: { value: 'ID', required: true, help: 'the version, as "keys list" prints it' } } as const
export const passphrase = {
  'passphrase-file': {
    value: 'FILE',
    help: 'the passphrase: the content of the file without its last line end, at least 12 bytes.\nDefault: the environment variable SEALGATE_KEYRING_PASSPHRASE'
  }
} as const

export const ageIdentity = {
  'age-identity': { value: 'FILE', help: 'of a backup for age: the file with the identity (secret key), in place of the passphrase' }
} as const

/** Options of every command that goes over the objects of a bucket. */
export const rows = {
  ...config,
  ...bucket,
  prefix: { value: 'P', help: 'only objects whose names begin with P' },
  keys: {
    value: 'FILE',
    help: 'in place of a listing: names, one a line, behind a tab the id of a version,\nor lines of a report in JSON; "-": standard input'
  },
  inventory: { value: 's3://BUCKET/KEY', help: 'in place of a listing: the manifest.json of an S3 Inventory in CSV, in the same store' },
  filter: { value: 'TERMS', help: 'only what fits all terms, with commas between them: size>1MiB, size<100, age>30d, age<24h,\nclass=GLACIER, name=*.log' },
  concurrency: { value: 'N', help: 'objects at once, 1 to 1000; default 32' },
  rate: { value: 'N/s', help: 'most objects per second' },
  bandwidth: { value: 'BYTES/s', help: 'most bytes per second, such as 50MiB/s' },
  shard: { value: 'I/N', help: 'the I-th of N runs that share the objects, by their names' }
} as const

/** Options of every command that works on the current objects of a bucket, and reports. */
export const current = {
  ...rows,
  report: { value: 'FILE', help: 'a line for every object; the name ends in .csv, .jsonl or .html (totals and what needs attention)' },
  json: { help: 'the summary as JSON' },
  ledger: {
    value: 'FILE',
    help:
      'note in a new file which objects are done, so that --resume can pass over them; removed when every object\nhas been seen. Only for speed: an object that has changed since is examined'
  },
  resume: { help: 'go on with the run of --ledger FILE where there is one: same command, bucket and configuration' }
} as const

/** Options of every command that can also look at older versions. */
export const existing = { ...current, versions: { help: 'every version and delete marker, not only the current objects' } } as const

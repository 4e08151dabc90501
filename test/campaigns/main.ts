// Runs all campaigns: `npm run campaign` lists them, `npm run campaign NAME [ARGUMENT…]` runs one.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import process from 'node:process'

/** What each does. The head of each file gives its arguments. */
const campaigns: Readonly<Record<string, string>> = {
  'audit': 'every kind of tampering with an audit trail, 1,000 times each, for the command and for the verifier in Python; SIGKILL of writers',
  'authentication': 'every row of the product of operation, credentials, payload and signature state; every operation with every x-amz header unsigned',
  'break-glass': 'buckets of 10,000 objects of every kind opened without Sealgate, and compared byte for byte',
  'clock': 'a clock that jumps while the gateway serves',
  'cloud-keys': 'simulations of Google Cloud KMS and Azure Key Vault: calls for 10,000 PUTs and GETs, outages of five kinds under load',
  'descriptors': 'few file descriptors and many idle connections',
  'dns': 'a store whose name gets another address',
  'existing': 'SIGKILL of `encrypt` while clients write; every byte back from `decrypt`; planted faults found by `verify --deep`',
  'existing-large':
    'SIGKILL of `encrypt` and `decrypt` in the middle of objects that are written in parts, while a client overwrites one; one object above 5 GiB',
  'existing-mix': 'one of everything that can lie in a bucket, and what each command on existing objects says of it and does to it',
  'existing-rates': 'objects and bytes per second of `encrypt`, `verify --deep` and `decrypt`, beside clients without Sealgate',
  'faults': 'every request to the store of every operation, with every fault',
  'floods': 'clients that send or read slowly, among normal ones',
  'full': 'every combination of which npm test takes some by turns',
  'fuzz': 'guided fuzzing of every parser of outside input',
  'garbage': 'what 500 requests of each kind leave in the old generation, and full collections in 1.5 GiB of bodies',
  'growth': 'the cost of every parser up to its limit',
  'kill': 'SIGKILL of two instances under load',
  'ledger': 'a ledger of a million rows: time for each, and memory',
  'key-services':
    'keys of every service that is here: calls for 10,000 PUT and GET, times of objects whose key must be asked for, `rewrap --to` between every two',
  'kms': '10,000 PUTs and GETs under one bucket key, then a minute without a key service',
  'mutation': 'one changed expression at a time where a fault costs most, and which changes no test notices',
  'native': 'random calls of the native core against node:crypto, with and without sanitizers',
  'properties': 'every property with ten times the random cases of npm test, or as many times as named',
  'reader_mutants.py': 'one changed line at a time in the reader without Sealgate, and which changes no vector notices',
  'profiles': 'aws, rclone, mc, s3cmd and restic in front of stores with the limits of twelve providers',
  'openbao': 'a real OpenBao, started by test/e2e/openbao.sh, that is sealed and opened again under load, with tokens of seconds',
  'readers': 'one client with 256 readers that stop, and what others get meanwhile',
  'scan': 'every kind of object under hostile names, with versions, scanned and compared; the memory of a million rows of an inventory',
  'shred': 'a key destroyed under three instances with load: when the last object under it opens, and that all else does; SIGKILL of the command',
  's3ec-encrypt': 'SIGKILL of `encrypt --from s3ec` on objects of every kind of the S3 Encryption Client while clients read and write',
  's3ec': 'objects of the real S3 Encryption Clients, tampered with in every field, read through the gateway',
  'rewrap': 'SIGKILL of `rewrap` while clients write, tag and read'
}

const [name, ...rest] = process.argv.slice(2)
if (name === undefined) {
  const width = Math.max(...Object.keys(campaigns).map(({ length }) => length)) + 2
  for (const [known, what] of Object.entries(campaigns)) console.log(`${known.padEnd(width)}${what}`)
} else if (campaigns[name] === undefined) {
  console.error(`no campaign ${name}: npm run campaign lists them`)
  process.exitCode = 2
} else {
  const [program, file] = name.endsWith('.py') ? ['python3', name] : [process.execPath, `${name}.ts`]
  const child = spawn(program, [join(import.meta.dirname, file), ...rest], { stdio: 'inherit' })
  const [code] = await once(child, 'exit') as [number | null]
  process.exitCode = code ?? 1
}

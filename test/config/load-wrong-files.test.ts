// Wrong configurations, each with what an operator must read: the option's path, what is wrong, what would be right.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { checkFiles } from '../../src/cli/config-files.ts'
import { ConfigError, parseConfig } from '../../src/config/load.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'

const directory = mkdtempSync(join(tmpdir(), 'sealgate-wrong-'))
t.teardown(() => {
  rmSync(directory, { recursive: true })
})
const at = (name: string): string => join(directory, name)
const pem = (name: string): string => new URL(`../support/tls/${name}`, import.meta.url).pathname
const [cert, key] = [pem('localhost-cert.pem'), pem('localhost-key.pem')]
const otherKey = pem('renewed-key.pem')
await createKeyring(at('keyring.json'), 'main', new Date())
await createKeyring(at('elsewhere.json'), 'elsewhere', new Date(), 'eu-1')
writeFileSync(at('empty'), '')
writeFileSync(at('request.pem'), '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n')
writeFileSync(at('encrypted.pem'), '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n')
writeFileSync(at('damaged.pem'), '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n')
writeFileSync(at('cert.der'), Buffer.from('3082012230', 'hex'))
writeFileSync(at('text'), 'hello\n')
mkdirSync(at('folder'))

/** A valid configuration; `change` says what is to be another way, section by section. */
async function faultsOf(change: string | Readonly<Record<string, unknown>>): Promise<string[]> {
  const base = {
    listen: { port: 9000 },
    upstream: { endpoint: 'http://127.0.0.1:9100', accessKeyId: 'a', secretAccessKey: 'secret-canary' },
    clients: [{ accessKeyId: 'c', secretAccessKey: 'd' }],
    keys: { main: { type: 'local', keyring: './keyring.json' } }
  }
  const file = at('sealgate.yaml')
  const text = typeof change === 'string' ? change : JSON.stringify({ ...base, ...change })
  try {
    await checkFiles(parseConfig(text, { file, env: { TEXT: 'value-canary', EMPTY: '' } }), file)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.split('\n').slice(1).map((line) => line.trim())
  }
}

const upstream = (more: object): object => ({ upstream: { endpoint: 'http://127.0.0.1:9100', accessKeyId: 'a', secretAccessKey: 'b', ...more } })
const client = (more: object): object => ({ clients: [{ accessKeyId: 'c', secretAccessKey: 'd', ...more }] })
const kmip = (more: object): object => ({
  keys: { main: { type: 'kmip', address: 'kmip:5696', label: 'k', versions: [{ id: '1' }], cert: 'c', key: 'k', ...more } }
})
const azure = (more: object): object => ({ keys: { main: { type: 'azure-key-vault', vault: 'https://v.vault.azure.net', key: 'k', ...more } } })
const gcp = (more: object): object => ({
  keys: { main: { type: 'gcp-kms', key: 'projects/my-project/locations/global/keyRings/r/cryptoKeys/k', ...more } }
})
const vault = (more: object): object => ({
  keys: { main: { type: 'vault-transit', address: 'https://vault', key: 'k', auth: { method: 'agent' }, ...more } }
})
const hsm = (more: object): object => ({
  keys: { main: { type: 'pkcs11', module: 'm.so', token: { label: 't' }, pin: 'p', label: 'k', versions: [{ id: '01' }], ...more } }
})
const kms = (more: object): object => ({ keys: { main: { type: 'aws-kms', arn: 'arn:aws:kms:eu-west-1:111122223333:key/1-a', ...more } } })
const tls = (more: object): object => ({ listen: { port: 9000, tls: { cert, key, ...more } } })
const bucket = (more: object): object => ({ buckets: { '*': more } })
const limit = (more: object): object => ({ limits: more })
const keyring = (file: string): object => ({ keys: { main: { type: 'local', keyring: file } } })

/** Each: the fault, and the whole line that reports it. */
const rows: readonly (readonly [change: string | object, ...lines: (string | RegExp)[]])[] = [
  // The file as a whole.
  ['', '(file): is empty: it must be a map of sections'],
  ['- listen', '(file): must be a map of sections'],
  ['listen:\n\tport: 1', /^\(file\): line 2: not valid YAML: tab as indent \(indent with spaces/],
  ['listen: {port: 1', /^\(file\): line \d: not valid YAML/],
  ['listen: {port: 1}\nlisten: {port: 2}', '(file): line 2: not valid YAML: duplicate key'],
  ['listen: *gone', '(file): has aliases (*NAME) that cannot be resolved'],
  [{ lisen: {} }, 'lisen: no such section; did you mean listen?'],
  [{ storage: {} }, /^storage: no such section; there are listen, admin, upstream/],
  [{ listen: [] }, 'listen: must be a map of options, not a list'],
  [{ clients: {} }, 'clients: must be a list, not a map'],
  [{ clients: [] }, 'clients: must name at least one client'],
  // Sizes, times, numbers.
  [limit({ connections: '2MiB' }), 'limits.connections: must be a whole number, at least 1; it has no unit'],
  [limit({ connections: 1.5 }), 'limits.connections: must be a whole number, at least 1'],
  [limit({ connections: 'many' }), 'limits.connections: must be a whole number, at least 1'],
  [limit({ connections: true }), 'limits.connections: must be a whole number, at least 1'],
  [
    limit({ xmlBytes: '2M' }),
    'limits.xmlBytes: must be a size in bytes such as 65536, 64KiB or 2MiB, from 64KiB to 16MiB; there is no unit "m": kB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024'
  ],
  [limit({ xmlBytes: '1GiB' }), 'limits.xmlBytes: must be a size in bytes such as 65536, 64KiB or 2MiB, from 64KiB to 16MiB'],
  [limit({ xmlBytes: '5s' }), /^limits\.xmlBytes: must be a size .*; "s" is a unit of time$/],
  [limit({ headerBytes: '0.3B' }), 'limits.headerBytes: must be a size in bytes such as 65536, 64KiB or 2MiB, from 4KiB to 64KiB'],
  [limit({ graceSeconds: '1MiB' }), 'limits.graceSeconds: must be a time such as 60 (seconds), 250ms, 5s, 2m or 1h, from 0s to 1d; "mib" is a unit of size'],
  [limit({ graceSeconds: '5min' }), /^limits\.graceSeconds: .* there is no unit "min": ms, s, m, h, d$/],
  [limit({ graceSeconds: 4e6 }), 'limits.graceSeconds: must be a time such as 60 (seconds), 250ms, 5s, 2m or 1h, from 0s to 1d'],
  [limit({ graceSeconds: '-1s' }), /^limits\.graceSeconds: must be a time/],
  [limit({ minRate: 0 }), 'limits.minRate: must be bytes per second such as 1024, 64KiB or 1MiB, above 0B'],
  [limit({ minrate: 1 }), 'limits.minrate: no such option; did you mean minRate?'],
  [{ keyCache: { maxAgeSeconds: '2d' } }, /^keyCache\.maxAgeSeconds: must be a time .* from 0s to 1d$/],
  [{ workers: 'all' }, 'workers: must be a number of processes, at least 1, or auto'],
  [{ workers: 0 }, 'workers: must be a number of processes, at least 1, or auto'],
  // Where clients connect.
  [{ listen: { port: 65_536 } }, 'listen.port: must be a whole number, from 0 to 65535'],
  [{ listen: { port: '${TEXT}' } }, 'listen.port: must be a whole number, from 0 to 65535'],
  [{ listen: { port: '${GONE}' } }, 'listen.port: the environment variable GONE is not set'],
  [{ listen: { host: '0.0.0.0' } }, 'listen.host: 0.0.0.0 is not a loopback address: give listen.tls, or set allowPlainBeyondLoopback: true'],
  [{ listen: { host: 9000 } }, 'listen.host: must be a text, not a number'],
  [{ listen: { adress: 'x' } }, /^listen\.adress: no such option; there are host, port, tls/],
  [{ listen: { trustedProxies: ['10.0.0.0/40'] } }, 'listen.trustedProxies.0: must be an IP address or a CIDR range'],
  [{ listen: { clientAddress: 'forwarded' } }, 'listen.clientAddress: needs trustedProxies: who else may say it?'],
  [{ listen: { clientAddress: 'x-real-ip', trustedProxies: ['10.0.0.1'] } }, /^listen.clientAddress: must be peer, x-forwarded-for/],
  [{ listen: { trustedProxies: '10.0.0.1' } }, 'listen.trustedProxies: must be a list, not a text'],
  [{ listen: { domains: ['S3.example.org'] } }, 'listen.domains.0: must be a domain name in lower case'],
  [{ admin: { port: 9000 } }, 'admin.port: is that of listen.port (9000): the admin listener needs another'],
  [{ admin: { host: 'localhost', port: '9000' } }, 'admin.port: is that of listen.port (9000): the admin listener needs another'],
  [{ admin: true }, 'admin: must be a map of options, not true'],
  // Certificates.
  [tls({ cert: key, key: cert }), `listen.tls.cert: ${key} holds a private key, and ${cert} a certificate: cert and key are swapped`],
  [tls({ key: otherKey }), `listen.tls.key: ${otherKey} is not the key of the certificate in listen.tls.cert`],
  [
    tls({ cert: './keyring.json' }),
    `listen.tls.cert: ${at('keyring.json')} holds JSON (a keyring?), not a certificate in PEM form (-----BEGIN CERTIFICATE-----)`
  ],
  [tls({ cert: './gone.pem' }), `listen.tls.cert: cannot read ${at('gone.pem')}: no such file or directory (ENOENT)`],
  [tls({ cert: './folder' }), `listen.tls.cert: cannot read ${at('folder')}: illegal operation on a directory (EISDIR)`],
  [tls({ cert: './empty' }), /^listen\.tls\.cert: .*empty holds nothing, not a certificate/],
  [tls({ cert: './request.pem' }), /^listen\.tls\.cert: .* holds a certificate request, which an authority has still to sign, not a certificate/],
  [tls({ cert: './damaged.pem' }), `listen.tls.cert: ${at('damaged.pem')} holds a certificate that is damaged`],
  [tls({ cert: './cert.der' }), /^listen\.tls\.cert: .* holds DER, which is binary, not a certificate in PEM form/],
  [tls({ key: './encrypted.pem' }), /^listen\.tls\.key: .* holds a private key under a passphrase, which cannot be given: .*openssl pkey/],
  [tls({ key: cert }), `listen.tls.key: ${cert} holds a certificate, not a private key in PEM form (-----BEGIN PRIVATE KEY-----)`],
  [tls({ clientCa: './text' }), /^listen\.tls\.clientCa: .*text holds something else, not a certificate/],
  [tls({ key: undefined }), 'listen.tls.key: must be given'],
  [upstream({ ca: './gone.pem' }), /^upstream\.ca: .*gone\.pem cannot be read: no such file or directory \(ENOENT\)/],
  [upstream({ ca: key }), /^upstream\.ca: .*localhost-key\.pem holds a private key, not a certificate/],
  // The store.
  [upstream({ endpoint: 's3.example.org' }), 'upstream.endpoint: must be http://HOST[:PORT] or https://HOST[:PORT], without path, query or credentials'],
  [upstream({ endpoint: 'https://s3.example.org/bucket' }), /^upstream\.endpoint: must be http.* without path/],
  [upstream({ endpoint: undefined }), 'upstream.endpoint: must be given'],
  [upstream({ endpoint: 'http://localhost:9000' }), 'upstream.endpoint: is the address of this gateway itself (listen): name the store'],
  [upstream({ credentials: 'aws' }), 'upstream.credentials: give either accessKeyId and secretAccessKey, or credentials: aws'],
  [{ upstream: { endpoint: 'http://h' } }, 'upstream.credentials: give either accessKeyId and secretAccessKey, or credentials: aws'],
  [upstream({ secretAccessKey: { env: 'EMPTY' } }), 'upstream.secretAccessKey: the environment variable EMPTY is not set'],
  [upstream({ secretAccessKey: { file: './gone' } }), `upstream.secretAccessKey: cannot read ${at('gone')}: no such file or directory (ENOENT)`],
  [upstream({ secretAccessKey: { file: './empty' } }), `upstream.secretAccessKey: ${at('empty')} is empty`],
  [upstream({ secretAccessKey: 12345 }), 'upstream.secretAccessKey: must be a text, { file: PATH }, { env: NAME } or { sealed: TEXT }'],
  [upstream({ stateBucket: 'Sealgate_State' }), 'upstream.stateBucket: must be a bucket name: 3 to 63 lower-case letters, digits, "." or "-"'],
  [upstream({ style: 'vhost' }), 'upstream.style: must be path or virtual-host'],
  [upstream({ checksum: 'sha256' }), 'upstream.checksum: must be none or crc32'],
  [upstream({ equalParts: 'yes' }), 'upstream.equalParts: must be true or false, not a text'],
  [upstream({ conditions: { get: true } }), 'upstream.conditions.get: no such option; there are put, complete, copy, delete'],
  // Clients.
  [{ clients: [{ accessKeyId: 'c', secretAccessKey: 'd' }, { accessKeyId: 'c', secretAccessKey: 'e' }] }, 'clients.1.accessKeyId: is used by another client'],
  [client({ secretAccesKey: 'value-canary' }), 'clients.0.secretAccesKey: no such option; did you mean secretAccessKey?'],
  [client({ buckets: ['a*b'] }), 'clients.0.buckets.0: must be a bucket name, a prefix followed by "*", or "*"'],
  [client({ buckets: [] }), 'clients.0.buckets: must not be empty'],
  [client({ readOnly: 1 }), 'clients.0.readOnly: must be true or false, not a number'],
  // Keys.
  [
    { keys: { main: { type: 'vault' } } },
    'keys.main.type: must be local, aws-kms, vault-transit, pkcs11, gcp-kms, azure-key-vault, kmip, s3ec-aes or s3ec-rsa'
  ],
  [{ keys: { 'a b': { type: 'local', keyring: 'k' } } }, 'keys.a b: must be 1 to 63 letters, digits, ".", "_" or "-"'],
  [{ keys: { main: { type: 'local' } } }, 'keys.main.keyring: must be given'],
  [keyring(cert), new RegExp(`^keys\\.main\\.keyring: ${cert}: This is a certificate, not a keyring\\.$`)],
  [keyring(key), /^keys\.main\.keyring: .* This is a private key in PEM form, not a keyring\.$/],
  [keyring('./gone.json'), /^keys\.main\.keyring: .*gone\.json does not exist\. "sealgate keys create --keyring .*" makes a new one\.$/],
  [keyring('./elsewhere.json'), /^keys\.main\.keyring: .*Keyring elsewhere is of realm eu-1, and upstream\.realm is default\./],
  [keyring('./folder'), /^keys\.main\.keyring: .*folder is not a regular file\.$/],
  [keyring('./empty'), /^keys\.main\.keyring: .*This is an empty file, not a keyring\.$/],
  [vault({ address: 'http://vault' }), 'keys.main.address: must be https: keys travel in its answers. http only to this machine'],
  [vault({ address: [] }), 'keys.main.address: must not be empty'],
  [vault({ address: 'https://vault/path' }), 'keys.main.address: must be https://HOST[:PORT]'],
  [vault({ mount: '/transit' }), 'keys.main.mount: must be names of letters, digits, ".", "_" or "-", separated by "/"'],
  [vault({ mount: 'a/../sys' }), 'keys.main.mount: must be names of letters, digits, ".", "_" or "-", separated by "/"'],
  [vault({ key: 'a/b' }), 'keys.main.key: must be 1 to 63 letters, digits, ".", "_" or "-"'],
  [vault({ auth: { method: 'ldap' } }), 'keys.main.auth.method: must be token, approle, kubernetes, jwt, cert or agent'],
  [vault({ auth: { method: 'token' } }), 'keys.main.auth.token: give either token or tokenFile'],
  [vault({ auth: { method: 'token', token: 'canary', tokenFile: 'f' } }), 'keys.main.auth.token: give either token or tokenFile'],
  [
    vault({ auth: { method: 'approle', roleId: 'r', secretId: 'canary', secretIdFile: 'f' } }),
    'keys.main.auth.secretId: give either secretId or secretIdFile, or none where the role binds none'
  ],
  [vault({ auth: { method: 'jwt', role: 'r' } }), 'keys.main.auth.jwtFile: must be given'],
  [
    gcp({ key: 'projects/123456789012/locations/global/keyRings/r/cryptoKeys/k' }),
    'keys.main.key: must be projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, with the id of the project and not its number'
  ],
  [gcp({ endpoint: 'http://kms' }), 'keys.main.endpoint: must be https: keys travel in its answers. http only to this machine'],
  [gcp({ endpoint: 'https://kms/v1' }), 'keys.main.endpoint: must be https://HOST[:PORT]'],
  [gcp({ serverName: 'a b' }), 'keys.main.serverName: must be the name of a host'],
  [gcp({ auth: { method: 'key' } }), 'keys.main.auth.method: must be default, file or token'],
  [gcp({ auth: { method: 'file' } }), 'keys.main.auth.file: must be given'],
  [kmip({ address: 'kmip' }), 'keys.main.address: must be HOST:PORT'],
  [kmip({ versions: [] }), 'keys.main.versions: must not be empty'],
  [kmip({ versions: [{ id: '1' }, { id: '1' }] }), 'keys.main.versions: must not name a version twice'],
  [kmip({ versions: [{ id: 1 }] }), 'keys.main.versions.0.id: must be a text in quotes'],
  [kmip({ cert: undefined }), 'keys.main.cert: must be given'],
  [azure({ vault: 'http://v.vault.azure.net' }), 'keys.main.vault: must be https: keys travel in its answers. http only to this machine'],
  [azure({ vault: 'https://v' }), 'keys.main.vault: must be https://NAME.vault.azure.net, or the address of a Managed HSM'],
  [azure({ key: 'a/b' }), 'keys.main.key: must be 1 to 127 letters, digits or "-"'],
  [azure({ algorithm: 'RSA1_5' }), 'keys.main.algorithm: must be RSA-OAEP-256 or A256KW'],
  [azure({ auth: { method: 'cli' } }), 'keys.main.auth.method: must be default, managed-identity, workload-identity, client-secret or token'],
  [
    azure({ auth: { method: 'client-secret', tenantId: 't', clientId: 'a b', clientSecret: 'canary' } }),
    'keys.main.auth.clientId: must be the id of a tenant or application'
  ],
  [
    kms({ arn: 'arn:aws:kms:eu-west-1:111122223333:alias/data' }),
    'keys.main.arn: must be the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias'
  ],
  [kms({ aliases: ['data'] }), 'keys.main.aliases.0: must be alias/NAME'],
  [hsm({ token: 't' }), 'keys.main.token: must be { label: TEXT } or { serial: TEXT }, texts in quotes'],
  [hsm({ token: { serial: 42 } }), 'keys.main.token: must be { label: TEXT } or { serial: TEXT }, texts in quotes'],
  [hsm({ label: 'two words' }), 'keys.main.label: must be 1 to 63 letters, digits, ".", "_" or "-"'],
  [hsm({ versions: [] }), 'keys.main.versions: '],
  [hsm({ versions: [{ id: 1 }] }), 'keys.main.versions.0.id: must be a text in quotes, with hexadecimal digits'],
  [hsm({ versions: [{ id: '0A' }] }), 'keys.main.versions.0.id: must be hexadecimal digits in pairs, in lower case'],
  [hsm({ versions: [{ id: '01' }, { id: '01' }] }), 'keys.main.versions: must not name a version twice'],
  [kms({ endpoint: 'kms.example.org' }), 'keys.main.endpoint: must be http://HOST[:PORT] or https://HOST[:PORT]'],
  // What holds for buckets.
  [bucket({ key: 'other' }), 'buckets.*.key: keys has no other'],
  [bucket({ prefixes: { 'a/': {} } }), 'buckets.*.prefixes.a/.key'],
  [bucket({ prefixes: { '': { key: 'main' } } }), 'buckets.*.prefixes.'],
  [bucket({ prefixes: { [`${'é'.repeat(512)}/`]: { key: 'main' } } }), 'must have at most 1024 bytes'],
  [bucket({ prefixes: { 'a/': { key: 'other' } } }), 'buckets.*.prefixes.a/.key: keys has no other'],
  [bucket({ prefixes: { 'a/': { key: 'main', openKeys: ['other'] } } }), 'buckets.*.prefixes.a/.openKeys: keys has no other'],
  [bucket({ allowedKeys: ['main', 'other'] }), 'buckets.*.allowedKeys: keys has no other'],
  [bucket({ encryption: true }), 'buckets.*.encryption: must be on or off'],
  [bucket({ etag: 'sha256' }), 'buckets.*.etag: must be md5, md5-small or opaque'],
  [bucket({ encrypt: 'on' }), /^buckets\.\*\.encrypt: no such option; there are upstream, encryption, key/],
  [{ buckets: { '*-backup': {} } }, 'buckets.*-backup: must be a bucket name, a prefix followed by "*", or "*"'],
  [
    { keys: { a: { type: 'local', keyring: 'k' }, b: { type: 'local', keyring: 'l' } } },
    'buckets.*.key: must be given, because keys does not name exactly one'
  ],
  // The rest.
  [{ log: { level: 'verbose' } }, 'log.level: must be debug, info, warn, error or silent'],
  [
    { audit: { file: './nowhere/audit.jsonl' } },
    `audit.file: ${at('nowhere/audit.jsonl')} cannot be written: its directory: no such file or directory (ENOENT)`
  ],
  [{ audit: { file: './folder' } }, `audit.file: ${at('folder')} cannot be written: it is a directory`],
  [{ audit: { key: 'other' } }, 'audit.key: keys has no other'],
  [{ audit: { sinks: [{ url: 'tcp://h' }] } }, /^audit\.sinks\.0\.url: must be udp:\/\/, tcp:\/\//],
  [{ audit: { sinks: [{ url: 'https://user:secret@h/' }] } }, /^audit\.sinks\.0\.url: must be .* without credentials/],
  [{ audit: { sinks: [{ url: 'http://h.example.org/', tokenFile: './t' }] } }, 'audit.sinks.0.tokenFile: needs https, or http to this machine'],
  [
    { audit: { sinks: [{ url: 'https://h/', tokenFile: './none' }] } },
    `audit.sinks.0.tokenFile: ${at('none')} cannot be read: no such file or directory (ENOENT)`
  ],
  [{ audit: { sinks: [{ url: 'https://h/', ca: './none' }] } }, `audit.sinks.0.ca: ${at('none')} cannot be read: no such file or directory (ENOENT)`]
]

await t.test('every wrong configuration says which option, what is wrong, and what would be right', async (t) => {
  t.strictSame(await faultsOf({}), [], 'what the rows change is good')
  for (const [change, ...lines] of rows) {
    const faults = await faultsOf(change as Record<string, unknown>)
    t.match(faults, lines, JSON.stringify(change))
    t.equal(faults.length, lines.length, `${JSON.stringify(change)}: ${faults.join(' | ')}`)
    t.notMatch(faults.join('\n'), /canary/)
  }
  t.ok(rows.length >= 60)
  t.comment(`${rows.length} wrong configurations`)
})

await t.test('sizes and times with units are the same as plain numbers', async (t) => {
  const limits = (text: string) =>
    parseConfig(
      JSON.stringify({
        ...upstream({}),
        ...client({}),
        ...keyring('k'),
        limits: parse(text) as unknown,
        keyCache: { maxAgeSeconds: '1h' },
        workers: '2',
        admin: { port: '8080' }
      }),
      { file: at('x.yaml'), env: {} }
    )
  for (
    const [text, expected] of [
      ['{ xmlBytes: 2MiB, headerBytes: 64KiB, minRate: 0.5kB, graceSeconds: 250ms }', {
        xmlBytes: 2 * 1024 ** 2,
        headerBytes: 65_536,
        minRate: 500,
        graceSeconds: 0.25
      }],
      ['{ xmlBytes: 2mib, headerBytes: "8192", minRate: 1 MiB, graceSeconds: 2m }', {
        xmlBytes: 2 * 1024 ** 2,
        headerBytes: 8192,
        minRate: 1024 ** 2,
        graceSeconds: 120
      }],
      ['{ xmlBytes: 65536B, headerBytes: 20kb, minRate: 2, graceSeconds: 1.5 }', { xmlBytes: 65_536, headerBytes: 20_000, minRate: 2, graceSeconds: 1.5 }],
      ['{ graceSeconds: 1d, upstreamFirstByteSeconds: 0.3s, minRateWindowSeconds: 1.1m }', {
        graceSeconds: 86_400,
        upstreamFirstByteSeconds: 0.3,
        minRateWindowSeconds: 66
      }]
    ] as const
  ) t.match(limits(text).limits, expected, text)
  t.match(limits('{}'), { keyCache: { maxAgeSeconds: 3600 }, workers: 2, admin: { port: 8080 } })
})

// docs/REFERENCE.md: commands, exit codes, options, limits, error codes, metrics and fields, from the tables of the code.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { usualCodes } from '../../src/cli/command-line.ts'
import { commands } from '../../src/cli/commands.ts'
import { configSections } from '../../src/config/schema.ts'
import { showBytes, showSeconds } from '../../src/config/units.ts'
import { S3Error, s3ErrorCodes, type S3ErrorCode } from '../../src/errors.ts'
import { createMetrics, measureProcess } from '../../src/observe/metrics.ts'
import { table } from './table.ts'
import type { Diagnosis } from '../../src/diagnosis.ts'
import type { AuditEvent } from '../../src/keys/types.ts'
import type { AccessRecord } from '../../src/observe/access-log.ts'

type Row = readonly string[]
const code = (text: string): string => `\`${text}\``

function commandRows(): Row[] {
  return commands.map(({ name, options, summary }) => [
    code(`sealgate ${name}`),
    Object.entries(options).map(([option, { value, required }]) =>
      code(`--${option}${value === undefined ? '' : ` ${value}`}`) + (required === true ? ' (required)' : '')
    )
      .join(', '),
    summary
  ])
}

function exitCodeRows(): Row[] {
  const codes = [...new Set([...Object.keys(usualCodes), ...commands.flatMap(({ codes }) => Object.keys(codes))])].toSorted()
  return codes.map((exit) => {
    const own = commands.flatMap(({ name, codes }) => {
      const meaning = codes[Number(exit)]
      return meaning === undefined ? [] : [`${code(name)}: ${meaning}`]
    })
    return [exit, [...usualCodes[Number(exit)] === undefined ? [] : [usualCodes[Number(exit)] ?? ''], ...own].join('; ')]
  })
}

const schema = z.strictObject(configSections({ file: '/etc/sealgate/sealgate.yaml', env: {} }))
type Tree = Readonly<Record<string, unknown>>

const client = { accessKeyId: 'c', secretAccessKey: 'd', upstream: { accessKeyId: 'e', secretAccessKey: 'f' } }
const shortest = { upstream: { endpoint: 'http://127.0.0.1:1' }, clients: [client], keys: {} }
/** Has what the shortest leaves out and some options are in. */
const longer = {
  ...shortest,
  listen: { tls: { cert: 'c', key: 'k' }, cors: [{ origins: ['*'], methods: ['GET'] }] },
  admin: {},
  keys: { NAME: { type: 'aws-kms', arn: 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd' } }
}
const minimal = schema.parse(shortest)
const whole = schema.parse(longer)

function at(tree: unknown, path: string): unknown {
  return path.replaceAll('[]', '.0').split('.').reduce<unknown>((value, part) => {
    const holder = value as Tree | null | undefined
    return holder?.[part === 'NAME' && !Object.hasOwn(holder, 'NAME') ? '*' : part]
  }, tree)
}

function defaultOf(path: string): string {
  const given = at(longer, path)
  if (typeof given === 'string' || (Array.isArray(given) && !Object.hasOwn(minimal, path) && path !== 'listen.cors')) return 'required'
  const ofMinimal = at(minimal, path)
  const value = ofMinimal === undefined ? at(whole, path) : ofMinimal
  if (value === undefined) return ''
  if (value === null || (Array.isArray(value) && value.length === 0)) return 'none'
  if (typeof value === 'number') return code(/Bytes$|minRate$/.test(path) ? showBytes(value) : path.endsWith('Seconds') ? showSeconds(value) : String(value))
  if (typeof value === 'object' && (!Array.isArray(value) || typeof value[0] === 'object')) return ''
  return code(typeof value === 'string' ? value : JSON.stringify(value))
}

/** One row for each option of the example: its path, its default, and the comment on it there. */
function optionRows(): Row[] {
  const rows: [path: string, comment: string][] = []
  const open: { readonly indent: number; readonly name: string }[] = []
  let heading: string[] = []
  for (const line of readFileSync(join(import.meta.dirname, '../../config/sealgate.example.yaml'), 'utf8').split('\n')) {
    const option = /^( *)(- )?(?:# (?=credentials: aws|upstreams: ))?("\*"|\w+):(?: .*?)??(?:\s+# (.*))?$/.exec(line)
    const more = /^ {8,}# (.*)$/.exec(line)?.[1]
    const last = rows.at(-1)
    if (option !== null) {
      const [, spaces = '', item, name = '', comment] = option
      const indent = spaces.length + (item === undefined ? 0 : 2)
      while ((open.at(-1)?.indent ?? -1) >= indent) open.pop()
      const parent = open.at(-1)?.name
      const shown = parent === undefined ? name : parent === 'keys' || parent === 'buckets' ? `${parent}.NAME` : `${parent}.${name}`
      open.push({ indent, name: ['clients', 'listen.cors'].includes(shown) ? `${shown}[]` : shown })
      if (!rows.some(([path]) => path === shown)) rows.push([shown, comment ?? heading.join(' ')])
      heading = []
    } else if (more !== undefined && last !== undefined) {
      last[1] += ` ${more}`
    } else {
      heading = line.startsWith('# ') ? [...heading, line.slice(2)] : []
    }
  }
  return rows.map(([path, comment]) => {
    const value = defaultOf(path)
    return [
      code(path),
      value,
      value === '' ? comment : comment.replace(/^default:? .*?(?:; |\. (?=[A-Z])|$)/, '').replace(/; (?:default: none|this is the default)$/, '')
    ]
  })
}

/** @param value of the option at this path, where the limit has one. @param path null: the limit is fixed */
function limit(name: string, value: string | ((defaults: Record<string, number>) => string), paths: readonly string[], beyond: string): Row {
  const number = (path: string): number => at(minimal, path) as number
  const values = Object.fromEntries(paths.map((path) => [path.split('.').at(-1) ?? '', number(path)]))
  return [name, typeof value === 'string' ? value : value(values), paths.map(code).join(', '), beyond]
}

function limitRows(): Row[] {
  const only = (values: Record<string, number>): string => String(Object.values(values)[0])
  const size = (values: Record<string, number>): string => showBytes(Object.values(values)[0] ?? 0)
  const time = (values: Record<string, number>): string => showSeconds(Object.values(values)[0] ?? 0)
  return [
    limit(
      'connections of clients',
      only,
      ['limits.connections'],
      'the oldest connection without an authenticated request is closed, else an idle one, else the new one'
    ),
    limit('requests of authenticated clients in flight', only, ['limits.requestsInFlight'], '503 SlowDown, `Retry-After: 1`'),
    limit('browser forms before their file; preflights (each)', only, ['limits.unauthenticatedRequests'], 'the oldest form is ended; preflights: 503 SlowDown'),
    limit('anonymous reads in flight', 'half of `upstream.connections`', [], '503 SlowDown'),
    limit('time for the fields of a form', '10s', [], '400 RequestTimeout'),
    limit(
      'requests to the store for preflights',
      '4 at once, waiting 2s; 20 unknown buckets at once and 5 per second',
      [],
      '403 AccessForbidden. With `listen.cors` there are none'
    ),
    limit('one client: requests at once, requests and bytes per second', 'none', ['limits.perClient'], '503 SlowDown, `Retry-After: 1` to `20`'),
    limit(
      'rest of an upload after its response was sent',
      '8MiB, 5s, or 250ms of silence',
      [],
      'connection closed. Until then it counts as a connection, not as in flight'
    ),
    limit(
      'requests to the store at once',
      ({ connections = 0 }) => `${connections}, and ${connections / 4} small ones`,
      ['upstream.connections'],
      'four times as many wait, up to 10s; then 503 SlowDown, `Retry-After: 1`'
    ),
    limit('request line and headers', (values) => `${size(values)}, 256 lines`, ['limits.headerBytes'], '400, connection closed'),
    limit('time for headers', '30s', [], 'connection closed'),
    limit('idle connection', '75s', [], 'closed'),
    limit('document of a request (XML)', size, ['limits.xmlBytes'], '400'),
    limit(
      'rate of a transfer in either direction, except the store\'s answers to copies and Completes, which may consist of white space for minutes',
      ({ minRate = 0, minRateWindowSeconds = 0 }) => `${showBytes(minRate)}/s over ${showSeconds(minRateWindowSeconds)}`,
      ['limits.minRate', 'limits.minRateWindowSeconds'],
      'cut; uploads with 400 RequestTimeout'
    ),
    limit('store silent', time, ['limits.upstreamFirstByteSeconds'], '504'),
    limit(
      'waiting for the store\'s answer to a complete part whose client has gone',
      '6 × `limits.upstreamFirstByteSeconds`; a quarter of `upstream.connections`',
      [],
      'given up, the oldest first'
    ),
    limit('age of a connection to the store', '300s', [], 'replaced when its request is over'),
    limit('total time of a transfer', 'none', [], ''),
    limit('requests that still come after a stop was requested', time, ['limits.drainSeconds'], 'refused: the port is closed'),
    limit('grace period of a stop', time, ['limits.graceSeconds'], 'broken, exit code 3'),
    limit('remembered keys', ({ maxEntries = 0, maxAgeSeconds = 0 }) => `${maxEntries} for ${showSeconds(maxAgeSeconds)}`, [
      'keyCache.maxEntries',
      'keyCache.maxAgeSeconds'
    ], 'the key service is asked again')
  ]
}

const ownErrors: Readonly<Record<Extract<S3ErrorCode, `Sealgate${string}`>, readonly [meaning: string, action: string]>> = {
  SealgateBadUpstream: [
    'The store\'s answer cannot be used: redirect, wrong length or range, broken framing; or the store refused the gateway\'s own credentials, or a body whose digest does not match what arrived.',
    'Clients may retry. See the line `failure` of the log and `sealgate_upstream_errors_total`.'
  ],
  SealgateIntegrityError: [
    'What the store returned did not verify. The text is the same for every kind; the metric has the kind.',
    'Follow [the alert](OPERATIONS.md#alerts). Retrying helps only if the store mixed up one answer.'
  ],
  SealgateKeyUnavailable: [
    'The key that sealed the object is not configured, not allowed in this bucket, disabled, or refused by the key service.',
    'Make the key available: `sealgate keys list`, `openKeys`, `decryptOnly`.'
  ],
  SealgatePlaintextRefused: ['The object was not written through the gateway.', 'Copy it through the gateway, or set `plaintext: allow` for its bucket.'],
  SealgateUpstreamTimeout: ['The store did not answer within `limits.upstreamFirstByteSeconds`, or stalled.', 'Clients may retry.']
}

function errorRows(): Row[] {
  return s3ErrorCodes.flatMap((name) =>
    Object.hasOwn(ownErrors, name) ? [[code(name), String(new S3Error(name).status), ...ownErrors[name as keyof typeof ownErrors]]] : []
  )
}

function metricRows(): Row[] {
  const metrics = createMetrics()
  const stop = measureProcess(metrics.registry)
  const families = metrics.snapshot()
  stop()
  return families.map(({ name, type, labelNames, help }) => [code(name), type, labelNames.join(', '), help])
}

const accessFields: Readonly<Record<keyof AccessRecord, string>> = {
  requestId: 'the id that the client sees as `x-amz-request-id`',
  principal: 'access key id; null for anonymous requests, and where the signature did not verify',
  sourceAddress: 'address of the connection',
  secure: 'TLS, or a trusted front end reported TLS',
  method: 'empty where what arrived was not an HTTP request',
  operation: 'name of the S3 operation; null where the request ended before it was known',
  upstream: 'name of the store of the bucket, `default` for a single one; null where the request has no bucket or ended before it was known',
  bucket: '',
  key: 'the object name. The query is never logged: presigned URLs carry signatures',
  status: 'null: the connection ended before there was one',
  code: 'error code of the answer',
  bytesIn: 'of the request\'s body',
  bytesOut: 'of the answer\'s body',
  seconds: 'from the request\'s head to the last byte of the answer',
  firstByteSeconds: 'until the answer began',
  termination: '`--`, or who ended the request and when; see below',
  userAgent: 'its first 256 characters'
}

const diagnosisFields: Readonly<Record<keyof Diagnosis | 'trouble', string>> = {
  service: '`store`, `kms`, `files`, or `audit` (what takes the audit trail beside its file)',
  operation: 'what was requested: `GET bucket ?versioning`, `Decrypt`, `write audit.file`',
  status: 'HTTP status of the answer',
  errorName: 'the error as the other side names it: `SlowDown`, `ThrottlingException`',
  system: 'error code of the operating system, of TLS or of the HTTP client: `ECONNREFUSED`, `ENOSPC`, `ERR_SSL_WRONG_VERSION_NUMBER`',
  remoteRequestId: 'the other side\'s own request id, for its log or its support',
  clockSkewSeconds: 'the clock of this machine minus the other side\'s',
  expectedRegion: 'the region that the store reports',
  trouble: 'the kind, as in `sealgate_failures_total`'
}

const auditFields: Readonly<Record<keyof AuditEvent, string>> = {
  time: 'ISO 8601, UTC',
  requestId: 'as in the access line; `cli-…` for one run of a command',
  principal: 'access key id of the client, `anonymous`, or `cli`',
  sourceAddress: '',
  operation: 'name of the S3 operation, or the command',
  bucket: '',
  key: 'the object name; null for settings of a bucket',
  versionId: 'null where none is known',
  masterKeyId: 'key id, as objects name it ([KEYS](KEYS.md#the-hierarchy)), or what the client named',
  context: 'the encryption context that the wrap is bound to',
  action:
    '`generate`: a bucket key was made and wrapped. `wrap`: an object is sealed under a bucket key made before, or under a customer\'s key. `unwrap`, `rewrap`. `refused`: the client may not use the key it named',
  cached: 'true: answered from memory, or by the call of another request',
  outcome: '`ok` or `failed`',
  error: 'S3 error code, or `Aborted` when the client disconnected; null on success'
}

function fieldRows(fields: Readonly<Record<string, string>>): Row[] {
  return Object.entries(fields).map(([name, meaning]) => [code(name), meaning])
}

/** The whole of docs/REFERENCE.md. */
export function referenceMarkdown(): string {
  return `# Reference

[Commands](#commands) · [Exit codes](#exit-codes) · [Options](#options) · [Limits](#limits) · [Error codes](#error-codes) · [Metrics](#metrics) · [Log](#log) ·
[Audit trail](#audit-trail)

Printed from the code (\`docs/generate/reference.ts\`); a test fails when it is out of date. How to run Sealgate: [OPERATIONS.md](OPERATIONS.md).

## Commands

\`sealgate COMMAND --help\` explains options and examples.

${table(['command', 'options', 'what it does'], commandRows())}

## Exit codes

${table(['exit code', 'meaning'], exitCodeRows())}

## Options

As [config/sealgate.example.yaml](../config/sealgate.example.yaml) explains them. Sizes are bytes or have a unit: \`64KiB\` (powers of 1024), \`64kB\` (powers of 1000).
Times are seconds or have a unit: \`250ms\`, \`5s\`, \`2m\`, \`1h\`; the longest is a day.

${table(['option', 'default', 'meaning'], optionRows())}

## Limits

With \`workers\` these are divided among the processes, whole numbers rounded up: \`limits.connections\`, \`limits.requestsInFlight\`, \`limits.unauthenticatedRequests\`, \`upstream.connections\` of each store with what follows from it, and the limits
of a client. So a client whose connections are all with one worker has that worker's part: of 100 requests per second with 4 workers 25 on one connection, 100 on connections to all of them; and \`requests: 1\` allows one in each worker. Of each process are
\`keyCache\`, remembered manifests and listings, the store requests of preflights, and \`bufferBytes\` of each audit sink. Sizes of objects: [README](../README.md#limits).

${table(['limit', 'default', 'option', 'beyond it'], limitRows())}

## Error codes

Clients get S3's own codes. ${errorRows().length} are Sealgate's, with names that no store uses:

${table(['code', 'status', 'meaning', 'what to do'], errorRows())}

Of S3's own, 503 \`SlowDown\` with \`Retry-After\` is overload of the gateway; 503 \`ServiceUnavailable\` a store, state bucket, key service or audit file that cannot be
used; 400 \`RequestTimeout\` a client below the minimum rate; 501 \`NotImplemented\` what encryption makes impossible, or a condition that the store would
ignore. Every answer carries \`x-amz-request-id\`, which is in the log.

## Metrics

\`/metrics\` on the admin port, in the Prometheus text format. Labels have closed sets of values: never a bucket, an object or a client. Counters whose labels are known
beforehand start at 0. With \`workers\` the values of all processes are added up, except where the text says otherwise.

${table(['metric', 'type', 'labels', 'what'], metricRows())}

## Log

JSON lines on standard output (\`log.format\`: on a terminal, lines for people). One line \`request\` per request, with these fields and no others:

${table(['field', ''], fieldRows(accessFields))}

\`termination\`, first letter: \`C\` client, \`S\` store, \`K\` key service, \`P\` the gateway by rule, \`L\` a limit. Second letter: \`R\` reading the head, \`A\` authentication,
\`Q\` waiting in a queue, \`U\` upload, \`H\` waiting for the answer, \`D\` download. \`CD\`: the client disconnected or stalled in the middle of a download; \`LQ\`: overload.

The lines \`failure\`, \`readiness check fails\` and \`key does not serve\` have the cause in fields of their own, where it is known. Names and ids in them have a bounded alphabet and
length; nothing else of an answer is quoted:

${table(['field', ''], fieldRows(diagnosisFields))}

A line \`failure\` also has the names, codes (of an \`EnvelopeError\`: the kind, as in \`sealgate_integrity_failures_total\`) and stack frames of the errors, and no message other than \`found\`, which is a text of the gateway. Other lines:
\`listening\`, \`workers listening\`, \`worker ended\`, \`worker does not answer\`, \`readiness check passes again\`, \`key serves again\`, \`configuration reloaded\`,
\`configuration not reloaded\`, \`certificates reloaded\`, \`certificates not reloaded\`, \`stopping\`, \`stopped\`, \`audit checkpoint\` and lines about the audit file and its sinks ([AUDIT.md](AUDIT.md)), \`store capabilities\` (what the store was seen to enforce in one
kind of bucket), \`store capabilities not found out\`, \`store\` (once after the start: what the store is, what it lacks of what the gateway needs, and the settings that
would fit; as \`store check\` finds them), \`TLS handshake failed\`, and one for a state bucket whose versioning is suspended.

\`TLS handshake failed\` is logged for each \`reason\` once a minute, with the number of \`failures\` since the last line, OpenSSL's \`code\`, and the \`address\` of the last one (null
where the connection was already gone). \`certificate\`: the client has none, or none of \`listen.tls.clientCa\`; \`refused\`: the client sent an alert, most often because it does
not trust the gateway's certificate; \`protocol\`: no common version or cipher, or no TLS; \`timeout\`: not done within 10s. \`closed\` is only counted: port probes
of load balancers cause it.

Secrets, bodies, headers and plaintext appear in no line; tests search every output for planted ones.

## Audit trail

\`audit.file\` gets one JSON line per use of a key, written before the key is used. When the line cannot be written the key is not used and the request fails with 503.

${table(['field', ''], fieldRows(auditFields))}

With \`audit.key\` each line also has \`run\`, \`seq\` and \`mac\`, and there are lines of checkpoints: [AUDIT.md](AUDIT.md#format).
`
}

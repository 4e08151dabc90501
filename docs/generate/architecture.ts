// The map of the rooms of src: what each is for, and which others it may import. test/architecture.test.ts holds the code to it, and
// docs/ARCHITECTURE.md is printed from it.
import { table } from './table.ts'

export interface Room {
  /** What is found there, for somebody who has never seen the code. */
  readonly purpose: string
  /** The file to read first: its head explains the room. Absent: the room is one file. */
  readonly main?: string
  /** The rooms and single files of src that its files may import. */
  readonly imports: readonly string[]
}

/** From the entry down to the ground: a room imports only what stands below it. */
export const rooms: Readonly<Record<string, Room>> = {
  'start.ts': { purpose: 'The command of the installed package: the right Node, and its flags.', imports: ['main.ts', 'version.ts'] },
  'main.ts': { purpose: 'The entry point of the process.', imports: ['cli', 'native'] },
  'cli': {
    main: 'commands.ts',
    purpose: 'The commands: `serve` and its workers, `config check`, `keys`, `rewrap`, `gc`. The only room that sees arguments, environment and signals.',
    imports: [
      'config',
      'diagnosis.ts',
      'embedded-store',
      'errors.ts',
      'gateway',
      'http',
      'keys',
      'listener',
      'maintenance',
      'native',
      'observe',
      'operations',
      'page',
      'store-client',
      'upstream',
      'version.ts'
    ]
  },
  'gateway': {
    main: 'pipeline.ts',
    purpose: 'Puts the services together; `pipeline.ts` is the one way of a request: authenticate, route, authorise, plan, handle.',
    imports: [
      'auth',
      'concurrency',
      'config',
      'diagnosis.ts',
      'envelope',
      'errors.ts',
      'http',
      'keys',
      'native',
      'observe',
      'operations',
      'page',
      'plan',
      's3',
      's3ec',
      'store-client',
      'upstream',
      'version.ts'
    ]
  },
  'maintenance': {
    main: 'engine.ts',
    purpose:
      'Commands that work on the store itself and not on the requests of clients: one engine with scan, encrypt, verify, decrypt, rewrap and key usage; garbage.',
    imports: [
      'collections',
      'concurrency',
      'diagnosis.ts',
      'config',
      'envelope',
      'errors.ts',
      'http',
      'keys',
      'operations',
      'page',
      's3',
      's3ec',
      'store-client',
      'upstream'
    ]
  },
  'operations': {
    main: 'handlers.ts',
    purpose: 'One handler per way of acting on an S3 operation: objects, copies, multipart uploads, buckets.',
    imports: [
      'auth',
      'collections',
      'concurrency',
      'config',
      'diagnosis.ts',
      'envelope',
      'errors.ts',
      'http',
      'keys',
      'plan',
      's3',
      's3ec',
      'store-client',
      'upstream'
    ]
  },
  'store-client': {
    main: 'bucket-client.ts',
    purpose:
      'The gateway\'s own requests to the store: state bucket, readiness, what the store was seen to do; and what stores with less than S3 are asked instead.',
    imports: ['concurrency', 'config', 'diagnosis.ts', 'envelope', 'errors.ts', 'http', 's3', 'upstream']
  },
  'plan': {
    main: 'plan.ts',
    purpose: 'Pure tables: what encryption does to every operation, and which headers pass in which direction.',
    imports: ['config', 'errors.ts', 'http', 's3']
  },
  'listener': {
    main: 'listener.ts',
    purpose: 'HTTP towards clients: the strict checks of a request, answers, errors in XML, limits. The only room that knows Fastify.',
    imports: ['collections', 'diagnosis.ts', 'errors.ts', 'http', 'observe', 's3']
  },
  'page': {
    main: 'facts.ts',
    purpose: 'The status page of the admin port: what processes report, put together, what needs attention, and the page. The only room that makes HTML.',
    imports: ['observe']
  },
  'observe': { main: 'log.ts', purpose: 'Log, access log, audit trail, metrics, health and traces.', imports: ['diagnosis.ts', 'errors.ts', 'keys'] },
  'keys': {
    main: 'types.ts',
    purpose: 'Key services behind one interface, their cache, keyring files and the encryption headers of S3.',
    imports: ['collections', 'concurrency', 'config', 'diagnosis.ts', 'envelope', 'errors.ts', 'http', 's3ec']
  },
  'upstream': {
    main: 'upstream.ts',
    purpose: 'HTTP towards the store: pools, signing, retries, checks of its answers. Bytes only.',
    imports: ['collections', 'config', 'diagnosis.ts', 'errors.ts', 'http', 'native']
  },
  'embedded-store': {
    main: 'store.ts',
    purpose: 'A small S3 store for `npm start` and the tests. It shares words with the gateway, never a decision, and is loaded only where it is used.',
    imports: ['collections', 'diagnosis.ts', 'errors.ts', 'http', 'sigv4']
  },
  'config': {
    main: 'schema.ts',
    purpose: 'The configuration file: its schema, loading, and the policy of a bucket.',
    imports: ['auth', 'collections', 'diagnosis.ts', 'errors.ts', 's3ec']
  },
  'auth': {
    main: 'authenticate.ts',
    purpose: 'From an HTTP request to an authenticated one; which client may touch which bucket.',
    imports: ['errors.ts', 'http', 'sigv4']
  },
  's3': {
    main: 'operations.ts',
    purpose: 'The words of S3: operations, routing, names, ranges, conditions, documents. The only room that parses XML.',
    imports: ['errors.ts', 'http']
  },
  'sigv4': { main: 'canonical.ts', purpose: 'Signature Version 4 and 2: pure functions over text.', imports: ['collections', 'errors.ts', 'http', 'native'] },
  's3ec': {
    main: 'metadata.ts',
    purpose: 'The object formats of the Amazon S3 Encryption Client, versions 1 to 3. No input or output.',
    imports: ['http']
  },
  'envelope': {
    main: 'envelope.ts',
    purpose: 'The object format of docs/FORMAT.md. Imports nothing of ours but containers and the native core.',
    imports: ['collections', 'native']
  },
  'native': {
    main: 'core.ts',
    purpose: 'The native core, which seals, opens, derives and signs faster where there is a binary for the platform, and the one door to it.',
    imports: []
  },
  'http': {
    main: 'message.ts',
    purpose: 'Messages, the request target, byte stages and checksums, shared by all. No input or output.',
    imports: ['errors.ts']
  },
  'concurrency': { main: 'parallel.ts', purpose: 'Work side by side that stops at the first failure, and work in flight.', imports: [] },
  'collections': { main: 'bounded-cache.ts', purpose: 'Bounded containers for what every request touches, and the search in a sorted one.', imports: [] },
  'errors.ts': { purpose: 'The one table of S3 errors.', imports: ['diagnosis.ts'] },
  'diagnosis.ts': { purpose: 'The closed list of fields that report a failure to the operator. None of them quotes a message.', imports: [] },
  'version.ts': { purpose: 'The version of the package.', imports: [] }
}

/** Which rooms may import a package: each package has one door. */
export const doors: Readonly<Record<string, readonly string[]>> = {
  '@aws-sdk/client-kms': ['keys'],
  '@aws-sdk/credential-provider-node': ['upstream'],
  '@aws-sdk/signature-v4': ['upstream'],
  '@azure/identity': ['keys'],
  '@node-rs/crc32': ['http'],
  'age-encryption': ['keys'],
  'fastify': ['listener'],
  'google-auth-library': ['keys'],
  'hash-wasm': ['http'],
  'hash-wasm/dist/xxhash128.umd.min.js': ['http'],
  'hash-wasm/dist/xxhash3.umd.min.js': ['http'],
  'hash-wasm/dist/xxhash64.umd.min.js': ['http'],
  'pino': ['observe', 'listener'],
  'pino-pretty': ['observe'],
  'pkcs11js': ['keys'],
  'undici': ['http'],
  'undici/lib/api/api-request.js': ['http'],
  'undici/lib/core/connect.js': ['http'],
  'undici/lib/core/errors.js': ['http'],
  'undici/lib/dispatcher/client.js': ['http'],
  'undici/lib/dispatcher/dispatcher.js': ['http'],
  'undici/lib/dispatcher/pool.js': ['http'],
  'yaml': ['config'],
  'zod': ['config']
}

/** The whole of docs/ARCHITECTURE.md. */
export function architectureMarkdown(): string {
  const names = Object.entries(rooms)
  const code = (name: string): string => `\`${name}\``
  return [
    '# Architecture',
    '',
    'Printed from the table that `test/architecture.test.ts` holds the code to (`docs/generate/architecture.ts`); a test fails when it is out of date.',
    '',
    '## The way of a request',
    '',
    '```',
    'listener -> gateway/pipeline: authenticate -> route -> authorise -> plan -> handler -> upstream',
    '            auth            s3       auth         plan    operations |',
    '                                                  envelope (bytes), keys (key services)',
    '```',
    '',
    'Each stage takes only what the stage before it makes. Nothing goes to the store, and no key is asked for, before the first three are done. What the',
    'plan has no row for is refused with 501. Begin to read at `src/gateway/pipeline.ts`; then `src/plan/plan.ts`, the table of what encryption does to every',
    'operation; then the handler of the operation in `src/operations`.',
    '',
    '## Rooms',
    '',
    'A room is a folder of `src`, or a single file. It imports only rooms that stand below it in this table. The file to read first has a head that explains the room.',
    '',
    table(
      ['room', 'what it is for', 'read first', 'may import'],
      names.map((
        [name, { purpose, main, imports }]
      ) => [code(name), purpose, main === undefined ? '' : code(`src/${name}/${main}`), imports.map(code).join(', ')])
    ),
    '',
    '## Packages',
    '',
    'Each package has one door: the rooms that may import it.',
    '',
    table(['package', 'door'], Object.entries(doors).map(([name, places]) => [code(name), places.map(code).join(', ')])),
    ''
  ].join('\n')
}

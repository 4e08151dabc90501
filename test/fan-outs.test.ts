// Everything that sends several requests to the store at once: after the first failure, and after whoever asked has gone, no request
// goes to the store any more, and those under way are given up. The store here fails one request and is silent to all others.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  ListBucketsCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { examine } from '../src/maintenance/classify.ts'
import { copyInParts } from '../src/maintenance/copy-in-parts.ts'
import { runEngine } from '../src/maintenance/engine.ts'
import { rewrapObject } from '../src/maintenance/rewrap-object.ts'
import { currentObjects } from '../src/maintenance/sources.ts'
import { countUploads } from '../src/maintenance/unfinished-uploads.ts'
import { readConfig } from '../src/cli/sealed-config.ts'
import { openStore, storeOfBucket } from '../src/cli/store-command.ts'
import { BucketClient } from '../src/store-client/bucket-client.ts'
import { startTestGateway } from './support/gateway.ts'
import { engine, startRewrapRig, type RewrapRig } from './support/rewrap-rig.ts'
import type { Match } from './support/rules.ts'

const Bucket = 'bucket'
const state = 'sealgate-state'
const MiB = 1024 * 1024
const NAMED = 200

/** `narrow`: a client of a second gateway, which has two stores, one without DeleteObjects that wants equal parts. */
type Rig = RewrapRig & { readonly test: Test; readonly narrow: S3Client }

interface FanOut {
  /** Its place in src. */
  readonly file: string
  /** Its requests. */
  readonly when: Match
  /** Requests that it has under way at once. */
  readonly limit: number
  /** Failures that it takes before it ends; null: it never fails for one of its requests. */
  readonly failures: number | null
  /** @returns what begins it. */
  readonly prepare: (rig: Rig) => Promise<(signal: AbortSignal) => Promise<unknown>>
}

const absent = Array.from({ length: NAMED }, (_, i) => ({ Key: `absent-${i}`, ETag: '"0123456789abcdef0123456789abcdef"' }))

/** HEADs of the objects that are called so. */
function heads(prefix: string): Match {
  return { bucket: Bucket, method: 'HEAD', key: new RegExp(`^${prefix}`) }
}

async function beginUpload({ s3 }: Rig): Promise<string> {
  return (await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'm' }))).UploadId!
}

async function putObjects({ s3 }: Rig, prefix: string, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await s3.send(new PutObjectCommand({ Bucket, Key: `${prefix}${i}`, Body: 'x' }))
}

const fanOuts: readonly FanOut[] = [
  {
    file: 'operations/objects/delete.ts',
    when: heads('absent'),
    limit: 32,
    failures: 1,
    prepare: async ({ s3 }) => (abortSignal) => s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: absent } }), { abortSignal })
  },
  {
    file: 'operations/objects/instruction-files.ts',
    when: { bucket: Bucket, method: 'HEAD', key: /^absent-\d+\.instruction$/ },
    limit: 32,
    // Who may not list is told 403 of a name that does not exist.
    failures: null,
    prepare: async ({ narrow }) => {
      const Objects = absent.map(({ Key }) => ({ Key }))
      return (abortSignal) => narrow.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }), { abortSignal })
    }
  },
  {
    file: 'operations/buckets/list-objects.ts',
    when: heads('list'),
    limit: 32,
    failures: null,
    prepare: async (rig) => {
      // Of versions nothing is remembered from their writing.
      await putObjects(rig, 'list', 40)
      return (abortSignal) => rig.s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'list' }), { abortSignal })
    }
  },
  {
    file: 'operations/multipart/uploads.ts',
    when: { bucket: state, method: 'HEAD' },
    limit: 1,
    failures: 1,
    prepare: async ({ s3 }) => (abortSignal) => s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'm' }), { abortSignal })
  },
  {
    file: 'operations/multipart/write-part.ts',
    when: { method: 'GET' },
    limit: 2,
    failures: 1,
    prepare: async (rig) => {
      const UploadId = await beginUpload(rig)
      return (abortSignal) => rig.s3.send(new UploadPartCommand({ Bucket, Key: 'm', UploadId, PartNumber: 1, Body: 'small' }), { abortSignal })
    }
  },
  {
    file: 'operations/multipart/select-parts.ts',
    when: { method: 'GET', test: ({ bucket, query }) => bucket === Bucket || query.has('list-type') },
    limit: 2,
    failures: 1,
    prepare: async (rig) => {
      const UploadId = await beginUpload(rig)
      const { ETag } = await rig.s3.send(new UploadPartCommand({ Bucket, Key: 'm', UploadId, PartNumber: 1, Body: 'small' }))
      const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] }
      return (abortSignal) => rig.s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'm', UploadId, MultipartUpload }), { abortSignal })
    }
  },
  {
    file: 'operations/multipart/send-tail.ts',
    // A copy that the store refuses is sent through the gateway instead.
    when: { method: 'PUT', query: { partNumber: true }, test: ({ headers }) => headers.has('x-amz-copy-source') },
    limit: 4,
    failures: null,
    prepare: async ({ narrow }) => {
      const { UploadId } = await narrow.send(new CreateMultipartUploadCommand({ Bucket, Key: 'equal' }))
      const Body = Buffer.alloc(5 * MiB)
      const send = async (PartNumber: number) => {
        const { ETag } = await narrow.send(new UploadPartCommand({ Bucket, Key: 'equal', UploadId, PartNumber, Body }))
        return { PartNumber, ETag }
      }
      // Before the first part all others wait in the state bucket.
      const waiting = await Promise.all([2, 3, 4, 5, 6].map(send))
      const MultipartUpload = { Parts: [await send(1), ...waiting] }
      return (abortSignal) => narrow.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'equal', UploadId, MultipartUpload }), { abortSignal })
    }
  },
  {
    file: 'operations/buckets/list-buckets.ts',
    when: { method: 'GET', bucket: '' },
    limit: 2,
    failures: 1,
    prepare: async ({ narrow }) => (abortSignal) => narrow.send(new ListBucketsCommand({}), { abortSignal })
  },
  {
    file: 'store-client/store-adapter.ts',
    when: { method: 'DELETE', bucket: Bucket, key: /^absent/ },
    limit: 16,
    failures: null,
    prepare: async ({ narrow }) => {
      const Objects = absent.map(({ Key }) => ({ Key }))
      return (abortSignal) => narrow.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }), { abortSignal })
    }
  },
  {
    file: 'maintenance/rewrap-object.ts',
    when: { bucket: Bucket, method: 'GET', test: ({ query }) => query.has('tagging') || query.has('acl') },
    limit: 2,
    failures: 1,
    prepare: async (rig) => {
      await rig.s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' }))
      await rig.rotate()
      return async (signal) => rewrapObject(await engine(rig.test, rig, { copyTagMode: 'sent' }, { signal }), 'k')
    }
  },
  {
    file: 'maintenance/engine.ts',
    when: heads('scanned'),
    limit: 5,
    failures: 25,
    prepare: async (rig) => {
      await putObjects(rig, 'scanned', 36)
      return async (signal) => {
        const job = await engine(rig.test, rig, {}, { signal })
        return runEngine({
          source: currentObjects(job.bucket, 'scanned'),
          filter: () => true,
          action: (row, joined) => examine(job, row, joined).then((examined) => examined?.finding ?? null),
          limits: { concurrency: 5, perSecond: null, bytesPerSecond: null },
          shard: null,
          onFinding: () => undefined,
          signal
        })
      }
    }
  },
  {
    file: 'maintenance/unfinished-uploads.ts',
    when: { bucket: state, method: 'GET', key: /^uploads\// },
    limit: 16,
    // One whose record cannot be read is not known.
    failures: null,
    prepare: async (rig) => {
      for (let i = 0; i < 36; i += 1) await rig.s3.send(new CreateMultipartUploadCommand({ Bucket, Key: `begun${i}` }))
      const config = await readConfig({ file: rig.config, env: {} })
      const upstream = openStore(storeOfBucket(config, Bucket), config)
      rig.test.teardown(() => upstream.close())
      return async (signal) => {
        const job = await engine(rig.test, rig, {}, { signal })
        return countUploads(job, new BucketClient(upstream, state, signal), 'begun')
      }
    }
  },
  {
    file: 'maintenance/copy-in-parts.ts',
    when: { bucket: Bucket, method: 'PUT', query: { partNumber: true } },
    limit: 4,
    failures: 1,
    prepare: async (rig) => {
      await rig.s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' }))
      return async (signal) => {
        const { bucket, uploads: journal } = await engine(rig.test, rig, {}, { signal })
        const source = [['x-amz-copy-source', `${Bucket}/k`]] as const
        return copyInParts(bucket, {
          journal,
          key: 'k',
          size: 40 * MiB,
          partSize: MiB,
          maxParts: 10_000,
          headers: [],
          source,
          destination: [],
          checksum: null,
          unchanged: async () => true
        })
      }
    }
  }
]

await t.test('every fan-out of src is in the table', (t) => {
  const root = join(import.meta.dirname, '..', 'src')
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && !file.startsWith('concurrency/'))
  const found = files.filter((file) => /\b(?:parallel|parallelMap|both)\(/.test(readFileSync(join(root, file), 'utf8')))
  t.strictSame(found.sort(), fanOuts.map(({ file }) => file).sort())
  t.end()
})

/** Waits until the store has got so many. */
async function reached(count: () => number, wanted: number): Promise<void> {
  for (let i = 0; i < 500 && count() < wanted; i += 1) await delay(10)
}

const rewrapRig = await startRewrapRig(t)
const { endpoint, region, accessKeyId, secretAccessKey } = rewrapRig.store
const access = { endpoint, region, accessKeyId, secretAccessKey }
const narrowGateway = await startTestGateway(rewrapRig.store, {
  sections: {
    upstream: undefined,
    upstreams: {
      narrow: { ...access, realm: 'test', stateBucket: 'narrow-state', lacks: ['multiDelete'], equalParts: true, default: true },
      other: { ...access, realm: 'other', stateBucket: 'other-state' }
    },
    keys: { main: { type: 'local', keyring: './keyring.json' }, old: { type: 's3ec-aes', masterKey: Buffer.alloc(32, 1).toString('base64') } },
    buckets: { '*': { key: 'main', s3ec: { read: ['v3'], keys: ['old'] } }, 'elsewhere': { key: 'main', upstream: 'other' } }
  }
})
t.teardown(() => narrowGateway.close())
const shared = { ...rewrapRig, narrow: narrowGateway.client() }

for (const { file, when, limit, failures, prepare } of fanOuts) {
  await t.test(file, async (t) => {
    const rig = { ...shared, test: t }
    const { rules } = rig.store
    const run = await prepare(rig)
    const seen = rules.add({ when, times: 0, fault: { type: 'refuse' } })
    const silence = { when, times: Infinity, fault: { type: 'stall', at: 'before' } } as const
    let most = 0
    if (failures !== null) {
      const failing = rules.add({ when, times: failures, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
      const silent = rules.add(silence)
      await t.rejects(run(new AbortController().signal), 'it fails, though the store is silent to all others')
      // Those that were sent before the failure came may reach the store after it.
      await delay(30)
      most += failures - 1 + limit
      t.ok(seen.matched >= failures && seen.matched <= most, `${seen.matched} requests, ${failures} failures, ${limit} at once`)
      failing.remove()
      silent.remove()
    }
    const before = seen.matched
    rules.add(silence)
    const client = new AbortController()
    const gone = t.rejects(run(client.signal))
    await reached(() => seen.matched, before + limit)
    t.ok(seen.matched >= before + limit, 'all of them are under way')
    client.abort()
    await gone
    await delay(30)
    most += limit
    t.ok(seen.matched <= most, `${seen.matched} requests, of ${most} that may be, after the client has gone`)
    rules.clear()
  })
}

await t.test('after a 404 the bucket is checked at most once per request, not once per row', async (t) => {
  const { s3, store } = shared
  const asked = store.rules.add({ when: { bucket: Bucket, method: 'HEAD', key: '' }, times: 0, fault: { type: 'refuse' } })
  const { Errors } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: absent } }))
  t.equal(Errors?.length, NAMED)
  t.equal(asked.matched, 0)
})

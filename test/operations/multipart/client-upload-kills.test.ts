// A Complete of an upload that becomes an object of the S3 Encryption Client, in a process that is killed after each of its requests to the store:
// the object is whole or absent, the client can go on, and what is left is found.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3'
import { collectGarbage } from '../../../src/maintenance/garbage.ts'
import { StateBucket } from '../../../src/store-client/state-bucket.ts'
import { around, begin, Bucket, complete, startRig, stateBucket, type Begun } from '../../support/client-write-rig.ts'
import { byTurns } from '../../support/by-turns.ts'
import { codeOf } from '../../support/error-code.ts'
import { isHealthCheck } from '../../support/health-checks.ts'
import { upstreamTo } from '../../support/raw-store.ts'
import type { SeenRequest } from '../../support/rules.ts'

const rig = await startRig(t, { version: 'v3', key: 'aes', keepAliveMs: 60_000 })
const { store, s3 } = rig
const restarted = (await rig.another()).s3
const { accessKeyId, secretAccessKey } = store
const upstream = upstreamTo(t, store.endpoint, {}, {}, { credentials: { accessKeyId, secretAccessKey, sessionToken: null } })
const parts = [randomBytes(1000), randomBytes(1001)]

/** What a client does that got no answer. */
const afterwards = ['the same list', 'another list', 'abort', 'nothing'] as const

interface Left {
  /** Uploads at the store. */
  readonly uploads: number
  readonly state: number
}

const left = (): Left => ({ uploads: store.uploads(Bucket), state: store.keys(stateBucket).filter((key) => /^(?:command-)?uploads\//.test(key)).length })

const gc = async (): Promise<void> => {
  const { signal } = new AbortController()
  await collectGarbage({
    state: new StateBucket(upstream, stateBucket, signal),
    stateBucket,
    upstream,
    realm: 'test',
    olderThan: Date.now() + 60_000,
    dryRun: false,
    signal
  })
}

/**
 * Completes an upload with a gateway of which only so many requests reach the store, the last of them without an answer.
 * @returns that one; null: it has no more.
 */
async function kill(upload: Begun, requests: number): Promise<{ readonly answered: boolean; readonly last: string } | null> {
  const seen: SeenRequest[] = []
  const counted = (request: SeenRequest): boolean => !isHealthCheck(request)
  const rule = store.rules.add({
    when: { test: (request) => counted(request) && (seen.push(request), true) },
    nth: requests,
    fault: { type: 'reset', at: 'after-request' }
  })
  store.rules.add({ when: { test: counted }, nth: requests + 1, times: Infinity, fault: { type: 'reset', at: 'before' } })
  const answered = await codeOf(complete(s3, upload)) === 'ok'
  store.rules.clear()
  const { method = '', bucket = '', key = '', query } = seen[requests - 1] ?? {}
  const name = bucket === stateBucket ? `${bucket}/${key.replace(/[0-9a-f]{32,}(?:-0)?/g, '…')}` : bucket
  return rule.fired === 0 ? null : { answered, last: `${method} ${name} ${[...query?.parameters ?? []].map((each) => each.name).join(' ')}`.trim() }
}

/** The bytes of the object; null: there is none. */
const objectOf = async (key: string): Promise<Buffer | null> => store.object(Bucket, key).exists ? around(rig, key) : null

const steps = new Map<string, string>()
let kills = 0
for (let requests = 1, ended = false; !ended; requests += 1) {
  // What comes before the gateway's own upload, and after the end of the client's, is alike in the store.
  const decides = requests >= 4 && requests <= 11
  for (const then of afterwards.filter((_, i) => byTurns(decides || i === requests % afterwards.length))) {
    const key = `${requests} ${then}`
    const begun = await begin(s3, key, parts)
    const [first, second] = begun.list.map((each) => [each])
    const upload = { ...begun, list: first! }
    const killed = await kill(upload, requests)
    ended = killed === null
    if (killed === null) break
    const { answered, last } = killed
    kills += 1
    const what = `killed after ${requests}, ${last}, then ${then}`
    const there = await objectOf(key)
    t.ok(there === null ? !answered : there.equals(parts[0]!), `${what}: whole, or absent`)
    const listed = (await restarted.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []
    // One whose note was not written is shown, and has no bytes.
    const unnoted = last === `POST ${Bucket} uploads` ? 1 : 0
    t.equal(listed.filter(({ UploadId }) => UploadId !== begun.UploadId).length, unnoted, `${what}: uploads of the gateway that clients are shown`)
    if (then === 'the same list') {
      t.equal(await codeOf(complete(restarted, upload)), 'ok', what)
      t.ok((await objectOf(key))?.equals(parts[0]!), what)
    } else if (then === 'another list') {
      const ok = await codeOf(complete(restarted, { ...begun, list: second! })) === 'ok'
      t.ok(ok || there !== null, `${what}: refused only where the upload has become an object`)
      t.ok((await objectOf(key))?.equals(parts[ok ? 1 : 0]!), what)
    } else if (then === 'abort') {
      const code = await codeOf(restarted.send(new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId: begun.UploadId })))
      t.ok(code === 'ok' || (code === 'NoSuchUpload' && there !== null), what)
      t.strictSame(await objectOf(key), there, what)
    }
    await gc()
    const { uploads, state } = left()
    // An upload that its client has neither completed nor aborted stays, with its record and its parts.
    const stays = then === 'nothing' && state > 0
    steps.set(
      `${requests} ${last}, then ${then}`,
      `${there === null ? 'no object' : 'the object'}, ${stays ? 'the upload of the client' : 'no upload'}${unnoted === 0 ? '' : ', one that is empty'}`
    )
    t.strictSame({ uploads, state }, { uploads: (stays ? 1 : 0) + unnoted, state: stays ? 5 : 0 }, `${what}: what is left`)
    if (stays) t.equal(await codeOf(complete(restarted, upload)), 'ok', `${what}, and a Complete after all`)
    for (const { Key, UploadId } of (await restarted.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []) {
      await restarted.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
    }
    await gc()
    t.strictSame(left(), { uploads: 0, state: 0 }, what)
  }
}
t.comment(`${kills} kills`)
for (const [step, what] of steps) t.comment(`${step}: ${what}`)
const seen = [...steps].map(([step, what]) => `${step}: ${what}`).join('\n')
t.match(seen, /POST written uploadId, then nothing: the object, the upload of the client/)
t.match(seen, /DELETE written uploadId, then nothing: the object, no upload/)
t.match(seen, /POST written uploads, then nothing: no object, the upload of the client, one that is empty/)

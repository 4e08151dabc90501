// A sample of the fault matrix (all of it is in test/campaigns/faults.ts), and what it has found.
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { DeleteObjectCommand, ListObjectsV2Command, PutObjectCommand, S3ServiceException } from '@aws-sdk/client-s3'
import { readAll, StagedReadable } from '../../src/http/stage.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { byTurns } from '../support/by-turns.ts'
import { chooseSample, faults, runCases, type Sampled } from './fault-matrix.ts'
import { scripts } from './fault-scripts.ts'
import { snapshot } from '../support/reading.ts'
import type { S3Client } from '@aws-sdk/client-s3'

const CHOOSE = 'node test/campaigns/faults.ts sample'

void t.test(
  'whatever goes wrong with whichever request to the store: no lie, no loss, nothing half done, nothing left open',
  async (t) => {
    const chosen = JSON.parse(await readFile(new URL('fault-sample.json', import.meta.url), 'utf8')) as Sampled[]
    t.same(chosen.map(([script]) => script), scripts.map(({ name }) => name), `every operation; if not: ${CHOOSE}`)
    t.same(new Set(chosen.map(([, , fault]) => fault)), new Set(Object.keys(faults)), `every fault; if not: ${CHOOSE}`)
    if (byTurns(false)) t.same(chosen, await chooseSample(), `the operations make the requests that they made; if not: ${CHOOSE}`)
    const cases = chosen.map(([, nth, fault], i) => ({ script: scripts[i]!, nth, fault }))
    const { runs, acknowledged, problems, missed } = await runCases(cases, 8)
    t.same(problems, [])
    t.same(missed, [], `every fault has met its request; if not: ${CHOOSE}`)
    t.comment(
      `${scripts.length} operations, ${Object.keys(faults).length} faults: ${runs} runs, ${acknowledged} acknowledged and kept, ${problems.length} violations`
    )
  }
)

void t.test('regression: a body that failed before anybody read it fails its reader', async (t) => {
  const source = new Readable({ read: () => undefined })
  source.on('error', () => undefined)
  source.destroy(new Error('broken off'))
  await new Promise((resolve) => source.once('close', resolve))
  const staged = new StagedReadable(source, [], { destroySource: true })
  await t.rejects(readAll(staged, 1, () => new Error('too large')), { message: 'broken off' })
})

const Bucket = 'faults'

/** What an instance has written it needs no request for when it lists: `writer` is another one. */
async function rig(t: Test): Promise<{ store: TestStore; s3: S3Client; writer: S3Client }> {
  const store = await startTestStore({ buckets: [Bucket] })
  const gateway = await startTestGateway(store)
  const another = await startTestGateway(store, { keyring: gateway.keyring })
  const [s3, writer] = [gateway.client(), another.client()]
  t.teardown(async () => {
    s3.destroy()
    writer.destroy()
    await Promise.all([gateway.close(), another.close()])
    await store.close()
  })
  return { store, s3, writer }
}

void t.test('regression: a row whose object cannot be inspected at the moment gets no other ETag', async (t) => {
  const { store, s3, writer } = await rig(t)
  const { ETag } = await writer.send(new PutObjectCommand({ Bucket, Key: 'row', Body: randomBytes(1000) }))
  store.rules.add({ when: { key: 'row' }, times: 10, fault: { type: 'error', status: 503, code: 'SlowDown' } })
  const { Contents: during } = await s3.send(new ListObjectsV2Command({ Bucket }))
  t.match(during, [{ Key: 'row', Size: 1000 }])
  t.equal(during?.[0]?.ETag, undefined)
  store.rules.clear()
  t.match((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents, [{ Key: 'row', Size: 1000, ETag }])
})

void t.test('regression: an object overwritten while a listing or a condition looks at it is no fault of the gateway', async (t) => {
  const { store, s3, writer } = await rig(t)
  // Longer than a segment, its MD5 stands in its manifest: two requests for one look.
  const put = (size: number) => writer.send(new PutObjectCommand({ Bucket, Key: 'busy', Body: randomBytes(size) }))
  const { ETag: newer } = await put(200_000)
  const second = await snapshot(store.object(Bucket, 'busy'))
  const { ETag: older } = await put(100_000)
  const first = await snapshot(store.object(Bucket, 'busy'))
  const overwrite = (): void => {
    store.rules.clear()
    store.rules.add({
      when: { key: 'busy', method: 'HEAD' },
      fault: {
        type: 'transform',
        change: (answer) => {
          void store.object(Bucket, 'busy').set(second)
          return answer
        }
      }
    })
  }
  overwrite()
  t.match((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents, [{ Key: 'busy', Size: 200_000, ETag: newer }])
  for (
    const command of [
      new PutObjectCommand({ Bucket, Key: 'busy', Body: 'x', IfMatch: older }),
      new DeleteObjectCommand({ Bucket, Key: 'busy', IfMatch: older })
    ]
  ) {
    await store.object(Bucket, 'busy').set(first)
    overwrite()
    const error: unknown = await (command instanceof PutObjectCommand ? s3.send(command) : s3.send(command)).catch((failure: unknown) => failure)
    t.ok(error instanceof S3ServiceException && error.name === 'PreconditionFailed', command.constructor.name)
  }
})

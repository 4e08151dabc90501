// Who else may have completed an upload: another instance with the same list or another one, or this client itself, whose answer was lost.
import t, { type Test } from 'tap'
import { AbortMultipartUploadCommand, type CompletedPart, type S3Client } from '@aws-sdk/client-s3'
import { byTurns } from '../../support/by-turns.ts'
import type { TestStore } from '../../support/hostile.ts'
import { Bucket, bytes, complete, create, MiB, put, read, rig, stateBucket } from '../../support/multipart-rig.ts'
import { codeOf } from '../../support/error-code.ts'

type When = NonNullable<Parameters<TestStore['rules']['add']>[0]['when']>

/** Every request to the store that a Complete makes before the object is there. */
const steps: readonly (readonly [name: string, when: When])[] = [
  ['record of the upload', { method: 'GET', bucket: stateBucket, key: /\/upload$/ }],
  ['records of its parts', { method: 'GET', bucket: stateBucket, query: { 'list-type': true } }],
  ['list of its parts', { method: 'GET', bucket: Bucket, query: { uploadId: true } }],
  ['small last part', { method: 'GET', bucket: stateBucket, key: /\/small\// }],
  ['tail', { method: 'PUT', bucket: Bucket, query: { partNumber: true } }],
  ['Complete of the store', { method: 'POST', bucket: Bucket, query: { uploadId: true } }]
]

interface Uploaded {
  readonly Key: string
  readonly id: string
  readonly listed: readonly CompletedPart[]
}

async function uploaded(s3: S3Client, Key: string, sizes: readonly number[]): Promise<Uploaded> {
  const id = await create(s3, Key)
  const listed: CompletedPart[] = []
  for (const [i, size] of sizes.entries()) listed.push(await put(s3, Key, id, i + 1, bytes(size, i)))
  return { Key, id, listed }
}

/** `first` happens while the store holds back one request of a Complete that began before it. */
async function overtaken(
  t: Test,
  { store, s3 }: { store: TestStore; s3: S3Client },
  when: When,
  { Key, id, listed }: Uploaded,
  first: () => Promise<unknown>
): Promise<{ code: string; etag: string | undefined; fired: boolean }> {
  const rule = store.rules.add({ when, fault: { type: 'late', until: first } })
  let etag: string | undefined
  const code = await codeOf(
    complete(s3, Key, id, [...listed]).then(({ ETag }) => {
      etag = ETag
    })
  )
  const fired = rule.fired > 0
  rule.remove()
  t.comment(`${Key}: ${code}`)
  return { code, etag, fired }
}

void t.test('another instance completes the same list at any step: both get the one answer', async (t) => {
  const r = await rig(t)
  const other = await r.another()
  for (const size of [5 * MiB, 10]) {
    for (const [step, when] of steps.filter((_, i) => byTurns(size === 10 || i % 2 === 0))) {
      const upload = await uploaded(r.s3, `same ${size} ${step}`, [size])
      let quick: string | undefined
      const { code, etag, fired } = await overtaken(t, r, when, upload, async () => {
        quick = (await complete(other, upload.Key, upload.id, [...upload.listed])).ETag
      })
      t.equal(fired, size === 10 || step !== 'small last part', step)
      if (!fired) continue
      t.same([code, etag], ['ok', quick], step)
      const end = Math.min(size, 70_000)
      t.ok(bytes(size).subarray(-end).equals(await read(r.s3, upload.Key, { Range: `bytes=-${end}` })), step)
    }
  }
  t.same(r.store.keys(stateBucket), [], 'nothing is left in the state bucket')
})

void t.test('another instance completes another list, or aborts, at any step: the upload is no more', async (t) => {
  const r = await rig(t)
  const other = await r.another()
  for (const [step, when] of steps) {
    const { listed: [one, two], ...upload } = await uploaded(r.s3, `other list ${step}`, [10, 20])
    const completed = await overtaken(t, r, when, { ...upload, listed: [one!] }, () => complete(other, upload.Key, upload.id, [two!]))
    t.ok(['NoSuchUpload', 'InvalidPart'].includes(completed.code), `another list, ${step}: ${completed.code}`)
    const begun = await uploaded(r.s3, `abort ${step}`, [10])
    const aborted = await overtaken(t, r, when, begun, () => other.send(new AbortMultipartUploadCommand({ Bucket, Key: begun.Key, UploadId: begun.id })))
    t.ok(['NoSuchUpload', 'InvalidPart'].includes(aborted.code), `abort, ${step}: ${aborted.code}`)
    t.equal(await codeOf(read(r.s3, begun.Key)), 'NoSuchKey', step)
  }
})

void t.test('an answer that was lost is given again, to the same list alone', async (t) => {
  const { s3, another } = await rig(t)
  const instances = [s3, await another()]
  const { Key, id, listed } = await uploaded(s3, 'lost', [5 * MiB, 7])
  const first = await complete(s3, Key, id, [...listed])
  for (const instance of instances) {
    t.match(await complete(instance, Key, id, [...listed]), { ETag: first.ETag })
    t.equal(await codeOf(complete(instance, Key, id, listed.slice(0, 1))), 'NoSuchUpload', 'another list')
    t.equal(await codeOf(complete(instance, 'another key', id, [...listed])), 'NoSuchUpload', 'another key')
  }
  await uploaded(s3, Key, [10]).then((next) => complete(s3, Key, next.id, [...next.listed]))
  t.equal(await codeOf(complete(s3, Key, id, [...listed])), 'NoSuchUpload', 'another object has its name by now')
})

void t.test('a store that knows no such upload any more, at any step, is believed', async (t) => {
  const { s3, store } = await rig(t)
  for (const [step, when] of steps.filter(([, { bucket }]) => bucket === Bucket)) {
    const { Key, id, listed } = await uploaded(s3, `gone ${step}`, [10])
    const rule = store.rules.add({ when, fault: { type: 'error', status: 404, code: 'NoSuchUpload' } })
    t.equal(await codeOf(complete(s3, Key, id, [...listed])), 'NoSuchUpload', step)
    t.equal(rule.fired, 1, step)
    t.ok((await complete(s3, Key, id, [...listed])).ETag, `${step}: and the upload is as it was`)
  }
})

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { CopyObjectCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { ask, Bucket, startEncryptionRig } from './encryption-rig.ts'

await t.test('a disabled key fails new reads within the cache\'s age, and opens again when enabled', async (t) => {
  const { s3, kms, arn, store } = await startEncryptionRig(t, { key: 'cloud' }, { keyCache: { maxAgeSeconds: 0.3 } })
  t.equal((await ask(s3, new PutObjectCommand({ Bucket, Key: 'o', Body: 'body' }))).status, 200)
  kms.setState(arn, 'disabled')
  const refused = await until(() => ask(s3, new GetObjectCommand({ Bucket, Key: 'o' })), ({ status }) => status !== 200)
  t.match(refused, { status: 400, code: 'KMS.DisabledException', message: `${arn} is disabled.` })
  const before = store.requests.length
  t.match(await ask(s3, new PutObjectCommand({ Bucket, Key: 'new', Body: 'body' })), { status: 400, code: 'KMS.DisabledException' })
  t.match(await ask(s3, new CopyObjectCommand({ Bucket, Key: 'new', CopySource: `${Bucket}/o` })), { status: 400, code: 'KMS.DisabledException' })
  t.notOk(store.requests.slice(before).some(({ key }) => key === 'new'), 'writes fail before a byte goes upstream')
  kms.setState(arn, 'enabled')
  const opened = await until(() => ask(s3, new GetObjectCommand({ Bucket, Key: 'o' })), ({ status }) => status === 200)
  t.equal(opened.body.toString(), 'body')
  kms.setState(arn, 'pending-deletion')
  t.match(await until(() => ask(s3, new GetObjectCommand({ Bucket, Key: 'o' })), ({ status }) => status !== 200), {
    status: 400,
    code: 'KMS.KMSInvalidStateException'
  })
})

await t.test('a key service that hangs: nothing waits beyond the deadline, nothing is stored, and requests work afterwards', async (t) => {
  const { s3, kms, store } = await startEncryptionRig(t, { key: 'cloud' }, { keyCache: { maxAgeSeconds: 0 } })
  const secret = randomBytes(1000)
  t.equal((await ask(s3, new PutObjectCommand({ Bucket, Key: 'before', Body: secret }))).status, 200)
  kms.misbehave = () => true
  const started = performance.now()
  const answers = await Promise.all([...Array(20).keys()].flatMap((i) => [
    ask(s3, new PutObjectCommand({ Bucket, Key: `during/${i}`, Body: secret })),
    ask(s3, new GetObjectCommand({ Bucket, Key: 'before' }))
  ]))
  const seconds = (performance.now() - started) / 1000
  for (const answer of answers) t.match(answer, { status: 503, body: Buffer.alloc(0) })
  t.comment(`${answers.length} requests during the outage, all refused, the last after ${seconds.toFixed(1)} s`)
  t.notOk(store.keys(Bucket).some((key) => key.startsWith('during/')))
  t.notOk(store.requests.some(({ body }) => body?.includes(secret.subarray(0, 32)) === true), 'no plaintext in the store')
  kms.misbehave = null
  const after = await until(() => ask(s3, new GetObjectCommand({ Bucket, Key: 'before' })), ({ status }) => status === 200)
  t.ok(secret.equals(after.body), 'without a restart')
})

/** Asks until the answer is the one waited for. The time-out of the test is the limit. */
async function until<T>(work: () => Promise<T>, done: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await work()
    if (done(answer)) return answer
    await sleep(50)
  }
}

// Uploads in parts of `encrypt` and `decrypt` that are killed by SIGKILL: the next run, or `gc`, aborts them, and never one of a client.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import t from 'tap'
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client
} from '@aws-sdk/client-s3'
import { runDecrypt, runEncrypt } from '../../src/cli/existing-actions.ts'
import { openStore, storeOfBucket } from '../../src/cli/store-command.ts'
import { readConfig } from '../../src/cli/sealed-config.ts'
import { collectGarbage } from '../../src/maintenance/garbage.ts'
import { UploadJournal } from '../../src/maintenance/upload-journal.ts'
import { BucketClient } from '../../src/store-client/bucket-client.ts'
import { StateBucket } from '../../src/store-client/state-bucket.ts'
import type { Runner } from '../../src/store-client/upload-notes.ts'
import { existingValues } from '../support/existing-data.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'

const MIB = 1024 * 1024
const sizes = { above: 6 * MIB, part: 5 * MIB }
const rig = await startRewrapRig(t, { buckets: { '*': { encryption: 'on', key: 'main' }, 'out': { encryption: 'off' } } })
const { store, s3, config } = rig
const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
for (const Bucket of ['large', 'out']) await direct.send(new CreateBucketCommand({ Bucket }))
const settings = await readConfig({ file: config, env: {} })
const upstream = openStore(storeOfBucket(settings, 'large'), settings)
const { signal } = new AbortController()
t.teardown(async () => {
  direct.destroy()
  await upstream.close()
})
const body = randomBytes(11 * MIB)
const uploadsIn = async (Bucket: string) => ((await direct.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []).map(({ UploadId }) => UploadId)
const stateOf = async (Prefix: string) => (await direct.send(new ListObjectsV2Command({ Bucket: 'sealgate-state', Prefix }))).KeyCount

/** Runs a command in a process of its own, with lowered sizes, and kills it when it has sent this part. */
async function killed(command: 'runEncrypt' | 'runDecrypt', bucket: string, partNumber = '2'): Promise<void> {
  const source = join(import.meta.dirname, '../../src/cli/existing-actions.ts')
  const script = `import { ${command} } from ${JSON.stringify(source)}
const stdio = { stdout: process.stdout, stderr: process.stderr }
await ${command}(${JSON.stringify(existingValues(config, 'large'))}, { args: [], env: {}, cwd: '/', onSignal() {}, ...stdio }, ${JSON.stringify(sizes)})`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script.replaceAll(':undefined', ':void 0')], { stdio: 'inherit' })
  const rule = store.rules.add({
    when: { bucket, method: 'PUT', query: { partNumber } },
    fault: { type: 'late', until: () => (child.kill('SIGKILL'), once(child, 'close')) }
  })
  const [code, name] = await once(child, 'close') as [number | null, string | null]
  t.strictSame([code, name], [null, 'SIGKILL'])
  rule.remove()
}

/** Runs it here. @returns its exit code and what it said. */
async function run(command: typeof runEncrypt | typeof runDecrypt) {
  let err = ''
  const stderr = { write: (text: string) => (err += text) }
  const platform = { args: [], env: {}, cwd: dirname(config), onSignal: () => undefined, stdout: { write: () => undefined }, stderr }
  return { code: await command(existingValues(config, 'large'), platform, sizes), err }
}

await t.test('encrypt: aborted at the next start, with what the gateway has kept for it', async (t) => {
  await direct.send(new PutObjectCommand({ Bucket: 'large', Key: 'k ü', Body: body }))
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'large', Key: 'k ü' }))
  await killed('runEncrypt', 'large')
  t.equal((await uploadsIn('large')).length, 2)
  t.equal(await stateOf('command-uploads/'), 1)
  t.match(await run(runEncrypt), { code: 0, err: /^Aborted 1 uploads in parts/ })
  t.strictSame(await uploadsIn('large'), [UploadId], 'that of the client goes on')
  t.equal(await stateOf('command-uploads/'), 0)
  t.equal(await stateOf('uploads/'), 1, 'and so does its record, and no other')
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'large', Key: 'k ü' }))
  t.ok(body.equals(await Body!.transformToByteArray()))
})

await t.test('encrypt: a conditional copy is the only part of an upload, which is noted as well', async (t) => {
  await direct.send(new PutObjectCommand({ Bucket: 'large', Key: 'single', Body: body.subarray(0, 1_100_000) }))
  const before = await uploadsIn('large')
  await killed('runEncrypt', 'large', '1')
  t.strictSame([(await uploadsIn('large')).length - before.length, await stateOf('command-uploads/')], [1, 1])
  t.match(await run(runEncrypt), { code: 0, err: /^Aborted 1 uploads in parts/ })
  t.strictSame([await uploadsIn('large'), await stateOf('command-uploads/')], [before, 0])
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'large', Key: 'single' }))
  t.ok(body.subarray(0, 1_100_000).equals(await Body!.transformToByteArray()))
})

await t.test('decrypt: aborted in the other bucket', async (t) => {
  await killed('runDecrypt', 'out')
  t.equal((await uploadsIn('out')).length, 1)
  t.match(await run(runDecrypt), { code: 0, err: /^Aborted 1 uploads in parts/ })
  t.strictSame([await uploadsIn('out'), await stateOf('command-uploads/')], [[], 0])
})

await t.test('a run that goes on elsewhere keeps its upload; one that has ended does not; gc takes what is left', async (t) => {
  const state = new BucketClient(upstream, 'sealgate-state', signal)
  const bucket = new BucketClient(upstream, 'out', signal)
  const journal = (runner: Partial<Runner>) => new UploadJournal(state, bucket, { machine: 'here', pid: 1, isAlive: () => true, ...runner })
  const left = async (): Promise<void> => {
    let begun = (): void => undefined
    const started = new Promise<void>((resolve) => {
      begun = resolve
    })
    // Never ends, as a process that was killed.
    void journal({ pid: 2 }).upload(bucket, 'k', [], () => {
      begun()
      return new Promise(() => undefined)
    })
    await started
  }
  await left()
  t.strictSame(await journal({}).recover(), { aborted: 0, left: 1 }, 'another process, which is alive')
  t.strictSame(
    await journal({ machine: 'there', isAlive: () => false }).recover(),
    { aborted: 0, left: 1 },
    'another machine: nothing is known of its processes'
  )
  t.strictSame(await journal({ isAlive: () => false }).recover(), { aborted: 1, left: 0 }, 'one that has ended')
  await left()
  t.strictSame(await journal({ pid: 2 }).recover(), { aborted: 1, left: 0 }, 'this process has its id now')
  await left()
  for (const name of ['junk', 'x'.repeat(64)]) await state.document({ method: 'PUT', key: `command-uploads/${name}`, body: Buffer.from('{"bucket":1}') })
  const collection = { state: new StateBucket(upstream, 'sealgate-state', signal), stateBucket: 'sealgate-state', upstream, realm: 'test', signal }
  t.match(await collectGarbage({ ...collection, dryRun: true, olderThan: Date.now() + 10_000 }), { failed: 0 })
  t.equal((await uploadsIn('out')).length, 1)
  await collectGarbage({ ...collection, dryRun: false, olderThan: Date.now() - 10_000 })
  t.equal((await uploadsIn('out')).length, 1, 'not before its time')
  t.match(await collectGarbage({ ...collection, dryRun: false, olderThan: Date.now() + 10_000 }), { failed: 0 })
  t.strictSame([await uploadsIn('out'), await stateOf('command-uploads/')], [[], 0])
})

await t.test('what cannot be aborted stays noted', async (t) => {
  const state = new BucketClient(upstream, 'sealgate-state', signal)
  const bucket = new BucketClient(upstream, 'out', signal)
  const me = { machine: 'here', pid: 1, isAlive: () => false }
  const rule = store.rules.add({ when: { bucket: 'out', method: 'DELETE' }, times: 99, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  await t.rejects(new UploadJournal(state, bucket, me).upload(bucket, 'k', [], () => Promise.reject(new Error('failed'))), { message: 'failed' })
  t.strictSame(await new UploadJournal(state, bucket, me).recover(), { aborted: 0, left: 1 })
  rule.remove()
  t.strictSame(await new UploadJournal(state, bucket, me).recover(), { aborted: 1, left: 0 })
  t.strictSame(await new UploadJournal(state, bucket, me).upload(bucket, 'k', [], () => Promise.resolve(null)), null)
  t.strictSame([await uploadsIn('out'), await stateOf('command-uploads/')], [[], 0], 'one that was not completed is aborted at once')
})

// `sealgate inspect`: one object of every kind, and what an operator sees of hostile names.
import { appendFile, readFile } from 'node:fs/promises'
import t from 'tap'
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { editKeyring } from '../../src/keys/keyring-file.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'

const rig = await startRewrapRig(t)
const { store, s3, run, audit, gateway } = rig
const Bucket = 'kept'
const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
await direct.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }))
t.teardown(() => {
  direct.destroy()
})
interface Shown {
  readonly [name: string]: unknown
  readonly sealedBy: { readonly keyId: string; readonly current: boolean } | null
}
const inspect = async (key: string, ...args: string[]) => {
  const { code, out, err } = await run('inspect', `s3://${Bucket}/${key}`, '--json', ...args)
  return { code, err, shown: out === '' ? null : JSON.parse(out) as Shown }
}

await t.test('a sealed object, with all that is known of it', async (t) => {
  await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'first' }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'second', ChecksumAlgorithm: 'SHA256', Tagging: 'a=1', StorageClass: 'STANDARD_IA' }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'k-longer', Body: 'another name' }))
  await s3.send(new GetObjectCommand({ Bucket, Key: 'k' })).then(({ Body }) => Body?.transformToByteArray())
  const before = await readFile(audit, 'utf8')
  const { code, err, shown } = await inspect('k')
  t.match({ code, err }, { code: 0, err: '' })
  t.match(shown, {
    bucket: Bucket,
    key: 'k',
    state: 'sealed',
    fault: null,
    boundHere: true,
    realm: 'test',
    sealedBy: { key: 'main', current: true, version: /^\d{8}-[0-9a-f]{8}$/ },
    sizes: { plaintext: 6, stored: 538 },
    seal: { bucket: Bucket, kind: 'single', metadataSealed: true, parts: null },
    stored: { storageClass: 'STANDARD_IA', tags: 1, parts: null, lock: { mode: null, legalHold: false, active: false } },
    versions: { versions: 2, deleteMarkers: 0, more: false },
    keyUses: { uses: [{ operation: 'GetObject', action: 'unwrap', outcome: 'ok' }, { operation: 'PutObject' }, { operation: 'PutObject' }], whole: true }
  })
  t.ok(JSON.stringify(shown?.['seal']).includes('"sha256"'))
  const added = (await readFile(audit, 'utf8')).slice(before.length)
  t.match(added, /"operation":"inspect","bucket":"kept","key":"k"/, 'opening it is a use of the key')
  const text = (await run('inspect', '--object', `s3://${Bucket}/k`)).out
  t.match(text, /^state +sealed: encrypted by Sealgate for this name$/m)
  t.match(text, /^key version +\S+, the current one$/m)
  t.match(text, /^last key use +\S+Z cli inspect \(unwrap, ok\)$/m)
  await rig.rotate()
  t.match((await inspect('k')).shown, { sealedBy: { current: false } })
})

await t.test('parts, versions, delete markers, locks', async (t) => {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
  const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber: 7, Body: 'part' }))
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'parts', UploadId, MultipartUpload: { Parts: [{ PartNumber: 7, ETag }] } }))
  t.match(await inspect('parts'), { code: 0, shown: { state: 'sealed', sizes: { plaintext: 4 }, seal: { kind: 'multipart', parts: 1 } } })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'folder/', Body: '' }))
  t.match(await inspect('folder/'), { code: 0, shown: { sizes: { plaintext: 0, stored: 0 }, seal: { kind: 'empty' } } })
  const { VersionId } = await s3.send(new PutObjectCommand({ Bucket, Key: 'gone', Body: 'x' }))
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'gone' }))
  t.match(await inspect('gone'), { code: 0, shown: { state: 'delete-marker', versions: { versions: 1, deleteMarkers: 1 } } })
  t.match(await inspect('gone', '--version-id', VersionId!), { code: 0, shown: { state: 'sealed', versionId: VersionId } })
  await s3.send(new PutObjectLegalHoldCommand({ Bucket, Key: 'gone', VersionId, LegalHold: { Status: 'ON' } }))
  t.match(await inspect('gone', '--version-id', VersionId!), { shown: { stored: { lock: { legalHold: true, active: true } } } })
  t.match(await inspect('never'), { code: 1, shown: null, err: /there is no object "never" in kept\./ })
})

await t.test('exit codes as those of scan', async (t) => {
  const stored = async (Key: string) => {
    const { Body, Metadata } = await direct.send(new GetObjectCommand({ Bucket, Key }))
    return { Body: Buffer.from(await Body!.transformToByteArray()), Metadata: Metadata! }
  }
  await direct.send(new PutObjectCommand({ Bucket, Key: 'plain', Body: 'x' }))
  t.match(await inspect('plain'), { code: 3, shown: { state: 'plaintext', sealedBy: null, boundHere: null, seal: null } })
  const sealed = await stored('k')
  await direct.send(new PutObjectCommand({ Bucket, Key: 'moved', ...sealed }))
  t.match(await inspect('moved'), { code: 4, shown: { state: 'sealed-elsewhere', fault: 'other-name', boundHere: false } })
  const parts = await stored('parts')
  parts.Body[parts.Body.length - 20]! ^= 1
  await direct.send(new PutObjectCommand({ Bucket, Key: 'parts', ...parts }))
  t.match(await inspect('parts'), { code: 4, shown: { state: 'damaged', fault: 'manifest-altered' } })
  await rig.reload({ audit: {} })
  t.match((await inspect('k')).shown, { keyUses: /no audit.file/ })
  await editKeyring(gateway.keyring, (keyring) => {
    const [first] = keyring.versions
    return keyring.withState(first!.id, 'disabled')
  })
  t.match(await inspect('k'), { code: 0, shown: { state: 'sealed', fault: 'key-unavailable', seal: null, boundHere: null } })
  const verified = await run('verify', '--bucket', Bucket, '--prefix', 'k', '--json')
  t.match(JSON.parse(verified.out), { outcomes: { 'key-unavailable': { objects: 2 } }, faults: { 'key-unavailable': { objects: 2 } } })
  t.equal(verified.code, 1)
  for (const wrong of ['kept/k', 's3://kept', 's3://kept/', 's3://sealgate-state/x']) t.equal((await run('inspect', wrong)).code, 2, wrong)
  t.match(await run('inspect', 's3://kept/k', 's3://kept/l'), { code: 2, err: /--object is given twice/ })
  t.equal((await run('inspect')).code, 2)
})

await t.test('a name, a header and an audit line do nothing to a terminal', async (t) => {
  await rig.reload()
  const hostile = '../\u001b]0;owned\u0007\u009b31m\u202e"%2e /ü🔑'
  await direct.send(new PutObjectCommand({ Bucket, Key: hostile, Body: 'x' }))
  const line = {
    time: '\u001b[2J',
    requestId: 'x',
    principal: 'a\u009b',
    operation: '\nstate sealed',
    bucket: Bucket,
    key: hostile,
    action: 'unwrap',
    outcome: 'ok'
  }
  await appendFile(audit, `not JSON ${JSON.stringify(hostile)}\n${JSON.stringify(line)}\n`)
  const { code, out } = await run('inspect', `s3://${Bucket}/${hostile}`)
  t.equal(code, 3)
  t.notMatch(out.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u)
  t.equal(out.split('\n').filter((text) => text.startsWith('state')).length, 1)
  t.match(out, 'ü🔑')
  t.equal((await inspect(hostile)).shown?.['key'], hostile)
})

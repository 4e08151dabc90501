// Writes the vectors of test/s3ec/vectors anew: small objects of every mode of every client that is built, as the store holds them.
//   S3EC_CACHE=… node test/e2e/s3ec/vectors.ts OUTPUT [CLIENT…] [--store ENDPOINT --access-key ID --secret-key SECRET]
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { CreateBucketCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { FakeKms } from '../../support/fake-kms.ts'
import { startTestStore } from '../../support/hostile.ts'
import { s3ecKeys as keys } from '../../support/s3ec-reader.ts'
import { Client, clientNames } from './clients.ts'
import { writePlaintext } from './plaintext.ts'

const { values, positionals: [output = '', ...wanted] } = parseArgs({
  allowPositionals: true,
  options: { 'store': { type: 'string' }, 'access-key': { type: 'string', default: '' }, 'secret-key': { type: 'string', default: '' } }
})
const SIZES = [0, 1, 15, 16, 17, 1000]
const Bucket = 'vectors'
const cache = process.env['S3EC_CACHE'] ?? ''
const folder = await mkdtemp(join(tmpdir(), 'sealgate-s3ec-'))
const ends: (() => Promise<void>)[] = []
const kms = await FakeKms.start({ teardown: (work) => void ends.push(work) })
kms.addKnownKey(keys.kms.arn, Buffer.from(keys.kms.secret, 'hex'))
const embedded = values.store === undefined ? await startTestStore() : null
const { endpoint, accessKeyId, secretAccessKey } = embedded ??
  { endpoint: values.store ?? '', accessKeyId: values['access-key'], secretAccessKey: values['secret-key'] }
const store = new S3Client({
  endpoint,
  region: 'us-east-1',
  forcePathStyle: true,
  credentials: { accessKeyId, secretAccessKey },
  responseChecksumValidation: 'WHEN_REQUIRED'
})
await store.send(new CreateBucketCommand({ Bucket }))

async function stored(Key: string): Promise<{ body: string; metadata: Record<string, string>; contentType?: string }> {
  const { Body, Metadata = {}, ContentType } = await store.send(new GetObjectCommand({ Bucket, Key }))
  return {
    body: Buffer.from(await Body!.transformToByteArray()).toString('base64'),
    metadata: Metadata,
    ...ContentType === undefined ? {} : { contentType: ContentType }
  }
}

for (const name of wanted.length > 0 ? wanted : clientNames(cache)) {
  const client = new Client(cache, name, { endpoint, accessKeyId, secretAccessKey, kms: kms.endpoint })
  const objects: unknown[] = []
  let failed = 0
  for (const mode of await client.modes()) {
    for (const size of SIZES) {
      const [key, file] = [`${name} ${mode} ${size}`, join(folder, 'plain')]
      const sha256 = await writePlaintext(file, key, size)
      const back = join(folder, 'back')
      const fault = await client.job('put', mode, Bucket, key, file) ?? await client.job('get', mode, Bucket, key, back)
      if (fault !== null || !readFileSync(file).equals(readFileSync(back))) {
        console.error(`${key}: ${fault ?? 'the client reads something else'}`)
        failed += 1
        continue
      }
      const { Contents = [] } = await store.send(new ListObjectsV2Command({ Bucket, Prefix: `${key}.` }))
      const instructions = Object.fromEntries(await Promise.all(Contents.map(async ({ Key = '' }) => [Key.slice(key.length), await stored(Key)] as const)))
      objects.push({ key, mode, size, sha256, plaintext: readFileSync(file).toString('base64'), ...await stored(key), instructions })
    }
  }
  client.stop()
  const provenance = {
    client: client.of,
    store: values.store === undefined ? 'embedded store' : 'versitygw',
    kms: 'test/support/fake-kms.ts',
    date: new Date().toISOString().slice(0, 10)
  }
  await writeFile(join(output, `${name}.json`), `${JSON.stringify({ ...provenance, objects }, null, 1)}\n`)
  console.log(`${name}: ${objects.length} objects, ${failed} failed`)
}
for (const end of ends) await end()
await embedded?.close()
store.destroy()
await rm(folder, { recursive: true })

// `encrypt --from plaintext,s3ec` on 1,000 objects: of every kind that the S3 Encryption Client writes, with and without instruction files, in plaintext, and
// sealed. It is killed by SIGKILL again and again while clients read and write. Takes minutes:
//   node test/campaigns/s3ec-encrypt.ts                                                        against the embedded store
//   node test/campaigns/s3ec-encrypt.ts ENDPOINT ACCESS_KEY SECRET_KEY [OBJECTS [KILLS]]         against another ("-": none); buckets are made there and stay
import { createHash, generateKeyPairSync, randomBytes, randomInt } from 'node:crypto'
import { request } from 'node:http'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { HeadObjectCommand, ListObjectsV2Command, paginateListObjectsV2, PutObjectCommand } from '@aws-sdk/client-s3'
import { bodyOf, shown, side, startExisting, summaryOf } from '../support/existing-rig.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { recipes, withInstructionFile, write, type Recipe, type Written } from '../support/s3ec-writer.ts'

const [endpoint, accessKeyId, secretAccessKey, objects = '1000', kills = '10'] = process.argv.slice(2)
const ends: (() => Promise<void>)[] = []
const kms = await FakeKms.start({ teardown: (work) => void ends.push(work) })
const arn = kms.addKey()
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const aes = randomBytes(32)
const described = [{ name: 'old' }, { name: 'new' }]
const keys = {
  cloud: { type: 'aws-kms', arn, endpoint: kms.endpoint, accessKeyId: 'a', secretAccessKey: 'b' },
  aes: { type: 's3ec-aes', masterKey: aes.toString('base64') },
  old: { type: 's3ec-aes', masterKey: aes.toString('base64'), description: described[0] },
  new: { type: 's3ec-aes', masterKey: aes.toString('base64'), description: described[1] },
  pair: { type: 's3ec-rsa', privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) }
}
const s3ec = { read: ['v1', 'v1-rsa', 'v2', 'v2-legacy', 'v2-cbc', 'v3'], keys: Object.keys(keys), commitment: 'allow' }
const rig = await startExisting(endpoint === '-' ? [] : [endpoint, accessKeyId, secretAccessKey], { keys, buckets: { '*': { key: 'main', s3ec } } })
const { bucket: Bucket, through, direct, wrong } = rig
const sha256 = (body: Uint8Array): string => createHash('sha256').update(body).digest('hex')

async function encrypted(dataKey: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer> {
  const input = JSON.stringify({ KeyId: arn, Plaintext: dataKey.toString('base64'), EncryptionContext: context })
  const text = await new Promise<string>((resolve, reject) => {
    const asked = request(kms.endpoint, { method: 'POST', agent: false, headers: { 'x-amz-target': 'TrentService.Encrypt' } }, (response) => {
      let read = ''
      response.on('data', (chunk: Buffer) => {
        read += chunk.toString()
      }).on('end', () => {
        resolve(read)
      })
    })
    asked.on('error', reject).end(input)
  })
  return Buffer.from((JSON.parse(text) as { CiphertextBlob: string }).CiphertextBlob, 'base64')
}
// The SDK signs no headers beyond ASCII.
const usable = recipes.filter(({ material = {} }) => /^[ -~]*$/.test(JSON.stringify(material)))
const make = (plaintext: Buffer, recipe: Recipe): Promise<Written> => write(plaintext, recipe, { aes, rsa: pair.publicKey, kms: encrypted })
const keep = (Key: string, { metadata, body }: Written, more = {}) =>
  direct.send(new PutObjectCommand({ Bucket, Key, Body: body, Metadata: metadata, ...more }))

// Conversion under SIGKILL.
interface Known {
  readonly key: string
  sha256: string
  busy: boolean
}
const known = Array.from({ length: Number(objects) }, (_, i): Known => ({ key: `objects/${String(i).padStart(5, '0')}`, sha256: '', busy: false }))
let files = 0
await side(known, async (one) => {
  const i = known.indexOf(one)
  const body = randomBytes(i % 50 === 0 ? 3_000_000 : randomInt(100_000))
  one.sha256 = sha256(body)
  const more = { Tagging: 'tag=first', ContentType: 'text/x' }
  if (i % 10 === 8) await direct.send(new PutObjectCommand({ Bucket, Key: one.key, Body: body, Metadata: { kind: 'plaintext' }, ...more }))
  else if (i % 10 === 9) await through.send(new PutObjectCommand({ Bucket, Key: one.key, Body: body, Metadata: { kind: 'sealed' }, ...more }))
  else {
    const written = await make(body, usable[i % usable.length]!)
    const { file, object } = withInstructionFile(written)
    const [split, stored] = i % 3 === 0 ? [file, object] : [null, written]
    if (split !== null) {
      files += 1
      await direct.send(new PutObjectCommand({ Bucket, Key: `${one.key}.instruction`, Body: split, Metadata: { 'x-amz-crypto-instr-file': '' } }))
    }
    await keep(one.key, { ...stored, metadata: { ...stored.metadata, kind: 'client' } }, more)
  }
})
console.log(`${known.length} objects: 8 of 10 of the client, ${files} of them with instruction files, 1 in plaintext, 1 sealed`)
let [reads, writes, stopped] = [0, 0, false]
const clients = Array.from({ length: 4 }, async (_, i) => {
  while (!stopped) {
    const one = known[randomInt(known.length)]!
    if (one.busy) continue
    one.busy = true
    try {
      if (i === 0) {
        const body = randomBytes(randomInt(30_000))
        await through.send(new PutObjectCommand({ Bucket, Key: one.key, Body: body, Tagging: 'tag=later', Metadata: { kind: 'later' } }))
        one.sha256 = sha256(body)
        writes += 1
      } else {
        const read = await bodyOf(through, Bucket, one.key).catch((error: unknown) => error as Error)
        // In plaintext until it has been sealed.
        if (read instanceof Error && read.name !== 'SealgatePlaintextRefused') wrong.push(`${one.key}: ${read.name}: ${read.message}`)
        if (!(read instanceof Error) && sha256(read) !== one.sha256) wrong.push(`${one.key}: other bytes while it was being sealed`)
        reads += 1
      }
    } catch (error) {
      wrong.push(`a write of ${one.key} failed: ${String(error)}`)
    }
    one.busy = false
    await sleep(randomInt(20))
  }
})
const encrypt = ['encrypt', '--bucket', Bucket, '--from', 'plaintext,s3ec', '--json', '--concurrency', '8']
let killed = 0
for (let run = 0; run < Number(kills); run += 1) {
  const { code } = await rig.run([...encrypt, '--rate', '100/s'], 1500 + randomInt(3000))
  if (code === null) killed += 1
}
const last = await rig.run(encrypt)
stopped = true
await Promise.all(clients)
console.log(`killed ${killed} times; ${reads} reads and ${writes} writes meanwhile; then: ${shown(last)}`)
console.log(`last run: ${shown(await rig.run([...encrypt, '--verify', '--assume-no-writers']))}`)
const scanned = await rig.run(['scan', '--bucket', Bucket, '--json'])
console.log(`scan: ${shown(scanned)}`)
if (summaryOf(scanned).states['sealed']?.objects !== known.length) wrong.push('not every object is sealed')
let [lost, untagged] = [0, 0]
await side(known, async ({ key, sha256: sum }) => {
  const body = await bodyOf(through, Bucket, key).catch((error: unknown) => Buffer.from(String(error)))
  if (sha256(body) !== sum) {
    lost += 1
    wrong.push(`${key}: another body`)
  }
  const { Metadata, TagCount } = await through.send(new HeadObjectCommand({ Bucket, Key: key }))
  if (Metadata?.['kind'] === undefined || Object.keys(Metadata).some((name) => name.startsWith('x-amz-'))) wrong.push(`${key}: its metadata is wrong`)
  if (TagCount !== 1) untagged += 1
})
let listed = 0
for await (const { Contents = [] } of paginateListObjectsV2({ client: through }, { Bucket })) listed += Contents.length
const left = (await direct.send(new ListObjectsV2Command({ Bucket, MaxKeys: 1000 }))).Contents?.filter(({ Key = '' }) => Key.endsWith('.instruction')).length ??
  0
console.log(`bodies lost: ${lost}; without their tag: ${untagged}; listed ${listed}; instruction files left among the first 1,000 names: ${left}`)
if (listed !== known.length || untagged > 0 || left > 0) wrong.push('the listing, tags or instruction files are not what they ought to be')
for (const end of ends) await end()
await rig.finish()

// Customers' keys, the default encryption of a bucket, and re-wrapping.
import { createHash } from 'node:crypto'
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteBucketEncryptionCommand,
  GetBucketEncryptionCommand,
  HeadObjectCommand,
  PutBucketEncryptionCommand,
  S3ServiceException
} from '@aws-sdk/client-s3'
import { editKeyring, readKeyring } from '../../src/keys/keyring-file.ts'
import { Bucket, get, isOneOf, large, old, put, reading, script, WrongAnswer, type Run, type Script } from './fault-script.ts'

const customerKey = Buffer.alloc(32, 'a key of the customer')
const SSECustomerKeyMD5 = createHash('md5').update(customerKey).digest('base64')
const SSECustomerKey = customerKey.toString('base64')
const customer = { SSECustomerAlgorithm: 'AES256', SSECustomerKey, SSECustomerKeyMD5 }
const ofSource = { CopySourceSSECustomerAlgorithm: 'AES256', CopySourceSSECustomerKey: SSECustomerKey, CopySourceSSECustomerKeyMD5: SSECustomerKeyMD5 }

const ServerSideEncryptionConfiguration = { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } }] }

/** A bucket of the run's own. */
async function makeBucket({ s3, id }: Run): Promise<string> {
  await s3.send(new CreateBucketCommand({ Bucket: id }))
  return id
}

async function makeBucketWithDefault(run: Run): Promise<string> {
  const name = await makeBucket(run)
  await run.s3.send(new PutBucketEncryptionCommand({ Bucket: name, ServerSideEncryptionConfiguration }))
  return name
}

/** Algorithm of the bucket's default; null when it has none. */
async function defaultOf({ s3 }: Run, name: string): Promise<string | null> {
  try {
    const { ServerSideEncryptionConfiguration: found } = await s3.send(new GetBucketEncryptionCommand({ Bucket: name }))
    return found?.Rules?.[0]?.ApplyServerSideEncryptionByDefault?.SSEAlgorithm ?? null
  } catch (error) {
    if (error instanceof S3ServiceException && error.name === 'ServerSideEncryptionConfigurationNotFoundError') return null
    throw error
  }
}

async function hasDefault(run: Run, name: string, allowed: readonly (string | null)[]): Promise<string | undefined> {
  const found = await defaultOf(run, name)
  if (!allowed.includes(found)) return `the default encryption is ${String(found)}`
  // The key of a bucket default must be able to encrypt.
  await put(run, old, { Bucket: name })
  return isOneOf(run, run.id, [old], { Bucket: name })
}

export const keyScripts: readonly Script[] = [
  script('put with a customer\'s key', (run) => put(run, old), (run) => put(run, large, customer), async (run, _, acknowledged) => {
    // The remaining one of the two shows which key it needs.
    const sealed = await run.s3.send(new HeadObjectCommand({ Bucket, Key: run.id, ...customer })).then(() => true, () => false)
    if (acknowledged && !sealed) return 'the object of before is back'
    return sealed ? isOneOf(run, run.id, [large], customer) : isOneOf(run, run.id, [old])
  }),
  reading('get with a customer\'s key', large, get(customer), large, customer),
  script('copy from a customer\'s key', (run) => put(run, large, customer), ({ s3, id }) =>
    s3.send(
      new CopyObjectCommand({
        Bucket,
        Key: `${id}/copy`,
        CopySource: `${Bucket}/${id}`,
        ...ofSource
      })
    ), async (run, _, acknowledged) => await isOneOf(run, run.id, [large], customer) ?? isOneOf(run, `${run.id}/copy`, acknowledged ? [large] : [null, large])),
  script(
    'set a default encryption',
    makeBucket,
    ({ s3 }, name) => s3.send(new PutBucketEncryptionCommand({ Bucket: name, ServerSideEncryptionConfiguration })),
    (run, name, acknowledged) => hasDefault(run, name, acknowledged ? ['AES256'] : [null, 'AES256'])
  ),
  script('get a default encryption', makeBucketWithDefault, async (run, name) => {
    const found = await defaultOf(run, name)
    if (found !== 'AES256') throw new WrongAnswer(`the default encryption is ${String(found)}`)
  }, (run, name) => hasDefault(run, name, ['AES256'])),
  script(
    'remove a default encryption',
    makeBucketWithDefault,
    ({ s3 }, name) => s3.send(new DeleteBucketEncryptionCommand({ Bucket: name })),
    (run, name, acknowledged) => hasDefault(run, name, acknowledged ? [null] : [null, 'AES256'])
  ),
  script(
    'delete a bucket with a default encryption',
    makeBucketWithDefault,
    ({ s3 }, name) => s3.send(new DeleteBucketCommand({ Bucket: name })),
    async (run, name, acknowledged) => {
      if (acknowledged) await makeBucket(run)
      // Refused, it may be there with its default, without, or be gone: whichever, it must be of use.
      else {await makeBucket(run).catch((error: unknown) => {
          if (!(error instanceof S3ServiceException) || error.name !== 'BucketAlreadyOwnedByYou') throw error
        })}
      return hasDefault(run, name, acknowledged ? [null] : [null, 'AES256'])
    }
  ),
  script('re-wrap', async (run) => {
    await put(run, large, { Tagging: 'colour=blue' })
    await editKeyring(run.gateway.keyring, (keyring) => keyring.rotate(new Date()))
  }, async (run) => {
    const code = await run.command('rewrap', '--bucket', Bucket, '--prefix', run.id)
    if (code !== 0) throw new Error(`exit code ${code}`)
  }, async (run, _, acknowledged) => {
    const keyring = await readKeyring(run.gateway.keyring)
    const current = keyring.keyId(keyring.current()!)
    if (acknowledged && run.store.object(Bucket, run.id).metadata['sealgate-key'] !== current) return 'it is still under the old key'
    if (run.store.object(Bucket, run.id).version.tags.length !== 1) {
      // What a killed run has taken off, the next puts back.
      const code = await run.command('rewrap', '--bucket', Bucket, '--prefix', run.id)
      if (code !== 0 || run.store.object(Bucket, run.id).version.tags.length !== 1) return 'tags are lost'
    }
    return isOneOf(run, run.id, [large])
  })
]

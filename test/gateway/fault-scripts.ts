// The operations of the fault matrix: those on objects and on uploads in parts here, others in the files beside this one.
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  DeleteObjectTaggingCommand,
  GetObjectAclCommand,
  GetObjectAttributesCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  ListPartsCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import { Bucket, bytes, get, isOneOf, isTrue, large, old, put, reading, script, small, write, WrongAnswer, type Run, type Script } from './fault-script.ts'
import { bucketScripts } from './fault-scripts-buckets.ts'
import { keyScripts } from './fault-scripts-keys.ts'
import { wireScripts } from './fault-scripts-wire.ts'

interface ListedRow {
  readonly Key?: string | undefined
  readonly Size?: number | undefined
  readonly ETag?: string | undefined
}

function listing(name: string, list: (run: Run) => Promise<readonly ListedRow[] | undefined>): Script {
  return script(name, async ({ s3, id }) => {
    const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: `${id}/1`, Body: small }))
    await s3.send(new PutObjectCommand({ Bucket, Key: `${id}/2`, Body: large }))
    return ETag
  }, async (run, etag) => {
    const rows = await list(run) ?? []
    if (rows.map(({ Key, Size }) => `${Key ?? ''} ${Size ?? ''}`).join() !== `${run.id}/1 100,${run.id}/2 ${large.length}`) {
      throw new WrongAnswer(JSON.stringify(rows))
    }
    if (rows[0]?.ETag !== undefined && rows[0].ETag !== etag) throw new WrongAnswer(`ETag ${rows[0].ETag} in the listing, ${etag ?? ''} elsewhere`)
  }, (run) => isOneOf(run, `${run.id}/2`, [large]))
}

interface Begun {
  readonly UploadId: string
  readonly parts: { PartNumber: number; ETag: string }[]
}

const part = bytes(5 * 1024 * 1024, 4)
const last = bytes(70_000, 5)

async function begin({ s3, id }: Run): Promise<Begun> {
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: id }))
  return { UploadId, parts: [] }
}

async function sendPart({ s3, id }: Run, begun: Begun, PartNumber: number, Body: Buffer): Promise<void> {
  const { ETag = '' } = await s3.send(new UploadPartCommand({ Bucket, Key: id, UploadId: begun.UploadId, PartNumber, Body }))
  begun.parts.push({ PartNumber, ETag })
}

async function beginWith(run: Run, bodies: readonly Buffer[]): Promise<Begun> {
  const begun = await begin(run)
  for (const [i, body] of bodies.entries()) await sendPart(run, begun, i + 1, body)
  return begun
}

const complete = ({ s3, id }: Run, { UploadId, parts }: Begun): Promise<unknown> =>
  s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: id, UploadId, MultipartUpload: { Parts: parts } }))

/** What was acknowledged of an upload can be completed, once or again, and is all there. */
async function completes(run: Run, begun: Begun, expected: Buffer): Promise<string | undefined> {
  await complete(run, begun)
  return isOneOf(run, run.id, [expected])
}

const copy = ({ s3, id }: Run): Promise<unknown> => s3.send(new CopyObjectCommand({ Bucket, Key: `${id}/copy`, CopySource: `${Bucket}/${id}` }))

const Tagging = { TagSet: [{ Key: 'colour', Value: 'blue' }] }

export const scripts: readonly Script[] = [
  write('put small', null, small),
  write('put small over an old one', old, small),
  write('put large', null, large),
  write('put large over an old one', old, large),
  write('put if there is none', null, small, () => ({ IfNoneMatch: '*' })),
  write('put over what was read', old, large, (IfMatch) => ({ IfMatch })),
  reading('get small', small, get({}), small),
  reading('get large', large, get({}), large),
  reading('get range', large, get({ Range: 'bytes=70000-140000' }), large.subarray(70_000, 140_001)),
  reading('get suffix', large, get({ Range: 'bytes=-1000' }), large.subarray(-1000)),
  reading('get unless unmodified', large, get({ IfNoneMatch: '"x"' }), large),
  script('head', (run) => put(run, large, { Metadata: { colour: 'blue' } }), async ({ s3, id }, { ETag }) => {
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: id }))
    if (head.ContentLength !== large.length || head.ETag !== ETag || head.Metadata?.['colour'] !== 'blue') throw new WrongAnswer(JSON.stringify(head))
  }, (run) => isOneOf(run, run.id, [large])),
  script('attributes', (run) => put(run, large), async ({ s3, id }) => {
    const { ObjectSize } = await s3.send(new GetObjectAttributesCommand({ Bucket, Key: id, ObjectAttributes: ['ObjectSize'] }))
    if (ObjectSize !== large.length) throw new WrongAnswer(String(ObjectSize))
  }, (run) => isOneOf(run, run.id, [large])),
  listing('list', async ({ s3, id }) => (await s3.send(new ListObjectsCommand({ Bucket, Prefix: id }))).Contents),
  listing('list v2', async ({ s3, id }) => (await s3.send(new ListObjectsV2Command({ Bucket, Prefix: id }))).Contents),
  listing('list versions', async ({ s3, id }) => (await s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: id }))).Versions),
  script(
    'delete',
    (run) => put(run, large),
    ({ s3, id }) => s3.send(new DeleteObjectCommand({ Bucket, Key: id })),
    (run, _, acknowledged) => isOneOf(run, run.id, acknowledged ? [null] : [null, large])
  ),
  script(
    'delete what was read',
    (run) => put(run, large),
    ({ s3, id }, { ETag }) => s3.send(new DeleteObjectCommand({ Bucket, Key: id, IfMatch: ETag })),
    (run, _, acknowledged) => isOneOf(run, run.id, acknowledged ? [null] : [null, large])
  ),
  script(
    'delete many',
    async (run) => {
      for (const n of [1, 2]) await run.s3.send(new PutObjectCommand({ Bucket, Key: `${run.id}/${n}`, Body: small }))
    },
    async ({ s3, id }) => {
      const { Errors = [] } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: `${id}/1` }, { Key: `${id}/2` }] } }))
      if (Errors.length > 0) throw new Error('not all deleted')
    },
    async (run, _, acknowledged) =>
      await isOneOf(run, `${run.id}/1`, acknowledged ? [null] : [null, small]) ?? isOneOf(run, `${run.id}/2`, acknowledged ? [null] : [null, small])
  ),
  script(
    'copy',
    (run) => put(run, large),
    copy,
    async (run, _, acknowledged) => await isOneOf(run, run.id, [large]) ?? isOneOf(run, `${run.id}/copy`, acknowledged ? [large] : [null, large])
  ),
  script('copy onto itself', (run) => put(run, large, { Metadata: { colour: 'red' } }), ({ s3, id }) =>
    s3.send(
      new CopyObjectCommand({
        Bucket,
        Key: id,
        CopySource: `${Bucket}/${id}`,
        MetadataDirective: 'REPLACE',
        Metadata: { colour: 'blue' }
      })
    ), async (run, _, acknowledged) => {
    const { Metadata } = await run.s3.send(new HeadObjectCommand({ Bucket, Key: run.id }))
    if (acknowledged && Metadata?.['colour'] !== 'blue') return `metadata is ${JSON.stringify(Metadata)}`
    return isOneOf(run, run.id, [large])
  }),
  script(
    'put tags',
    (run) => put(run, small),
    ({ s3, id }) => s3.send(new PutObjectTaggingCommand({ Bucket, Key: id, Tagging })),
    async (run, _, acknowledged) => {
      const { TagSet = [] } = await run.s3.send(new GetObjectTaggingCommand({ Bucket, Key: run.id }))
      if (acknowledged && TagSet.length !== 1) return 'tags are lost'
      return isOneOf(run, run.id, [small])
    }
  ),
  script('get tags', (run) => put(run, small, { Tagging: 'colour=blue' }), async ({ s3, id }) => {
    const { TagSet = [] } = await s3.send(new GetObjectTaggingCommand({ Bucket, Key: id }))
    if (TagSet.length !== 1) throw new WrongAnswer(JSON.stringify(TagSet))
  }, (run) => isOneOf(run, run.id, [small])),
  script(
    'delete tags',
    (run) => put(run, small, { Tagging: 'colour=blue' }),
    ({ s3, id }) => s3.send(new DeleteObjectTaggingCommand({ Bucket, Key: id })),
    async (run, _, acknowledged) => {
      const { TagSet = [] } = await run.s3.send(new GetObjectTaggingCommand({ Bucket, Key: run.id }))
      return acknowledged && TagSet.length > 0 ? 'tags are still there' : isOneOf(run, run.id, [small])
    }
  ),
  script('put and get ACL', (run) => put(run, small), async ({ s3, id }) => {
    await s3.send(new PutObjectAclCommand({ Bucket, Key: id, ACL: 'private' }))
    await s3.send(new GetObjectAclCommand({ Bucket, Key: id }))
  }, (run) => isOneOf(run, run.id, [small])),
  script(
    'create bucket',
    async ({ id }) => `made-${id}`,
    ({ s3 }, name) => s3.send(new CreateBucketCommand({ Bucket: name })),
    async ({ s3 }, name, acknowledged) => {
      if (!acknowledged) {
        await s3.send(new CreateBucketCommand({ Bucket: name })).catch((error: unknown) => {
          if (!(error instanceof S3ServiceException) || error.name !== 'BucketAlreadyOwnedByYou') throw error
        })
      }
      await s3.send(new ListObjectsV2Command({ Bucket: name }))
      return undefined
    }
  ),
  script<{ upload?: Begun }>('create upload', async () => ({}), async (run, made) => {
    made.upload = await begin(run)
  }, async (run, { upload }) => {
    if (upload === undefined) return isOneOf(run, run.id, [null])
    await sendPart(run, upload, 1, last)
    return completes(run, upload, last)
  }),
  script('upload part', begin, (run, begun) => sendPart(run, begun, 1, part), async (run, begun, acknowledged) => {
    await sendPart(run, begun, 2, last)
    return completes(run, begun, acknowledged ? Buffer.concat([part, last]) : last)
  }),
  script(
    'upload part until acknowledged',
    begin,
    (run, begun) => sendPart(run, begun, 1, part).catch(() => sendPart(run, begun, 1, part)),
    async (run, begun, acknowledged) => {
      if (!acknowledged) await sendPart(run, begun, 1, part)
      return completes(run, begun, part)
    }
  ),
  script(
    'upload small part',
    (run) => beginWith(run, [part]),
    (run, begun) => sendPart(run, begun, 2, last),
    (run, begun, acknowledged) => completes(run, begun, acknowledged ? Buffer.concat([part, last]) : part)
  ),
  script('upload part again', (run) => beginWith(run, [last]), async (run, begun) => {
    const { ETag = '' } = await run.s3.send(new UploadPartCommand({ Bucket, Key: run.id, UploadId: begun.UploadId, PartNumber: 1, Body: small }))
    begun.parts.splice(0, 1, { PartNumber: 1, ETag })
  }, (run, begun, acknowledged) => completes(run, begun, acknowledged ? small : last)),
  script('copy part', async (run) => {
    await run.s3.send(new PutObjectCommand({ Bucket, Key: `${run.id}/source`, Body: large }))
    return begin(run)
  }, async (run, begun) => {
    const { CopyPartResult } = await run.s3.send(
      new UploadPartCopyCommand({
        Bucket,
        Key: run.id,
        UploadId: begun.UploadId,
        PartNumber: 1,
        CopySource: `${Bucket}/${run.id}/source`,
        CopySourceRange: 'bytes=100-150000'
      })
    )
    begun.parts.push({ PartNumber: 1, ETag: CopyPartResult?.ETag ?? '' })
  }, async (run, begun, acknowledged) => {
    if (!acknowledged) await sendPart(run, begun, 2, last)
    return completes(run, begun, acknowledged ? large.subarray(100, 150_001) : last)
  }),
  script('complete upload', (run) => beginWith(run, [part, last]), complete, async (run, begun, acknowledged) => {
    if (acknowledged) return isOneOf(run, run.id, [Buffer.concat([part, last])])
    return await isOneOf(run, run.id, [null, Buffer.concat([part, last])]) ?? completes(run, begun, Buffer.concat([part, last]))
  }),
  script(
    'complete over an old object',
    async (run) => {
      await put(run, old)
      return beginWith(run, [last])
    },
    complete,
    async (run, begun, acknowledged) => {
      if (acknowledged) return isOneOf(run, run.id, [last])
      return await isOneOf(run, run.id, [old, last]) ?? completes(run, begun, last)
    }
  ),
  script(
    'abort upload',
    (run) => beginWith(run, [last]),
    ({ s3, id }, { UploadId }) => s3.send(new AbortMultipartUploadCommand({ Bucket, Key: id, UploadId })),
    async (run, { UploadId }, acknowledged) => {
      const failure = await run.s3.send(new ListPartsCommand({ Bucket, Key: run.id, UploadId })).then(
        () => '',
        (error: unknown) => error instanceof Error ? error.name : ''
      )
      if (failure !== '' && failure !== 'NoSuchUpload') return `the upload answers ${failure}`
      if (acknowledged && failure === '') return 'the upload is still there'
      return isOneOf(run, run.id, [null])
    }
  ),
  script('list parts', (run) => beginWith(run, [last]), async ({ s3, id }, { UploadId, parts }) => {
    const { Parts = [] } = await s3.send(new ListPartsCommand({ Bucket, Key: id, UploadId }))
    if (Parts.length !== 1 || Parts[0]?.Size !== last.length || Parts[0].ETag !== parts[0]?.ETag) throw new WrongAnswer(JSON.stringify(Parts))
  }, (run, begun) => completes(run, begun, last)),
  script('list uploads', begin, async ({ s3, id }) => {
    const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix: id }))
    if (Uploads.length !== 1) throw new WrongAnswer(JSON.stringify(Uploads))
  }, (run) => isOneOf(run, run.id, [null])),
  script('get parts', async (run) => complete(run, await beginWith(run, [last])), async (run) => {
    isTrue(await get({})(run), last)
    isTrue(await get({ Range: 'bytes=65000-66000' })(run), last.subarray(65_000, 66_001))
  }, (run) => isOneOf(run, run.id, [last])),
  script('get range over two parts', async (run) => complete(run, await beginWith(run, [part, last])), async (run) => {
    isTrue(
      await get({ Range: `bytes=${part.length - 100_000}-${part.length + 65_999}` })(run),
      Buffer.concat([part.subarray(-100_000), last.subarray(0, 66_000)])
    )
  }, (run) => isOneOf(run, run.id, [Buffer.concat([part, last])])),
  script('get one part', async (run) => complete(run, await beginWith(run, [part, last])), async (run) => {
    isTrue(await get({ PartNumber: 2 })(run), last)
  }, (run) => isOneOf(run, run.id, [Buffer.concat([part, last])])),
  script(
    'copy parts',
    async (run) => complete(run, await beginWith(run, [last])),
    copy,
    async (run, _, acknowledged) => await isOneOf(run, run.id, [last]) ?? isOneOf(run, `${run.id}/copy`, acknowledged ? [last] : [null, last])
  ),
  ...wireScripts,
  ...keyScripts,
  ...bucketScripts
]

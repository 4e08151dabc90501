// Buckets that keep versions, buckets that are not encrypted, and the list of all.
import { CopyObjectCommand, DeleteObjectCommand, ListBucketsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { Bucket, get, isOneOf, isTrue, large, old, Plain, put, script, small, Versions, WrongAnswer, type Run, type Script } from './fault-script.ts'

/** Writes versions. @returns their ids, oldest first */
async function putVersions(run: Run, bodies: readonly Buffer[]): Promise<string[]> {
  const ids: string[] = []
  for (const body of bodies) ids.push((await put(run, body, { Bucket: Versions })).VersionId ?? '')
  return ids
}

const inVersions = (VersionId?: string): { Bucket: string; VersionId?: string } =>
  VersionId === undefined ? { Bucket: Versions } : { Bucket: Versions, VersionId }

export const bucketScripts: readonly Script[] = [
  script(
    'put a version',
    (run) => putVersions(run, [old]),
    (run) => put(run, large, inVersions()),
    async (run, [first], acknowledged) =>
      await isOneOf(run, run.id, acknowledged ? [large] : [old, large], inVersions()) ?? isOneOf(run, run.id, [old], inVersions(first))
  ),
  script('get a version', (run) => putVersions(run, [large, small]), async (run, [first]) => {
    isTrue(await get(inVersions(first))(run), large)
  }, (run, [first]) => isOneOf(run, run.id, [large], inVersions(first))),
  script(
    'delete a version',
    (run) => putVersions(run, [large, small]),
    ({ s3, id }, [, second]) => s3.send(new DeleteObjectCommand({ Key: id, ...inVersions(second) })),
    (run, _, acknowledged) => isOneOf(run, run.id, acknowledged ? [large] : [small, large], inVersions())
  ),
  script(
    'delete under versioning',
    (run) => putVersions(run, [large]),
    ({ s3, id }) => s3.send(new DeleteObjectCommand({ Key: id, ...inVersions() })),
    async (run, [first], acknowledged) =>
      await isOneOf(run, run.id, acknowledged ? [null] : [null, large], inVersions()) ?? isOneOf(run, run.id, [large], inVersions(first))
  ),
  script(
    'restore a version by a copy',
    (run) => putVersions(run, [large, small]),
    ({ s3, id }, [first]) => s3.send(new CopyObjectCommand({ Key: id, CopySource: `${Versions}/${id}?versionId=${first ?? ''}`, ...inVersions() })),
    (run, _, acknowledged) => isOneOf(run, run.id, acknowledged ? [large] : [small, large], inVersions())
  ),
  script(
    'put unencrypted',
    async () => undefined,
    (run) => put(run, large, { Bucket: Plain }),
    (run, _, acknowledged) => isOneOf(run, run.id, acknowledged ? [large] : [null, large], { Bucket: Plain })
  ),
  script(
    'copy out of encryption',
    (run) => put(run, large),
    ({ s3, id }) => s3.send(new CopyObjectCommand({ Bucket: Plain, Key: id, CopySource: `${Bucket}/${id}` })),
    (run, _, acknowledged) => isOneOf(run, run.id, acknowledged ? [large] : [null, large], { Bucket: Plain })
  ),
  {
    ...script(
      'copy into encryption',
      ({ s3, id }) => s3.send(new PutObjectCommand({ Bucket: Plain, Key: id, Body: large })),
      ({ s3, id }) => s3.send(new CopyObjectCommand({ Bucket, Key: id, CopySource: `${Plain}/${id}` })),
      (run, _, acknowledged) => isOneOf(run, run.id, acknowledged ? [large] : [null, large])
    ),
    unsealed: true
  },
  script('list buckets', async () => undefined, async ({ s3 }) => {
    const { Buckets = [] } = await s3.send(new ListBucketsCommand({}))
    for (const name of [Bucket, Versions, Plain]) if (!Buckets.some(({ Name }) => Name === name)) throw new WrongAnswer(JSON.stringify(Buckets))
  }, async () => undefined)
]

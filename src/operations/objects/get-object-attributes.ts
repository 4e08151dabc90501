import type { Checksum } from '../../envelope/envelope.ts'
import type { Manifest, ManifestPart } from '../../envelope/manifest.ts'
import type { HttpResponse } from '../../http/message.ts'
import { type XmlNode, renderXml } from '../../s3/xml.ts'
import { type ObjectContext, type OperationContext, header } from '../context.ts'
import { type StoredObject, clientEtag } from './sealed-object.ts'
import { xmlResponse } from '../responses.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { unquoteEtag } from '../../s3/conditions.ts'
import { checkReadConditions } from './read-range.ts'
import { inspectNamed, targetOf, type InspectedObject, readManifest, retryOnChange } from './inspect.ts'

const attributeNames = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'] as const
type AttributeName = (typeof attributeNames)[number]
const MAX_PARTS_LISTED = 1000
/** Facts of the object that stand in headers (AWS API, GetObjectAttributes). */
const headerNames = /^(last-modified|x-amz-version-id|x-amz-delete-marker|x-amz-request-charged)$/

/** GetObjectAttributes: answered from the sealed envelope and manifest; the store is asked for a HEAD. */
export async function getObjectAttributes(ctx: OperationContext<'GetObjectAttributes'>): Promise<HttpResponse> {
  const wanted = wantedAttributes(ctx)
  const page = wantedPage(ctx)
  const inspected = await retryOnChange(() => inspectWithDigests(ctx, wanted.has('Checksum')))
  const { object, manifest } = inspected
  checkReadConditions(ctx, clientEtag(ctx, object, manifest), object.headers.get('last-modified'))
  const nodes: XmlNode[] = []
  if (wanted.has('ETag')) nodes.push(['ETag', unquoteEtag(clientEtag(ctx, object, manifest))])
  if (wanted.has('Checksum')) nodes.push(...checksumNode(inspected))
  if (wanted.has('ObjectParts') && manifest !== null && manifest.kind === 'multipart') nodes.push(partsNode(manifest, page))
  if (wanted.has('StorageClass')) nodes.push(['StorageClass', object.headers.get('x-amz-storage-class') ?? 'STANDARD'])
  if (wanted.has('ObjectSize')) nodes.push(['ObjectSize', String(object.size)])
  const body = renderXml(['GetObjectAttributesResponse', nodes])
  const headers = downstreamHeaders(object.headers, 'object').filter(([name]) => headerNames.test(name))
  return xmlResponse(body, headers)
}

/** @throws S3Error InvalidArgument when none is named, or one that S3 does not know. */
function wantedAttributes(ctx: OperationContext): ReadonlySet<AttributeName> {
  const names = (header(ctx, 'x-amz-object-attributes') ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
  if (names.length === 0) {
    throw invalid(
      'x-amz-object-attributes',
      '',
      'The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty'
    )
  }
  const known = names.map((name) => attributeNames.find((candidate) => candidate === name))
  return new Set(known.map((name, i) => {
    if (name === undefined) throw invalid('x-amz-object-attributes', names[i] ?? '', 'Invalid attribute name specified.')
    return name
  }))
}

interface Page {
  readonly max: number
  readonly marker: number
}

function wantedPage(ctx: OperationContext): Page {
  const read = (name: string, otherwise: number): number => {
    const text = header(ctx, name)
    if (text === undefined) return otherwise
    if (/^\d{1,9}$/.test(text)) return Number(text)
    throw invalid(name, text, `Argument ${name} must be an integer between 0 and 2147483647`)
  }
  return { max: Math.min(read('x-amz-max-parts', MAX_PARTS_LISTED), MAX_PARTS_LISTED), marker: read('x-amz-part-number-marker', 0) }
}

function invalid(name: string, value: string, message: string): S3Error {
  return new S3Error('InvalidArgument', { message, fields: { ArgumentName: name, ArgumentValue: value } })
}

/** A single's checksum may stand in its manifest, which no other attribute needs. */
async function inspectWithDigests(ctx: ObjectContext, digests: boolean): Promise<InspectedObject> {
  const inspected = await inspectNamed(ctx, targetOf(ctx))
  const { object } = inspected
  if (!digests || inspected.manifest !== null || object.kind === 'plain' || !object.attributes.digestsInManifest) return inspected
  return { object, manifest: await readManifest(ctx, object) }
}

function checksumNode({ object, manifest }: InspectedObject): XmlNode[] {
  const checksums = checksumsOf(object, manifest)
  if (checksums.length === 0) return []
  const type = checksums[0]?.type === 'composite' ? 'COMPOSITE' : 'FULL_OBJECT'
  return [['Checksum', [
    ...checksums.map((checksum): XmlNode => {
      const parts = checksum.type === 'composite' ? `-${manifest?.parts.length ?? 1}` : ''
      return [nameOf(checksum.algorithm), `${checksum.value.toString('base64')}${parts}`]
    }),
    ['ChecksumType', type]
  ]]]
}

function checksumsOf(object: StoredObject, manifest: Manifest | null): readonly Checksum[] {
  return object.kind === 'plain' ? [] : [...object.attributes.checksums, ...manifest?.checksums ?? []]
}

function partsNode({ parts, partChecksum }: Manifest, { max, marker }: Page): XmlNode {
  const following = parts.filter(({ number }) => number > marker)
  const shown = following.slice(0, max)
  return ['ObjectParts', [
    ['PartsCount', String(parts.length)],
    ['PartNumberMarker', String(marker)],
    ['NextPartNumberMarker', String(shown.at(-1)?.number ?? 0)],
    ['MaxParts', String(max)],
    ['IsTruncated', String(following.length > shown.length)],
    ...shown.map((part) => partNode(part, partChecksum))
  ]]
}

function partNode({ number, plaintextSize, checksum }: ManifestPart, algorithm: Manifest['partChecksum']): XmlNode {
  return ['Part', [
    ['PartNumber', String(number)],
    ['Size', String(plaintextSize)],
    ...checksum === null || algorithm === null ? [] : [[nameOf(algorithm), checksum.toString('base64')] as const]
  ]]
}

function nameOf(algorithm: Checksum['algorithm']): string {
  return `Checksum${algorithm.toUpperCase()}`
}

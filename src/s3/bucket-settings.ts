import type { OperationName } from './operations.ts'
import { S3Error } from '../errors.ts'
import { checkBucketName } from './names.ts'
import { type XmlDocument, type XmlElement, rewriteXml, textOf, type XmlLimits, type XmlNode, renderXml } from './xml.ts'
import { parseEncryptionConfiguration } from './documents.ts'

/**
 * Documents of bucket settings that the gateway reads or rewrites: those that name targets, lifecycle rules, default encryption.
 *
 * Targets are where settings name buckets that the store will write to. Two parsers of one document must not see two names in it, so every shape that is not
 * listed here is refused: of the tree, of the tag, and of the text.
 */

/** Reads the text of an element. @returns the buckets it names @throws S3Error InvalidBucketName, MalformedXML for any other shape */
type Read = (text: string) => readonly string[]

/** A bucket by its plain name. */
const plainName: Read = (text) => {
  checkBucketName(text)
  return [text]
}

/** `arn:aws:s3:::NAME`, as S3 writes it (AWS API, Destination); Ceph accepts the plain name as well. */
const nameOrArn: Read = (text) => plainName(/^arn:aws(?:-[a-z]+)*:s3:::([^:]*)$/.exec(text)?.[1] ?? text)

/** MinIO's remote target: `arn:minio:replication:REGION:ID:NAME` (madmin, ARN). The bucket is on another server. */
const minioTarget = /^arn:minio:replication:[a-z0-9-]*:[A-Za-z0-9-]+:([^:]*)$/

const replica: Read = (text) => {
  const remote = minioTarget.exec(text)?.[1]
  return remote === undefined ? nameOrArn(text) : plainName(remote)
}

/** An IAM role, nothing (Ceph, MinIO), or the former place of MinIO's remote target. */
const role: Read = (text) => {
  if (text === '' || /^arn:aws(?:-[a-z]+)*:iam::\d{12}:role\/[\w+=,.@/-]+$/.test(text)) return []
  const remote = minioTarget.exec(text)?.[1]
  if (remote === undefined) throw new S3Error('MalformedXML')
  return plainName(remote)
}

/** Topics, queues and functions of AWS, Ceph (sns) and MinIO (sqs): none is a bucket. */
const receiver: Read = (text) => {
  if (!/^arn:(?:aws(?:-[a-z]+)*|minio):(?:sns|sqs|lambda):[^<>&\s]+$/.test(text)) throw new S3Error('MalformedXML')
  return []
}

/** A filter, not a target (AWS API, MetricsFilter). */
const accessPoint: Read = (text) => {
  if (!/^arn:aws(?:-[a-z]+)*:s3:[a-z0-9-]+:\d{12}:accesspoint\/[a-z0-9-]+$/.test(text)) throw new S3Error('MalformedXML')
  return []
}

/** By operation: the path of every element that may name something outside the bucket (AWS API reference). */
const shapes = {
  PutBucketLogging: { 'BucketLoggingStatus/LoggingEnabled/TargetBucket': plainName },
  PutBucketReplication: { 'ReplicationConfiguration/Rule/Destination/Bucket': replica, 'ReplicationConfiguration/Role': role },
  PutBucketInventoryConfiguration: { 'InventoryConfiguration/Destination/S3BucketDestination/Bucket': nameOrArn },
  PutBucketAnalyticsConfiguration: { 'AnalyticsConfiguration/StorageClassAnalysis/DataExport/Destination/S3BucketDestination/Bucket': nameOrArn },
  PutBucketMetricsConfiguration: { 'MetricsConfiguration/Filter/AccessPointArn': accessPoint, 'MetricsConfiguration/Filter/And/AccessPointArn': accessPoint },
  PutBucketNotificationConfiguration: {
    'NotificationConfiguration/TopicConfiguration/Topic': receiver,
    'NotificationConfiguration/QueueConfiguration/Queue': receiver,
    'NotificationConfiguration/CloudFunctionConfiguration/CloudFunction': receiver
  }
} as const satisfies Partial<Record<OperationName, Readonly<Record<string, Read>>>>

/** Element names, in lower case, that a parser of one of these documents may read as the name of a target. */
const naming: ReadonlySet<string> = new Set(Object.values(shapes).flatMap((shape) => Object.keys(shape).map((path) => lastOf(path).toLowerCase())))

/** Operations whose documents name targets. */
export type TargetOperation = keyof typeof shapes

/**
 * The buckets that a document of settings makes the store write to.
 * @throws S3Error MalformedXML for a name in an unknown place or shape, or twice; InvalidBucketName
 */
export function targetBucketsOf(operation: TargetOperation, document: XmlDocument): readonly string[] {
  const shape: Readonly<Record<string, Read>> = shapes[operation]
  const found: string[] = []
  const walk = (element: XmlElement, parent: string): void => {
    const path = parent === '' ? element.name : `${parent}/${element.name}`
    if (naming.has(element.name.toLowerCase())) {
      const read = Object.hasOwn(shape, path) ? shape[path] : undefined
      if (read === undefined) throw new S3Error('MalformedXML')
      found.push(...read(soleText(document, element)))
      return
    }
    const named = element.children.filter(({ name }) => naming.has(name.toLowerCase()))
    if (named.length > 1) throw new S3Error('MalformedXML')
    for (const child of element.children) walk(child, path)
  }
  walk(document.root, '')
  return found
}

/** Text that every XML parser reads alike: a bare tag, no children, comments, sections, references or white space. */
function soleText({ source }: XmlDocument, { name, start, innerStart, innerEnd, end }: XmlElement): string {
  const tag = source.slice(start, innerStart)
  if (tag === `<${name}/>` && end === innerStart) return ''
  const text = source.slice(innerStart, innerEnd)
  if (tag !== `<${name}>` || source.slice(innerEnd, end) !== `</${name}>` || /[<>&\s\0]/.test(text)) throw new S3Error('MalformedXML')
  return text
}

function lastOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** The size law: plaintext bytes → stored bytes, strictly increasing. */
type StoredSize = (plaintextBytes: number) => number

/** No object is larger (AWS allows 50 TB since 2025). It also keeps the search within exact integers. */
const maxPlaintextBytes = 2 ** 47

/**
 * A lifecycle configuration as the client wrote it, for the store, which compares `ObjectSizeGreaterThan` and `ObjectSizeLessThan` with stored sizes.
 * Because the law is strictly increasing, `p > G` and `stored(p) > stored(G)` are the same.
 * @throws S3Error MalformedXML, MaxMessageLengthExceeded
 */
export function lifecycleForStore(document: Buffer, storedSize: StoredSize, limits: XmlLimits): Buffer {
  return convert(document, limits, (size) => storedSize(size))
}

/**
 * The reverse. A number that no plaintext size maps to (set at the store, not through the gateway) becomes the bound that chooses the same objects:
 * the largest plaintext at or below it for GreaterThan, the smallest at or above it for LessThan. Only an empty object is not covered: that would
 * need "greater than -1".
 * @throws S3Error SealgateBadUpstream
 */
export function lifecycleForClient(document: Buffer, storedSize: StoredSize, limits: XmlLimits): Buffer {
  return convert(document, limits, (stored, name) => {
    const atLeast = smallestReaching(stored, storedSize)
    if (name === 'ObjectSizeLessThan' || storedSize(atLeast) === stored) return atLeast
    return Math.max(0, atLeast - 1)
  })
}

/** Smallest plaintext size whose stored size is not below `stored`. */
function smallestReaching(stored: number, storedSize: StoredSize): number {
  let low = 0
  let high = maxPlaintextBytes
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (storedSize(middle) < stored) low = middle + 1
    else high = middle
  }
  return low
}

function convert(document: Buffer, limits: XmlLimits, size: (bytes: number, name: string) => number): Buffer {
  return rewriteXml(document, (editor, xml) => {
    const visit = (element: XmlElement): void => {
      if (element.name === 'ObjectSizeGreaterThan' || element.name === 'ObjectSizeLessThan') {
        const text = textOf(xml, element).trim()
        if (!/^\d{1,15}$/.test(text)) throw new S3Error(limits.fault)
        editor.setText(element, String(size(Number(text), element.name)))
      }
      element.children.forEach(visit)
    }
    visit(xml.root)
  }, limits)
}

/** A bucket's default encryption (AWS API, ServerSideEncryptionConfiguration). */
export interface BucketEncryption {
  /** For objects whose writer asks for no encryption. */
  readonly algorithm: 'AES256' | 'aws:kms'
  /** As the client wrote it; null: the bucket's own key. */
  readonly kmsKeyId: string | null
  readonly bucketKeyEnabled: boolean
  /** Writes with a customer's key are refused. */
  readonly customerKeysBlocked: boolean
}

/**
 * Reads the document of PutBucketEncryption, and what `renderBucketEncryption` wrote.
 * @throws S3Error MalformedXML, InvalidArgument for a key id together with AES256, NotImplemented for aws:kms:dsse.
 */
export function readBucketEncryption(document: Buffer, limits: XmlLimits): BucketEncryption {
  const { algorithm, kmsKeyId, bucketKeyEnabled, blockedTypes } = parseEncryptionConfiguration(document, limits)
  if (algorithm === 'aws:kms:dsse') {
    throw new S3Error('NotImplemented', { message: 'Dual-layer server-side encryption (aws:kms:dsse) is not available. Use aws:kms.' })
  }
  if (algorithm !== 'AES256' && algorithm !== 'aws:kms') throw new S3Error(limits.fault)
  if (algorithm === 'AES256' && kmsKeyId !== null) {
    throw new S3Error('InvalidArgument', { message: 'a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms' })
  }
  if (blockedTypes.some((type) => type !== 'SSE-C' && type !== 'NONE')) throw new S3Error(limits.fault)
  return { algorithm, kmsKeyId, bucketKeyEnabled, customerKeysBlocked: blockedTypes.includes('SSE-C') }
}

/** The answer to GetBucketEncryption. */
export function renderBucketEncryption({ algorithm, kmsKeyId, bucketKeyEnabled, customerKeysBlocked }: BucketEncryption): Buffer {
  const byDefault: XmlNode[] = [['SSEAlgorithm', algorithm]]
  if (kmsKeyId !== null) byDefault.push(['KMSMasterKeyID', kmsKeyId])
  const rule: XmlNode[] = [['ApplyServerSideEncryptionByDefault', byDefault], ['BucketKeyEnabled', String(bucketKeyEnabled)]]
  if (customerKeysBlocked) rule.push(['BlockedEncryptionTypes', [['EncryptionType', 'SSE-C']]])
  return renderXml(['ServerSideEncryptionConfiguration', [['Rule', rule]]])
}

import type { XmlLimits, XmlNode } from './xml.ts'
import { S3Error } from '../errors.ts'
import { parseEncryptionConfiguration } from './documents.ts'
import { renderXml } from './xml.ts'

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
